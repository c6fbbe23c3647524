"""Leave one out: what happens to every query when any other query or background query is taken away."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure

from carlab.trace.comparison import overlap_of
from carlab.trace.show import text_table
from carlab.trace.trace import Trace

if TYPE_CHECKING:
    from carlab.recurrence import ClipAsRnn


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """The run with all queries, and the run without each.

    Parameters
    ----------
    base
        With all queries and background queries.
    removed, traces
        What was taken away, the queries first, then the background queries; and the run without it.
    """

    base: Trace
    removed: tuple[str, ...]
    traces: tuple[Trace, ...]

    @property
    def scores(self) -> Float[np.ndarray, "r Q"]:
        """Last score of every query of `base` without each; NaN for the query that was taken away."""
        return self._per_query(lambda trace, query: last_scores(trace)[trace.queries.index(query)], np.nan)

    @property
    def kept(self) -> Bool[np.ndarray, "r Q"]:
        """Whether every query of `base` was kept without each."""
        return self._per_query(
            lambda trace, query: trace.queries.index(query) in trace.survivors, False
        ).astype(bool)

    @property
    def iou(self) -> Float[np.ndarray, "r Q"]:
        """IoU of every final mask with that of `base`, 1 if both are empty; NaN for the query taken away."""
        return self._per_query(lambda trace, query: overlap_of(trace[query], self.base[query]), np.nan)

    @property
    def changes(self) -> list[tuple[str, str, bool]]:
        """What was taken away, the query whose fate that changed, and whether it is now kept.

        The most telling part of the study.
        """
        before = np.isin(np.arange(len(self.base.queries)), self.base.survivors)
        return [
            (word, query, bool(now))
            for word, row in zip(self.removed, self.kept, strict=True)
            for query, was, now in zip(self.base.queries, before, row, strict=True)
            if query != word and was != now
        ]

    def rows(self) -> list[dict[str, Any]]:
        """Return a row of JSON values for each word taken away: found, changed, and how far all moved."""
        moved = np.abs(self.scores - last_scores(self.base))
        return [
            {
                "without": word,
                "role": "query" if word in self.base.queries else "background",
                "found": list(trace.found),
                "changed": [
                    f"{query} {'kept' if now else 'dropped'}"
                    for removed, query, now in self.changes
                    if removed == word
                ],
                "largest score change": _most(moved[row]),
                "lowest IoU": 1 - _most(1 - self.iou[row]),
            }
            for row, (word, trace) in enumerate(zip(self.removed, self.traces, strict=True))
        ]

    def __str__(self) -> str:
        head = ("without", "role", "found", "changed", "score by", "IoU down to")
        cells = [
            (
                row["without"],
                row["role"],
                ", ".join(row["found"]) or "nothing",
                ", ".join(row["changed"]),
                f"{row['largest score change']:.3f}",
                f"{row['lowest IoU']:.2f}",
            )
            for row in self.rows()
        ]
        return text_table(cells, head)

    def figure(self, **options: Any) -> Figure:
        """Draw a matrix: what was taken away by query, coloured by the change of its score."""
        from carlab.studies.figures import leave_one_out_figure

        return leave_one_out_figure(self, **options)

    def _per_query(self, value: Any, own: Any) -> np.ndarray:
        table = [
            [value(trace, query) if query in trace.queries else own for query in self.base.queries]
            for trace in self.traces
        ]
        return np.array(table, dtype=float).reshape(len(self.traces), len(self.base.queries))


def leave_one_out(
    model: "ClipAsRnn", image: Any, queries: Sequence[str], *, background: Sequence[str] | None = None
) -> LeaveOneOut:
    """Run with all queries, and once without each query and each background query.

    The image's trunk and the evidence of every query are computed once. A background without one word is one
    vector-Jacobian product more. All runs go through the loop in lock-step and share encoded images.

    Raises CarlabError as a call of the model does.

    Parameters
    ----------
    model, image, queries, background
        As `ClipAsRnn.__call__` takes them. The only query is not taken away.

    Examples
    --------
    >>> study = leave_one_out(model, image, ["cat", "dog"])
    >>> study.removed, study.scores.shape
    (('cat', 'dog', 'ground', 'sky'), (4, 2))
    """
    from carlab.photo import Photo
    from carlab.recurrence import Run, recur

    photo = Photo.of(image)
    base = Run(model, photo, queries, background)
    asked, against = base.queries, base.background
    words = (*(asked if len(asked) > 1 else ()), *against)
    parts = [
        (tuple(query for query in asked if query != word), tuple(one for one in against if one != word))
        for word in words
    ]
    runs = [base, *(Run(model, photo, *part) for part in parts)]
    recur(runs, model.batch)
    whole, *others = (run.trace() for run in runs)
    return LeaveOneOut(whole, words, tuple(others))


def last_scores(trace: Trace) -> Float[np.ndarray, " Q"]:
    """Return the last score of every query: that with which it was kept or dropped.

    Parameters
    ----------
    trace
        Any.

    Examples
    --------
    >>> last_scores(trace).round(2).tolist()
    [0.8, 0.12, 0.12]
    """
    last = np.full(len(trace.queries), np.nan)
    for step in trace.steps:
        last[step.active] = step.scores.astype(np.float64).round(7)
    return last


def _most(values: Float[np.ndarray, " Q"]) -> float:
    """Return the largest value that is a number, 0 if there is none."""
    return float(np.fmax.reduce(values, initial=0.0))
