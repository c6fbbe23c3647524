"""Many images: their prompted images share batches, and decoding and the CRF run beside the model.

Memory holds a few images at a time, however many there are.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from loky import get_reusable_executor

from carlab.errors import CarlabError, SettingError
from carlab.files.shapes import Image, Maps, Masks
from carlab.hooks import Recording, charge, measure
from carlab.photo import Photo
from carlab.recurrence import ClipAsRnn, Run, recur, refine_here
from carlab.stages.base import Refiner
from carlab.stages.refiner import DenseCrf
from carlab.trace.trace import Trace

IDLE = 60
"""Seconds after which an idle process for refinement ends."""


class Job(NamedTuple):
    """An image to run, and the models to run on it.

    Parameters
    ----------
    image
        As `ClipAsRnn` takes it, or an error that is returned in the place of its traces.
    queries, background
        As `ClipAsRnn` takes them.
    models
        One trace is made for each; all share the image's trunk pass and its encoded prompted images. None:
        the model of `run_many`.
    """

    image: Any
    queries: Sequence[str]
    background: Sequence[str] | None = None
    models: Sequence[ClipAsRnn] | None = None


@dataclass
class _Group:
    """Jobs that go through the loop together: for each its runs, or an error."""

    results: list[list[Run] | CarlabError] = field(default_factory=list)
    refining: dict[tuple[Any, ...], "Future[Any]"] = field(default_factory=dict)
    """Refinements in another process, by photo and key."""


def run_many(
    model: ClipAsRnn, jobs: Iterable[Job], *, together: int = 4, workers: int = 1
) -> Iterator[list[Trace] | CarlabError]:
    """Run every job, in order; a job that cannot be run yields its error in place of its traces.

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
    >>> jobs = [Job(image, ["cat"]), Job(b"no image", ["cat"])]
    >>> [type(result).__name__ for result in run_many(model, jobs, workers=0)]
    ['list', 'ImageError']
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
    group = _Group([_runs(model, job, photo) for job, photo in jobs])
    runs = [run for result in group.results if isinstance(result, list) for run in result]
    recur(runs, model.batch)
    for run in runs:
        key = (run.photo, run.refine_key)
        if workers and isinstance(run.model.refiner, DenseCrf) and key not in group.refining:
            executor = get_reusable_executor(max_workers=workers, timeout=IDLE, env=_share(workers))
            task = run.model.refiner, run.photo.image, run.soft
            group.refining[key] = executor.submit(_refined_elsewhere, *task)
    return group


def _share(workers: int) -> dict[str, str]:
    """Return the environment of a process that shares the threads of this one, and spins on none of them."""
    threads = max(1, torch.get_num_threads() // workers)
    return {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}


def _runs(model: ClipAsRnn, job: Job, photo: "Future[Photo]") -> list[Run] | CarlabError:
    try:
        models = [model] if job.models is None else job.models
        return [Run(one, photo.result(), job.queries, job.background) for one in models]
    except CarlabError as error:
        return error


def _refined_elsewhere(refiner: Refiner, image: Image, masks: Maps) -> tuple[Masks, Recording]:
    with measure() as cost:
        final, _ = refine_here(refiner, image, masks)
    return final, cost


def _finished(group: _Group) -> Iterator[list[Trace] | CarlabError]:
    """Yield the traces of each job of a group, once its masks are refined."""

    def trace(run: Run) -> Trace:
        future = group.refining.get((run.photo, run.refine_key))
        return run.trace() if future is None else run.trace(lambda *_: _awaited(future))

    for result in group.results:
        yield result if isinstance(result, CarlabError) else [trace(run) for run in result]


def _awaited(future: "Future[Any]") -> tuple[Masks, dict[str, np.ndarray]]:
    final, cost = future.result()
    charge(cost)
    return final, {}
