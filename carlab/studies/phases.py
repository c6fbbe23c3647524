"""Phase diagram: the kept set as a function of theta, exactly, and of eta, on a grid.

A run depends on theta only through comparisons with the scores that it meets. So it is the same for every
theta from the highest score that was dropped up to the lowest that passed, and the next phase begins exactly
there: a march from 0 upwards finds every break point, with one run for each phase and no grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Bool
from matplotlib.figure import Figure

from carlab.errors import SettingError, check_share
from carlab.queries import check_queries
from carlab.settings import with_field
from carlab.stages.refiner import NoRefiner
from carlab.trace.show import text_table
from carlab.trace.trace import Trace

if TYPE_CHECKING:
    from carlab.photo import Photo
    from carlab.recurrence import ClipAsRnn


class Phase(NamedTuple):
    """An interval of theta in which the run is the same.

    Parameters
    ----------
    low, high
        low <= theta < high; the last phase ends at 1, which is part of it.
    kept
        Indices of the queries that are kept to the end.
    steps
        Of the run.
    """

    low: float
    high: float
    kept: tuple[int, ...]
    steps: int


@dataclass(frozen=True)
class PhaseDiagram:
    """The phases of theta for every eta.

    Parameters
    ----------
    queries
        Those that the indices in `Phase.kept` refer to.
    theta, eta
        Of the model itself, where a figure marks its place.
    etas, phases
        Mask thresholds, and the phases of each, from 0 to 1 without a gap.
    """

    queries: tuple[str, ...]
    theta: float
    eta: float
    etas: tuple[float, ...]
    phases: tuple[tuple[Phase, ...], ...]

    def at(self, theta: float | int, row: int = 0) -> Phase:
        """Return the phase that holds a theta in [0, 1], at `etas[row]`."""
        check_share("a theta", theta, "scores are in [0, 1]")
        # Scores and thetas are compared in single precision.
        value = np.float32(theta)
        return next(phase for phase in reversed(self.phases[row]) if value >= np.float32(phase.low))

    def kept(self, thetas: Sequence[float]) -> Bool[np.ndarray, "e t Q"]:
        """Return which queries are kept at each eta and each of some thetas."""
        table = np.zeros((len(self.etas), len(thetas), len(self.queries)), dtype=bool)
        for row in range(len(self.etas)):
            for column, theta in enumerate(thetas):
                table[row, column, list(self.at(theta, row).kept)] = True
        return table

    def rows(self) -> list[dict[str, Any]]:
        """Return a row of JSON values for each phase."""
        return [
            {
                "eta": eta,
                "theta from": phase.low,
                "theta to": phase.high,
                "kept": [self.queries[k] for k in phase.kept],
                "steps": phase.steps,
            }
            for eta, phases in zip(self.etas, self.phases, strict=True)
            for phase in phases
        ]

    def __str__(self) -> str:
        cells = [
            (
                f"{row['eta']:.3g}",
                f"{row['theta from']:.6f}",
                f"{row['theta to']:.6f}",
                ", ".join(row["kept"]) or "nothing",
                str(row["steps"]),
            )
            for row in self.rows()
        ]
        return text_table(cells, ("eta", "theta from", "to below", "kept", "steps"))

    def figure(self, **options: Any) -> Figure:
        """Draw a bar for each query over the thetas at which it is kept; of several etas the number kept."""
        from carlab.studies.figures import phase_figure

        return phase_figure(self, **options)


def phase_diagram(
    model: "ClipAsRnn",
    image: Any,
    queries: Sequence[str],
    *,
    etas: Sequence[float] = (),
    background: Sequence[str] | None = None,
) -> PhaseDiagram:
    """Return the kept set for every theta, at the model's eta or at each of several.

    Raises SettingError if the model's filter has no theta, or an eta is not in [0, 1].

    Parameters
    ----------
    model, image, queries, background
        As `ClipAsRnn.__call__` takes them. Final masks are not made.
    etas
        Mask thresholds; () for the model's own.

    Examples
    --------
    >>> diagram = phase_diagram(model, image, ["cat", "dog"])
    >>> [diagram.phases[0][0].low, diagram.phases[0][-1].high, diagram.at(0.0).kept]
    [0.0, 1.0, (0, 1)]
    """
    from carlab.photo import Photo

    photo = Photo.of(image)
    theta = getattr(model.filter, "theta", None)
    if theta is None:
        raise SettingError(
            f"expected a filter with a theta, got {type(model.filter).__name__}; take Threshold"
        )
    grid = tuple(etas) or (model.mask_threshold,)
    found = []
    for eta in grid:
        check_share("an eta", eta, "the paper uses 0.2 to 0.6")
        cheap = replace(model, mask_threshold=eta, refiner=NoRefiner(eta))
        found.append(theta_phases(cheap, photo, queries, background=background))
    asked = check_queries(queries)
    return PhaseDiagram(asked, float(theta), model.mask_threshold, grid, tuple(found))


def theta_phases(
    model: "ClipAsRnn",
    image: "Photo | Any",
    queries: Sequence[str],
    *,
    background: Sequence[str] | None = None,
) -> tuple[Phase, ...]:
    """March theta from 0 to 1, from break point to break point.

    Parameters
    ----------
    model, image, queries, background
        As `phase_diagram` takes them.

    Examples
    --------
    >>> phases = theta_phases(model, image, ["cat", "dog"])
    >>> all(a.high == b.low for a, b in zip(phases, phases[1:]))
    True
    """
    from carlab.photo import Photo

    photo, theta, phases = Photo.of(image), 0.0, []
    while True:
        trace = with_field(model, "filter.theta", theta)(photo, queries, background=background)
        high = lowest_passing(trace, theta)
        end = 1.0 if high is None or high >= 1 else high
        phases.append(Phase(theta, end, tuple(trace.survivors.tolist()), len(trace.steps)))
        if end == 1:
            return tuple(phases)
        theta = end


def lowest_passing(trace: Trace, theta: float) -> float | None:
    """Return the lowest score above theta that a run met, the next break point; None if there was none.

    Parameters
    ----------
    trace, theta
        A run whose filter has that threshold.

    Examples
    --------
    >>> round(lowest_passing(trace, 0.3), 3)
    0.8
    """
    met = np.concatenate([step.scores for step in trace.steps])
    passed = met[met > np.float32(theta)]
    return float(passed.min()) if len(passed) else None
