"""Frames to traces: each frame by the recurrence, several in lock-step, and what smooths them over time."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from carlab.batch import Job, Request, run_many
from carlab.errors import CarlabError, ComputeError, ImageError
from carlab.hooks import record, recorded_patterns
from carlab.recurrence import ClipAsRnn
from carlab.trace import Trace
from carlab.trace.provenance import settings
from carlab.video.carry import MaskSmoothing, Memory, View
from carlab.video.frames import Frame
from carlab.video.hysteresis import Following, QuerySmoothing, Track

TOKENS = "cam.activations"
"""The probe whose tokens a `View` has."""


@dataclass(frozen=True)
class Smoothing:
    """What a frame takes over from the previous one; by default nothing, as in the paper.

    Parameters
    ----------
    queries
        Which queries are kept, e.g. `Hysteresis()`.
    masks
        Where their masks are, e.g. `MaskSmoothing(OpticalFlow())`.

    Examples
    --------
    >>> Smoothing().described
    {'queries': None, 'masks': None}
    """

    queries: QuerySmoothing | None = None
    masks: MaskSmoothing | None = None

    @property
    def described(self) -> dict[str, Any]:
        """Its settings, as JSON values."""
        return {"queries": settings(self.queries), "masks": settings(self.masks)}

    @property
    def needs(self) -> tuple[str, ...]:
        """Probes that the smoothing of masks reads."""
        return () if self.masks is None else self.masks.carrier.needs


class Past(NamedTuple):
    """What the next frame takes over from one that is done.

    Parameters
    ----------
    track
        What it kept, step by step.
    memory
        Its masks, where they are smoothed.
    """

    track: Track
    memory: Memory | None


class Result(NamedTuple):
    """What comes of a frame.

    Parameters
    ----------
    frame
        Its index and time; its image is in the trace.
    trace
        Or the error of a frame that cannot be read, or at which a library raised.
    past
        What the next frame takes over: a run can go on from here.
    """

    frame: Frame
    trace: Trace | ImageError | ComputeError
    past: Past


def segment_frames(
    model: ClipAsRnn,
    frames: Iterable[Frame],
    queries: Sequence[str],
    *,
    background: Sequence[str] | None = None,
    smoothing: Smoothing | None = None,
    past: Past | None = None,
    together: int = 4,
    workers: int = 1,
) -> Iterator[Result]:
    """Segment frames in order; yield a result for each.

    Without smoothing each trace is that of `model` on the frame by itself. Memory holds a few frames at a
    time: they are taken from `frames` as they are needed, so an endless stream is fine. After a frame that
    failed the next one begins anew.

    Raises CarlabError if the queries or the model cannot be used.

    Parameters
    ----------
    model, queries, background
        As `ClipAsRnn` takes them.
    frames
        Of `Clip.frames()`, or of your own.
    smoothing
        None: none.
    past
        Of the frame before the first, where a run goes on.
    together, workers
        Frames in lock-step, and processes for DenseCRF; see `run_many`.

    Examples
    --------
    >>> frames = (Frame(k, k / 24, image) for k in range(3))
    >>> [(one.frame.index, one.trace.found == model(image, ["cat"]).found)
    ...     for one in segment_frames(model, frames, ["cat"], workers=0)]
    [(0, True), (1, True), (2, True)]
    """
    smoothing = smoothing or Smoothing()
    past = past or Past(Track(), None)
    waiting: deque[tuple[Frame, Track]] = deque()
    mine = smoothing.needs if TOKENS not in recorded_patterns() else ()

    def jobs() -> Iterator[Job]:
        before = past.track
        for frame in frames:
            own = Track()
            waiting.append((replace(frame, image=None), own))
            models = [_bound(model, smoothing.queries, before, own)]
            before = own
            yield Job(frame.image, [Request(queries, background, models)])

    results = run_many(model, jobs(), together=together, workers=workers)
    memory = past.memory
    while True:
        with record(*mine):  # not around the yield: what a caller runs in between is not recorded
            one = next(results, None)
        if one is None:
            return
        frame, own = waiting.popleft()
        trace = _trace(one[0])
        if not isinstance(trace, Trace):
            memory = None
            own.kept.clear()
        elif smoothing != Smoothing():
            trace, memory = _smoothed(trace, smoothing, memory, mine, model)
        yield Result(frame, trace, Past(own, memory))


def _bound(model: ClipAsRnn, smoothing: QuerySmoothing | None, before: Track, own: Track) -> ClipAsRnn:
    """Return the model of one frame."""
    if smoothing is None:
        return model
    return replace(model, filter=Following(model.filter, smoothing, before, own))


def _trace(result: Any) -> Trace | ImageError | ComputeError:
    if isinstance(result, list):
        return result[0]
    if isinstance(result, ImageError | ComputeError):
        return result
    error: CarlabError = result
    raise error


def _smoothed(
    trace: Trace, smoothing: Smoothing, before: Memory | None, mine: tuple[str, ...], model: ClipAsRnn
) -> tuple[Trace, Memory | None]:
    """Return the trace with smoothed masks, and with the settings of the smoothing among its own."""
    made = {**trace.settings, "filter": settings(model.filter), "smoothing": smoothing.described}
    if smoothing.masks is None:
        return replace(trace, settings=made), None
    tokens = trace.probes.get(TOKENS, np.zeros((0, 1))).astype(np.float32)
    rows, columns = trace.steps[0].cams.shape[1:]
    view = View(trace.image, tokens if smoothing.needs else tokens[:0], (rows, columns))
    refined, memory = smoothing.masks(before, view, trace.survivors, trace.refined)
    probes = {name: value for name, value in trace.probes.items() if name not in mine}
    return replace(trace, refined=refined, probes=probes, settings=made), memory
