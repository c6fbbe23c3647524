"""Evaluate a model on a data set, or several variants of it at once; stop and go on at any time."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt16

from carlab.datasets.protocol import Dataset
from carlab.evaluate.engine import Engine, Models, Outcome, run_here
from carlab.evaluate.folder import claimed
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
    progress: Callable[[int, Outcome, str], None] | None = None,
) -> list[Summary]:
    """Run what is missing of every plan, and sum up.

    Parameters
    ----------
    dataset, model
        The model runs on every image of the data set.
    plans
        Variants of one model; those with the same backbones share every encoding.
    limit
        The first so many images only; a later call may go on with more.
    keep_traces
        "all", "none", or "worst:20": traces of the images with the lowest score.
    engine
        Runs the tasks.
    progress
        Called after each image of each run with the number of records still to come, and that run's headline
        score so far, such as "mIoU 41.5"; "" before there is one.

    Raises
    ------
    RunError
        If a folder holds a run of other settings, or another process is at it.
    SettingError
        If a change or `keep_traces` is not possible.
    """
    indices = range(len(dataset))[:limit]
    ids = [dataset.ids[index] for index in indices]
    variants = [models_of(dataset, model, plan.settings) for plan in plans]
    with ExitStack() as stack:
        folders = [
            stack.enter_context(claimed(plan.out, manifest(dataset, models)))
            for plan, models in zip(plans, variants, strict=True)
        ]
        there = [list(folder.records(ids)) for folder in folders]
        keepers = [
            Keeper.of(folder, keep_traces, records) for folder, records in zip(folders, there, strict=True)
        ]
        running = [Running(folder, records) for folder, records in zip(folders, there, strict=True)]
        missing = [
            (index, tuple(n for n, folder in enumerate(folders) if not folder.done(dataset.ids[index])))
            for index in indices
        ]
        tasks = [(index, numbers) for index, numbers in missing if numbers]
        left = sum(len(numbers) for _, numbers in tasks)
        for outcome in engine(dataset, variants, tasks):
            store(dataset, outcome, keepers[outcome.variant])
            running[outcome.variant].add(outcome.record)
            left -= 1
            if progress is not None:
                progress(left, outcome, running[outcome.variant].told)
        return [Summary.of(folder, ids) for folder in folders]


def models_of(dataset: Dataset, model: ClipAsRnn, settings: Mapping[str, Any]) -> Models:
    """Return the changed model of each pass; in referring data sets each expression competes alone."""
    fixed: dict[str, Any] = {} if dataset.kind == "semantic" else {"refer": True}
    if dataset.labels_given:
        fixed["theta"] = 0.0  # a class that is known to be present is not to be dropped
    return tuple(
        change(stuff_pass(model) if part.stuff else model, **{**settings, **fixed}) for part in dataset.passes
    )


def store(dataset: Dataset, outcome: Outcome, keeper: Keeper) -> None:
    """Keep the traces that the rule selects, then write the record: an image with a record is done."""
    if outcome.traces:
        keeper.keep(outcome.record, outcome.traces, lambda: truth_picture(dataset, outcome.index))
    keeper.folder.put(outcome.record)


def truth_picture(dataset: Dataset, index: int) -> UInt16[np.ndarray, "h w"] | None:
    """Return the true labels as they are kept beside a trace; 65535 is ignored. None where masks overlap."""
    if dataset.kind != "semantic":
        return None
    labels = dataset[index].truth()
    return np.where(labels < 0, 65535, labels).astype(np.uint16)
