"""Turn the traces of one image into its record: small counts that add up over images, as JSON values."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from carlab.datasets.protocol import Dataset, Sample
from carlab.errors import DatasetError
from carlab.metrics import referring, semantic, video
from carlab.trace import Trace


class PassTrace(NamedTuple):
    """The trace of a pass, and the class of each of its queries."""

    classes: Sequence[int]
    stuff: bool
    trace: Trace


def classes_of(dataset: Dataset, sample: Sample, number: int) -> list[int]:
    """Return the classes of a pass that are queries: all, or those present when labels are given."""
    present = true_classes(sample.truth()) if dataset.labels_given else range(len(dataset.classes))
    return [index for index in dataset.passes[number].classes if index in present]


def runs_of(dataset: Dataset, sample: Sample) -> list[tuple[int, list[str]]]:
    """Return the runs to make on an image: the number of the pass, and the queries.

    A semantic data set has one for each pass. In the others the different expressions of an object are the
    queries of one run, so that those of several objects do not compete (docs/method.md, quirk 12).
    """
    if dataset.kind == "semantic":
        numbers = range(len(dataset.passes))
        return [(n, [dataset.queries[index] for index in classes_of(dataset, sample, n)]) for n in numbers]
    groups = ([sample.expressions[k] for k in positions] for positions in sample.members.values())
    return [(0, list(dict.fromkeys([*group, *sample.distractors]))) for group in groups]


def true_classes(truth: Int[np.ndarray, "h w"]) -> list[int]:
    """Return the classes in a label map."""
    return [int(label) - 1 for label in np.unique(truth[truth > 0])]


def score(dataset: Dataset, sample: Sample, traces: Sequence[Trace | None]) -> dict[str, Any]:
    """Return the record of an image: counts of pixels, queries kept and dropped, and the cost.

    `traces` has one for each of `runs_of`, None where there were no queries, or none that could be read.
    `score` is in [0, 1], to rank images. A truth that cannot be read, or has another size than the image,
    raises DatasetError.
    """
    truth = sample.truth()
    made = [trace for trace in traces if trace is not None]
    for trace in made:
        if truth.shape[-2:] != trace.image.shape[:2]:
            raise DatasetError(
                f"expected a truth of {trace.image.shape[:2]} pixels for {sample.id!r}, got "
                f"{truth.shape[-2:]}; take image and mask from one release of the data set"
            )
    judge = {"semantic": _score_labels, "referring": _score_expressions, "video": _score_frame}[dataset.kind]
    return {
        **judge(dataset, sample, traces, truth),
        "seconds": _sum(trace.seconds for trace in made),
        "passes": _sum(trace.passes for trace in made),
        "stop": [trace.stop for trace in made],
    }


def _sum(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(total)


def _score_labels(
    dataset: Dataset, sample: Sample, traces: Sequence[Trace | None], truth: Int[np.ndarray, "h w"]
) -> dict[str, Any]:
    passes = [
        PassTrace(classes_of(dataset, sample, number), dataset.passes[number].stuff, trace)
        for number, trace in enumerate(traces)
        if trace is not None
    ]
    counts = semantic.confusion(truth, merged_labels(truth.shape, passes), len(dataset.classes))
    value = semantic.mean_iou(semantic.tally(counts), background=dataset.background)
    return {
        "score": None if np.isnan(value) else value,
        "confusion": [[int(t), int(p), int(counts[t, p])] for t, p in np.argwhere(counts)],
        "true": true_classes(truth),
        "kept": _kept_classes(passes),
        "drops": [
            [part.classes[drop.query], drop.step, drop.score, None if isnan(drop.margin) else drop.margin]
            for part in passes
            for drop in part.trace.drops
        ],
    }


def merged_labels(size: tuple[int, ...], passes: Sequence[PassTrace]) -> Int[np.ndarray, "h w"]:
    """Return the label map over all passes: 0 background, i + 1 = class i; things paint over stuff."""
    labels = np.zeros(size, dtype=np.int64)
    for part in sorted(passes, key=lambda part: not part.stuff):
        found = np.array([0, *(index + 1 for index in part.classes)])[part.trace.labels]
        labels = np.where(found > 0, found, labels)
    return labels


def _kept_classes(passes: Sequence[PassTrace]) -> list[list[int]]:
    """Return the classes kept after each step, over all passes; one that ended counts with its last step."""
    return [
        sorted(
            part.classes[query]
            for part in passes
            for query in part.trace.steps[min(t, len(part.trace.steps) - 1)].survivors
        )
        for t in range(max((len(part.trace.steps) for part in passes), default=0))
    ]


class _Found(NamedTuple):
    """What the traces of an image found of its expressions and of their objects."""

    expressions: Bool[np.ndarray, "e h w"]
    released: Bool[np.ndarray, "o h w"]
    """Mask of each object, merged as released."""


def _found(sample: Sample, traces: Sequence[Trace | None], size: tuple[int, ...]) -> _Found:
    """Return the final mask of each expression, empty where it was dropped, and of each object."""
    masks = np.zeros((len(sample.expressions), *size), dtype=bool)
    merged = np.zeros((len(sample.members), *size), dtype=bool)
    for positions, trace, whole in zip(sample.members.values(), traces, merged, strict=True):
        if trace is None:
            continue
        for position in positions:
            # A query that could not be read is not in the trace.
            if sample.expressions[position] in trace.queries:
                masks[position] = trace[sample.expressions[position]]
        last = trace.steps[-1]
        own = np.array([query not in sample.distractors for query in trace.found], dtype=bool)
        whole[:] = referring.merge_released(trace.refined[own], last.scores[last.kept][own].tolist())
    return _Found(masks, merged)


def _score_expressions(
    dataset: Dataset, sample: Sample, traces: Sequence[Trace | None], truth: Bool[np.ndarray, "e h w"]
) -> dict[str, Any]:
    found, members = _found(sample, traces, truth.shape[1:]), list(sample.members.values())
    as_released = truth if sample.released_truth is None else sample.released_truth()
    by_union = np.stack([found.expressions[rows].any(0) for rows in members])
    per_expression = referring.overlaps(truth, found.expressions)
    objects = np.stack([truth[rows].any(0) for rows in members])
    objects_released = np.stack([as_released[rows].any(0) for rows in members])
    return {
        "score": float(referring.mask_iou(*per_expression).mean()),
        "expressions": np.stack(per_expression, -1).tolist(),
        "objects": np.stack(referring.overlaps(objects, by_union), -1).tolist(),
        "released": np.stack(referring.overlaps(objects_released, found.released), -1).tolist(),
        "empty": [
            [bool(not t.any()), bool(not m.any())] for t, m in zip(truth, found.expressions, strict=True)
        ],
        **_asked(sample, traces),
    }


def _score_frame(
    dataset: Dataset, sample: Sample, traces: Sequence[Trace | None], truth: Bool[np.ndarray, "e h w"]
) -> dict[str, Any]:
    found, first = _found(sample, traces, truth.shape[1:]), [rows[0] for rows in sample.members.values()]
    pairs = list(zip(truth[first], found.released, strict=True))
    regions = [video.region_similarity(*pair) for pair in pairs]
    return {
        "score": float(np.mean(regions)),
        "video": sample.video,
        "j": regions,
        "f": [video.boundary_accuracy(*pair) for pair in pairs],
        **_asked(sample, traces),
    }


def _asked(sample: Sample, traces: Sequence[Trace | None]) -> dict[str, Any]:
    """Return the expressions, those of each run that was made, and those that the model could not read."""
    groups = list(zip(sample.members.values(), traces, strict=True))
    return {
        "texts": list(sample.expressions),
        "runs": [rows for rows, trace in groups if trace is not None],
        "unread": [
            row for rows, trace in groups for row in rows
            if trace is None or sample.expressions[row] not in trace.queries
        ],
    }  # fmt: skip
