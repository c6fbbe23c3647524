"""Two runs beside each other: in what they differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from carlab.errors import TraceError
from carlab.trace import Trace


@dataclass(frozen=True)
class Comparison:
    """What differs between two traces of one photo.

    Attributes
    ----------
    settings
        Name, value in a, value in b, of every setting that differs.
    kept
        For each step, the words kept only in a, and only in b; a trace that had ended keeps what it has.
    iou
        Overlap of the final masks of each word asked in both: 1 if both have none, 0 if one has none.
    agreement
        Share of pixels with the same word, or none, in [0, 1].
    """

    settings: tuple[tuple[str, Any, Any], ...]
    kept: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    iou: Mapping[str, float]
    agreement: float


def compare(a: Trace, b: Trace) -> Comparison:
    """Compare two traces of one photo.

    Raises
    ------
    TraceError
        If the photos differ in size.
    """
    if a.image.shape != b.image.shape:
        raise TraceError(
            f"expected two runs on one photo, got {a.image.shape[:2]} and {b.image.shape[:2]} pixels; "
            "compare runs of the same photo"
        )
    words = [word for word in a.queries if word in b.queries]
    return Comparison(
        tuple(
            differences(
                {"queries": list(a.queries), **a.settings}, {"queries": list(b.queries), **b.settings}
            )
        ),
        tuple(_kept(a, b, t) for t in range(max(len(a.steps), len(b.steps)))),
        {word: _iou(_mask(a, word), _mask(b, word)) for word in words},
        _agreement(a, b),
    )


def differences(a: Any, b: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """Leaves in which two nested mappings differ: dotted name, value in a, value in b."""
    if not (isinstance(a, Mapping) and isinstance(b, Mapping)):
        return [] if a == b else [(name, a, b)]
    keys = [*a, *(key for key in b if key not in a)]
    return [
        found
        for key in keys
        for found in differences(a.get(key), b.get(key), f"{name}.{key}" if name else str(key))
    ]


def _kept(a: Trace, b: Trace, t: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    mine, theirs = (
        [trace.queries[index] for index in trace.steps[min(t, len(trace.steps) - 1)].survivors]
        for trace in (a, b)
    )
    return (
        tuple(word for word in mine if word not in theirs),
        tuple(word for word in theirs if word not in mine),
    )


def _mask(trace: Trace, word: str) -> np.ndarray:
    return np.asarray(trace.labels == trace.queries.index(word) + 1)


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 1.0


def _agreement(a: Trace, b: Trace) -> float:
    numbers = {word: number for number, word in enumerate(dict.fromkeys((*a.queries, *b.queries)), 1)}
    mine, theirs = (
        np.array([0, *(numbers[word] for word in trace.queries)])[trace.labels] for trace in (a, b)
    )
    return float((mine == theirs).mean())
