"""Build semantic data sets: passes over things and stuff, and truth from files of label maps."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from carlab.datasets.layout import Names, need, read_index
from carlab.datasets.protocol import IGNORE, Dataset, Pass, Sample
from carlab.errors import DatasetError
from carlab.files.shapes import LabelMap

Files = tuple[str, Path, Path]
"""Id, image file and label map file of a sample."""


def semantic(
    name: str,
    split: str,
    ids: Iterable[str],
    find: Callable[[str], Sample],
    names: Names,
    *,
    background: bool,
) -> Dataset:
    """Return a data set of these classes: a pass over things, and one over stuff against the things."""
    things = tuple(index for index, stuff in enumerate(names.stuff) if not stuff)
    others = tuple(index for index, stuff in enumerate(names.stuff) if stuff)
    against = tuple(names.queries[index] for index in things)
    passes = (Pass(things), Pass(others, against or None, stuff=True))
    return Dataset(
        name, "semantic", split, tuple(ids), find, names.classes, names.queries,
        tuple(part for part in passes if part.classes), background, released=names.released,
    )  # fmt: skip


def paired(images: Path, masks: Path, ids: list[str] | None = None, *, ending: str = ".png") -> list[Files]:
    """Return the JPEG and the label map of each id; by default of every label map in the folder."""
    if ids is None:
        found = need(masks, "a folder of label maps").glob(f"*{ending}")
        ids = sorted(path.name.removesuffix(ending) for path in found)
    return [(identity, images / f"{identity}.jpg", masks / f"{identity}{ending}") for identity in ids]


def labelled(
    name: str,
    split: str,
    samples: Sequence[Files],
    names: Names,
    *,
    background: bool,
    ignored: int = 255,
    first: int = 1,
    read: Callable[[Path, str], LabelMap] = read_index,
) -> Dataset:
    """Return a semantic data set whose truth is in files of label maps.

    Parameters
    ----------
    background
        Whether background is a class; otherwise its pixels are ignored.
    ignored, first
        Labels in the files: of a pixel that is ignored, and of the first class; background is `first` - 1.
    read
        Reads a label map from a path; the text describes it in errors.
    """
    places = {identity: (image, mask) for identity, image, mask in samples}
    what = f"a label map of {len(names.classes)} classes"

    def find(identity: str) -> Sample:
        image, mask = places[identity]
        need(mask, what)
        return Sample(identity, need(image, "an image"), lambda: truth(mask), sources=(mask,))

    def truth(mask: Path) -> LabelMap:
        values = read(mask, what)
        labels = np.where(values == ignored, IGNORE, values + 1 - first)
        if labels.max(initial=0) > len(names.classes):
            raise DatasetError(
                f"expected labels up to {len(names.classes)} in {mask}, got {labels.max()}; is it of another "
                "data set?"
            )
        return labels if background else np.where(labels == 0, IGNORE, labels)

    return semantic(name, split, [identity for identity, _, _ in samples], find, names, background=background)
