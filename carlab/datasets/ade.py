"""ADE20K: the 150 classes of the scene parsing challenge, and the 847 of the whole data set."""

from functools import partial
from pathlib import Path

from carlab.datasets.layout import class_names, find_root, need
from carlab.datasets.protocol import Dataset, Sample
from carlab.datasets.semantic import labelled, one_based, semantic, zero_based

SPLITS = ("validation", "training")
UNLABELLED = 65535


def ade150(root: Path, split: str) -> Dataset:
    """Read `ADEChallengeData2016/{images,annotations}/{split}`; 0 is unlabelled and ignored."""
    home = find_root(root, ("ADEChallengeData2016",), "annotations")
    names = class_names("ade150")
    masks = need(home / "annotations" / split, f"the masks of the {split} split")
    decode = partial(one_based, ignored=0, background=False)

    def find(identity: str) -> Sample:
        image, mask = home / "images" / split / f"{identity}.jpg", masks / f"{identity}.png"
        return labelled(identity, image, mask, "a mask of 150 labels", decode, len(names.classes))

    ids = sorted(path.stem for path in masks.glob("*.png"))
    return semantic("ade150", split, ids, find, names, background=False)


def ade847(root: Path, split: str) -> Dataset:
    """Read `ADE20K_2021_17_01/{images_detectron2,annotations_detectron2}/{split}`.

    The masks are the 16-bit TIFFs that the usual converter (MaskFormer's) writes: the class from 0, 65535
    unlabelled and ignored.
    """
    home = find_root(root, ("ADE20K_2021_17_01",), "annotations_detectron2")
    names = class_names("ade847")
    masks = need(home / "annotations_detectron2" / split, f"the masks of the {split} split")
    decode = partial(zero_based, ignored=UNLABELLED)

    def find(identity: str) -> Sample:
        image, mask = home / "images_detectron2" / split / f"{identity}.jpg", masks / f"{identity}.tif"
        return labelled(identity, image, mask, "a mask of 847 labels", decode, len(names.classes))

    ids = sorted(path.stem for path in masks.glob("*.tif"))
    return semantic("ade847", split, ids, find, names, background=False)
