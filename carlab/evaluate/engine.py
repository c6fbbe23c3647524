"""Run and score images on this machine.

Several variants of a model (a sweep) run together: they share an image's trunk pass and its encoded prompted
images.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from carlab.batch import Job, Request, Result, run_many
from carlab.datasets.protocol import Dataset
from carlab.errors import CarlabError, DatasetError, ImageError, QueryError
from carlab.evaluate.scoring import runs_of, score
from carlab.recurrence import ClipAsRnn
from carlab.trace import Trace

Models = tuple[ClipAsRnn, ...]
"""A model for each pass over an image."""
Task = tuple[int, tuple[int, ...]]
"""The index of an image, and those of the variants to run on it."""


@dataclass(frozen=True)
class Outcome:
    """The record of one image in one variant, and a trace for each run that had queries."""

    index: int
    variant: int
    record: dict[str, Any]
    traces: tuple[Trace, ...] = ()


Engine = Callable[[Dataset, Sequence[Models], Sequence[Task]], Iterable[Outcome]]
"""From tasks to outcomes, in any order; `run_here` is the local one."""


def run_here(
    dataset: Dataset,
    variants: Sequence[Models],
    tasks: Iterable[Task],
    *,
    together: int = 4,
    workers: int = 1,
) -> Iterator[Outcome]:
    """Run and score images in order; the record of a failure holds its error.

    Variants with the same backbones share the work on an image. `together`, `workers`: see
    `carlab.batch.run_many`.
    """
    tasks = list(tasks)
    jobs = (_job(dataset, variants, task) for task in tasks)
    results = run_many(variants[0][0], jobs, together=together, workers=workers)
    for (index, numbers), of_image in zip(tasks, results, strict=True):
        for place, number in enumerate(numbers):
            yield _outcome(dataset, index, number, [_of_variant(result, place) for result in of_image])


def _job(dataset: Dataset, variants: Sequence[Models], task: Task) -> Job:
    """Return the runs over an image; a sample that cannot be read is a job of its error."""
    index, numbers = task
    try:
        sample = dataset[index]
        runs = runs_of(dataset, sample)
    except CarlabError as error:
        return Job(error, [Request(())])
    requests = [
        Request(
            queries,
            dataset.passes[number].background,
            tuple(variants[variant][number] for variant in numbers),
            partial=dataset.kind != "semantic",  # one sentence that is too long costs no other
        )
        for number, queries in runs
    ]
    return Job(sample.image, requests)


def _of_variant(result: Result, place: int) -> Trace | CarlabError:
    return result if isinstance(result, CarlabError) else result[place]


def _outcome(dataset: Dataset, index: int, variant: int, results: Sequence[Trace | CarlabError]) -> Outcome:
    """Return the record of an image, or of the first error in a run or in the truth."""
    identity = dataset.ids[index]
    try:
        if isinstance(results[0], ImageError | DatasetError):
            raise results[0]
        sample = dataset[index]
        made = [
            _usable(dataset, queries, result)
            for (_, queries), result in zip(runs_of(dataset, sample), results, strict=True)
        ]
        record = score(dataset, sample, made)
    except CarlabError as error:
        return Outcome(index, variant, {"id": identity, "error": str(error)})
    traces = tuple(trace for trace in made if trace is not None)
    return Outcome(index, variant, {"id": identity, **record}, traces)


def _usable(dataset: Dataset, queries: Sequence[str], result: Trace | CarlabError) -> Trace | None:
    """Return a trace, or None for a run without queries that can be read; raise any other error."""
    if isinstance(result, QueryError) and (dataset.kind != "semantic" or not queries):
        return None
    if isinstance(result, CarlabError):
        raise result
    return result
