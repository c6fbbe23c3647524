"""DAVIS 2016 and 2017 with the expressions of Ref-DAVIS (Khoreva et al. 2018): videos, frame by frame."""

import re
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from carlab.datasets.layout import find_root, need, read_index, read_lines
from carlab.datasets.protocol import Dataset, Sample
from carlab.errors import DatasetError

SPLITS = ("val", "train")
LINE = re.compile(r'^(?P<video>\S+)(?:\s+(?P<object>\d+))?\s+"?(?P<text>[^"]+)"?$')
TEXTS = "davis_text_annotations"


def davis(root: Path, split: str, *, year: int, annotator: int = 1) -> Dataset:
    """Read `{JPEGImages,Annotations}/480p/VIDEO` and `davis_text_annotations/Davis{16,17}_annot{1,2}.txt`.

    A line of the texts is `VIDEO OBJECT "expression"` (2017), or `VIDEO "expression"` (2016, one object).
    Videos of a split stand in `ImageSets/{year}/{split}.txt`. Each frame is a sample.
    """
    home = find_root(root, ("DAVIS",), "JPEGImages/480p")
    videos = dict.fromkeys(
        line.split()[0].removeprefix("/JPEGImages/480p/").split("/")[0]
        for line in read_lines(home / "ImageSets" / str(year) / f"{split}.txt", f"the videos of {split}")
    )
    texts = expressions(home / TEXTS / f"Davis{year % 100}_annot{annotator}.txt")
    frames = {
        f"{video}/{frame.stem}": (video, frame)
        for video in videos
        for frame in sorted(need(home / "JPEGImages" / "480p" / video, "a folder of frames").glob("*.jpg"))
    }
    silent = [video for video in videos if video not in texts]
    if silent or not frames:
        raise DatasetError(
            f"expected frames and an expression for every video of {split} in {home}, got none for "
            f"{', '.join(silent) or 'any'}; check {TEXTS}"
        )

    def find(identity: str) -> Sample:
        video, frame = frames[identity]
        mask = need(home / "Annotations" / "480p" / video / f"{frame.stem}.png", "a mask")
        numbers = tuple(number for number, _ in texts[video])
        return Sample(
            identity, frame, partial(objects, mask, numbers), tuple(text for _, text in texts[video]),
            tuple(map(str, numbers)), video,
        )  # fmt: skip

    return Dataset(f"ref-davis{year % 100}", "video", split, tuple(frames), find)


def expressions(file: Path) -> dict[str, list[tuple[int, str]]]:
    """Object and expression of each line, by video; object 0 stands for all there is."""
    found: dict[str, list[tuple[int, str]]] = {}
    for line in read_lines(file, "the expressions"):
        match = LINE.match(line)
        if match is None:
            raise DatasetError(f'expected lines such as `camel 1 "a camel"` in {file}, got {line!r}; mend it')
        found.setdefault(match["video"], []).append((int(match["object"] or 0), match["text"].strip()))
    return found


def objects(mask: Path, numbers: tuple[int, ...]) -> Bool[np.ndarray, "e h w"]:
    """A mask for each object; the annotation numbers them, or is one for all (0)."""
    labels = read_index(mask, "a mask of objects")
    return np.stack([labels > 0 if number == 0 else labels == number for number in numbers])
