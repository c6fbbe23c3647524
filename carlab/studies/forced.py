"""Counterfactual: force a query to stay or to be dropped in one step, and replay the rest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32
from matplotlib.figure import Figure

from carlab.errors import SettingError
from carlab.trace.comparison import Comparison, compare
from carlab.trace.trace import Trace

if TYPE_CHECKING:
    from carlab.recurrence import ClipAsRnn
    from carlab.stages.base import QueryFilter


@dataclass(frozen=True)
class Forced:
    """A filter whose answer for one active query is replaced.

    Parameters
    ----------
    base, place, stays
        The filter, the query's place among the active ones, and the answer.

    Examples
    --------
    >>> from carlab.stages.filter import Threshold
    >>> Forced(Threshold(0.5), 1, True)(np.float32([[0.9, 0.1], [0.9, 0.1]]))
    array([ True,  True])
    """

    base: "QueryFilter"
    place: int
    stays: bool

    def __call__(self, probs: Float32[np.ndarray, "q q"]) -> Bool[np.ndarray, " q"]:
        """Return True where the query is kept."""
        kept = self.base(probs).copy()
        kept[self.place] = self.stays
        return kept


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """A run as it was, and as it would have been.

    Parameters
    ----------
    before, after
        The two traces; they are equal up to the filter of the step.
    query, step, stays
        Index of the query, the step from 0, and what it was forced to.
    """

    before: Trace
    after: Trace
    query: int
    step: int
    stays: bool

    @property
    def comparison(self) -> Comparison:
        """Kept queries step by step, IoU of each final mask, and the share of equal pixels."""
        return compare(self.before, self.after)

    @property
    def title(self) -> str:
        """What was forced, in words."""
        fate = "stays" if self.stays else "is dropped"
        return f"{self.before.queries[self.query]} {fate} at step {self.step + 1}"

    def rows(self) -> list[dict[str, Any]]:
        """Return a row of JSON values for each query: kept or not, last score, and IoU of the two masks."""
        from carlab.studies.removal import last_scores

        scores, iou = [last_scores(trace) for trace in (self.before, self.after)], self.comparison.iou
        return [
            {
                "query": name,
                "kept before": index in self.before.survivors,
                "kept after": index in self.after.survivors,
                "score before": float(scores[0][index]),
                "score after": float(scores[1][index]),
                "IoU": iou[name],
            }
            for index, name in enumerate(self.before.queries)
        ]

    def __str__(self) -> str:
        from carlab.trace.show import text_table

        words = {True: "kept", False: "dropped"}
        cells = [
            (
                row["query"],
                words[row["kept before"]],
                words[row["kept after"]],
                f"{row['score before']:.3f}",
                f"{row['score after']:.3f}",
                f"{row['IoU']:.2f}",
            )
            for row in self.rows()
        ]
        head = ("query", "before", "after", "score before", "after", "IoU")
        return f"{self.title}\n{text_table(cells, head)}"

    def figure(self, **options: Any) -> Figure:
        """Draw the scores of both runs step by step, both results, and the pixels that differ."""
        from carlab.studies.figures import counterfactual_figure

        return counterfactual_figure(self, **options)


def counterfactual(
    model: "ClipAsRnn",
    image: Any,
    queries: Sequence[str],
    query: str,
    step: int,
    *,
    stays: bool,
    hold: bool = False,
    background: Sequence[str] | None = None,
) -> Counterfactual:
    """Run as usual, and once more with the fate of one query in one step decided.

    The rest of the loop runs by its own rules, at least one step more: a query that was kept against its
    score is judged again among the others.

    Raises SettingError if the query is not active in that step of the run; CarlabError as a call does.

    Parameters
    ----------
    model, image, queries, background
        As `ClipAsRnn.__call__` takes them.
    query, step
        One of the queries, and the step, from 0.
    stays
        True: it is kept. False: it is dropped.
    hold
        Keep it in every later step too, whatever its score.

    Examples
    --------
    >>> study = counterfactual(model, image, ["cat", "dog", "sofa"], "dog", 0, stays=False)
    >>> [1 in step.active for step in study.after.steps[:2]]
    [True, False]
    """
    from carlab.photo import Photo
    from carlab.recurrence import Run, embed

    photo = Photo.of(image)
    before = model(photo, queries, background=background)
    index = before.queries.index(query) if query in before.queries else -1
    if not 0 <= step < len(before.steps) or index not in before.steps[step].active:
        raise SettingError(
            f"expected a query that is active in step {step}, counted from 0, got {query!r}; "
            "the trace's scores show which are"
        )
    run = Run(model, photo, queries, background)
    while run.stop is None:
        t = len(run.steps)
        forced = t == step or (hold and stays and t > step)
        run.draw()
        embed([run], model.batch)
        if forced:
            place = int(np.flatnonzero(run.active == index)[0])
            # One step more: a set that only force has kept whole is no fixed point.
            least = max(model.min_steps, min(step + 2, model.max_steps or step + 2))
            run.model = replace(model, filter=Forced(model.filter, place, stays), min_steps=least)
        run.judge()
        run.model = model
    after = run.trace()
    fate = f"step {step + 1}: {query} {'stays' if stays else 'is dropped'}{', held' if hold else ''}"
    after = replace(after, provenance={**after.provenance, "counterfactual": fate})
    return Counterfactual(before, after, index, step, stays)
