"""DAVIS 2016 and 2017 with the expressions of Ref-DAVIS (Khoreva et al. 2018): videos, frame by frame."""

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from carlab.datasets.layout import find_root, need, read_index, read_lines
from carlab.datasets.protocol import Dataset, Sample
from carlab.datasets.refer import tidy
from carlab.errors import DatasetError

ANNOTATORS = ("annot1", "annot2", "annot1_full_video", "annot2_full_video")
"""Of the expressions: two people, who saw the first frame or the whole video."""
_MISSPELT = {"clasic-car": "classic-car", "dog-scale": "dogs-scale", "motor-bike": "motorbike"}
"""Videos that the official expressions call by another name."""


class Meant(NamedTuple):
    """An expression: its run, the number of its object in the masks (0: all of them), and its text."""

    run: str
    number: int
    text: str


def ref_davis(root: Path, split: str, *, year: int) -> Dataset:
    """Read frames, masks, and `davis_text_annotations/Davis{16,17}_annot1.txt`.

    A line of the expressions is `VIDEO OBJECT "expression"` (2017), or `VIDEO "expression"` (2016, one
    object). Each frame is a sample. The split "val" has the expressions of all four annotators, over which
    scores are averaged; "val/annot2" those of one.
    """
    part, _, annotator = split.partition("/")
    home = find_root(root, ("DAVIS",), "JPEGImages/480p")
    videos = _videos(home, part, year)
    meant: dict[str, list[Meant]] = {video: [] for video in videos}
    for one in [annotator] if annotator else ANNOTATORS:
        file = home / "davis_text_annotations" / f"Davis{year % 100}_{one}.txt"
        found = _read_expressions(file)
        silent = [video for video in videos if video not in found]
        if silent:
            raise DatasetError(
                f"expected an expression for every video of {part} in {file}, got none for "
                f"{', '.join(silent)}; take the official files"
            )
        for video in videos:
            meant[video] += [Meant(f"{one}/{number}", number, text) for number, text in found[video]]
    return _frame_samples(f"ref-davis{year % 100}", split, home, meant)


def davis16(root: Path, split: str, *, distractors: bool = False) -> Dataset:
    """Read DAVIS 2016, which has no expressions: the query is the name of the video, "-" as a blank.

    No published protocol: useful to inspect a model where there are no expressions. With one query no score
    is compared with another, and nothing is filtered; with `distractors` the names of the other videos are
    queries too. The split "all" is every folder of frames.
    """
    home = find_root(root, ("DAVIS",), "JPEGImages/480p")
    meant = {video: [Meant("0", 0, video.replace("-", " "))] for video in _videos(home, split, 2016)}
    if not distractors:
        return _frame_samples("davis16", split, home, meant)
    return _frame_samples(
        "davis16-distractors", split, home, meant, [names[0].text for names in meant.values()]
    )


def _videos(home: Path, part: str, year: int) -> list[str]:
    """Return the videos of a part, from `ImageSets/{year}`, or DAVIS 2016's own `ImageSets/480p`."""
    if part == "all":
        return sorted(path.name for path in (home / "JPEGImages" / "480p").iterdir() if path.is_dir())
    own = home / "ImageSets" / "480p" / f"{part}.txt"
    file = own if year == 2016 and os.path.exists(own) else home / "ImageSets" / str(year) / f"{part}.txt"
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


def _frame_samples(
    name: str, split: str, home: Path, meant: Mapping[str, Sequence[Meant]], others: Sequence[str] = ()
) -> Dataset:
    """Return a data set of every frame of these videos; `others` are queries that compete in each."""
    images, masks = home / "JPEGImages" / "480p", home / "Annotations" / "480p"
    ids = [
        f"{video}/{frame.stem}"
        for video in meant
        for frame in sorted(need(images / video, "a folder of frames").glob("*.jpg"))
    ]

    def find(identity: str) -> Sample:
        video = identity.partition("/")[0]
        mask = need(masks / f"{identity}.png", "a mask")
        objects, numbers, texts = zip(*meant[video], strict=True)

        def truth() -> Bool[np.ndarray, "e h w"]:
            labels = read_index(mask, "a mask of objects")
            return np.stack([labels > 0 if number == 0 else labels == number for number in numbers])

        wrong = tuple(text for text in others if text not in texts)
        image = images / f"{identity}.jpg"
        return Sample(identity, image, truth, texts, objects, video=video, sources=(mask,), distractors=wrong)

    return Dataset(name, "video", split, tuple(ids), find)
