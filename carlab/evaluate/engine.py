"""Run and score images on this machine.

Several variants of a model (a sweep) go together: an image's trunk pass and
its encoded pictures serve all of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from carlab.datasets.protocol import Dataset
from carlab.errors import CarlabError
from carlab.evaluate.scoring import queries_asked, score
from carlab.many import Job, run_many
from carlab.recurrence import ClipAsRnn
from carlab.trace import Trace

LIGHT = {"batch", "name"}
"""Fields of a model that change no result."""

Models = tuple[ClipAsRnn, ...]
"""A model for each pass over the data set."""
Task = tuple[int, tuple[int, ...]]
"""An image, and the variants to run on it, both by number."""


@dataclass(frozen=True)
class Outcome:
    """What one image gave in one variant: its record, and a trace for each pass that asked something."""

    index: int
    variant: int
    record: dict[str, Any]
    traces: tuple[Trace, ...] = ()


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
        See `carlab.many.run_many`.
    """
    tasks = list(tasks)
    base = variants[0][0]
    jobs = (job for task in tasks for job in jobs_of(dataset, variants, task))
    results = run_many(base, jobs, together=together, workers=workers)
    for index, numbers in tasks:
        passes = [next(results) for _ in dataset.passes]
        for place, number in enumerate(numbers):
            yield outcome(dataset, index, number, [_of_variant(result, place) for result in passes])


def jobs_of(dataset: Dataset, variants: Sequence[Models], task: Task) -> list[Job]:
    """One job for each pass over an image; a sample that cannot be had fails in its place."""
    index, numbers = task
    base = variants[0][0]
    try:
        sample = dataset[index]
        asked = [queries_asked(dataset, sample, number) for number in range(len(dataset.passes))]
    except CarlabError as error:
        return [Job(error, ()) for _ in dataset.passes]
    return [
        Job(
            sample.image if queries else NothingAskedError(),
            queries,
            part.background,
            tuple(differing(base, variants[n][number], part.background is not None) for n in numbers),
        )
        for number, (part, queries) in enumerate(zip(dataset.passes, asked, strict=True))
    ]


class NothingAskedError(CarlabError):
    """A pass over an image that holds none of its classes, when the labels are given."""


def differing(base: ClipAsRnn, model: ClipAsRnn, own_background: bool) -> dict[str, Any]:
    """The fields in which a model differs from the one that prepares; a pass's own background stays."""
    left_out = LIGHT | ({"background"} if own_background else set())
    return {
        field.name: getattr(model, field.name)
        for field in fields(model)
        if field.name not in left_out and getattr(model, field.name) != getattr(base, field.name)
    }


def outcome(dataset: Dataset, index: int, variant: int, passes: Sequence[Trace | CarlabError]) -> Outcome:
    """The record of an image; an error of any pass, or of the truth, is its record."""
    identity = dataset.ids[index]
    try:
        traces = [_trace(result) for result in passes]
        record = score(dataset, dataset[index], traces)
    except CarlabError as error:
        return Outcome(index, variant, {"id": identity, "error": str(error)})
    made = tuple(trace for trace in traces if trace is not None)
    return Outcome(index, variant, {"id": identity, **record}, made)


def _trace(result: Trace | CarlabError) -> Trace | None:
    if isinstance(result, NothingAskedError):
        return None
    if isinstance(result, CarlabError):
        raise result
    return result


def _of_variant(result: list[Trace] | CarlabError, place: int) -> Trace | CarlabError:
    return result if isinstance(result, CarlabError) else result[place]
