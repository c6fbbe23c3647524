"""Every data set by name, and `load_dataset`."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from carlab.datasets import ade, coco, davis, pascal, plain, refer
from carlab.datasets.protocol import Dataset
from carlab.errors import DatasetError, as_path, described, quoted, reason


class Reader(NamedTuple):
    """A function that reads a data set, its splits (the first is the default), and the layout of its root."""

    read: Callable[[Path, str], Dataset]
    splits: tuple[str, ...]
    layout: str


def _refer_reader(name: str, splits: tuple[str, ...], stem: str = "refs") -> Reader:
    layout = f"{name}/{{{stem}(BY).p,instances.json}}, train2014/"
    return Reader(partial(refer.refer, name=name, stem=stem), splits, layout)


_VOC = (("val", "train", "trainval"), "VOC2012/{JPEGImages,SegmentationClass,ImageSets/Segmentation}")
_CONTEXT = (("val", "train"), "VOC2010/{JPEGImages,SegmentationClassContext,ImageSets/SegmentationContext}")
_COCO_SPLITS = ("val2017", "train2017")
_ADE_SPLITS = ("validation", "training")
_UNC_SPLITS = ("unc/val", "unc/testA", "unc/testB")
_DAVIS = "{JPEGImages,Annotations}/480p, ImageSets/YEAR"
_REF_DAVIS = (
    tuple(f"{part}{one}" for part in ("val", "train") for one in ("", *(f"/{a}" for a in davis.ANNOTATORS))),
    f"{_DAVIS}, davis_text_annotations",
)
DATASETS: dict[str, Reader] = {
    "voc20": Reader(partial(pascal.voc, background=False), *_VOC),
    "voc21": Reader(partial(pascal.voc, background=True), *_VOC),
    "coco-object": Reader(coco.coco_object, _COCO_SPLITS, "SPLIT/*.jpg, annotations/instances_SPLIT.json"),
    "coco-object-png": Reader(
        coco.coco_object_png, _COCO_SPLITS, "images/SPLIT, annotations/SPLIT/*_instanceTrainIds.png"
    ),
    "context59": Reader(partial(pascal.context, background=False), *_CONTEXT),
    "context60": Reader(partial(pascal.context, background=True), *_CONTEXT),
    "context459": Reader(
        pascal.context459, ("val", "train"), "VOC2010/{JPEGImages,trainval,ImageSets/SegmentationContext}"
    ),
    "ade150": Reader(ade.ade150, _ADE_SPLITS, "ADEChallengeData2016/{images,annotations}/SPLIT"),
    "ade847": Reader(ade.ade847, _ADE_SPLITS, "ADE20K_2021_17_01/{images,annotations}_detectron2/SPLIT"),
    "refcoco": _refer_reader("refcoco", (*_UNC_SPLITS, "google/val")),
    "refcoco+": _refer_reader("refcoco+", _UNC_SPLITS),
    "refcocog": _refer_reader("refcocog", ("umd/val", "umd/test", "google/val")),
    "grefcoco": _refer_reader("grefcoco", _UNC_SPLITS, "grefs"),
    "coco-referring": Reader(
        refer.coco_referring, ("val2017",), "SPLIT/*.jpg, annotations/{instances,referring}_SPLIT.json"
    ),
    "davis16": Reader(davis.davis16, ("val", "train", "all"), _DAVIS),
    "davis16-distractors": Reader(partial(davis.davis16, distractors=True), ("val", "train", "all"), _DAVIS),
    "ref-davis16": Reader(partial(davis.ref_davis, year=2016), *_REF_DAVIS),
    "ref-davis17": Reader(partial(davis.ref_davis, year=2017), *_REF_DAVIS),
    "folder": Reader(plain.own_folder, (".",), "images/, masks/*.png, names.txt"),
}
"""Every data set that `load_dataset` reads; `DATASETS["name"] = Reader(...)` adds one."""


def load_dataset(name: str, root: str | os.PathLike[str], split: str | None = None) -> Dataset:
    """Read the lists of a data set; images and masks are read later, one by one.

    Raises DatasetError if there is no such data set, or the layout is another; names the expected file.

    Parameters
    ----------
    name
        A key of `DATASETS`.
    root
        The folder that holds it, in its official layout; see `DATASETS[name].layout`.
    split
        Default: the first of `DATASETS[name].splits`. Others than those may exist on disk.
    """
    if not isinstance(name, str) or name not in DATASETS:
        raise DatasetError(
            f"expected a data set out of {', '.join(DATASETS)}, got {described(name)}; choose one of them"
        )
    reader, place = DATASETS[name], as_path(root, "a data set", DatasetError)
    if not isinstance(split, str | None):
        raise DatasetError(
            f"expected a split such as {reader.splits[0]!r}, got {described(split)}; give it as a text"
        )
    if not os.path.isdir(place):
        raise DatasetError(
            f"expected a folder with {reader.layout} at {quoted(place)}, got none; give the right --root"
        )
    try:
        return reader.read(place, split or reader.splits[0])
    except (OSError, ValueError) as error:  # of a name that no disk can hold, or a folder without rights
        raise DatasetError(
            f"expected a folder with {reader.layout} at {quoted(place)}, got one that cannot be read "
            f"({reason(error)}); check --root and --split"
        ) from error
