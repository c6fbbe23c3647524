"""What a data set is: an ordered list of images, what is asked of them, and what is true.

NumPy only, and nothing is downloaded. Axis letters: h w image rows and columns, e expressions.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from carlab.errors import DatasetError

IGNORE = -1
"""In a label map: a pixel that counts neither for nor against."""

Kind = Literal["semantic", "referring", "video"]


@dataclass(frozen=True)
class Pass:
    """One run over an image: which classes are asked for, and what competes with them.

    Data sets with stuff take two: the things, against the model's own background words
    (`background` None), and the stuff, against the names of the things. Things paint over stuff.
    """

    classes: tuple[int, ...]
    background: tuple[str, ...] | None = None
    stuff: bool = False


@dataclass(frozen=True)
class Sample:
    """One image, or one frame of a video: where it is, what is asked, and what is true of it."""

    id: str
    """Unique in the data set; a run quotes it where it becomes a file name."""
    image: Path
    truth: Callable[[], Any]
    """Reads the truth: a label map, Int (h, w), of a semantic sample (0 background, i + 1 = classes[i],
    IGNORE); otherwise a mask for each expression, Bool (e, h, w)."""
    expressions: tuple[str, ...] = ()
    """What is referred to; () in a semantic sample."""
    objects: tuple[str, ...] = ()
    """Which object each expression means; several may mean the same."""
    video: str | None = None
    """The sequence that a frame belongs to."""


@dataclass(frozen=True)
class Dataset:
    """An ordered list of samples.

    Attributes
    ----------
    classes, queries
        Official names of the classes scored, background left out, and the words that the model is
        asked for each; () unless semantic.
    released
        The words of the released code for each class; the plain ones where it has none.
    passes
        Runs to make over each image.
    background
        Whether background is a class of its own; otherwise unlabelled pixels are ignored.
    labels_given
        Whether an image is asked only for classes that are there: an upper bound, not a result.
    ids, find
        The samples, in the order of the official list, and how one is found.
    """

    name: str
    kind: Kind
    split: str
    ids: tuple[str, ...]
    find: Callable[[str], Sample]
    classes: tuple[str, ...] = ()
    queries: tuple[str, ...] = ()
    passes: tuple[Pass, ...] = (Pass(()),)
    background: bool = True
    labels_given: bool = False
    released: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a list that is empty, or that names an image twice: records are kept by id."""
        twice = [name for name, times in Counter(self.ids).items() if times > 1]
        if twice or not self.ids:
            raise DatasetError(
                f"expected different images in {self.name} {self.split}, got "
                f"{f'{twice[0]!r} twice' if twice else 'none'}; take the official list"
            )

    def __len__(self) -> int:
        """How many samples."""
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        """One sample.

        Raises
        ------
        DatasetError
            If a file of it is missing or not as in the official layout.
        """
        return self.find(self.ids[index])

    def as_released(self) -> "Dataset":
        """The same, asked in the words of the released code, where they are known."""
        if not self.released:
            return self
        words = dict(zip(self.queries, self.released, strict=True))
        passes = tuple(
            replace(part, background=part.background and tuple(words[word] for word in part.background))
            for part in self.passes
        )
        return replace(self, queries=self.released, passes=passes)

    def digest(self) -> str:
        """sha256 of what decides which samples are run and what is asked of them."""
        parts = (
            self.name,
            self.split,
            str(self.labels_given),
            *self.ids,
            "",
            *self.classes,
            "",
            *self.queries,
        )
        return sha256("\0".join(parts).encode()).hexdigest()
