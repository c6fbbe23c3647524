"""COCO: regions in its annotation format, and COCO-Object, 80 classes and background."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta

from carlab.datasets.layout import find_root, need, read_json, read_names
from carlab.datasets.protocol import Dataset, Sample
from carlab.datasets.semantic import labelled, paired, semantic
from carlab.errors import DatasetError, reason
from carlab.files.images import MAX_PIXELS
from carlab.files.schema import Count, Number, Text, parse
from carlab.files.shapes import LabelMap, Mask

Side = Annotated[int, Meta(ge=1, le=MAX_PIXELS)]
Polygon = Annotated[list[Number], Meta(min_length=6, max_length=200_000)]
"""Corners, x and y by turns, in pixels."""


class CocoImage(msgspec.Struct, frozen=True):
    """An image of an annotation file."""

    id: Count
    file: Text = msgspec.field(name="file_name")
    height: Side
    width: Side

    def __post_init__(self) -> None:
        """Raise ValueError for an image that is too large to be read."""
        if self.height * self.width > MAX_PIXELS:
            raise ValueError(f"{self.height} x {self.width} pixels")


class RunLengths(msgspec.Struct, frozen=True):
    """A mask, column by column: lengths of its runs, outside and inside by turns, or COCO's text of them."""

    size: tuple[Side, Side]
    counts: str | list[Count]


class Region(msgspec.Struct, frozen=True):
    """An annotation: a region of an image, its category, and its outline, polygons or run lengths, as JSON.

    Outlines are parsed when they are used: they are nine tenths of a file.
    """

    id: Count
    image: Count = msgspec.field(name="image_id")
    category: Count = msgspec.field(name="category_id")
    area: Number
    outline: msgspec.Raw = msgspec.field(name="segmentation")
    crowd: bool | Count = msgspec.field(name="iscrowd", default=False)


class Category(msgspec.Struct, frozen=True):
    """A class."""

    id: Count


class _File(msgspec.Struct):
    images: list[CocoImage]
    annotations: list[Region]
    categories: list[Category]


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
        own = by_image[int(identity)]
        return Sample(identity, path, lambda: label_map(image, own, labels), sources=(regions_json(own),))

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
    content: _File = read_json(file, "COCO instances (images, annotations, categories)", _File)
    images = {row.id: row for row in sorted(content.images, key=lambda row: row.id)}
    categories = sorted(row.id for row in content.categories)
    return Instances(
        images,
        {row.id: row for row in content.annotations},
        {number: label for label, number in enumerate(categories, 1)},
    )


def regions_json(regions: Sequence[Region]) -> bytes:
    """Return regions as JSON, as they are in the file."""
    return msgspec.json.encode(regions)


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
    shape = image.height, image.width
    try:
        outline = parse(bytes(region.outline), list[Polygon] | RunLengths)
        return _fill(outline, *shape) if isinstance(outline, list) else _run(outline, *shape)
    except ValueError as error:
        raise DatasetError(
            f"expected polygons or run lengths over {shape} pixels in annotation {region.id}, got others "
            f"({reason(error)}); take the official file"
        ) from error


def _fill(polygons: Sequence[Sequence[float]], height: int, width: int) -> Mask:
    """Return the union of polygons; they are checked, since pycocotools would walk along any edge."""
    from pycocotools import mask as coco

    for corners in polygons:
        far = np.abs(np.array(corners)).max() > 4 * max(height, width)
        if len(corners) % 2 or far:
            raise ValueError("a polygon of odd length, or far outside the image")
    if not polygons:
        return np.zeros((height, width), dtype=bool)
    coded = coco.merge(coco.frPyObjects(polygons, height, width))
    return np.asarray(coco.decode(coded), dtype=bool)


def _run(mask: RunLengths, height: int, width: int) -> Mask:
    """Return the mask of run lengths, without pycocotools: it crashes on some that do not fit."""
    counts = _unpacked(mask.counts) if isinstance(mask.counts, str) else mask.counts
    if mask.size != (height, width) or min(counts, default=0) < 0 or sum(counts) != height * width:
        raise ValueError("run lengths of another size")
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(width, height).T


def _unpacked(text: str) -> list[int]:
    """Return the run lengths of COCO's text: five bits a letter, each less the last but one.

    ValueError if it ends too early, or has other letters. Source: rleFrString of cocoapi's maskApi.c.
    """
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("run lengths of other letters")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:  # more letters of this number follow
            continue
        value -= (bits & 16) << (shift - 4)  # the highest bit is the sign
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("run lengths that end too early")
    return counts
