"""What a run in progress asks for, so that several runs can share a batch or a process.

A run is a generator: it yields a request, is sent the answer, and returns its
Trace. `carry_out` answers at once; `carlab.many` gathers the requests of many.
"""

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from carlab.ledger import timed
from carlab.progress import progress
from carlab.stages.protocols import MaskClassifier, Refiner

if TYPE_CHECKING:
    from carlab.trace import Trace


class Encode(NamedTuple):
    """Embed these pictures; the answer is a list of embeddings."""

    classifier: MaskClassifier
    pictures: tuple[UInt8[np.ndarray, "s1 s2 3"], ...]


class Refine(NamedTuple):
    """Refine these soft masks; the answer is the final masks."""

    refiner: Refiner
    image: UInt8[np.ndarray, "h w 3"]
    masks: Float32[np.ndarray, "k i j"]


Turns = Generator[Encode | Refine, Any, "Trace"]
"""A run in progress."""


def carry_out(turns: Turns, batch: int) -> "Trace":
    """Answer every request of one run, `batch` pictures at a time, and return its trace."""
    answer: Any = None
    with closing(turns):
        while True:
            try:
                request = turns.send(answer)
            except StopIteration as end:
                return end.value
            answer = encode(*request, batch) if isinstance(request, Encode) else refine(*request)


def encode(
    classifier: MaskClassifier, pictures: Sequence[UInt8[np.ndarray, "s1 s2 3"]], batch: int
) -> list[Float32[np.ndarray, " d"]]:
    """Embedding of each picture, `batch` at a time."""
    embeddings: list[Float32[np.ndarray, " d"]] = []
    for start in range(0, len(pictures), batch):
        progress("encode", start, len(pictures))
        embeddings += list(classifier.encode_pictures(np.stack(pictures[start : start + batch])))
    return embeddings


def refine(
    refiner: Refiner, image: UInt8[np.ndarray, "h w 3"], masks: Float32[np.ndarray, "k i j"]
) -> Bool[np.ndarray, "k h w"]:
    """Final masks, on the clock."""
    progress("refine", 0, 1)
    with timed("refine"):
        return refiner(image, masks)
