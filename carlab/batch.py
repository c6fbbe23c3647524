"""Many images: their prompted images share batches, and decoding and the CRF run beside the model.

Memory holds a few images at a time, however many there are.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from threading import Thread
from time import sleep
from typing import Any, NamedTuple

import numpy as np
import torch
from loky import get_reusable_executor

from carlab.errors import (
    CarlabError,
    ComputeError,
    ImageError,
    QueryError,
    check_count,
    described,
    failure,
)
from carlab.files.shapes import Image, Maps, Masks
from carlab.hooks import Recording, charge, measure
from carlab.photo import Photo
from carlab.recurrence import ClipAsRnn, Run, recur, refine_here
from carlab.stages.base import Refiner
from carlab.stages.refiner import DenseCrf
from carlab.trace.trace import Trace

IDLE = 60
"""Seconds after which an idle process for refinement ends."""
CHECKED = 1.0
"""Seconds between two looks of such a process at whether its parent lives."""
KILLS = 3
"""How often its process may be killed: by an image before, by one after, and then it was alone."""


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


Decoded = tuple[Job, "Future[Photo]"]
"""A job and its image, decoded or on its way."""


class _Refining(NamedTuple):
    """A refinement in one of so many processes: refiner, image and soft masks, and what comes of them."""

    workers: int
    task: tuple[Refiner, Image, Maps]
    future: "Future[Any]"

    @classmethod
    def started(cls, workers: int, task: tuple[Refiner, Image, Maps]) -> "_Refining":
        executor = get_reusable_executor(
            max_workers=workers,
            timeout=IDLE,
            env=_share(workers),
            initializer=_end_with,
            initargs=(os.getpid(),),
        )
        return cls(workers, task, executor.submit(_refined_elsewhere, *task))

    def result(self) -> tuple[Masks, dict[str, np.ndarray]]:
        """Wait for the final masks; start again where the process was killed, maybe by another's."""
        one = self
        for _ in range(KILLS - 1):
            try:
                one.future.result()
                break
            except BrokenExecutor:
                one = self.started(self.workers, self.task)
        final, cost = one.future.result()
        charge(cost)
        return final, {}


@dataclass
class _Group:
    """Jobs that go through the loop together: for each request of each job its runs, or an error."""

    results: list[list[list[Run] | CarlabError]] = field(default_factory=list)
    refining: dict[tuple[Any, ...], _Refining] = field(default_factory=dict)
    """Refinements in another process, by photo and key."""


def run_many(
    model: ClipAsRnn, jobs: Iterable[Job], *, together: int = 4, workers: int = 1
) -> Iterator[list[Result]]:
    """Run every job, in order, and yield the result of each of its requests.

    An image that cannot be read is the error of all its requests; queries that cannot be used are that of
    theirs alone. Where the images of a group cannot be run together, for lack of memory or anything that a
    library raises, each is run alone, request by request; what raises then is a `ComputeError` in its place.

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
    check_count("images together", together)
    check_count("workers", workers, least=0)
    waiting: deque[_Group] = deque()
    with ThreadPoolExecutor(1) as decoder:
        decoded = _decoded_ahead(decoder, jobs, together)
        while batch := list(islice(decoded, together)):
            group = _try_group(model, batch, workers)
            if group is not None:
                waiting.append(group)
            # The CRFs of one group run beside the model's work on the next; one that failed needs the memory.
            while len(waiting) > (group is not None):
                yield from _finished(waiting.popleft())
            if group is None:
                yield from (_alone(model, *one) for one in batch)
        while waiting:
            yield from _finished(waiting.popleft())


def traces_of(
    model: ClipAsRnn,
    images: Iterable[Any],
    queries: Sequence[str],
    *,
    background: Sequence[str] | None = None,
    workers: int = 1,
) -> Iterator[Trace | ImageError | ComputeError]:
    """Run the same queries on every image, in order.

    An image that cannot be read yields its ImageError, one at which a library raised its ComputeError.
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
    if isinstance(images, str | bytes | os.PathLike) or not isinstance(images, Iterable):
        raise ImageError(f"expected a list of images, got {described(images)}; write it in brackets")
    for (result,) in run_many(model, (Job(image, [request]) for image in images), workers=workers):
        if isinstance(result, list):
            yield result[0]
        elif isinstance(result, ImageError | ComputeError):
            yield result
        else:
            raise result


def _decoded_ahead(decoder: ThreadPoolExecutor, jobs: Iterable[Job], most: int) -> Iterator[Decoded]:
    """Yield jobs with their decoded images, at most `most` of them decoded before they are needed."""
    waiting: deque[Decoded] = deque()
    for job in jobs:
        waiting.append((job, decoder.submit(_decoded, job.image)))
        if len(waiting) > most:
            yield waiting.popleft()
    yield from waiting


def _decoded(image: Any) -> Photo:
    if isinstance(image, CarlabError):
        raise image
    return Photo.of(image)


def _try_group(model: ClipAsRnn, jobs: Sequence[Decoded], workers: int) -> _Group | None:
    """Run the loop for all jobs of a group, and start their refinement; None if anything is raised."""
    try:
        return _run_group(model, jobs, workers)
    except Exception:  # which image is at fault is seen when each is run alone
        for _, photo in jobs:
            _forget(photo)
        return None


def _alone(model: ClipAsRnn, job: Job, photo: "Future[Photo]") -> list[Result]:
    """Run the requests of one job, each by itself, in the memory of one image."""
    results = [_result(model, request, photo) for request in job.requests]
    _forget(photo)
    return results


def _result(model: ClipAsRnn, request: Request, photo: "Future[Photo]") -> Result:
    try:
        runs = _runs(model, request, photo)
        if isinstance(runs, CarlabError):
            return runs
        recur(runs, model.batch)
        return [run.trace() for run in runs]
    except Exception as error:  # a library may raise anything
        return failure(error)


def _forget(photo: "Future[Photo]") -> None:
    """Free what was computed for a photo, such as its trunk on a GPU."""
    if photo.exception() is None:
        photo.result().cache.clear()


def _run_group(model: ClipAsRnn, jobs: Sequence[Decoded], workers: int) -> _Group:
    """Run the loop for all jobs of a group, and start their refinement."""
    group = _Group([[_runs(model, one, photo) for one in job.requests] for job, photo in jobs])
    results = [result for job in group.results for result in job]
    runs = [run for result in results if isinstance(result, list) for run in result]
    recur(runs, model.batch)
    for run in runs:
        key = (run.photo, run.refine_key)
        refiner = run.model.refiner
        if workers and key not in group.refining and _holds_the_lock(refiner):
            group.refining[key] = _Refining.started(workers, (refiner, run.photo.image, run.soft))
    return group


def _share(workers: int) -> dict[str, str]:
    """Return the environment of a process that shares the threads of this one, and spins on none of them."""
    threads = max(1, torch.get_num_threads() // workers)
    return {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}


def _end_with(parent: int) -> None:
    """End this process soon after its parent, however that ended: a killed one can tell nobody."""

    def watch() -> None:
        while os.getppid() == parent:
            sleep(CHECKED)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


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

    def traces(runs: list[Run] | CarlabError) -> Result:
        if isinstance(runs, CarlabError):
            return runs
        try:
            return [trace(run) for run in runs]
        except Exception as error:  # a library may raise anything
            return failure(error)

    def trace(run: Run) -> Trace:
        refining = group.refining.get((run.photo, run.refine_key))
        return run.trace() if refining is None else run.trace(lambda *_: refining.result())

    for job in group.results:
        yield [traces(runs) for runs in job]
