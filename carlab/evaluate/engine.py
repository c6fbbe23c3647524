"""Run and score images on this machine.

Several variants of a model (a sweep) run together: they share an image's trunk pass and its encoded prompted
images.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from carlab.batch import Job, Request, Result, run_many
from carlab.datasets.protocol import Dataset
from carlab.errors import CarlabError, ComputeError, DatasetError, ImageError, QueryError, failure
from carlab.evaluate.manifest import manifest
from carlab.evaluate.scoring import runs_of, score
from carlab.evaluate.work import Models, Outcome, Task, Work
from carlab.trace import Trace


class Session(Protocol):
    """A place where the variants of a run are loaded."""

    @property
    def manifests(self) -> Sequence[dict[str, Any]]:
        """What the numbers of each variant depend on, as described where they are computed."""
        ...

    def run(self, tasks: Sequence[Task]) -> Iterable[Outcome]:
        """Run and score images; yield outcomes in any order."""
        ...


Engine = Callable[[Work], Session]
"""Loads the variants of a run; `Here` is the local one."""


class Here:
    """Run in this process, and in processes beside it for the CRF.

    Parameters
    ----------
    work
        What to run.
    together, workers
        See `carlab.batch.run_many`.
    """

    def __init__(self, work: Work, *, together: int = 4, workers: int = 1) -> None:
        self.dataset, self.variants = work.dataset, work.variants()
        self.options = {"together": together, "workers": workers}
        self.manifests = [manifest(self.dataset, models) for models in self.variants]

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Run and score images in order."""
        return run_here(self.dataset, self.variants, tasks, **self.options)


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
            yield _outcome(dataset, index, number, of_image[place :: len(numbers)])


def _job(dataset: Dataset, variants: Sequence[Models], task: Task) -> Job:
    """Return the runs over an image, each in every variant; a sample that cannot be read is its error."""
    index, numbers = task
    try:
        sample = dataset[index]
        runs = runs_of(dataset, sample)
    except Exception as error:  # whatever reads the data may raise anything
        return Job(failure(error), [Request(())] * len(numbers))
    requests = [
        Request(
            queries,
            dataset.passes[number].background,
            (variants[variant][number],),  # a request of its own: one that fails costs no other
            partial=dataset.kind != "semantic",  # one sentence that is too long costs no other
        )
        for number, queries in runs
        for variant in numbers
    ]
    return Job(sample.image, requests)


def _outcome(dataset: Dataset, index: int, variant: int, results: Sequence[Result]) -> Outcome:
    """Return the record of an image, or of the first error in a run or in the truth."""
    identity = dataset.ids[index]
    try:
        if isinstance(results[0], ImageError | DatasetError | ComputeError):
            raise results[0]
        sample = dataset[index]
        made = [
            _usable(dataset, queries, result)
            for (_, queries), result in zip(runs_of(dataset, sample), results, strict=True)
        ]
        record = {"id": identity, "digest": sample.digest(), **score(dataset, sample, made)}
    except Exception as error:  # a truth that fills the memory, among others
        return failed(dataset, index, variant, failure(error))
    traces = tuple(trace for trace in made if trace is not None)
    return Outcome(index, variant, record, traces)


def failed(dataset: Dataset, index: int, variant: int, error: CarlabError) -> Outcome:
    """Return the outcome of an image that failed."""
    return Outcome(index, variant, {"id": dataset.ids[index], "error": str(error)})


def _usable(dataset: Dataset, queries: Sequence[str], result: Result) -> Trace | None:
    """Return a trace, or None for a run without queries that can be read; raise any other error."""
    if isinstance(result, QueryError) and (dataset.kind != "semantic" or not queries):
        return None
    if isinstance(result, CarlabError):
        raise result
    return result[0]
