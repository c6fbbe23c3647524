"""Run and score images on this machine.

Several variants of a model (a sweep) run together: they share an image's trunk pass and its encoded prompted
images.
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
"""A model for each pass over an image."""
Task = tuple[int, tuple[int, ...]]
"""The index of an image, and those of the variants to run on it."""


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
    """A pass over an image without any of its classes, when labels are given."""


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
    jobs = (job for task in tasks for job in _jobs(dataset, variants, task))
    results = run_many(variants[0][0], jobs, together=together, workers=workers)
    for index, numbers in tasks:
        passes = [next(results) for _ in dataset.passes]
        for place, number in enumerate(numbers):
            of_variant = [result if isinstance(result, CarlabError) else result[place] for result in passes]
            yield _outcome(dataset, index, number, of_variant)


def _jobs(dataset: Dataset, variants: Sequence[Models], task: Task) -> list[Job]:
    """Return one job for each pass over an image; a sample that cannot be read is a job of its error."""
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
    """Return the record of an image, or of the first error in a pass or in the truth."""
    traces = [result if isinstance(result, Trace) else None for result in passes]
    try:
        for result in passes:
            if isinstance(result, CarlabError) and not isinstance(result, NoQueriesError):
                raise result
        record = score(dataset, dataset[index], traces)
    except CarlabError as error:
        return Outcome(index, variant, {"id": dataset.ids[index], "error": str(error)})
    made = tuple(trace for trace in traces if trace is not None)
    return Outcome(index, variant, {"id": dataset.ids[index], **record}, made)
