"""DAVIS 2016 and 2017 with the expressions of Ref-DAVIS (Khoreva et al. 2018): videos, frame by frame."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from carlab.datasets.layout import find_root, need, read_index, read_lines
from carlab.datasets.protocol import Dataset, Sample
from carlab.datasets.refer import tidy
from carlab.errors import DatasetError

WORDLESS = ("val", "train", "all")
SPLITS = (
    *("val", "val/annot2", "val/annot1_full_video", "val/annot2_full_video"),
    *("train", "train/annot2", "train/annot1_full_video", "train/annot2_full_video"),
)
"""Part, and who wrote the expressions: annot1 unless it says another; from the first frame, or the video."""
LINE = re.compile(r"(?P<video>\S+)(?:\s+(?P<object>\d+))?\s+(?P<text>\D.*)")
TEXTS = "davis_text_annotations"
MISSPELT = {"clasic-car": "classic-car", "dog-scale": "dogs-scale", "motor-bike": "motorbike"}
"""Videos that the official expressions call by another name."""

Meant = Sequence[tuple[int, str]]
"""Object and expression of each line about a video; object 0 stands for all there is."""


def ref_davis(root: Path, split: str, *, year: int) -> Dataset:
    """Read frames, masks, and `davis_text_annotations/Davis{16,17}_annot1.txt`.

    A line of the expressions is `VIDEO OBJECT "expression"` (2017), or `VIDEO "expression"` (2016, one
    object). Each frame is a sample.
    """
    part, _, annotator = split.partition("/")
    home = find_root(root, ("DAVIS",), "JPEGImages/480p")
    names = videos(home, part, year)
    texts = expressions(home / TEXTS / f"Davis{year % 100}_{annotator or 'annot1'}.txt")
    silent = [name for name in names if name not in texts]
    if silent:
        raise DatasetError(
            f"expected an expression for every video of {part} in {home / TEXTS}, got none for "
            f"{', '.join(silent)}; take the official files"
        )
    return frames(f"ref-davis{year % 100}", split, home, {name: texts[name] for name in names})


def davis16(root: Path, split: str) -> Dataset:
    """DAVIS 2016 as it is, which has no words: asked is the name of the video, "-" as a blank.

    No published protocol: good for a look where there are no expressions. The split "all" is every folder
    of frames.
    """
    home = find_root(root, ("DAVIS",), "JPEGImages/480p")
    return frames(
        "davis16", split, home, {name: [(0, name.replace("-", " "))] for name in videos(home, split, 2016)}
    )


def videos(home: Path, part: str, year: int) -> list[str]:
    """Names of the videos of a part, from `ImageSets/{year}`, or DAVIS 2016's own `ImageSets/480p`."""
    if part == "all":
        return sorted(path.name for path in (home / "JPEGImages" / "480p").iterdir() if path.is_dir())
    own = home / "ImageSets" / "480p" / f"{part}.txt"
    file = own if year == 2016 and own.exists() else home / "ImageSets" / str(year) / f"{part}.txt"
    lines = read_lines(file, f"the videos of {part}")
    # A line is a video, or `/JPEGImages/480p/VIDEO/00000.jpg /Annotations/...` in DAVIS 2016's own lists.
    return list(dict.fromkeys(line.removeprefix("/JPEGImages/480p/").split("/")[0] for line in lines))


def expressions(file: Path) -> dict[str, list[tuple[int, str]]]:
    """What is said about each video."""
    found: dict[str, list[tuple[int, str]]] = {}
    for line in read_lines(file, "the expressions"):
        match = LINE.fullmatch(line)
        if match is None or not tidy(match["text"]):
            raise DatasetError(f'expected lines such as `camel 1 "a camel"` in {file}, got {line!r}; mend it')
        video = MISSPELT.get(match["video"], match["video"])
        found.setdefault(video, []).append((int(match["object"] or 0), tidy(match["text"])))
    return found


def frames(name: str, split: str, home: Path, meant: Mapping[str, Meant]) -> Dataset:
    """A data set of every frame of these videos."""
    known = {
        f"{video}/{frame.stem}": (video, frame)
        for video in meant
        for frame in sorted(need(home / "JPEGImages" / "480p" / video, "a folder of frames").glob("*.jpg"))
    }

    def find(identity: str) -> Sample:
        video, frame = known[identity]
        mask = need(home / "Annotations" / "480p" / video / f"{frame.stem}.png", "a mask")
        numbers, texts = zip(*meant[video], strict=True)
        return Sample(
            identity, frame, partial(objects, mask, numbers), texts, tuple(map(str, numbers)), video
        )

    return Dataset(name, "video", split, tuple(known), find)


def objects(mask: Path, numbers: Iterable[int]) -> Bool[np.ndarray, "e h w"]:
    """A mask for each object; the annotation numbers them, or is one for all (0)."""
    labels = read_index(mask, "a mask of objects")
    return np.stack([labels > 0 if number == 0 else labels == number for number in numbers])
