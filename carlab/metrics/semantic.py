"""Scores of label maps, from int64 counts of pixels.

Label 0 is background. Where background is no class of the data set, no pixel is truly 0, and what was
left unlabelled by mistake is predicted 0.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Int64

from carlab.datasets.protocol import IGNORE


class Tally(NamedTuple):
    """Pixels by label, over any number of images; adds up entry by entry. k = classes + 1."""

    hit: Int64[np.ndarray, " k"]
    """Predicted and true."""
    true: Int64[np.ndarray, " k"]
    predicted: Int64[np.ndarray, " k"]
    missed: Int64[np.ndarray, " k"]
    """True, and predicted as background."""


def confusion(
    truth: Int[np.ndarray, "h w"], labels: Int[np.ndarray, "h w"], classes: int
) -> Int64[np.ndarray, "k k"]:
    """Count pixels by true (row) and predicted (column) label; ignored pixels are left out."""
    counted = truth != IGNORE
    pairs = truth[counted].astype(np.int64) * (classes + 1) + labels[counted]
    return np.bincount(pairs, minlength=(classes + 1) ** 2).reshape(classes + 1, classes + 1)


def tally(counts: Int64[np.ndarray, "k k"]) -> Tally:
    """What scores need of a confusion matrix."""
    return Tally(np.diagonal(counts).copy(), counts.sum(1), counts.sum(0), counts[:, 0].copy())


def iou(counts: Tally) -> Float[np.ndarray, " k"]:
    """Intersection over union of each label; NaN for one that neither truth nor prediction holds."""
    union = counts.true + counts.predicted - counts.hit
    return np.divide(counts.hit, union, out=np.full(len(union), np.nan), where=union > 0)


def mean_iou(counts: Tally, *, background: bool) -> float:
    """Mean IoU over all labels met, as VOC counts it; NaN if there is none.

    A class that was predicted but is nowhere true counts 0. `background`: whether label 0 is one of them.
    """
    return _mean(iou(counts)[0 if background else 1 :])


def true_mean_iou(counts: Tally, *, background: bool) -> float:
    """Mean IoU over the labels that the truth holds; others cost only the pixels they take."""
    values = np.where(counts.true > 0, iou(counts), np.nan)
    return _mean(values[0 if background else 1 :])


def released_mean_iou(counts: Tally, *, background: bool) -> float:
    """Mean IoU exactly as the released code has it (quirk 11).

    Over the labels of the truth; without background, pixels predicted as background are deleted from the
    confusion matrix, so that what was missed costs nothing, nor what was found where there is none.
    """
    if background:
        return true_mean_iou(counts, background=True)
    kept = counts.true - counts.missed
    values = iou(counts._replace(true=kept))
    return _mean(np.where(kept > 0, values, np.nan)[1:])


def pixel_accuracy(counts: Tally) -> float:
    """Share of pixels with the true label; NaN if there is no pixel."""
    return float(counts.hit.sum() / counts.true.sum()) if counts.true.sum() else float("nan")


def _mean(values: Float[np.ndarray, " n"]) -> float:
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")
