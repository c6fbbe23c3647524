"""ADE20K: the 150 classes of the scene parsing challenge, and the 847 of the whole data set."""

from pathlib import Path

from carlab.datasets.layout import find_root, read_names
from carlab.datasets.protocol import Dataset
from carlab.datasets.semantic import labelled, paired


def ade150(root: Path, split: str) -> Dataset:
    """Read `ADEChallengeData2016/{images,annotations}/{split}`; 0 is unlabelled and ignored."""
    home = find_root(root, ("ADEChallengeData2016",), "annotations")
    samples = paired(home / "images" / split, home / "annotations" / split)
    return labelled("ade150", split, samples, read_names("ade150"), background=False, ignored=0)


def ade847(root: Path, split: str) -> Dataset:
    """Read `ADE20K_2021_17_01/{images_detectron2,annotations_detectron2}/{split}`.

    The masks are the 16-bit TIFFs that the usual converter (MaskFormer's) writes: the class from 0, 65535
    unlabelled and ignored.
    """
    home = find_root(root, ("ADE20K_2021_17_01",), "annotations_detectron2")
    samples = paired(
        home / "images_detectron2" / split, home / "annotations_detectron2" / split, ending=".tif"
    )
    names = read_names("ade847")
    return labelled("ade847", split, samples, names, background=False, ignored=65535, first=0)
