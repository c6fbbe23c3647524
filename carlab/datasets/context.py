"""Pascal Context: 59 classes, with background (60) or without, and all 459."""

from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int

from carlab.datasets.layout import class_names, damaged, find_root, in_range, need, read_lines
from carlab.datasets.protocol import Dataset, Sample
from carlab.datasets.semantic import labelled, one_based, semantic

SPLITS = ("val", "train")


def context(root: Path, split: str, *, background: bool) -> Dataset:
    """Read `VOC2010/{JPEGImages,SegmentationClassContext,ImageSets/SegmentationContext}`.

    The masks are the PNGs of 60 labels that converters of the official annotation write: 0 is
    background, 1 to 59 the classes in alphabetic order.
    """
    home = find_root(root, ("VOC2010", "VOCdevkit/VOC2010"), "SegmentationClassContext")
    ids = read_lines(
        home / "ImageSets" / "SegmentationContext" / f"{split}.txt", f"the list of the {split} split"
    )
    names = class_names("context59")
    decode = partial(one_based, ignored=255, background=background)

    def find(identity: str) -> Sample:
        image = home / "JPEGImages" / f"{identity}.jpg"
        mask = home / "SegmentationClassContext" / f"{identity}.png"
        return labelled(identity, image, mask, "a mask of 60 labels", decode, len(names.classes))

    name = "context60" if background else "context59"
    return semantic(name, split, ids, find, names, background=background)


def context459(root: Path, split: str) -> Dataset:
    """Read the official `trainval/*.mat`, beside `JPEGImages` and the lists of `context`."""
    home = find_root(root, ("VOC2010", "VOCdevkit/VOC2010"), "trainval")
    names = class_names("context459")
    ids = read_lines(
        home / "ImageSets" / "SegmentationContext" / f"{split}.txt", f"the list of the {split} split"
    )

    def find(identity: str) -> Sample:
        image = need(home / "JPEGImages" / f"{identity}.jpg", "a photo")
        file = need(home / "trainval" / f"{identity}.mat", "a label map")
        return Sample(identity, image, lambda: read_mat(file, len(names.classes)))

    return semantic("context459", split, ids, find, names, background=False)


def read_mat(file: Path, classes: int) -> Int[np.ndarray, "h w"]:
    """The `LabelMap` of a MATLAB file; 0 is unlabelled."""
    from scipy.io import loadmat

    try:
        labels = np.asarray(loadmat(file)["LabelMap"], dtype=np.int64)
    except Exception as error:  # a damaged MATLAB file raises almost anything
        raise damaged(file, "a LabelMap", error) from error
    return in_range(one_based(labels, ignored=0, background=False), classes, file)
