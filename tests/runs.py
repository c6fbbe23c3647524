"""Folders of runs made of synthetic traces, through the same code that a real run takes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from carlab.datasets.protocol import Dataset, Pass, Sample
from carlab.evaluate.folder import RunFolder, claimed
from carlab.evaluate.keep import Keeper
from carlab.evaluate.manifest import manifest
from carlab.evaluate.run import store
from carlab.evaluate.scoring import score
from carlab.evaluate.work import Outcome
from carlab.recurrence import ClipAsRnn
from carlab.stages.filter import Threshold
from carlab.trace import Trace

CLASSES = ("cat", "dog", "sofa")


def make_dataset(
    truths: Mapping[str, np.ndarray],
    *,
    classes: Sequence[str] = CLASSES,
    name: str = "toy",
    passes: tuple[Pass, ...] | None = None,
    samples: Mapping[str, Mapping[str, Any]] | None = None,
    **options: Any,
) -> Dataset:
    """A data set of these truths; `samples` has further fields of the sample of each image."""

    def find(identity: str) -> Sample:
        fields = (samples or {}).get(identity, {})
        return Sample(identity, Path("none.png"), lambda: truths[identity], **fields)

    return Dataset(
        **{"name": name, "kind": "semantic", "split": "val", "ids": tuple(truths), "find": find}
        | {"classes": tuple(classes), "queries": tuple(classes)}
        | {"passes": passes or (Pass(tuple(range(len(classes)))),)}
        | options
    )


def make_run(
    path: Path,
    model: ClipAsRnn,
    dataset: Dataset,
    made: Mapping[str, Sequence[Trace | None] | str],
    *,
    keep: str = "all",
    theta: float = 0.3,
) -> RunFolder:
    """A run, said to be of the model, in which each image gave a trace for each pass, or an error."""
    models = [replace(model, filter=Threshold(theta))] * len(dataset.passes)
    with claimed(path, manifest(dataset, models)) as folder:
        keeper = Keeper.of(folder, keep, [])
        for identity, given in made.items():
            index = dataset.ids.index(identity)
            if isinstance(given, str):
                store(dataset, Outcome(index, 0, {"id": identity, "error": given}), keeper)
                continue
            record = {"id": identity, **score(dataset, dataset[index], given)}
            traces = tuple(trace for trace in given if trace is not None)
            store(dataset, Outcome(index, 0, record, traces), keeper)
    return RunFolder.read(path)
