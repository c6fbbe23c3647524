"""Compute the scores of a run from its records; the name of each states how it was counted."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote

import numpy as np
from jaxtyping import Num

from carlab.errors import RunError, quoted
from carlab.evaluate.folder import RunFolder
from carlab.metrics import referring, semantic
from carlab.metrics.intervals import Interval, Terms, interval, paired_interval
from carlab.metrics.kept import Kept, kept_by_step
from carlab.metrics.semantic import Tally

Records = Sequence[Mapping[str, Any]]
Metric = Callable[[Num[np.ndarray, "n m"]], Terms]
"""From rows to the terms of a score."""
CountRows = tuple[Num[np.ndarray, "n m"], dict[str, Metric]]
"""A row for each image (or video), and the scores by name."""


@dataclass(frozen=True)
class Protocol:
    """What was measured, on which images (ids, sorted); only scores of equal protocols are compared."""

    dataset: str
    split: str
    kind: str
    background: bool
    labels_given: bool
    images: tuple[str, ...]

    def check_same(self, other: "Protocol") -> None:
        """Raise RunError unless the other is equal."""
        for name in ("dataset", "split", "kind", "background", "labels_given"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise RunError(
                    f"expected runs of one protocol, got {name} {mine!r} and {theirs!r}; "
                    "compare runs over the same data only"
                )
        if self.images != other.images:
            common = len(set(self.images) & set(other.images))
            raise RunError(
                f"expected runs over the same images, got {len(self.images)} and {len(other.images)} "
                f"with {common} in common; finish both, or give both the same --limit"
            )


@dataclass(frozen=True)
class Summary:
    """The scores of a run, from its records.

    Parameters
    ----------
    name
        That of the folder.
    records
        Of the images that did not fail, sorted by id.
    rows, metrics
        Counts of each image (or each video), and the function from them to each score, by name; the first is
        the headline.
    failed
        Errors by image.
    """

    name: str
    protocol: Protocol
    manifest: Mapping[str, Any]
    records: Records
    rows: Num[np.ndarray, "n m"]
    metrics: Mapping[str, Metric]
    failed: Mapping[str, str]

    @classmethod
    def of(cls, folder: RunFolder, ids: Sequence[str]) -> "Summary":
        """Summarise the records of those images that have one."""
        # Sorted, so that rounding adds up alike for the same records.
        everything = list(folder.records(sorted(ids)))
        records = [record for record in everything if "error" not in record]
        failed = {record["id"]: record["error"] for record in everything if "error" in record}
        data = folder.manifest["dataset"]
        known = {name: data[name] for name in ("split", "kind", "background", "labels_given")}
        protocol = Protocol(data["name"], **known, images=tuple(record["id"] for record in records))
        name = unquote(folder.path.resolve().name)
        return cls(name, protocol, folder.manifest, records, *COUNTING[data["kind"]](data, records), failed)

    @property
    def headline(self) -> tuple[str, float]:
        """Name and value of the first score."""
        name = next(iter(self.metrics))
        return name, self.value(name)

    def value(self, name: str) -> float:
        """Return one score, over all images; NaN if there is nothing to score."""
        return self.metrics[name](self.rows).score

    def interval(self, name: str) -> Interval:
        """Return a score with its 95 % interval over images."""
        return interval(self.metrics[name](self.rows))

    def per_class(self) -> dict[str, float]:
        """Return the IoU of each class of a semantic run (else {}); NaN if neither true nor predicted."""
        if self.protocol.kind != "semantic":
            return {}
        first = 0 if self.protocol.background else 1
        names = ["background", *self.manifest["dataset"]["classes"]][first:]
        ious = semantic.label_iou(Tally.of(self.rows.sum(0)))[first:]
        return dict(zip(names, ious.tolist(), strict=True))

    def kept(self) -> list[Kept]:
        """Return precision and recall of the kept classes after each step of a semantic run; else []."""
        return kept_by_step((record["kept"], record["true"]) for record in self.records if "kept" in record)

    def wrong_drops(self) -> list[tuple[str, str, int, float]]:
        """Return the dropped classes that are true: image, class, step from 1, and margin, smallest first."""
        classes = self.manifest["dataset"]["classes"]
        found = [
            (record["id"], classes[index], step + 1, margin)
            for record in self.records
            for index, step, _, margin in record.get("drops", ())
            if index in record["true"] and margin is not None
        ]
        return sorted(found, key=lambda drop: drop[3])


class Running:
    """The headline of an unfinished run, such as "mIoU 41.5"; "" before the first image.

    Each frame of a video counts as a video of its own.
    """

    def __init__(self, folder: RunFolder, records: Records) -> None:
        self.data = folder.manifest["dataset"]
        self.sums: Any = 0
        self.headline = ""
        for record in records:
            self.add(record)

    def add(self, record: Mapping[str, Any]) -> None:
        """Count one more image, unless it failed."""
        if "error" not in record:
            rows, metrics = COUNTING[self.data["kind"]](self.data, [record])
            self.sums = self.sums + rows.sum(0)
            name, metric = next(iter(metrics.items()))
            self.headline = f"{name} {100 * metric(self.sums[None]).score:.1f}"


def difference(a: Summary, b: Summary, name: str) -> Interval:
    """Return the score of b minus that of a, with its 95 % interval; RunError if their protocols differ."""
    a.protocol.check_same(b.protocol)
    return paired_interval(a.metrics[name](a.rows), b.metrics[name](b.rows))


def record_tally(data: Mapping[str, Any], record: Mapping[str, Any]) -> Tally:
    """Return the pixel counts of one image of a semantic run."""
    triples = np.array(record["confusion"], dtype=np.int64).reshape(-1, 3)
    return semantic.tally_of(*triples.T, classes=len(data["classes"]))


def entry_names(data: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    """Return what an image is scored by: the classes of the data set, its expressions, or its objects."""
    names = list(data["classes"] or record["texts"])
    if data["kind"] == "video" and len(names) != len(record["j"]):  # several expressions of one object
        return [f"object {k + 1}" for k in range(len(record["j"]))]
    return names


def entry_ious(data: Mapping[str, Any], record: Mapping[str, Any]) -> tuple[list[float], list[bool]]:
    """Return the IoU of each of `entry_names`, NaN if neither true nor predicted, and whether it is true."""
    if data["kind"] == "semantic":
        counts = record_tally(data, record)
        return semantic.label_iou(counts)[1:].tolist(), (counts.true[1:] > 0).tolist()
    if data["kind"] == "video":
        return record["j"], [True] * len(record["j"])
    ious = referring.mask_iou(*np.array(record["expressions"]).T).tolist()
    return ious, [not nothing for nothing, _ in record["empty"]]


def _label_rows(data: Mapping[str, Any], records: Records) -> CountRows:
    """Return a tally for each image."""
    rows = np.zeros((len(records), 4 * (len(data["classes"]) + 1)), dtype=np.int64)
    for row, record in zip(rows, records, strict=True):
        row[:] = np.concatenate(record_tally(data, record))
    background = data["background"]
    scores: dict[str, Callable[[Tally], Terms]] = {
        "mIoU": partial(semantic.iou_terms, background=background),
        "mIoU without background": partial(semantic.iou_terms, background=False),
        "mIoU over true classes": partial(semantic.true_iou_terms, background=background),
        "mIoU as released": partial(semantic.released_iou_terms, background=background),
        "pixel accuracy": semantic.accuracy_terms,
    }
    if not background:
        del scores["mIoU without background"]  # the same as the first

    def metric(score: Callable[[Tally], Terms], rows: Num[np.ndarray, "n m"]) -> Terms:
        return score(Tally.of(rows))

    return rows, {name: partial(metric, score) for name, score in scores.items()}


def _expression_rows(data: Mapping[str, Any], records: Records) -> CountRows:
    """Return numerator and denominator of each score for each image."""
    names = referring.SCORES + (referring.TARGET_SCORES if data["name"] == "grefcoco" else ())
    rows = np.zeros((len(records), len(names), 2))
    for row, record in zip(rows, records, strict=True):
        scores = referring.ratios(record)
        row[:] = [scores[name] for name in names]
    return rows.reshape(len(records), 2 * len(names)), _ratios(names)


def _video_rows(data: Mapping[str, Any], records: Records) -> CountRows:
    """Return sum and number of the scores of each object and annotator, means over frames, for each video."""
    videos: dict[str, list[Any]] = defaultdict(list)
    for record in records:
        videos[record["video"]].append((record["j"], record["f"]))
    rows = np.zeros((len(videos), 3, 2))
    for (name, frames), row in zip(videos.items(), rows, strict=True):
        if len({len(j) for j, _ in frames}) > 1:
            raise RunError(
                f"expected the same objects in every frame of {quoted(name)}, got different numbers; "
                "run it again into another --out"
            )
        j, f = np.mean(frames, axis=0)
        row[:] = [((j + f).sum() / 2, len(j)), (j.sum(), len(j)), (f.sum(), len(f))]
    return rows.reshape(len(videos), 6), _ratios(("J&F", "J", "F"))


def _ratios(names: Sequence[str]) -> dict[str, Metric]:
    """Return the score of each name, for rows of a numerator and a denominator for each."""

    def ratio(k: int, rows: Num[np.ndarray, "n m"]) -> Terms:
        above, below = rows[:, 2 * k, None], rows[:, 2 * k + 1, None]
        return Terms(above, below, below > 0, np.array([True]))

    return {name: partial(ratio, k) for k, name in enumerate(names)}


COUNTING = {"semantic": _label_rows, "referring": _expression_rows, "video": _video_rows}
"""By kind of data set, from its part of the manifest and the records of some images."""
