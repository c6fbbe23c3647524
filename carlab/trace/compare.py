"""Compare two traces of one image: settings, kept queries, masks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from carlab.errors import TraceError
from carlab.trace.trace import Trace


@dataclass(frozen=True)
class Comparison:
    """The differences between two traces of one image.

    Parameters
    ----------
    settings
        Name, value in a, value in b, of every setting that differs.
    kept
        For each step, the queries kept only in a, and only in b; a trace that ended earlier counts with its
        last step.
    iou
        IoU of the final label regions of each query of both: 1 if both are empty.
    agreement
        Share of pixels with the same query, or none, in [0, 1].
    """

    settings: tuple[tuple[str, Any, Any], ...]
    kept: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    iou: Mapping[str, float]
    agreement: float


def compare(a: Trace, b: Trace) -> Comparison:
    """Compare two traces of one image.

    Parameters
    ----------
    a, b
        They may have different queries, settings and numbers of steps.

    Raises
    ------
    TraceError
        If the images differ in size.

    Examples
    --------
    >>> found = compare(trace, trace)
    >>> found.settings, found.agreement
    ((), 1.0)
    """
    if a.image.shape != b.image.shape:
        raise TraceError(
            f"expected two runs on one image, got {a.image.shape[:2]} and {b.image.shape[:2]} pixels; "
            "compare runs of the same image"
        )
    was, now = ({"queries": list(trace.queries), **trace.settings} for trace in (a, b))
    return Comparison(
        settings=tuple(differences(was, now)),
        kept=tuple(_kept_only(a, b, t) for t in range(max(len(a.steps), len(b.steps)))),
        iou={query: _iou(a, b, query) for query in a.queries if query in b.queries},
        agreement=_agreement(a, b),
    )


def differences(a: Any, b: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """Return the leaves in which two nested mappings differ: dotted name, value in a, value in b."""
    if not (isinstance(a, Mapping) and isinstance(b, Mapping)):
        return [] if a == b else [(name, a, b)]
    return [
        leaf
        for key in dict.fromkeys([*a, *b])
        for leaf in differences(a.get(key), b.get(key), f"{name}.{key}" if name else str(key))
    ]


def _kept_only(a: Trace, b: Trace, t: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    kept = [
        [trace.queries[index] for index in trace.steps[min(t, len(trace.steps) - 1)].survivors]
        for trace in (a, b)
    ]
    only_a, only_b = (
        tuple(query for query in one if query not in other) for one, other in (kept, kept[::-1])
    )
    return only_a, only_b


def _iou(a: Trace, b: Trace, query: str) -> float:
    mine, theirs = (trace.labels == trace.queries.index(query) + 1 for trace in (a, b))
    union = (mine | theirs).sum()
    return float((mine & theirs).sum() / union) if union else 1.0


def _agreement(a: Trace, b: Trace) -> float:
    numbers = {query: number for number, query in enumerate(dict.fromkeys((*a.queries, *b.queries)), 1)}
    mine, theirs = (
        np.array([0, *(numbers[query] for query in trace.queries)])[trace.labels] for trace in (a, b)
    )
    return float((mine == theirs).mean())
