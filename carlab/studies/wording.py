"""Vocabulary: how far scores hang on the words: synonyms, templates and background lists of one's own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int64
from matplotlib.figure import Figure

from carlab.errors import QueryError, SettingError
from carlab.files.shapes import LabelMap
from carlab.metrics.intervals import Interval, Terms, interval, paired_interval, shown
from carlab.metrics.semantic import Tally, confusion, iou_terms, tally
from carlab.trace.show import text_table

if TYPE_CHECKING:
    from carlab.recurrence import ClipAsRnn


@dataclass(frozen=True)
class Wording:
    """Words to try; what is None stays as it is.

    Parameters
    ----------
    queries
        A synonym for each class, in the order of the classes.
    templates
        Of the classifier.
    background
        Background queries, () for none.
    """

    queries: tuple[str, ...] | None = None
    templates: tuple[str, ...] | None = None
    background: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Counts of every image in every wording; all scores are sums of them.

    Parameters
    ----------
    names
        Of the wordings; the others are compared with the first.
    counts
        By wording and image: pixels hit, true, predicted and missed by label, label 0 the background.
    overlap
        By wording and image: common classes and all classes kept by it or by the first wording.
    background
        Whether label 0 counts as a class.
    """

    names: tuple[str, ...]
    counts: Int64[np.ndarray, "v n m"]
    overlap: Int64[np.ndarray, "v n 2"]
    background: bool = True

    def miou(self, name: str) -> Interval:
        """Return the mIoU of a wording, and its 95 % interval over images."""
        return interval(self._iou(name))

    def difference(self, name: str) -> Interval:
        """Return its mIoU less that of the first wording, paired over images."""
        return paired_interval(self._iou(self.names[0]), self._iou(name))

    def agreement(self, name: str) -> Interval:
        """Return how far the kept classes are those of the first wording: common ones over all, in [0, 1]."""
        alike = self.overlap[self.names.index(name)]
        if not alike.any():
            return Interval(1.0, float("nan"), float("nan"))  # no wording kept anything
        common, kept = alike[:, :1], alike[:, 1:]
        return interval(Terms(common, kept, kept > 0, np.array([True])))

    @property
    def spread(self) -> float:
        """The highest mIoU of a wording less the lowest."""
        values = [self._iou(name).score for name in self.names]
        return max(values) - min(values)

    def rows(self) -> list[dict[str, Any]]:
        """Return a row of JSON values for each wording; intervals are (value, low, high)."""
        return [
            {
                "wording": name,
                "mIoU": self.miou(name),
                "difference": self.difference(name),
                "kept alike": self.agreement(name),
                "images": self.counts.shape[1],
            }
            for name in self.names
        ]

    def __str__(self) -> str:
        cells = [
            (
                row["wording"],
                *(shown(row[key]) for key in ("mIoU", "difference", "kept alike")),
                str(row["images"]),
            )
            for row in self.rows()
        ]
        return text_table(cells, ("wording", "mIoU", f"less {self.names[0]}", "kept alike", "images"))

    def figure(self, **options: Any) -> Figure:
        """Draw the mIoU of every wording with its interval over images."""
        from carlab.studies.figures import vocabulary_figure

        return vocabulary_figure(self, **options)

    def _iou(self, name: str) -> Terms:
        counts = Tally.of(self.counts[self.names.index(name)])
        return iou_terms(counts, background=self.background)


def vocabulary(
    model: "ClipAsRnn",
    examples: Iterable[tuple[Any, LabelMap]],
    classes: Sequence[str],
    wordings: Mapping[str, Wording],
    *,
    background: bool = True,
) -> Vocabulary:
    """Run every image in every wording, on one trunk pass an image, and score all of them.

    Raises SettingError if there is no wording or no example; QueryError if a wording has another number of
    queries than there are classes, or its words cannot be used.

    Parameters
    ----------
    model, classes
        What runs, and its usual queries.
    examples
        Images with their true labels: 0 background, i + 1 = classes[i], -1 where nothing counts.
    wordings
        By name, the first is that with which the others are compared; `Wording()` changes nothing.
    background
        Whether background counts as a class in the mIoU.

    Examples
    --------
    >>> truth = np.zeros(image.shape[:2], dtype=np.int64)
    >>> wordings = {"plain": Wording(), "pets": Wording(queries=("kitten", "puppy"))}
    >>> study = vocabulary(model, [(image, truth)], ["cat", "dog"], wordings)
    >>> study.counts.shape, study.agreement("plain").value
    ((2, 1, 12), 1.0)
    """
    from carlab.photo import Photo
    from carlab.recurrence import Run, recur

    variants = [_reworded(model, classes, name, wording) for name, wording in wordings.items()]
    counts, overlap = [], []
    for image, truth in examples:
        photo = Photo.of(image)
        runs = [Run(changed, photo, queries, words) for changed, queries, words in variants]
        recur(runs, model.batch)
        traces = [run.trace() for run in runs]
        kept = [set(trace.survivors.tolist()) for trace in traces]
        counts.append(
            [np.concatenate(tally(confusion(truth, trace.labels, len(classes)))) for trace in traces]
        )
        overlap.append([(len(kept[0] & one), len(kept[0] | one)) for one in kept])
    if not (wordings and counts):
        raise SettingError("expected one or more wordings and examples, got none; Wording() changes nothing")
    by_wording = np.array(counts, dtype=np.int64).swapaxes(0, 1), np.array(overlap).swapaxes(0, 1)
    return Vocabulary(tuple(wordings), *by_wording, background)


def _reworded(
    model: "ClipAsRnn", classes: Sequence[str], name: str, wording: Wording
) -> "tuple[ClipAsRnn, tuple[str, ...], tuple[str, ...] | None]":
    """Return the model, queries and background of a wording."""
    queries = tuple(classes) if wording.queries is None else wording.queries
    if len(queries) != len(classes):
        raise QueryError(
            f"expected {len(classes)} queries, one for each class, got {len(queries)} in {name!r}; "
            "repeat the class itself where it has no synonym"
        )
    if wording.templates is None:
        return model, queries, wording.background
    classifier: Any = model.classifier
    return (
        replace(model, classifier=replace(classifier, templates=wording.templates)),
        queries,
        wording.background,
    )
