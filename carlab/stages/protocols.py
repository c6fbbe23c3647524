"""What each stage must be able to do. Anything that does it can take the stage's place."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from carlab.stages.proposer import Proposal


@runtime_checkable
class MaskProposer(Protocol):
    """f: the image once, then any subset of the queries by arithmetic."""

    def prepare(
        self, image: UInt8[np.ndarray, "h w 3"], queries: Sequence[str], background: tuple[str, ...]
    ) -> Any:
        """Do what is needed once an image."""
        ...

    def can_use(self, proposals: Any) -> bool:
        """Whether what another proposer prepared serves this one."""
        ...

    def __call__(
        self, proposals: Any, queries: Sequence[str], background: tuple[str, ...], t: int
    ) -> Proposal:
        """CAMs and soft masks of the active queries in step `t` (from 0)."""
        ...


@runtime_checkable
class VisualPrompter(Protocol):
    """v: draw one region onto the photo."""

    def __call__(
        self, image: UInt8[np.ndarray, "h w 3"], region: Bool[np.ndarray, "h w"]
    ) -> UInt8[np.ndarray, "h2 w2 3"]:
        """The prompted picture; a frozen, hashable value, so that pictures can be remembered by it."""
        ...


@runtime_checkable
class MaskClassifier(Protocol):
    """g: score every prompted picture against every active query."""

    def encode_text(self, queries: Sequence[str]) -> Float32[np.ndarray, "p Q d"]:
        """Embed every query in every template, once a run."""
        ...

    def look(self, picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "s1 s2 3"]:
        """The picture as the model will see it."""
        ...

    def encode_pictures(self, pictures: UInt8[np.ndarray, "m s1 s2 3"]) -> Float32[np.ndarray, "m d"]:
        """Embed pictures that `look` made."""
        ...

    def __call__(
        self,
        embeddings: Float32[np.ndarray, "q d"],
        texts: Float32[np.ndarray, "p Q d"],
        active: Int[np.ndarray, " q"],
    ) -> Float32[np.ndarray, "q q"]:
        """P_t, rows sum to 1."""
        ...


@runtime_checkable
class QueryFilter(Protocol):
    """sigma: who stays."""

    def __call__(self, probs: Float32[np.ndarray, "q q"]) -> Bool[np.ndarray, " q"]:
        """True where the query stays."""
        ...


@runtime_checkable
class Refiner(Protocol):
    """Soft masks to final masks, once, after the last step.

    One that fires probes names them in an attribute `probes`: masks that are remembered fire none, so
    while somebody looks at one of them it is called every time.
    """

    def __call__(
        self, image: UInt8[np.ndarray, "h w 3"], masks: Float32[np.ndarray, "k i j"]
    ) -> Bool[np.ndarray, "k h w"]:
        """One final mask per soft mask; hashable, so that masks can be remembered by it."""
        ...
