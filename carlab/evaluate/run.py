"""Evaluate a model on a data set, or several variants of it at once; an interrupted run can be resumed."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt16

from carlab.datasets.protocol import Dataset
from carlab.evaluate.engine import Engine, Models, Outcome, run_here
from carlab.evaluate.folder import IGNORED, claimed
from carlab.evaluate.keep import Keeper
from carlab.evaluate.manifest import manifest
from carlab.evaluate.summary import Running, Summary
from carlab.presets import stuff_pass
from carlab.recurrence import ClipAsRnn
from carlab.settings import change


@dataclass(frozen=True)
class Plan:
    """One run: its folder, and the settings it changes on the model (see `carlab.settings.change`)."""

    out: Path
    settings: Mapping[str, Any]


def evaluate(
    dataset: Dataset,
    model: ClipAsRnn,
    plans: Sequence[Plan],
    *,
    limit: int | None = None,
    keep_traces: str = "worst:20",
    engine: Engine = run_here,
    begin: Callable[[int, int], None] | None = None,
    progress: Callable[[int, Outcome, str], None] | None = None,
) -> list[Summary]:
    """Run the missing images of every plan, and return the summaries.

    Raises RunError if a folder holds a run of other settings, or is locked by another process; SettingError
    if a change or `keep_traces` is not possible.

    Parameters
    ----------
    dataset, model
        The model runs on every image of the data set.
    plans
        Variants of one model; those with the same backbones share every encoding.
    limit
        The first so many images only; a later call may run more.
    keep_traces
        "all", "none", or "worst:20": traces of the images with the lowest score.
    engine
        Runs the tasks.
    begin
        Callback before the first image: the number of records to come, and of those that are there.
    progress
        Callback after each image of each run: the number of records still to come, the outcome, and that
        run's headline score so far, such as "mIoU 41.5"; "" before there is one.
    """
    ids = dataset.ids[:limit]
    variants = [_models(dataset, model, plan.settings) for plan in plans]
    with ExitStack() as stack:
        folders = [
            stack.enter_context(claimed(plan.out, manifest(dataset, models)))
            for plan, models in zip(plans, variants, strict=True)
        ]
        records = [(folder, list(folder.records(ids))) for folder in folders]
        keepers = [Keeper.of(folder, keep_traces, existing) for folder, existing in records]
        running = [Running(folder, existing) for folder, existing in records]
        missing = [
            (index, tuple(number for number, folder in enumerate(folders) if not folder.done(identity)))
            for index, identity in enumerate(ids)
        ]
        tasks = [(index, numbers) for index, numbers in missing if numbers]
        left = sum(len(numbers) for _, numbers in tasks)
        if begin is not None:
            begin(left, len(ids) * len(folders) - left)
        for outcome in engine(dataset, variants, tasks):
            store(dataset, outcome, keepers[outcome.variant])
            running[outcome.variant].add(outcome.record)
            left -= 1
            if progress is not None:
                progress(left, outcome, running[outcome.variant].headline)
        return [Summary.of(folder, ids) for folder in folders]


def _models(dataset: Dataset, model: ClipAsRnn, settings: Mapping[str, Any]) -> Models:
    """Return the changed model of each pass; in referring data sets each expression competes alone."""
    fixed: dict[str, Any] = {} if dataset.kind == "semantic" else {"refer": True}
    if dataset.labels_given:
        fixed["theta"] = 0.0  # a class that is known to be present is not to be dropped
    return tuple(
        change(stuff_pass(model) if part.stuff else model, **{**settings, **fixed}) for part in dataset.passes
    )


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
