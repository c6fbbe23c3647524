"""COCO: regions in its annotation format, and COCO-Object, 80 classes and background."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from carlab.datasets.layout import class_names, find_root, need, read_json
from carlab.datasets.protocol import Dataset, Sample
from carlab.datasets.semantic import labelled, one_based, semantic
from carlab.errors import DatasetError

SPLITS = ("val2017", "train2017")


class Photo(NamedTuple):
    """An image of an annotation file."""

    file: str
    height: int
    width: int


class Region(NamedTuple):
    """An annotation: where it is, and of what."""

    id: int
    image: int
    category: int
    area: float
    crowd: bool
    outline: Any
    """Polygons, or run lengths packed or plain; `mask` decodes it."""


class Instances(NamedTuple):
    """An annotation file: photos in order of their ids, regions by id, and each category's place."""

    photos: dict[int, Photo]
    regions: dict[int, Region]
    places: dict[int, int]


def coco_object(root: Path, split: str) -> Dataset:
    """Read `{split}/*.jpg` and `annotations/instances_{split}.json`.

    Where instances overlap the smaller lies on top; crowds are painted first, as their class.
    """
    home = find_root(root, ("coco",), "annotations")
    file = home / "annotations" / f"instances_{split}.json"
    photos, regions, places = instances(file)
    by_image = defaultdict(list)
    for one in regions.values():
        by_image[one.image].append(one)
    known = {str(number): number for number in photos}

    def find(identity: str) -> Sample:
        photo = photos[known[identity]]
        image = need(home / split / photo.file, "a photo")
        return Sample(identity, image, lambda: label_map(photo, by_image[known[identity]], places))

    return semantic("coco-object", split, list(known), find, class_names("coco"), background=True)


def coco_object_png(root: Path, split: str) -> Dataset:
    """Read `images/{split}/*.jpg` and `annotations/{split}/*_instanceTrainIds.png`.

    The PNGs are those that GroupViT's converter makes of COCO-Stuff, which the released code reads: 0 is
    background. They settle overlaps as COCO-Stuff does, so scores differ a little from `coco_object`'s.
    """
    home = find_root(root, ("coco", "coco_stuff164k"), f"annotations/{split}")
    masks = home / "annotations" / split
    names = class_names("coco")
    ending = "_instanceTrainIds.png"
    ids = sorted(path.name.removesuffix(ending) for path in masks.glob(f"*{ending}"))

    def find(identity: str) -> Sample:
        image, mask = home / "images" / split / f"{identity}.jpg", masks / f"{identity}{ending}"
        decode = partial(one_based, ignored=255, background=True)
        return labelled(identity, image, mask, "a mask of 80 labels", decode, len(names.classes))

    return semantic("coco-object-png", split, ids, find, names, background=True)


def instances(file: Path) -> Instances:
    """Read an annotation file.

    Raises
    ------
    DatasetError
        If it lacks one of its tables, or a row one of its fields.
    """
    content = read_json(file, "COCO instances")
    try:
        photos = {
            int(row["id"]): Photo(str(row["file_name"]), int(row["height"]), int(row["width"]))
            for row in sorted(content["images"], key=lambda row: row["id"])
        }
        regions = {int(row["id"]): _region(row) for row in content["annotations"]}
        categories = sorted(int(row["id"]) for row in content["categories"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DatasetError(
            f"expected COCO instances (images, annotations, categories) at {file}, got others "
            f"({error!r}); take the official file"
        ) from error
    return Instances(photos, regions, {number: place for place, number in enumerate(categories)})


def _region(row: Mapping[str, Any]) -> Region:
    return Region(
        int(row["id"]), int(row["image_id"]), int(row["category_id"]), float(row["area"]),
        bool(row.get("iscrowd", 0)), row["segmentation"],
    )  # fmt: skip


def label_map(photo: Photo, regions: Sequence[Region], places: Mapping[int, int]) -> Int[np.ndarray, "h w"]:
    """Paint crowds, then instances from large to small.

    Raises
    ------
    DatasetError
        If a region cannot be decoded, or is of no known category.
    """
    labels = np.zeros((photo.height, photo.width), dtype=np.int64)
    for region in sorted(regions, key=lambda region: (not region.crowd, -region.area)):
        if region.category not in places:
            raise DatasetError(
                f"expected a category of the file in annotation {region.id}, got {region.category}; "
                "take the official file"
            )
        labels[mask(region, photo)] = places[region.category] + 1
    return labels


def mask(region: Region, photo: Photo) -> Bool[np.ndarray, "h w"]:
    """Decode a region: polygons, or run lengths packed or plain; empty if there is no polygon.

    Raises
    ------
    DatasetError
        If it is none of them, or of another size than the photo.
    """
    from pycocotools import mask as coco

    shape, outline = (photo.height, photo.width), region.outline
    if outline == []:
        return np.zeros(shape, dtype=bool)
    try:
        if isinstance(outline, list):
            outline = coco.merge(coco.frPyObjects(outline, *shape))
        elif isinstance(outline["counts"], list):
            outline = coco.frPyObjects(outline, *shape)
        found = coco.decode(outline)
        # pycocotools leaves memory as it was behind run lengths that end too early.
        if found.shape != shape or found.sum() != coco.area(outline):
            raise ValueError(f"a mask of {found.shape}")
    except Exception as error:  # it raises a bare Exception for most of what it cannot read
        raise DatasetError(
            f"expected polygons or run lengths over {shape} pixels in annotation {region.id}, got others "
            f"({error!r}); take the official file"
        ) from error
    return np.asarray(found, dtype=bool)
