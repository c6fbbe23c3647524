"""Evaluate in one line, and what to compare of a run."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from carlab.datasets import Dataset
from carlab.evaluate.engine import Here
from carlab.evaluate.folder import RunFolder
from carlab.evaluate.run import Plan, evaluate
from carlab.evaluate.summary import Summary
from carlab.evaluate.work import Load, Outcome, Task, Work
from carlab.recurrence import ClipAsRnn

here = partial(Here, together=2, workers=0)


def run(
    dataset: Dataset,
    model: ClipAsRnn | Load,
    out: Path,
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> Summary:
    """Evaluate one variant in this process."""
    options = {"engine": here, "keep_traces": "none"} | options
    (summary,) = evaluate(dataset, model, [Plan(out, settings or {})], **options)
    return summary


def numbers(out: Path) -> dict[str, Any]:
    """The records of a run by id, without what the clock said, nor who paid for shared passes."""
    folder = RunFolder.read(out)
    return {
        record["id"]: {name: value for name, value in record.items() if name not in ("seconds", "passes")}
        for record in folder.records(folder.ids)
    }


def assert_alike(there: dict[str, Any], here: dict[str, Any]) -> None:
    """Every count is equal; a score may differ in its last bits, for its picture was in another batch."""
    assert there.keys() == here.keys()
    for identity, record in here.items():
        other = dict(there[identity])
        np.testing.assert_allclose(other.pop("drops"), record.pop("drops"), atol=1e-6)
        assert other == record


class Counting:
    """An engine that remembers its tasks."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def __call__(self, work: Work) -> "Counting":
        self.session = here(work)
        self.manifests = self.session.manifests
        return self

    def run(self, tasks: Sequence[Task]) -> Iterable[Outcome]:
        self.tasks += tasks
        return self.session.run(tasks)
