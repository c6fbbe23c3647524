"""One evaluation, image by image, on this machine: photos in order, one record each.

Several runs over one data set (a sweep) go together: an image's trunk pass and
its encoded pictures serve all of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from carlab.datasets.protocol import Dataset
from carlab.errors import CarlabError
from carlab.evaluate.folder import RunFolder
from carlab.evaluate.scoring import score
from carlab.many import Job, run_many
from carlab.recurrence import ClipAsRnn
from carlab.trace import Trace

LIGHT = {"batch", "name"}
"""Fields of a model that change no result."""


@dataclass(frozen=True)
class Run:
    """One run over a data set: a model for each pass, and where its records go."""

    folder: RunFolder
    models: tuple[ClipAsRnn, ...]


@dataclass(frozen=True)
class Outcome:
    """What one image gave in one run: its record, and a trace for each pass unless it failed."""

    run: Run
    record: dict[str, Any]
    traces: tuple[Trace, ...] = ()


def outcomes(
    dataset: Dataset, runs: Sequence[Run], indices: Iterable[int], *, together: int = 4, workers: int = 1
) -> Iterator[Outcome]:
    """Run every image that a run has no record of; failures are records too.

    Parameters
    ----------
    dataset, indices
        Which images, in the order wanted.
    runs
        Their models must share the backbones to share the work.
    together, workers
        See `carlab.many.run_many`.
    """
    todo = [(index, [run for run in runs if needs(run, dataset.ids[index])]) for index in indices]
    todo = [(index, pending) for index, pending in todo if pending]
    base = runs[0].models[0]
    jobs = (job for index, pending in todo for job in jobs_of(dataset, index, base, pending))
    results = run_many(base, jobs, together=together, workers=workers)
    for index, pending in todo:
        passes = [next(results) for _ in dataset.passes]
        yield from score_image(dataset, index, pending, passes)


def needs(run: Run, identity: str) -> bool:
    """Whether an image is still to be run: it has no record, or one of a failure."""
    record = run.folder.get(identity)
    return record is None or "error" in record


def jobs_of(dataset: Dataset, index: int, base: ClipAsRnn, runs: Sequence[Run]) -> list[Job]:
    """One job for each pass over an image; a sample that cannot be had fails in its place."""
    try:
        sample = dataset[index]
    except CarlabError as error:
        return [Job(error, ()) for _ in dataset.passes]
    return [
        Job(
            sample.image,
            queries_of(dataset, sample, number),
            part.background,
            tuple(differing(base, run.models[number], part.background is not None) for run in runs),
        )
        for number, part in enumerate(dataset.passes)
    ]


def differing(base: ClipAsRnn, model: ClipAsRnn, own_background: bool) -> dict[str, Any]:
    """The fields in which a model differs from the one that prepares; a pass's own background stays."""
    left_out = LIGHT | ({"background"} if own_background else set())
    return {
        field.name: getattr(model, field.name)
        for field in fields(model)
        if field.name not in left_out and getattr(model, field.name) != getattr(base, field.name)
    }


def score_image(
    dataset: Dataset, index: int, runs: Sequence[Run], passes: Sequence[list[Trace] | CarlabError]
) -> Iterator[Outcome]:
    """A record for each run; an error of any pass, or of the truth, is the record of all."""
    identity = dataset.ids[index]
    for number, run in enumerate(runs):
        try:
            traces = tuple(_trace(result, number) for result in passes)
            record = score(dataset, dataset[index], traces)
        except CarlabError as error:
            yield Outcome(run, {"id": identity, "error": str(error)})
            continue
        yield Outcome(run, {"id": identity, **record}, traces)


def _trace(result: list[Trace] | CarlabError, number: int) -> Trace:
    if isinstance(result, CarlabError):
        raise result
    return result[number]
