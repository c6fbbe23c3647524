"""From a name to a data set."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from carlab.datasets import ade, coco, context, davis, plain, refer, voc
from carlab.datasets.protocol import Dataset
from carlab.errors import DatasetError


class Reader(NamedTuple):
    """How a data set is read, its splits (the first is the default), and what a root must hold."""

    read: Callable[[Path, str], Dataset]
    splits: tuple[str, ...]
    layout: str


_VOC = "VOC2012/{JPEGImages,SegmentationClass,ImageSets/Segmentation}"
_CONTEXT = "VOC2010/{JPEGImages,SegmentationClassContext,ImageSets/SegmentationContext}"
_DAVIS = "{JPEGImages,Annotations}/480p, ImageSets/YEAR"
DATASETS: dict[str, Reader] = {
    "voc20": Reader(partial(voc.voc, background=False), voc.SPLITS, _VOC),
    "voc21": Reader(partial(voc.voc, background=True), voc.SPLITS, _VOC),
    "coco-object": Reader(coco.coco_object, coco.SPLITS, "SPLIT/*.jpg, annotations/instances_SPLIT.json"),
    "coco-object-png": Reader(
        coco.coco_object_png, coco.SPLITS, "images/SPLIT, annotations/SPLIT/*_instanceTrainIds.png"
    ),
    "context59": Reader(partial(context.context, background=False), context.SPLITS, _CONTEXT),
    "context60": Reader(partial(context.context, background=True), context.SPLITS, _CONTEXT),
    "context459": Reader(
        context.context459,
        context.SPLITS,
        "VOC2010/{JPEGImages,trainval,ImageSets/SegmentationContext}",
    ),
    "ade150": Reader(ade.ade150, ade.SPLITS, "ADEChallengeData2016/{images,annotations}/SPLIT"),
    "ade847": Reader(ade.ade847, ade.SPLITS, "ADE20K_2021_17_01/{images,annotations}_detectron2/SPLIT"),
    **{
        name: Reader(
            partial(refer.refer, name),
            refer.SPLITS[name],
            f"{name}/{{{stem}(BY).p,instances.json}}, train2014/",
        )
        for name, stem in refer.STEMS.items()
    },
    "coco-referring": Reader(
        refer.coco_referring,
        refer.SPLITS["coco-referring"],
        "SPLIT/*.jpg, annotations/{instances,referring}_SPLIT.json",
    ),
    "davis16": Reader(davis.davis16, davis.WORDLESS, _DAVIS),
    "ref-davis16": Reader(partial(davis.ref_davis, year=2016), davis.SPLITS, f"{_DAVIS}, {davis.TEXTS}"),
    "ref-davis17": Reader(partial(davis.ref_davis, year=2017), davis.SPLITS, f"{_DAVIS}, {davis.TEXTS}"),
    "folder": Reader(plain.plain, plain.SPLITS, "images/, masks/*.png, names.txt"),
}
"""Every data set that `load_dataset` reads."""


def load_dataset(name: str, root: str | os.PathLike[str], split: str | None = None) -> Dataset:
    """Read the lists of a data set; photos and masks are read when they are asked for.

    Parameters
    ----------
    name
        One of `DATASETS`.
    root
        The folder that holds it, in its official layout; see `DATASETS[name].layout`.
    split
        Default: the first of `DATASETS[name].splits`. Others than those may exist on disk.

    Raises
    ------
    DatasetError
        If there is no such data set, or the layout is another; names the file expected.
    """
    if name not in DATASETS:
        raise DatasetError(
            f"expected a data set out of {', '.join(DATASETS)}, got {name!r}; choose one of them, or "
            "'folder' for your own"
        )
    reader, place = DATASETS[name], Path(root)
    if not place.is_dir():
        raise DatasetError(
            f"expected a folder with {reader.layout} at {place}, got none; give the right --root"
        )
    return reader.read(place, split or reader.splits[0])
