"""Run and score images on this machine.

Several variants of a model (a sweep) go together: an image's trunk pass and its encoded prompted images serve
all of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from carlab.batch import Job, run_many
from carlab.datasets.protocol import Dataset
from carlab.errors import CarlabError
from carlab.evaluate.scoring import queries_of, score
from carlab.recurrence import ClipAsRnn
from carlab.trace import Trace

Models = tuple[ClipAsRnn, ...]
"""A model for each pass over the data set."""
Task = tuple[int, tuple[int, ...]]
"""An image, and the variants to run on it, both by number."""


@dataclass(frozen=True)
class Outcome:
    """The record of one image in one variant, and a trace for each pass that had queries."""

    index: int
    variant: int
    record: dict[str, Any]
    traces: tuple[Trace, ...] = ()


Engine = Callable[[Dataset, Sequence[Models], Sequence[Task]], Iterable[Outcome]]
"""From tasks to outcomes, in any order; `run_here` is the local one."""


class NoQueriesError(CarlabError):
    """A pass over an image that holds none of its classes, when the labels are given."""


def run_here(
    dataset: Dataset,
    variants: Sequence[Models],
    tasks: Iterable[Task],
    *,
    together: int = 4,
    workers: int = 1,
) -> Iterator[Outcome]:
    """Run and score images one after the other; a failure is an outcome too.

    Parameters
    ----------
    variants
        With the same backbones they share the work on an image.
    together, workers
        See `carlab.batch.run_many`.
    """
    tasks = list(tasks)
    jobs = (job for task in tasks for job in _jobs(dataset, variants, task))
    results = run_many(variants[0][0], jobs, together=together, workers=workers)
    for index, numbers in tasks:
        passes = [next(results) for _ in dataset.passes]
        for place, number in enumerate(numbers):
            of_variant = [result if isinstance(result, CarlabError) else result[place] for result in passes]
            yield _outcome(dataset, index, number, of_variant)


def _jobs(dataset: Dataset, variants: Sequence[Models], task: Task) -> list[Job]:
    """Return one job for each pass over an image; a sample that cannot be read fails in its place."""
    index, numbers = task
    try:
        sample = dataset[index]
        queries = [queries_of(dataset, sample, number) for number in range(len(dataset.passes))]
    except CarlabError as error:
        return [Job(error, ()) for _ in dataset.passes]
    return [
        Job(
            sample.image if names else NoQueriesError(),
            names,
            part.background,
            tuple(variants[variant][number] for variant in numbers),
        )
        for number, (part, names) in enumerate(zip(dataset.passes, queries, strict=True))
    ]


def _outcome(dataset: Dataset, index: int, variant: int, passes: Sequence[Trace | CarlabError]) -> Outcome:
    """Return the record of an image; an error of any pass, or of the truth, is its record."""
    identity = dataset.ids[index]
    traces: list[Trace | None] = []
    try:
        for result in passes:
            if isinstance(result, CarlabError) and not isinstance(result, NoQueriesError):
                raise result
            traces.append(result if isinstance(result, Trace) else None)
        record = score(dataset, dataset[index], traces)
    except CarlabError as error:
        return Outcome(index, variant, {"id": identity, "error": str(error)})
    made = tuple(trace for trace in traces if trace is not None)
    return Outcome(index, variant, {"id": identity, **record}, made)
