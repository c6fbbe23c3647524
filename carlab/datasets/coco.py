"""COCO: regions in its annotation format, and COCO-Object, 80 classes and background."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from carlab.datasets.layout import find_root, need, read_names, reading
from carlab.datasets.protocol import Dataset, Sample
from carlab.datasets.semantic import labelled, paired, semantic
from carlab.errors import DatasetError
from carlab.files.shapes import LabelMap, Mask


class CocoImage(NamedTuple):
    """An image of an annotation file."""

    file: str
    height: int
    width: int


class Region(NamedTuple):
    """An annotation: a region of an image (its outline: polygons, or run lengths), and its category."""

    id: int
    image: int
    category: int
    area: float
    crowd: bool
    outline: Any


class Instances(NamedTuple):
    """An annotation file: images in order of their ids, regions by id, and the label of each category."""

    images: dict[int, CocoImage]
    regions: dict[int, Region]
    labels: dict[int, int]


def coco_object(root: Path, split: str) -> Dataset:
    """Read `{split}/*.jpg` and `annotations/instances_{split}.json`.

    Where instances overlap the smaller lies on top; crowds are painted first, as their class.
    """
    home = find_root(root, ("coco",), "annotations")
    images, regions, labels = read_instances(home / "annotations" / f"instances_{split}.json")
    by_image = defaultdict(list)
    for region in regions.values():
        by_image[region.image].append(region)

    def find(identity: str) -> Sample:
        image = images[int(identity)]
        path = need(home / split / image.file, "an image")
        return Sample(identity, path, lambda: label_map(image, by_image[int(identity)], labels))

    return semantic("coco-object", split, map(str, images), find, read_names("coco"), background=True)


def coco_object_png(root: Path, split: str) -> Dataset:
    """Read `images/{split}/*.jpg` and `annotations/{split}/*_instanceTrainIds.png`.

    The PNGs are those that GroupViT's converter makes of COCO-Stuff, which the released code reads: 0 is
    background. They resolve overlaps as COCO-Stuff does, so scores differ a little from `coco_object`'s.
    """
    home = find_root(root, ("coco", "coco_stuff164k"), f"annotations/{split}")
    samples = paired(home / "images" / split, home / "annotations" / split, ending="_instanceTrainIds.png")
    return labelled("coco-object-png", split, samples, read_names("coco"), background=True)


def read_instances(file: Path) -> Instances:
    """Read an annotation file; raise DatasetError if it lacks a table, or a row lacks a field."""
    with reading(file, "COCO instances (images, annotations, categories)"):
        content = json.loads(file.read_text(encoding="utf-8"))
        rows = sorted(content["images"], key=lambda row: row["id"])
        images = {int(row["id"]): _image(row) for row in rows}
        regions = {int(row["id"]): _region(row) for row in content["annotations"]}
        categories = sorted(int(row["id"]) for row in content["categories"])
    return Instances(images, regions, {number: label for label, number in enumerate(categories, 1)})


def _image(row: Mapping[str, Any]) -> CocoImage:
    return CocoImage(str(row["file_name"]), int(row["height"]), int(row["width"]))


def _region(row: Mapping[str, Any]) -> Region:
    return Region(
        int(row["id"]), int(row["image_id"]), int(row["category_id"]), float(row["area"]),
        bool(row.get("iscrowd", 0)), row["segmentation"],
    )  # fmt: skip


def label_map(image: CocoImage, regions: Sequence[Region], labels: Mapping[int, int]) -> LabelMap:
    """Paint crowds, then instances from large to small; raise DatasetError for an unknown category."""
    painting = np.zeros((image.height, image.width), dtype=np.int64)
    for region in sorted(regions, key=lambda region: (not region.crowd, -region.area)):
        if region.category not in labels:
            raise DatasetError(
                f"expected a category of the file in annotation {region.id}, got {region.category}; "
                "take the official file"
            )
        painting[decode(region, image)] = labels[region.category]
    return painting


def decode(region: Region, image: CocoImage) -> Mask:
    """Decode a region; raise DatasetError if it cannot be, or is of another size than the image."""
    from pycocotools import mask as coco

    shape, outline = (image.height, image.width), region.outline
    if outline == []:
        return np.zeros(shape, dtype=bool)
    try:
        if isinstance(outline, list):
            outline = coco.merge(coco.frPyObjects(outline, *shape))
        elif isinstance(outline["counts"], list):
            outline = coco.frPyObjects(outline, *shape)
        mask = coco.decode(outline)
        # pycocotools leaves memory as it was behind run lengths that end too early.
        if mask.shape != shape or mask.sum() != coco.area(outline):
            raise ValueError(f"a mask of {mask.shape}")
    except Exception as error:  # it raises a bare Exception for most of what it cannot read
        raise DatasetError(
            f"expected polygons or run lengths over {shape} pixels in annotation {region.id}, got others "
            f"({error!r}); take the official file"
        ) from error
    return np.asarray(mask, dtype=bool)
