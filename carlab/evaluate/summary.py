"""From the records of a run to its numbers, each under a name that says how it was counted."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote

import numpy as np
from jaxtyping import Float, Int64, Num

from carlab.errors import RunError
from carlab.evaluate.folder import RunFolder
from carlab.metrics import referring, semantic
from carlab.metrics.bootstrap import Interval, interval
from carlab.metrics.kept import Kept, kept_by_step
from carlab.metrics.semantic import Tally

Metric = Callable[[Num[np.ndarray, " m"]], float]


@dataclass(frozen=True)
class Protocol:
    """What a number is about; numbers of two protocols are not compared."""

    dataset: str
    split: str
    kind: str
    background: bool
    labels_given: bool
    images: tuple[str, ...]
    """The images scored, sorted."""

    def check_same(self, other: "Protocol") -> None:
        """Raise RunError unless the other is the same."""
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
    """The numbers of a run, summed up from its records.

    Attributes
    ----------
    name
        That of the folder.
    rows, metrics
        Counts of each image (or each video), and from their sum to each score by name; the first is the
        headline.
    failed
        Errors by image.
    """

    name: str
    protocol: Protocol
    manifest: Mapping[str, Any]
    records: Sequence[Mapping[str, Any]]
    rows: Num[np.ndarray, "n m"]
    metrics: Mapping[str, Metric]
    failed: Mapping[str, str]

    @classmethod
    def of(cls, folder: RunFolder, ids: Sequence[str]) -> "Summary":
        """Sum up the records of those images that have one, in an order of their own.

        The bootstrap draws rows by their place: sorted, the same records always give the same interval.
        """
        everything = list(folder.records(sorted(ids)))
        records = [record for record in everything if "error" not in record]
        failed = {record["id"]: record["error"] for record in everything if "error" in record}
        data = folder.manifest["dataset"]
        told = {name: data[name] for name in ("split", "kind", "background", "labels_given")}
        protocol = Protocol(data["name"], **told, images=tuple(record["id"] for record in records))
        rows, metrics = _BUILD[data["kind"]](data, records)
        return cls(
            unquote(folder.path.resolve().name), protocol, folder.manifest, records, rows, metrics, failed
        )

    @property
    def headline(self) -> tuple[str, float]:
        """Name and value of the first score."""
        name = next(iter(self.metrics))
        return name, self.value(name)

    def value(self, name: str) -> float:
        """One score, over all images; NaN if there is nothing to score."""
        return self.metrics[name](self.rows.sum(0))

    def interval(self, name: str) -> Interval:
        """A score with its 95 % interval over images."""
        return interval(self.rows, self.metrics[name])

    def per_class(self) -> dict[str, float]:
        """IoU of each class of a semantic run, background first where it counts; NaN where not met."""
        data = self.manifest["dataset"]
        names = ["background", *data["classes"]]
        values = dict(zip(names, semantic.iou(_tally(self.rows.sum(0))).tolist(), strict=True))
        return values if data["background"] else {name: values[name] for name in data["classes"]}

    def kept(self) -> list[Kept]:
        """Precision and recall of the kept words after each step of a semantic run."""
        return kept_by_step((record["kept"], record["true"]) for record in self.records)

    def wrong_drops(self) -> list[tuple[str, str, int, float]]:
        """Words that are true but fell: image, class, step from 1, and margin; the closest first."""
        classes = self.manifest["dataset"]["classes"]
        found = [
            (record["id"], classes[index], step + 1, margin)
            for record in self.records
            for index, step, _, margin in record["drops"]
            if index in record["true"] and margin is not None
        ]
        return sorted(found, key=lambda drop: drop[3])


class Running:
    """The headline of a run while it goes on; in a video it takes every frame for a video of its own."""

    def __init__(self, folder: RunFolder, records: Sequence[Mapping[str, Any]]) -> None:
        self.data = folder.manifest["dataset"]
        self.sums: Any = 0
        self.told = ""
        """Such as "mIoU 41.5"; empty before the first image."""
        for record in records:
            self.add(record)

    def add(self, record: Mapping[str, Any]) -> None:
        """Count one more image, unless it failed."""
        if "error" not in record:
            rows, metrics = _BUILD[self.data["kind"]](self.data, [record])
            self.sums = self.sums + rows.sum(0)
            name, metric = next(iter(metrics.items()))
            self.told = f"{name} {100 * metric(self.sums):.1f}"


def difference(a: Summary, b: Summary, name: str) -> Interval:
    """Score of b minus score of a, with its 95 % interval over the same images.

    Raises
    ------
    RunError
        If the two are not of one protocol over the same images.
    """
    a.protocol.check_same(b.protocol)
    half = a.rows.shape[1]
    metric_a, metric_b = a.metrics[name], b.metrics[name]
    return interval(
        np.concatenate([a.rows, b.rows], axis=1), lambda sums: metric_b(sums[half:]) - metric_a(sums[:half])
    )


def _tally(sums: Num[np.ndarray, " m"]) -> Tally:
    return Tally(*sums.reshape(4, -1))


def _semantic(
    data: Mapping[str, Any], records: Sequence[Mapping[str, Any]]
) -> tuple[Int64[np.ndarray, "n m"], dict[str, Metric]]:
    labels = len(data["classes"]) + 1
    rows = np.zeros((len(records), 4, labels), dtype=np.int64)
    for row, record in zip(rows, records, strict=True):
        counts = np.zeros((labels, labels), dtype=np.int64)
        for true, predicted, pixels in record["confusion"]:
            counts[true, predicted] = pixels
        row[:] = semantic.tally(counts)

    def named(score: Callable[..., float], **options: Any) -> Metric:
        return lambda sums: score(_tally(sums), **options)

    background = data["background"]
    metrics = {"mIoU": named(semantic.mean_iou, background=background)}
    if background:
        metrics["mIoU without background"] = named(semantic.mean_iou, background=False)
    metrics["mIoU over true classes"] = named(semantic.true_mean_iou, background=background)
    metrics["mIoU as released"] = named(semantic.released_mean_iou, background=background)
    metrics["pixel accuracy"] = named(semantic.pixel_accuracy)
    return rows.reshape(len(records), 4 * labels), metrics


def _ratio(sums: Num[np.ndarray, " m"], above: int, below: int) -> float:
    return float(sums[above] / sums[below]) if sums[below] else float("nan")


def _referring(
    data: Mapping[str, Any], records: Sequence[Mapping[str, Any]]
) -> tuple[Float[np.ndarray, "n m"], dict[str, Metric]]:
    scores = [
        referring.ratios(*(np.array(record[part]) for part in ("expressions", "objects", "empty")))
        for record in records
    ]
    names = referring.SCORES + (referring.TARGET_SCORES if data["name"] == "grefcoco" else ())
    rows = np.array([[score[name] for name in names] for score in scores], dtype=float)
    return rows.reshape(len(records), 2 * len(names)), {
        name: partial(_ratio, above=2 * k, below=2 * k + 1) for k, name in enumerate(names)
    }


def _video(
    data: Mapping[str, Any], records: Sequence[Mapping[str, Any]]
) -> tuple[Float[np.ndarray, "n m"], dict[str, Metric]]:
    """Mean over the frames of an object, then over objects; a row is a video."""
    videos: dict[str, list[Any]] = defaultdict(list)
    for record in records:
        videos[record["video"]].append((record["j"], record["f"]))
    means = [np.array(frames).mean(0) for frames in videos.values()]
    rows = np.array([[j.sum(), f.sum(), len(j)] for j, f in means]).reshape(len(means), 3)
    return rows, {
        "J&F": lambda sums: (_ratio(sums, 0, 2) + _ratio(sums, 1, 2)) / 2,
        "J": partial(_ratio, above=0, below=2),
        "F": partial(_ratio, above=1, below=2),
    }


_BUILD = {"semantic": _semantic, "referring": _referring, "video": _video}
"""From what the manifest says of the data, and records, to rows of counts and the scores of their sum."""
