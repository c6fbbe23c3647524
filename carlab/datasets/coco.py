"""COCO: regions in its annotation format, and COCO-Object, 80 classes and background."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from carlab.datasets.layout import class_names, find_root, need, read_json
from carlab.datasets.protocol import Dataset, Sample
from carlab.datasets.semantic import semantic
from carlab.errors import DatasetError

SPLITS = ("val2017", "train2017")


def coco_object(root: Path, split: str) -> Dataset:
    """Read `{split}/*.jpg` and `annotations/instances_{split}.json`.

    Where instances overlap the smaller lies on top; crowds are painted first, as their class.
    """
    home = find_root(root, ("coco",), "annotations")
    file = home / "annotations" / f"instances_{split}.json"
    images, annotations, order = instances(file)
    by_image = defaultdict(list)
    for annotation in annotations.values():
        by_image[annotation["image_id"]].append(annotation)
    known = {str(number): image for number, image in images.items()}

    def find(identity: str) -> Sample:
        image = known[identity]
        photo = need(home / split / image["file_name"], "a photo")
        return Sample(identity, photo, lambda: label_map(image, by_image[image["id"]], order))

    return semantic("coco-object", split, list(known), find, class_names("coco"), background=True)


def instances(file: Path) -> tuple[dict[int, Any], dict[int, Any], dict[int, int]]:
    """Images and annotations by id, in order of the ids, and each category's place in that order."""
    content = read_json(file, "COCO instances")
    try:
        images = {image["id"]: image for image in sorted(content["images"], key=lambda item: item["id"])}
        annotations = {annotation["id"]: annotation for annotation in content["annotations"]}
        categories = sorted(category["id"] for category in content["categories"])
        return images, annotations, {number: place for place, number in enumerate(categories)}
    except (KeyError, TypeError) as error:
        raise DatasetError(
            f"expected COCO instances (images, annotations, categories) at {file}, got none "
            f"({error!r}); take the official file"
        ) from error


def label_map(
    image: Mapping[str, Any], annotations: list[Any], order: Mapping[int, int]
) -> Int[np.ndarray, "h w"]:
    """Paint crowds, then instances from large to small."""
    labels = np.zeros((image["height"], image["width"]), dtype=np.int64)
    for annotation in sorted(annotations, key=lambda item: (not item.get("iscrowd", 0), -item["area"])):
        labels[region(annotation, image)] = order[annotation["category_id"]] + 1
    return labels


def region(annotation: Mapping[str, Any], image: Mapping[str, Any]) -> Bool[np.ndarray, "h w"]:
    """The mask of an annotation: polygons, or run lengths packed or plain.

    Raises
    ------
    DatasetError
        If it is none of them.
    """
    from pycocotools import mask

    shape: tuple[int, int] = (image["height"], image["width"])
    outline: Any = annotation.get("segmentation")
    try:
        if isinstance(outline, list):
            packed = mask.merge(mask.frPyObjects(outline, *shape)) if outline else None
        elif isinstance(outline["counts"], list):
            packed = mask.frPyObjects(outline, *shape)
        else:
            packed = outline
        found = np.zeros(shape, bool) if packed is None else mask.decode(packed).astype(bool)
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"expected polygons or run lengths in annotation {annotation.get('id')}, got {error!r}; "
            "take the official file"
        ) from error
    if found.shape != shape:
        raise DatasetError(
            f"expected a mask of {shape} in annotation {annotation.get('id')}, got {found.shape}; "
            "take the official file"
        )
    return found
