"""DAVIS 2016 and 2017 with the expressions of Ref-DAVIS (Khoreva et al. 2018): videos, frame by frame."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from carlab.datasets.layout import find_root, need, read_index, read_lines
from carlab.datasets.protocol import Dataset, Sample
from carlab.datasets.refer import tidy
from carlab.errors import DatasetError

_MISSPELT = {"clasic-car": "classic-car", "dog-scale": "dogs-scale", "motor-bike": "motorbike"}
"""Videos that the official expressions call by another name."""


def ref_davis(root: Path, split: str, *, year: int) -> Dataset:
    """Read frames, masks, and `davis_text_annotations/Davis{16,17}_annot1.txt`.

    A line of the expressions is `VIDEO OBJECT "expression"` (2017), or `VIDEO "expression"` (2016, one
    object). Each frame is a sample. A split is a part and an annotation, "val/annot2"; annot1 by default.
    """
    part, _, annotation = split.partition("/")
    home = find_root(root, ("DAVIS",), "JPEGImages/480p")
    videos = _videos(home, part, year)
    file = home / "davis_text_annotations" / f"Davis{year % 100}_{annotation or 'annot1'}.txt"
    meant = _read_expressions(file)
    silent = [video for video in videos if video not in meant]
    if silent:
        raise DatasetError(
            f"expected an expression for every video of {part} in {file}, got none for {', '.join(silent)}; "
            "take the official files"
        )
    return _frames(f"ref-davis{year % 100}", split, home, {video: meant[video] for video in videos})


def davis16(root: Path, split: str) -> Dataset:
    """Read DAVIS 2016, which has no expressions: the query is the name of the video, "-" as a blank.

    No published protocol: useful to inspect a model where there are no expressions. The split "all" is every
    folder of frames.
    """
    home = find_root(root, ("DAVIS",), "JPEGImages/480p")
    meant = {video: [(0, video.replace("-", " "))] for video in _videos(home, split, 2016)}
    return _frames("davis16", split, home, meant)


def _videos(home: Path, part: str, year: int) -> list[str]:
    """Return the videos of a part, from `ImageSets/{year}`, or DAVIS 2016's own `ImageSets/480p`."""
    if part == "all":
        return sorted(path.name for path in (home / "JPEGImages" / "480p").iterdir() if path.is_dir())
    own = home / "ImageSets" / "480p" / f"{part}.txt"
    file = own if year == 2016 and own.exists() else home / "ImageSets" / str(year) / f"{part}.txt"
    lines = read_lines(file, f"the videos of {part}")
    # A line is a video, or `/JPEGImages/480p/VIDEO/00000.jpg /Annotations/...` in DAVIS 2016's own lists.
    return list(dict.fromkeys(line.removeprefix("/JPEGImages/480p/").split("/")[0] for line in lines))


def _read_expressions(file: Path) -> dict[str, list[tuple[int, str]]]:
    """Return object and expression of each line, by video; object 0 is all of them."""
    found = defaultdict(list)
    for line in read_lines(file, "the expressions"):
        match = re.fullmatch(r"(\S+)(?:\s+(\d+))?\s+(\D.*)", line)
        if match is None or not tidy(match[3]):
            raise DatasetError(
                f'expected lines such as `camel 1 "a camel"` in {file}, got {line!r}; correct it'
            )
        video, number, text = match.groups()
        found[_MISSPELT.get(video, video)].append((int(number or 0), tidy(text)))
    return found


def _frames(name: str, split: str, home: Path, meant: Mapping[str, Sequence[tuple[int, str]]]) -> Dataset:
    """Return a data set of every frame of these videos."""
    images, masks = home / "JPEGImages" / "480p", home / "Annotations" / "480p"
    ids = [
        f"{video}/{frame.stem}"
        for video in meant
        for frame in sorted(need(images / video, "a folder of frames").glob("*.jpg"))
    ]

    def find(identity: str) -> Sample:
        video = identity.partition("/")[0]
        mask = need(masks / f"{identity}.png", "a mask")
        numbers, texts = zip(*meant[video], strict=True)

        def truth() -> Bool[np.ndarray, "e h w"]:
            labels = read_index(mask, "a mask of objects")
            return np.stack([labels > 0 if number == 0 else labels == number for number in numbers])

        return Sample(identity, images / f"{identity}.jpg", truth, texts, tuple(map(str, numbers)), video)

    return Dataset(name, "video", split, tuple(ids), find)
