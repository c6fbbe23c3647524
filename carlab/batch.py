"""Many images: their prompted images share batches, and decoding and the CRF run beside the model.

Memory holds a few images at a time, however many there are.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from loky import get_reusable_executor

from carlab.errors import CarlabError, ImageError, QueryError, SettingError
from carlab.files.shapes import Image, Maps, Masks
from carlab.hooks import Recording, charge, measure
from carlab.photo import Photo
from carlab.recurrence import ClipAsRnn, Run, recur, refine_here
from carlab.stages.base import Refiner
from carlab.stages.refiner import DenseCrf
from carlab.trace.trace import Trace

IDLE = 60
"""Seconds after which an idle process for refinement ends."""


class Request(NamedTuple):
    """Queries to run on the image of a job, in one run of each model.

    Parameters
    ----------
    queries, background
        As `ClipAsRnn` takes them.
    models
        One trace is made for each. None: the model of `run_many`.
    partial
        Leave out a query that a model cannot read, such as one with too many tokens; an error only if none
        is left.
    """

    queries: Sequence[str]
    background: Sequence[str] | None = None
    models: Sequence[ClipAsRnn] | None = None
    partial: bool = False


class Job(NamedTuple):
    """An image, and what to run on it; all requests share its trunk pass and its encoded prompted images.

    Parameters
    ----------
    image
        As `ClipAsRnn` takes it, or an error that is returned in the place of its traces.
    requests
        Each yields a list of traces, or an error of its own.
    """

    image: Any
    requests: Sequence[Request]


Result = list[Trace] | CarlabError
"""Of a request: a trace for each of its models, or why there is none."""


@dataclass
class _Group:
    """Jobs that go through the loop together: for each request of each job its runs, or an error."""

    results: list[list[list[Run] | CarlabError]] = field(default_factory=list)
    refining: dict[tuple[Any, ...], "Future[Any]"] = field(default_factory=dict)
    """Refinements in another process, by photo and key."""


def run_many(
    model: ClipAsRnn, jobs: Iterable[Job], *, together: int = 4, workers: int = 1
) -> Iterator[list[Result]]:
    """Run every job, in order, and yield the result of each of its requests.

    An image that cannot be read is the error of all its requests; queries that cannot be used are that of
    theirs alone.

    Raises SettingError if `together` is less than 1 or `workers` less than 0.

    Parameters
    ----------
    model
        Its `batch` is the number of prompted images encoded at once, over all images in memory.
    jobs
        Taken as they are needed: an endless stream is fine.
    together
        Images that go through the loop in lock-step, 1 or more; memory grows with it.
    workers
        Processes for DenseCRF beside the model, which share as many threads as torch has here; 0 refines
        here.

    Examples
    --------
    >>> jobs = [Job(image, [Request(["cat"]), Request([])]), Job(b"no image", [Request(["cat"])])]
    >>> [[type(result).__name__ for result in job] for job in run_many(model, jobs, workers=0)]
    [['list', 'QueryError'], ['ImageError']]
    """
    if together < 1 or workers < 0:
        raise SettingError(
            f"expected together >= 1 and workers >= 0, got {together} and {workers}; 4 and 1 are the defaults"
        )
    waiting: deque[_Group] = deque()
    with ThreadPoolExecutor(1) as decoder:
        decoded = _decoded_ahead(decoder, jobs, together)
        while batch := list(islice(decoded, together)):
            waiting.append(_run_group(model, batch, workers))
            if len(waiting) > 1:  # the CRFs of one group run beside the model's work on the next
                yield from _finished(waiting.popleft())
        while waiting:
            yield from _finished(waiting.popleft())


def traces_of(
    model: ClipAsRnn,
    images: Iterable[Any],
    queries: Sequence[str],
    *,
    background: Sequence[str] | None = None,
    workers: int = 1,
) -> Iterator[Trace | ImageError]:
    """Run the same queries on every image, in order; an image that cannot be read yields its ImageError.

    Raises CarlabError if the queries or the model cannot be used: that would fail every image.

    Parameters
    ----------
    model, workers
        See `run_many`.
    images, queries, background
        As `ClipAsRnn` takes them.

    Examples
    --------
    >>> results = traces_of(model, [image, b"no image"], ["cat"], workers=0)
    >>> [type(result).__name__ for result in results]
    ['Trace', 'ImageError']
    """
    request = Request(queries, background)
    for (result,) in run_many(model, (Job(image, [request]) for image in images), workers=workers):
        if isinstance(result, list):
            yield result[0]
        elif isinstance(result, ImageError):
            yield result
        else:
            raise result


def _decoded_ahead(
    decoder: ThreadPoolExecutor, jobs: Iterable[Job], most: int
) -> Iterator[tuple[Job, "Future[Photo]"]]:
    """Yield jobs with their decoded images, at most `most` of them decoded before they are needed."""
    waiting: deque[tuple[Job, Future[Photo]]] = deque()
    for job in jobs:
        waiting.append((job, decoder.submit(_decoded, job.image)))
        if len(waiting) > most:
            yield waiting.popleft()
    yield from waiting


def _decoded(image: Any) -> Photo:
    if isinstance(image, CarlabError):
        raise image
    return Photo.of(image)


def _run_group(model: ClipAsRnn, jobs: Sequence[tuple[Job, "Future[Photo]"]], workers: int) -> _Group:
    """Run the loop for all jobs of a group, and start their refinement."""
    group = _Group([[_runs(model, one, photo) for one in job.requests] for job, photo in jobs])
    results = [result for job in group.results for result in job]
    runs = [run for result in results if isinstance(result, list) for run in result]
    recur(runs, model.batch)
    for run in runs:
        key = (run.photo, run.refine_key)
        refiner = run.model.refiner
        if workers and key not in group.refining and _holds_the_lock(refiner):
            executor = get_reusable_executor(max_workers=workers, timeout=IDLE, env=_share(workers))
            task = refiner, run.photo.image, run.soft
            group.refining[key] = executor.submit(_refined_elsewhere, *task)
    return group


def _share(workers: int) -> dict[str, str]:
    """Return the environment of a process that shares the threads of this one, and spins on none of them."""
    threads = max(1, torch.get_num_threads() // workers)
    return {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}


def _holds_the_lock(refiner: Refiner) -> bool:
    """Whether the refiner is pydensecrf, which lets no other thread of its process run; torch does."""
    return isinstance(refiner, DenseCrf) and refiner.chosen_engine == "pydensecrf"


def _runs(model: ClipAsRnn, request: Request, photo: "Future[Photo]") -> list[Run] | CarlabError:
    models = [model] if request.models is None else request.models

    def started(queries: Sequence[str]) -> list[Run]:
        return [Run(one, photo.result(), queries, request.background) for one in models]

    try:
        return started(request.queries)
    except QueryError as error:
        read = [one for one in request.queries if _can_run(started, one)] if request.partial else []
        return _runs(model, request._replace(queries=read, partial=False), photo) if read else error
    except CarlabError as error:
        return error


def _can_run(started: Callable[[Sequence[str]], list[Run]], query: str) -> bool:
    try:
        started([query])
    except QueryError:
        return False
    return True


def _refined_elsewhere(refiner: Refiner, image: Image, masks: Maps) -> tuple[Masks, Recording]:
    with measure() as cost:
        final, _ = refine_here(refiner, image, masks)
    return final, cost


def _finished(group: _Group) -> Iterator[list[Result]]:
    """Yield the results of each job of a group, once its masks are refined."""

    def trace(run: Run) -> Trace:
        future = group.refining.get((run.photo, run.refine_key))
        return run.trace() if future is None else run.trace(lambda *_: _awaited(future))

    for job in group.results:
        yield [
            result if isinstance(result, CarlabError) else [trace(run) for run in result] for result in job
        ]


def _awaited(future: "Future[Any]") -> tuple[Masks, dict[str, np.ndarray]]:
    final, cost = future.result()
    charge(cost)
    return final, {}
