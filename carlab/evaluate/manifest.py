"""What a run is: everything that its numbers depend on, as JSON."""

from collections.abc import Sequence
from typing import Any

from carlab.datasets.protocol import Dataset
from carlab.evaluate.engine import LIGHT
from carlab.provenance import provenance, settings
from carlab.recurrence import ClipAsRnn


def manifest(dataset: Dataset, models: Sequence[ClipAsRnn]) -> dict[str, Any]:
    """Data set, settings of the model of each pass, backbones with their digests, and versions.

    Settings that change no result (`batch`) are left out: a run may go on with others.
    """
    return {
        "dataset": {
            "name": dataset.name,
            "kind": dataset.kind,
            "split": dataset.split,
            "digest": dataset.digest(),
            "images": len(dataset),
            "classes": list(dataset.classes),
            "queries": list(dataset.queries),
            "background": dataset.background,
            "labels_given": dataset.labels_given,
            "passes": [
                {"classes": list(part.classes), "background": _words(part.background)}
                for part in dataset.passes
            ],
        },
        "models": [
            {name: value for name, value in settings(model).items() if name not in LIGHT} for model in models
        ],
        "provenance": provenance(models[0]),
    }


def _words(background: tuple[str, ...] | None) -> list[str] | None:
    return None if background is None else list(background)
