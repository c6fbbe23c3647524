"""What all semantic data sets share: passes over things and stuff, and label maps."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from carlab.datasets.layout import Names, in_range, need, read_index
from carlab.datasets.protocol import IGNORE, Dataset, Pass, Sample


def semantic(
    name: str,
    split: str,
    ids: Sequence[str],
    find: Callable[[str], Sample],
    names: Names,
    *,
    background: bool,
) -> Dataset:
    """A semantic data set over these classes."""
    passes = passes_of(names)
    return Dataset(
        name, "semantic", split, tuple(ids), find, names.classes, names.queries, passes, background,
        released=names.released,
    )  # fmt: skip


def passes_of(names: Names) -> tuple[Pass, ...]:
    """One pass over the things and, where there is stuff, one over it against the names of the things."""
    things = tuple(index for index, stuff in enumerate(names.stuff) if not stuff)
    others = tuple(index for index, stuff in enumerate(names.stuff) if stuff)
    if not others:
        return (Pass(things),)
    against = tuple(names.queries[index] for index in things)
    stuff = Pass(others, against or None, stuff=True)
    return (Pass(things), stuff) if things else (stuff,)


def labelled(
    identity: str,
    image: Path,
    mask: Path,
    what: str,
    decode: Callable[[Int[np.ndarray, "h w"]], Int[np.ndarray, "h w"]],
    most: int,
) -> Sample:
    """A sample whose truth is a picture of numbers, which `decode` brings to carlab's."""
    need(image, "a photo")
    need(mask, what)
    return Sample(identity, image, lambda: in_range(decode(read_index(mask, what)), most, mask))


def one_based(values: Int[np.ndarray, "h w"], *, ignored: int, background: bool) -> Int[np.ndarray, "h w"]:
    """Labels where 0 is background, or unlabelled where background is no class, and `ignored` neither."""
    labels = np.where(values == ignored, IGNORE, values)
    return labels if background else np.where(labels == 0, IGNORE, labels)


def zero_based(values: Int[np.ndarray, "h w"], *, ignored: int) -> Int[np.ndarray, "h w"]:
    """Labels where 0 is the first class."""
    return np.where(values == ignored, IGNORE, values + 1)
