"""Pascal VOC 2012 (20 classes) and Pascal Context (59 or all 459), with background as a class or without."""

import struct
import zlib
from io import BytesIO
from math import prod
from pathlib import Path

from carlab.datasets.layout import find_root, read_lines, read_names, reading, whole_labels
from carlab.datasets.protocol import Dataset
from carlab.datasets.semantic import Files, labelled, paired
from carlab.files.images import MAX_PIXELS
from carlab.files.opening import read_file
from carlab.files.shapes import LabelMap

VARIABLE = "LabelMap"
MATLAB_NUMBERS = ("double", "single", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
"""MATLAB's types of numbers."""
MOST_MAT = 8 * MAX_PIXELS + 2**20
"""Bytes of a MATLAB file, packed or not: the largest label map in double precision."""
COMPRESSED = 15
"""Type of a compressed part of a MATLAB file of version 5."""


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
    """Read the `LabelMap` of a MATLAB file; its claims are checked before scipy allocates them."""
    from scipy.io import loadmat, whosmat

    with reading(path, what):
        content = read_file(path, MOST_MAT)
        check_unpacked(content)
        shape, kind = next(
            (shape, kind) for name, shape, kind in whosmat(BytesIO(content)) if name == VARIABLE
        )
        if len(shape) != 2 or prod(shape) > MAX_PIXELS or kind not in MATLAB_NUMBERS:
            raise ValueError(f"{VARIABLE} of {kind} {shape}")
        return whole_labels(loadmat(BytesIO(content), variable_names=[VARIABLE])[VARIABLE])


def check_unpacked(content: bytes) -> None:
    """Raise ValueError if a compressed part of a MATLAB file unpacks to more than the largest label map."""
    order = "<" if content[126:128] == b"IM" else ">"
    place = 128
    while place + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, place)
        if kind == COMPRESSED:
            packed = content[place + 8 : place + 8 + size]
            if len(zlib.decompressobj().decompress(packed, MOST_MAT + 1)) > MOST_MAT:
                raise ValueError("more than the largest label map")
        place += 8 + size
