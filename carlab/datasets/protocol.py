"""Data sets as values: an ordered list of images, their queries, and their true labels or masks.

NumPy only, and nothing is downloaded. Axis letters: h w image rows and columns, e expressions.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, Literal

from carlab.errors import DatasetError, quoted, reason
from carlab.files.opening import open_file

IGNORE = -1
"""In a label map: a pixel that does not count."""

Kind = Literal["semantic", "referring", "video"]


@dataclass(frozen=True)
class Pass:
    """One run over an image: its classes by index, and the background that competes with them.

    Data sets with stuff have two: the things, against the model's own background queries (`background`
    None), and the stuff, against the names of the things. Things are painted over stuff.
    """

    classes: tuple[int, ...]
    background: tuple[str, ...] | None = None
    stuff: bool = False


@dataclass(frozen=True)
class Sample:
    """One image, or one frame of a video, with its expressions and its truth."""

    id: str
    """Unique in the data set; a run quotes it where it becomes a file name."""
    image: Path
    truth: Callable[[], Any]
    """Reads the truth: a label map, Int (h, w), of a semantic sample (0 background, i + 1 = classes[i],
    IGNORE); otherwise a mask for each expression, Bool (e, h, w)."""
    expressions: tuple[str, ...] = ()
    """The referring expressions; () in a semantic sample."""
    objects: tuple[str, ...] = ()
    """The object that each expression is one of; the expressions of one object are the queries of one run."""
    released_truth: Callable[[], Any] | None = None
    """Reads the truth of each expression as the released code takes it, where that differs."""
    video: str | None = None
    """The video of a frame."""
    sources: tuple[Path | bytes, ...] = ()
    """What the truth is read from: files, or the part of a file that all images share."""
    distractors: tuple[str, ...] = ()
    """Queries of every run that refer to nothing in the image: their masks belong to no object."""

    def digest(self) -> str:
        """Return the sha256 of image and truth as they are in files; DatasetError if one cannot be read."""
        total = sha256()
        for source in (self.image, *self.sources):
            if isinstance(source, bytes):
                part = sha256(source)
            else:
                try:
                    with open_file(source) as stream:
                        part = file_digest(stream, "sha256")
                except OSError as error:
                    raise DatasetError(
                        f"expected a file of image {quoted(self.id)} at {quoted(source)}, got none "
                        f"({reason(error)}); check --root"
                    ) from error
            total.update(part.digest())
        return total.hexdigest()

    @property
    def members(self) -> dict[str, list[int]]:
        """Positions of the expressions of each object, in the order of the objects.

        >>> Sample("1", Path("1.jpg"), lambda: None, ("cup", "dog", "left cup"), ("7", "8", "7")).members
        {'7': [0, 2], '8': [1]}
        """
        found: dict[str, list[int]] = {}
        for position, name in enumerate(self.objects):
            found.setdefault(name, []).append(position)
        return found


@dataclass(frozen=True)
class Dataset:
    """An ordered list of samples.

    Attributes
    ----------
    ids, find
        Ids in the order of the official list, and the function from an id to its sample.
    classes, queries, released
        Official names of the classes scored, background left out; the query of each; and its query in the
        released code, the same where that has none. () unless semantic.
    passes
        Runs to make over each image.
    background
        Whether background is a class of its own; otherwise unlabelled pixels are ignored.
    labels_given
        Whether only classes that are present in an image are its queries: an upper bound, not a result.
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
        """Raise DatasetError if there is no id, or one twice or not in UTF-8: records are kept by id."""
        for name in self.ids:
            if not name.isascii() and name != name.encode(errors="replace").decode():
                raise DatasetError(
                    f"expected names of images in UTF-8 in {self.name} {self.split}, got {quoted(name)}; "
                    "rename that file"
                )
        twice = [name for name, times in Counter(self.ids).items() if times > 1]
        if twice or not self.ids:
            raise DatasetError(
                f"expected different images in {self.name} {self.split}, got "
                f"{f'{quoted(twice[0])} twice' if twice else 'none'}; take the official list"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        """Return a sample; raise DatasetError if a file of it is missing."""
        return self.find(self.ids[index])

    def as_released(self) -> "Dataset":
        """Return the data set with the queries of the released code, where they are known."""
        if not self.released:
            return self
        known = dict(zip(self.queries, self.released, strict=True))
        passes = tuple(
            replace(part, background=part.background and tuple(known[query] for query in part.background))
            for part in self.passes
        )
        return replace(self, queries=self.released, passes=passes)

    def digest(self) -> str:
        """Return the sha256 of what decides which samples are run, with which queries."""
        head = (self.name, self.split, str(self.labels_given))
        parts = (*head, *self.ids, "", *self.classes, "", *self.queries)
        return sha256("\0".join(parts).encode()).hexdigest()
