"""Query smoothing: what the previous frame kept decides, with the score, what this one keeps.

The paper runs each frame by itself; a query whose score lies near theta then flickers. With two thresholds it
does not: it needs theta to come in, and a lower score to stay (hysteresis; Schmitt 1938, Canny 1986).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int

from carlab.errors import SettingError, check_share
from carlab.stages.base import QueryFilter
from carlab.trace import Trace


@runtime_checkable
class QuerySmoothing(Protocol):
    """Decide which queries a frame keeps, given what the previous frame kept."""

    def __call__(
        self, filter: QueryFilter, probs: Float32[np.ndarray, "q q"], before: Bool[np.ndarray, " q"]
    ) -> Bool[np.ndarray, " q"]:
        """Return True where the query is kept.

        Parameters
        ----------
        filter
            The model's own, for a frame by itself.
        probs
            P_t.
        before
            Which of the active queries the previous frame kept in this step, or at its end if it had fewer.
        """
        ...


@dataclass(frozen=True)
class Hysteresis:
    """Keep a query of the previous frame above `share` * theta, and any other above theta.

    Raises SettingError if the share is not in [0, 1].

    Parameters
    ----------
    share
        1 is the paper's: each frame by itself. By default a half; Canny (1986, section VI) recommends two to
        three between his two thresholds.

    Examples
    --------
    >>> from carlab.stages.filter import Threshold
    >>> probs = np.diag([0.3, 0.3, 0.5]).astype(np.float32)
    >>> Hysteresis()(Threshold(0.4), probs, np.array([True, False, False]))
    array([ True, False,  True])
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        check_share("the share of theta that a query of the previous frame needs", self.share, "1 is off")

    def __call__(
        self, filter: QueryFilter, probs: Float32[np.ndarray, "q q"], before: Bool[np.ndarray, " q"]
    ) -> Bool[np.ndarray, " q"]:
        """Return True where the query is kept; SettingError if the filter has no theta."""
        theta = getattr(filter, "theta", None)
        if theta is None:
            raise SettingError(
                f"expected a filter with a theta for hysteresis, got {type(filter).__name__}; take Threshold"
            )
        kept = np.diagonal(probs) > np.where(before, self.share * theta, theta)
        # Only where none stays does the filter decide alone: it may keep the best one.
        return np.asarray(kept if kept.any() else filter(probs))


@dataclass
class Track:
    """Which queries a frame kept, step by step; filled while the frame is run.

    Parameters
    ----------
    kept
        Indices into the queries, of each step so far.

    Examples
    --------
    >>> [kept.tolist() for kept in Track.of(trace).kept]
    [[0, 1], [0], [0]]
    """

    kept: list[Int[np.ndarray, " _"]] = field(default_factory=list)

    @classmethod
    def of(cls, trace: Trace) -> "Track":
        """Return the track of a frame that is done."""
        return cls([step.survivors for step in trace.steps])

    def at(self, t: int) -> Sequence[int]:
        """Return what was kept in step `t`, or in the last one before; nothing of a frame that failed."""
        return self.kept[min(t, len(self.kept) - 1)].tolist() if self.kept else []


@dataclass(frozen=True, eq=False)
class Following:
    """The query filter of one frame: it knows what the previous frame kept, and notes what it keeps itself.

    Frames go through the loop in lock-step, and in each step the previous frame is judged first: what it kept
    in this very step is known, its end is not. So frames that share batches keep what they keep one by one.

    Parameters
    ----------
    filter, smoothing
        The model's own filter, and what decides.
    before, own
        Tracks of the previous frame, and of this one.

    Examples
    --------
    >>> from carlab.stages.filter import Threshold
    >>> first, second = Track(), Track()
    >>> Following(Threshold(0.4), Hysteresis(), Track(), first).start()(np.diag([0.3, 0.5]).astype("f4"))
    array([False,  True])
    >>> Following(Threshold(0.4), Hysteresis(), first, second).start()(np.diag([0.3, 0.3]).astype("f4"))
    array([False,  True])
    """

    filter: QueryFilter
    smoothing: QuerySmoothing
    before: Track
    own: Track

    def start(self) -> "Following":
        """Begin a run of the frame, maybe once more: where memory ran out, each frame is run again, alone."""
        self.own.kept.clear()
        return self

    def __call__(self, probs: Float32[np.ndarray, "q q"]) -> Bool[np.ndarray, " q"]:
        """Return True where the query is kept, and note it."""
        done = self.own.kept
        active = done[-1] if done else np.arange(len(probs))
        kept = self.smoothing(self.filter, probs, np.isin(active, self.before.at(len(done))))
        done.append(active[kept])
        return kept
