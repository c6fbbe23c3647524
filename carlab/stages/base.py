"""The protocol of each stage. Any object that fulfils one can take the stage's place.

Every stage must be hashable, as a frozen dataclass or a function is: cached values are kept by the stage that
made them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from carlab.errors import BackboneError, SettingError
from carlab.files.shapes import Image, Maps, Mask, Masks
from carlab.photo import Photo


class Proposal(NamedTuple):
    """What a mask proposer returns in one step.

    Parameters
    ----------
    cams, masks
        Class activation maps, and soft masks, of the active queries, at patches; both in [0, 1].
    """

    cams: Maps
    masks: Maps


@runtime_checkable
class MaskProposer(Protocol):
    """f: the image once, then any subset of the queries by arithmetic."""

    def prepare(self, photo: Photo, queries: Sequence[str], background: tuple[str, ...]) -> Any:
        """Return what is computed once for `photo.image` and these queries; parts may go to `photo.cache`."""
        ...

    def __call__(self, proposals: Any, active: Int[np.ndarray, " q"], t: int) -> Proposal:
        """Return CAMs and soft masks of the active queries in step `t` (from 0)."""
        ...


@runtime_checkable
class VisualPrompter(Protocol):
    """v: draw one region onto the image.

    Of a prompter that has a method `on`, `on(image)` is called once an image; the function of the region that
    it returns is called in several threads at once.
    """

    def __call__(self, image: Image, region: Mask) -> UInt8[np.ndarray, "h2 w2 3"]:
        """Return the prompted image."""
        ...


SCORE_KINDS = ("softmax", "sigmoid")
"""What P_t holds: each query's share among the active ones, or an absolute score."""


@runtime_checkable
class MaskClassifier(Protocol):
    """g: score every prompted image against every active query."""

    def encode_text(self, queries: Sequence[str]) -> Float32[np.ndarray, "p Q d"]:
        """Embed every query in every template, once a run."""
        ...

    def preprocess(self, image: UInt8[np.ndarray, "h2 w2 3"]) -> UInt8[np.ndarray, "s1 s2 3"]:
        """Return a prompted image as the model sees it."""
        ...

    def encode_images(self, images: UInt8[np.ndarray, "m s1 s2 3"]) -> Float32[np.ndarray, "m d"]:
        """Embed images that `preprocess` returned."""
        ...

    def __call__(
        self,
        embeddings: Float32[np.ndarray, "q d"],
        texts: Float32[np.ndarray, "p Q d"],
        active: Int[np.ndarray, " q"],
    ) -> Float32[np.ndarray, "q q"]:
        """Return P_t, in [0, 1]: row = prompted image, column = active query."""
        ...


@runtime_checkable
class QueryFilter(Protocol):
    """sigma: which queries are kept.

    Of a filter that has a method `start`, `start()` is called once a run; the filter that it returns is
    called step by step, and may remember.
    """

    def __call__(self, probs: Float32[np.ndarray, "q q"]) -> Bool[np.ndarray, " q"]:
        """Return True where the query is kept."""
        ...


@runtime_checkable
class Refiner(Protocol):
    """Soft masks to final masks, once, after the last step."""

    def __call__(self, image: Image, masks: Maps) -> Masks:
        """Return one final mask per soft mask."""
        ...


def check_returned(stage: Any, what: str, value: Any, dtype: str, shape: Sequence[int | None]) -> None:
    """Raise SettingError unless a stage returned an array of this type and shape; BackboneError for NaN.

    Parameters
    ----------
    stage, what
        The stage, and what it was to return, for the message.
    value, dtype
        What it returned, and NumPy's name of the type.
    shape
        None: any length.

    Examples
    --------
    >>> def keep_all(probs):
    ...     return [True] * len(probs)
    >>> check_returned(keep_all, "which queries are kept", [True, True], "bool", [2])
    Traceback (most recent call last):
    carlab.errors.SettingError: expected which queries are kept as a bool array of shape (2,) from keep_all,
    got a list; change what that stage returns, see carlab/stages/base.py
    """
    if (
        isinstance(value, np.ndarray)
        and value.dtype.name == dtype
        and len(value.shape) == len(shape)
        and all(most in (None, length) for length, most in zip(value.shape, shape, strict=True))
    ):
        return check_finite(stage, what, value)
    name = getattr(stage, "__name__", type(stage).__name__)
    sides = ", ".join("any" if length is None else str(length) for length in shape)
    got = f"a {type(value).__name__}"
    if isinstance(value, np.ndarray):
        got = f"a {value.dtype.name} array of shape {value.shape}"
    raise SettingError(
        f"expected {what} as a {dtype} array of shape ({sides}{',' if len(shape) == 1 else ''}) from {name}, "
        f"got {got}; change what that stage returns, see carlab/stages/base.py"
    )


def check_finite(stage: Any, what: str, value: np.ndarray) -> None:
    """Raise BackboneError if a stage returned NaN or infinity.

    Parameters
    ----------
    stage, what, value
        As `check_returned` takes them.

    Examples
    --------
    >>> check_finite(None, "scores", np.array([0.2, 0.8]))
    """
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        name = getattr(stage, "__name__", type(stage).__name__)
        model = getattr(getattr(stage, "backbone", None), "name", "")
        raise BackboneError(
            f"expected finite {what}, got NaN or infinity from {name}{f' with {model}' if model else ''}; "
            "use float32, or get the weights again: carlab check says what is wrong with a model"
        )


def checked_proposal(stage: Any, proposal: Any, queries: int) -> Proposal:
    """Return what a proposer returned, a pair, as a `Proposal`; SettingError if it cannot be one.

    Parameters
    ----------
    stage, proposal, queries
        The proposer, what it returned, and the number of active queries.

    Examples
    --------
    >>> maps = np.zeros((2, 3, 4), np.float32)
    >>> checked_proposal(None, (maps, maps), 2).masks.shape
    (2, 3, 4)
    """
    if not isinstance(proposal, tuple) or len(proposal) != 2:
        raise SettingError(
            f"expected the pair (activation maps, soft masks) from {type(stage).__name__}, "
            f"got a {type(proposal).__name__}; return carlab.stages.base.Proposal"
        )
    for what, maps in zip(("activation maps", "soft masks"), proposal, strict=True):
        check_returned(stage, what, maps, "float32", [queries, None, None])
    return Proposal(*proposal)
