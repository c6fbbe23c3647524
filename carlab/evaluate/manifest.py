"""Describe a run: everything that its numbers depend on, as JSON."""

from collections.abc import Sequence
from typing import Any

from carlab.datasets.protocol import Dataset
from carlab.recurrence import ClipAsRnn
from carlab.trace.provenance import provenance, settings

LIGHT = {"batch", "name"}
"""Fields of a model that change no result: a run may resume with others."""


def manifest(dataset: Dataset, models: Sequence[ClipAsRnn]) -> dict[str, Any]:
    """Return the data set, the settings of the model of each pass, backbones with digests, and versions."""
    return {
        "dataset": {
            "name": dataset.name,
            "kind": dataset.kind,
            "split": dataset.split,
            "digest": dataset.digest(),
            "images": len(dataset),
            "classes": dataset.classes,
            "queries": dataset.queries,
            "background": dataset.background,
            "labels_given": dataset.labels_given,
            "passes": [{"classes": part.classes, "background": part.background} for part in dataset.passes],
        },
        "models": [
            {name: value for name, value in settings(model).items() if name not in LIGHT} for model in models
        ],
        # A run goes on where the same weights come from another file: their digest is what counts.
        "provenance": {
            name: text for name, text in provenance(models[0]).items() if not name.endswith(".source")
        },
    }
