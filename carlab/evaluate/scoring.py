"""From the traces of one image to its record: small counts that add up, as JSON values."""

from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from carlab.datasets.protocol import Dataset, Sample
from carlab.errors import DatasetError
from carlab.metrics import referring, semantic, video
from carlab.trace import Trace


def classes_of(dataset: Dataset, sample: Sample, number: int) -> tuple[int, ...]:
    """Which classes an image is asked for in a pass: all, or those that are there when labels are given."""
    asked = dataset.passes[number].classes
    if not dataset.labels_given:
        return asked
    there = set(true_classes(sample.truth()))
    return tuple(index for index in asked if index in there)


def queries_of(dataset: Dataset, sample: Sample, number: int) -> list[str]:
    """What an image is asked in a pass: the words of its classes, or its different expressions."""
    if dataset.kind == "semantic":
        return [dataset.queries[index] for index in classes_of(dataset, sample, number)]
    return list(dict.fromkeys(sample.expressions))


def true_classes(truth: Int[np.ndarray, "h w"]) -> list[int]:
    """Classes that a label map holds."""
    return [int(label) - 1 for label in np.unique(truth[truth > 0])]


def score(dataset: Dataset, sample: Sample, traces: Sequence[Trace | None]) -> dict[str, Any]:
    """The record of an image: counts of its pixels, what was kept and dropped, what it cost.

    `score` is in [0, 1], to rank images by. A pass that asked nothing has no trace.

    Raises
    ------
    DatasetError
        If the truth cannot be read, or has another size than the photo.
    """
    truth = sample.truth()
    made = [trace for trace in traces if trace is not None]
    for trace in made:
        if truth.shape[-2:] != trace.image.shape[:2]:
            raise DatasetError(
                f"expected a truth of {trace.image.shape[:2]} pixels for {sample.id!r}, got "
                f"{truth.shape[-2:]}; take photo and mask from one release of the data set"
            )
    judge = {"semantic": _semantic, "referring": _referring, "video": _video}[dataset.kind]
    return {
        **judge(dataset, sample, traces, truth),
        "seconds": _sum(trace.seconds for trace in made),
        "passes": _sum(trace.passes for trace in made),
        "stop": [trace.stop for trace in made],
    }


def _sum(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0) + value
    return total


def expressed(sample: Sample, trace: Trace) -> Bool[np.ndarray, "e h w"]:
    """The final mask of each expression, empty where it was dropped."""
    masks = np.zeros((len(sample.expressions), *trace.image.shape[:2]), dtype=bool)
    rows = {trace.queries[query]: row for row, query in enumerate(trace.survivors)}
    for place, text in enumerate(sample.expressions):
        if text in rows:
            masks[place] = trace.refined[rows[text]]
    return masks


class Asked(NamedTuple):
    """A pass that was run: its classes, by place of the query, and its trace."""

    classes: tuple[int, ...]
    stuff: bool
    trace: Trace


def _semantic(
    dataset: Dataset, sample: Sample, traces: Sequence[Trace | None], truth: Int[np.ndarray, "h w"]
) -> dict[str, Any]:
    passes = [
        Asked(classes_of(dataset, sample, number), dataset.passes[number].stuff, trace)
        for number, trace in enumerate(traces)
        if trace is not None
    ]
    counts = semantic.confusion(truth, painted(truth.shape, passes), len(dataset.classes))
    value = semantic.mean_iou(semantic.tally(counts), background=dataset.background)
    return {
        "score": None if np.isnan(value) else value,
        "confusion": [[int(t), int(p), int(counts[t, p])] for t, p in np.argwhere(counts)],
        "true": true_classes(truth),
        "kept": _kept(passes),
        "drops": [
            [part.classes[drop.query], drop.step, drop.score, None if isnan(drop.margin) else drop.margin]
            for part in passes
            for drop in part.trace.drops
        ],
    }


def painted(size: tuple[int, ...], passes: Sequence[Asked]) -> Int[np.ndarray, "h w"]:
    """Label map over all passes: 0 background, i + 1 = classes[i]; things paint over stuff."""
    labels = np.zeros(size, dtype=np.int64)
    for part in sorted(passes, key=lambda part: not part.stuff):
        found = part.trace.labels
        labels[found > 0] = np.array([0, *(index + 1 for index in part.classes)])[found[found > 0]]
    return labels


def _kept(passes: Sequence[Asked]) -> list[list[int]]:
    """Classes kept after each step, over all passes; a pass that had stopped keeps what it has."""
    return [
        sorted(
            part.classes[query]
            for part in passes
            for query in part.trace.steps[min(t, len(part.trace.steps) - 1)].survivors
        )
        for t in range(max((len(part.trace.steps) for part in passes), default=0))
    ]


def _referring(
    dataset: Dataset, sample: Sample, traces: Sequence[Any], truth: Bool[np.ndarray, "e h w"]
) -> dict[str, Any]:
    masks = expressed(sample, traces[0])
    meant = np.array(sample.objects)
    merged = [(truth[meant == name].any(0), masks[meant == name].any(0)) for name in dict.fromkeys(meant)]
    true, found = (np.stack(part) for part in zip(*merged, strict=True))
    per_expression, per_object = referring.overlaps(truth, masks), referring.overlaps(true, found)
    return {
        "score": float(referring.iou(*per_expression).mean()),
        "expressions": np.stack(per_expression, -1).tolist(),
        "objects": np.stack(per_object, -1).tolist(),
        "empty": [[bool(not t.any()), bool(not m.any())] for t, m in zip(truth, masks, strict=True)],
    }


def _video(
    dataset: Dataset, sample: Sample, traces: Sequence[Any], truth: Bool[np.ndarray, "e h w"]
) -> dict[str, Any]:
    pairs = list(zip(truth, expressed(sample, traces[0]), strict=True))
    regions = [video.region_similarity(*pair) for pair in pairs]
    return {
        "score": float(np.mean(regions)),
        "video": sample.video,
        "j": regions,
        "f": [video.boundary_accuracy(*pair) for pair in pairs],
    }
