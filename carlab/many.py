"""Many photos: their pictures share batches, and decoding and the CRF run beside the model.

Memory holds a few photos at a time, however many there are.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from loky import get_reusable_executor

from carlab.errors import CarlabError, SettingError
from carlab.images import load_image
from carlab.ledger import Ledger, book, count, open_ledger
from carlab.recurrence import ClipAsRnn
from carlab.stages.refiner import DenseCrf
from carlab.trace import Trace
from carlab.turns import Encode, Refine, Turns, encode, refine

IDLE = 60
"""Seconds after which a process for refinement that has nothing to do ends."""


class Job(NamedTuple):
    """A photo to run: its queries, and what differs for it."""

    photo: Any
    """As `ClipAsRnn` takes it, or the error that came in its place."""
    queries: Sequence[str]
    background: Sequence[str] | None = None
    changes: tuple[dict[str, Any], ...] = ({},)
    """One trace is made for each; all share the photo's trunk pass and its encoded pictures."""


@dataclass(eq=False)
class _Run:
    """A run in progress, with a context of its own: hooks and ledgers of two runs never mix."""

    turns: Turns
    context: Context
    request: Any = None
    pending: "Future[Any] | None" = None
    trace: Trace | None = None

    def go_on(self, answer: Any) -> None:
        """Send the answer to the request, and take the next one, or the trace."""
        try:
            self.request = self.context.run(self.turns.send, answer)
        except StopIteration as end:
            self.request, self.trace = None, end.value


@dataclass(eq=False)
class _Slot:
    """A photo being worked on."""

    runs: list[_Run] = field(default_factory=list)
    error: CarlabError | None = None

    @property
    def done(self) -> bool:
        return all(run.trace is not None for run in self.runs)

    def close(self) -> None:
        """End runs that nobody waits for, each where its hooks were opened."""
        for run in self.runs:
            run.context.run(run.turns.close)


def run_many(
    model: ClipAsRnn, jobs: Iterable[Job], *, together: int = 4, workers: int = 1
) -> Iterator[list[Trace] | CarlabError]:
    """Run every job, in order; a job that cannot be run gives its error in place of its traces.

    Parameters
    ----------
    model
        Its `batch` is the number of prompted pictures encoded at once, over all photos at hand.
    jobs
        Taken as they are needed: an endless stream is fine.
    together
        Photos in work at a time, 1 or more; memory grows with it.
    workers
        Processes for DenseCRF beside the model; 0 refines here.

    Raises
    ------
    SettingError
        If `together` is less than 1 or `workers` less than 0.
    """
    if together < 1 or workers < 0:
        raise SettingError(
            f"expected together >= 1 and workers >= 0, got {together} and {workers}; 4 and 1 are the defaults"
        )
    slots: deque[_Slot] = deque()
    with ThreadPoolExecutor(1) as decoder:
        decoded = _ahead(decoder, jobs, together)
        more = True
        try:
            while more or slots:
                while more and sum(not slot.done for slot in slots) < together and len(slots) < 2 * together:
                    job = next(decoded, None)
                    if job is None:
                        more = False
                    else:
                        slots.append(_start(model, *job))
                going = [run for slot in slots for run in slot.runs if run.trace is None]
                _advance(going, model.batch, workers)
                while slots and slots[0].done:
                    slot = slots.popleft()
                    yield slot.error or [run.trace for run in slot.runs if run.trace is not None]
        finally:
            for slot in slots:
                slot.close()


def _ahead(
    decoder: ThreadPoolExecutor, jobs: Iterable[Job], most: int
) -> Iterator[tuple[Job, "Future[UInt8[np.ndarray, 'h w 3']]"]]:
    """Jobs with their photos, at most so many decoded before they are asked for."""
    waiting: deque[tuple[Job, Future[Any]]] = deque()
    for job in jobs:
        waiting.append((job, decoder.submit(_decoded, job.photo)))
        if len(waiting) > most:
            yield waiting.popleft()
    yield from waiting


def _decoded(photo: Any) -> UInt8[np.ndarray, "h w 3"]:
    if isinstance(photo, CarlabError):
        raise photo
    return load_image(photo)


def _start(model: ClipAsRnn, job: Job, photo: "Future[UInt8[np.ndarray, 'h w 3']]") -> _Slot:
    """The trunk pass, and each run up to its first request."""
    slot = _Slot()
    try:
        prepared = model.prepare(photo.result(), job.queries, background=job.background)
        for changes in job.changes:
            run = _Run(prepared.turns(**changes), copy_context())
            run.go_on(None)
            slot.runs.append(run)
    except CarlabError as error:
        slot.close()
        slot.runs, slot.error = [], error
    return slot


def _advance(runs: list[_Run], batch: int, workers: int) -> None:
    """Answer what can be answered now: all pictures in common batches, and refinements that are ready."""
    asking = [run for run in runs if isinstance(run.request, Encode)]
    refining = [run for run in runs if isinstance(run.request, Refine)]
    groups: dict[Any, list[_Run]] = {}
    for run in asking:
        groups.setdefault(run.request.classifier, []).append(run)
    for classifier, group in groups.items():
        _encode(group, classifier, batch)
    for run in refining:
        _refine(run, workers, wait=not asking and run is refining[0])


def _encode(runs: list[_Run], classifier: Any, batch: int) -> None:
    """Encode the pictures of all runs together, and go on with each.

    Runs of one photo may want the same picture: it is one array, and encoded once, for the first.
    """
    owners = {id(picture): (run, picture) for run in reversed(runs) for picture in _pictures(run)}
    with open_ledger() as ledger:
        embeddings = encode(classifier, [picture for _, picture in owners.values()], batch)
    known = dict(zip(owners, embeddings, strict=True))
    for run in runs:
        own = sum(owner is run for owner, _ in owners.values())
        run.context.run(_charge, ledger, own / len(owners))
        run.go_on([known[id(picture)] for picture in _pictures(run)])


def _pictures(run: _Run) -> tuple[UInt8[np.ndarray, "s1 s2 3"], ...]:
    return run.request.pictures if isinstance(run.request, Encode) else ()


def _refine(run: _Run, workers: int, *, wait: bool) -> None:
    """Refine in a process beside the model, and go on once the masks are there."""
    request = run.request
    if not workers or not isinstance(request.refiner, DenseCrf):  # other refiners may hold a model
        run.go_on(run.context.run(refine, *request))
        return
    if run.pending is None:
        run.pending = get_reusable_executor(max_workers=workers, timeout=IDLE).submit(_timed, request)
    if wait or run.pending.done():
        masks, ledger = run.pending.result()
        run.context.run(_charge, ledger, 1.0)
        run.go_on(masks)


def _timed(request: Refine) -> tuple[Bool[np.ndarray, "k h w"], Ledger]:
    with open_ledger() as ledger:
        return refine(*request), ledger


def _charge(ledger: Ledger, share: float) -> None:
    """Book a run's share of what was done outside its context."""
    for name, seconds in ledger.seconds.items():
        book(name, seconds * share)
    for name, passes in ledger.passes.items():
        count(name, round(passes * share))
