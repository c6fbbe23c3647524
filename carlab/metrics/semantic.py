"""Scores of label maps, from int64 counts of pixels.

Label 0 is background. Where background is no class of the data set, no pixel is truly 0, and pixels without
a label are predicted 0.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int64

from carlab.datasets.protocol import IGNORE
from carlab.files.shapes import LabelMap
from carlab.metrics.intervals import Terms


class Tally(NamedTuple):
    """Pixels by label, of one image or many, or a row an image; adds up entry by entry. k = classes + 1."""

    hit: Int64[np.ndarray, "*n k"]
    """Predicted and true."""
    true: Int64[np.ndarray, "*n k"]
    predicted: Int64[np.ndarray, "*n k"]
    missed: Int64[np.ndarray, "*n k"]
    """True, and predicted as background."""

    @classmethod
    def of(cls, rows: Int64[np.ndarray, "*n m"]) -> "Tally":
        """Return a tally from rows that hold its entries one after the other (m = 4 k)."""
        return cls(*np.split(rows, 4, axis=-1))


def confusion(truth: LabelMap, labels: LabelMap, classes: int) -> Int64[np.ndarray, "k k"]:
    """Count pixels by true (row) and predicted (column) label; ignored pixels are left out."""
    counted = truth != IGNORE
    pairs = truth[counted].astype(np.int64) * (classes + 1) + labels[counted]
    return np.bincount(pairs, minlength=(classes + 1) ** 2).reshape(classes + 1, classes + 1)


def tally(counts: Int64[np.ndarray, "k k"]) -> Tally:
    """Return the counts of a confusion matrix that the scores need."""
    return Tally(np.diagonal(counts).copy(), counts.sum(1), counts.sum(0), counts[:, 0].copy())


def tally_of(
    true: Int64[np.ndarray, " n"],
    predicted: Int64[np.ndarray, " n"],
    pixels: Int64[np.ndarray, " n"],
    *,
    classes: int,
) -> Tally:
    """Return the counts of a confusion matrix that is given as labels, true and predicted, and pixels.

    >>> tally_of(np.array([0, 1]), np.array([0, 0]), np.array([5, 2]), classes=1).missed
    array([5, 2])
    """

    def by(
        labels: Int64[np.ndarray, " n"], counted: Bool[np.ndarray, " n"] | bool
    ) -> Int64[np.ndarray, " k"]:
        total = np.zeros(classes + 1, dtype=np.int64)
        np.add.at(total, labels, np.where(counted, pixels, 0))
        return total

    return Tally(by(true, true == predicted), by(true, True), by(predicted, True), by(true, predicted == 0))


def label_iou(counts: Tally) -> Float[np.ndarray, " k"]:
    """Return the IoU of each label; NaN for one that neither truth nor prediction holds."""
    union = counts.true + counts.predicted - counts.hit
    return np.divide(counts.hit, union, out=np.full(len(union), np.nan), where=union > 0)


def mean_iou(counts: Tally, *, background: bool) -> float:
    """Return the mean IoU of one tally over all labels in truth or prediction; NaN if there is none."""
    return iou_terms(Tally(*np.stack(counts)[:, None]), background=background).score


def iou_terms(counts: Tally, *, background: bool) -> Terms:
    """Return the mean IoU over all labels in truth or prediction, as VOC does, from a tally of each image.

    A class that was predicted but is nowhere true counts 0. `background`: whether label 0 is one of them.
    """
    union = counts.true + counts.predicted - counts.hit
    return Terms(counts.hit, union, counts.true > 0, np.arange(union.shape[1]) >= (0 if background else 1))


def true_iou_terms(counts: Tally, *, background: bool) -> Terms:
    """Return the mean IoU over the labels of the truth; others cost only the pixels they take."""
    terms = iou_terms(counts, background=background)
    return terms._replace(counted=terms.counted & counts.true.any(axis=0))


def released_iou_terms(counts: Tally, *, background: bool) -> Terms:
    """Return the mean IoU exactly as the released code computes it (quirk 11), over the labels of the truth.

    Without background, pixels predicted as background are deleted from the confusion matrix: missed pixels
    cost nothing.
    """
    if not background:
        counts = counts._replace(true=counts.true - counts.missed)
    return true_iou_terms(counts, background=background)


def accuracy_terms(counts: Tally) -> Terms:
    """Return the share of pixels with the true label."""
    hit, true = (values.sum(axis=1, keepdims=True) for values in (counts.hit, counts.true))
    return Terms(hit, true, true > 0, np.array([True]))
