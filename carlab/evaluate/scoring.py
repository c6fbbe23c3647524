"""From the traces of one image to its record: small counts that add up, as JSON values."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from carlab.datasets.protocol import Dataset, Sample
from carlab.trace import Trace


def queries_of(dataset: Dataset, sample: Sample, number: int) -> list[str]:
    """What an image is asked in a pass: the words of its classes, or its different expressions."""
    if dataset.kind == "semantic":
        return [dataset.queries[index] for index in dataset.passes[number].classes]
    return list(dict.fromkeys(sample.expressions))


def predicted(dataset: Dataset, traces: Sequence[Trace]) -> Int[np.ndarray, "h w"]:
    """Label map over all passes: 0 background, i + 1 = classes[i]; things paint over stuff."""
    labels = np.zeros(traces[0].image.shape[:2], dtype=np.int64)
    ordered = sorted(zip(dataset.passes, traces, strict=True), key=lambda pair: not pair[0].stuff)
    for part, trace in ordered:
        found = trace.labels
        painted = found > 0
        labels[painted] = np.array([0, *(index + 1 for index in part.classes)])[found[painted]]
    return labels
