"""Compare two traces of one image: settings, kept queries, masks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from carlab.errors import TraceError
from carlab.files.shapes import Mask
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

    Raises TraceError if the images differ in size.

    Parameters
    ----------
    a, b
        They may have different queries, settings and numbers of steps.

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
    queries = list(dict.fromkeys((*a.queries, *b.queries)))
    mine, theirs = (  # label maps in one numbering
        np.array([0, *(queries.index(query) + 1 for query in trace.queries)])[trace.labels]
        for trace in (a, b)
    )
    return Comparison(
        settings=tuple(differences(was, now)),
        kept=tuple(_kept_only(a, b, t) for t in range(max(len(a.steps), len(b.steps)))),
        iou={
            query: overlap_of(mine == label, theirs == label)
            for label, query in enumerate(queries, 1)
            if query in a.queries and query in b.queries
        },
        agreement=float((mine == theirs).mean()),
    )


def differences(a: Any, b: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """Return the leaves in which two nested mappings differ: dotted name, value in a, value in b.

    Parameters
    ----------
    a, b, name
        Any values, and the dotted name of what holds them.

    Examples
    --------
    >>> differences({"filter": {"theta": 0.3}}, {"filter": {"theta": 0.4}})
    [('filter.theta', 0.3, 0.4)]
    """
    if not (isinstance(a, Mapping) and isinstance(b, Mapping)):
        return [] if a == b else [(name, a, b)]
    return [
        leaf
        for key in dict.fromkeys([*a, *b])
        for leaf in differences(a.get(key), b.get(key), f"{name}.{key}" if name else str(key))
    ]


def _kept_only(a: Trace, b: Trace, t: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    steps = (trace.steps[min(t, len(trace.steps) - 1)] for trace in (a, b))
    mine, theirs = (
        [trace.queries[k] for k in step.survivors] for trace, step in zip((a, b), steps, strict=True)
    )
    return tuple(q for q in mine if q not in theirs), tuple(q for q in theirs if q not in mine)


def overlap_of(a: Mask, b: Mask) -> float:
    """Return the IoU of two masks; 1 if both are empty.

    Parameters
    ----------
    a, b
        Of one size.

    Examples
    --------
    >>> overlap_of(np.array([[True, True]]), np.array([[True, False]]))
    0.5
    """
    union = np.count_nonzero(a | b)
    return float(np.count_nonzero(a & b) / union) if union else 1.0
