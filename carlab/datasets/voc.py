"""Pascal VOC 2012 segmentation: 20 classes, with background (21) or without."""

from functools import partial
from pathlib import Path

from carlab.datasets.layout import class_names, find_root, read_lines
from carlab.datasets.protocol import Dataset, Sample
from carlab.datasets.semantic import labelled, one_based, semantic

SPLITS = ("val", "train", "trainval")


def voc(root: Path, split: str, *, background: bool) -> Dataset:
    """Read `VOC2012/{JPEGImages,SegmentationClass,ImageSets/Segmentation}`; object borders are ignored."""
    home = find_root(root, ("VOC2012", "VOCdevkit/VOC2012"), "SegmentationClass")
    ids = read_lines(home / "ImageSets" / "Segmentation" / f"{split}.txt", f"the list of the {split} split")
    names = class_names("voc")
    decode = partial(one_based, ignored=255, background=background)

    def find(identity: str) -> Sample:
        image, mask = home / "JPEGImages" / f"{identity}.jpg", home / "SegmentationClass" / f"{identity}.png"
        return labelled(identity, image, mask, "a class mask", decode, len(names.classes))

    return semantic("voc21" if background else "voc20", split, ids, find, names, background=background)
