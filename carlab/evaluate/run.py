"""Evaluate a model on a data set, or several variants of it at once; an interrupted run can be resumed."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt16

from carlab.datasets.protocol import Dataset
from carlab.errors import RunError, quoted
from carlab.evaluate.engine import Engine, Here
from carlab.evaluate.folder import IGNORED, RunFolder, claimed
from carlab.evaluate.keep import Keeper
from carlab.evaluate.summary import Running, Summary
from carlab.evaluate.work import Load, Loaded, Outcome, Task, Work
from carlab.recurrence import ClipAsRnn


@dataclass(frozen=True)
class Plan:
    """One run: its folder, and the settings it changes on the model (see `carlab.settings.change`)."""

    out: Path
    settings: Mapping[str, Any]


def evaluate(
    dataset: Dataset,
    model: ClipAsRnn | Load,
    plans: Sequence[Plan],
    *,
    limit: int | None = None,
    keep_traces: str = "worst:20",
    engine: Engine = Here,
    begin: Callable[[int, int], None] | None = None,
    progress: Callable[[int, Outcome, str], None] | None = None,
) -> list[Summary]:
    """Run the missing images of every plan, those that failed last, and return the summaries.

    An image that raises anything, such as an error of memory, is recorded as failed, and the run goes on.

    Raises RunError if a folder holds a run of other settings or data, or is locked by another process;
    SettingError if a change or `keep_traces` is not possible.

    Parameters
    ----------
    dataset, model
        The model runs on every image of the data set. A function that loads it, such as
        `partial(carlab.load, "offline")`, is called where the engine computes.
    plans
        Variants of one model; those with the same backbones share every encoding.
    limit
        The first so many images only; a later call may run more.
    keep_traces
        "all", "none", or "worst:20": traces of the images with the lowest score.
    engine
        Loads the variants and runs the tasks: `Here`, or `carlab.evaluate.machines.OnRay`.
    begin
        Callback before the first image: the number of records to come, and of those that are there.
    progress
        Callback after each image of each run: the number of records still to come, the outcome, and that
        run's headline score so far, such as "mIoU 41.5"; "" before there is one.
    """
    ids = dataset.ids[:limit]
    load = Loaded(model) if isinstance(model, ClipAsRnn) else model
    session = engine(Work(dataset, load, [plan.settings for plan in plans]))
    with ExitStack() as stack:
        folders = [
            stack.enter_context(claimed(plan.out, manifest))
            for plan, manifest in zip(plans, session.manifests, strict=True)
        ]
        records = [(folder, list(folder.records(ids))) for folder in folders]
        for folder, existing in records:
            check_unchanged(dataset, folder, existing)
        keepers = [Keeper.of(folder, keep_traces, existing) for folder, existing in records]
        running = [Running(folder, existing) for folder, existing in records]
        tasks = missing(folders, ids)
        left = sum(len(numbers) for _, numbers in tasks)
        if begin is not None:
            begin(left, len(ids) * len(folders) - left)
        for outcome in session.run(tasks):
            store(dataset, outcome, keepers[outcome.variant])
            running[outcome.variant].add(outcome.record)
            left -= 1
            if progress is not None:
                progress(left, outcome, running[outcome.variant].headline)
        return [Summary.of(folder, ids) for folder in folders]


def check_unchanged(dataset: Dataset, folder: RunFolder, records: Sequence[Mapping[str, Any]]) -> None:
    """Raise RunError if the image or truth of a record is another one by now: no run is of old and new data.

    Records without a digest, which earlier versions wrote, are not checked.
    """
    for record in records:
        if "digest" in record and dataset.find(record["id"]).digest() != record["digest"]:
            raise RunError(
                f"expected the data that the run in {quoted(folder.path)} has scored, got another image or "
                f"truth of {quoted(record['id'])}; restore it, or choose another --out"
            )


def missing(folders: Sequence[RunFolder], ids: Sequence[str]) -> list[Task]:
    """Return the images to run, and in which folders; those that have failed before come last."""
    found: list[tuple[bool, Task]] = []
    for index, identity in enumerate(ids):
        records = [folder.get(identity) for folder in folders]
        numbers = tuple(n for n, record in enumerate(records) if record is None or "error" in record)
        if numbers:
            found.append((any(record and "error" in record for record in records), (index, numbers)))
    return [task for _, task in sorted(found, key=lambda one: one[0])]


def store(dataset: Dataset, outcome: Outcome, keeper: Keeper) -> None:
    """Keep the traces that the rule selects, then write the record: an image with a record is done."""

    def truth() -> UInt16[np.ndarray, "h w"] | None:
        if dataset.kind != "semantic":
            return None  # masks that overlap are no label map
        labels = dataset[outcome.index].truth()
        return np.where(labels < 0, IGNORED, labels).astype(np.uint16)

    if outcome.traces:
        keeper.keep(outcome.record, outcome.traces, truth)
    keeper.folder.put(outcome.record)
