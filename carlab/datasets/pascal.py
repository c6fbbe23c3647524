"""Pascal VOC 2012 (20 classes) and Pascal Context (59 or all 459), with background as a class or without."""

from pathlib import Path

import numpy as np

from carlab.datasets.layout import find_root, read_lines, read_names, reading
from carlab.datasets.protocol import Dataset
from carlab.datasets.semantic import Files, labelled, paired
from carlab.files.shapes import LabelMap


def voc(root: Path, split: str, *, background: bool) -> Dataset:
    """Read `VOC2012/{JPEGImages,SegmentationClass,ImageSets/Segmentation}`; object borders are ignored."""
    samples = _samples(root, "VOC2012", "Segmentation", split, "SegmentationClass")
    name = "voc21" if background else "voc20"
    return labelled(name, split, samples, read_names("voc"), background=background)


def context(root: Path, split: str, *, background: bool) -> Dataset:
    """Read `VOC2010/{JPEGImages,SegmentationClassContext,ImageSets/SegmentationContext}`.

    The masks are the PNGs of 60 labels that converters of the official annotation write: 0 is
    background, 1 to 59 the classes in alphabetic order.
    """
    samples = _samples(root, "VOC2010", "SegmentationContext", split, "SegmentationClassContext")
    name = "context60" if background else "context59"
    return labelled(name, split, samples, read_names("context59"), background=background)


def context459(root: Path, split: str) -> Dataset:
    """Read the official `trainval/*.mat`, beside `JPEGImages` and the lists of `context`; 0 is ignored."""
    samples = _samples(root, "VOC2010", "SegmentationContext", split, "trainval", ".mat")
    names = read_names("context459")
    return labelled("context459", split, samples, names, background=False, ignored=0, read=_read_mat)


def _samples(root: Path, year: str, lists: str, split: str, masks: str, ending: str = ".png") -> list[Files]:
    home = find_root(root, (year, f"VOCdevkit/{year}"), masks)
    ids = read_lines(home / "ImageSets" / lists / f"{split}.txt", f"the list of the {split} split")
    return paired(home / "JPEGImages", home / masks, ids, ending=ending)


def _read_mat(path: Path, what: str) -> LabelMap:
    """Read the `LabelMap` of a MATLAB file."""
    from scipy.io import loadmat

    with reading(path, what):
        return np.asarray(loadmat(path)["LabelMap"], dtype=np.int64)
