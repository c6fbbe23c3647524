"""Scores of label maps, all from one confusion matrix of int64 counts.

Row = true label, column = predicted label; label 0 is background. Where background is no class of the data
set its row is empty, and its column holds what was left unlabelled by mistake.
"""

import numpy as np
from jaxtyping import Float, Int, Int64

from carlab.datasets.protocol import IGNORE


def confusion(
    truth: Int[np.ndarray, "h w"], labels: Int[np.ndarray, "h w"], classes: int
) -> Int64[np.ndarray, "k k"]:
    """Count pixels by true and predicted label; ignored pixels are left out. k = classes + 1."""
    counted = truth != IGNORE
    pairs = truth[counted].astype(np.int64) * (classes + 1) + labels[counted]
    return np.bincount(pairs, minlength=(classes + 1) ** 2).reshape(classes + 1, classes + 1)


def iou(counts: Int64[np.ndarray, "k k"]) -> Float[np.ndarray, " k"]:
    """Intersection over union of each label; NaN for one that neither truth nor prediction holds."""
    hit = np.diagonal(counts)
    union = counts.sum(0) + counts.sum(1) - hit
    return np.divide(hit, union, out=np.full(len(hit), np.nan), where=union > 0)


def mean_iou(counts: Int64[np.ndarray, "k k"], *, background: bool, only_true: bool = False) -> float:
    """Mean IoU over labels, as VOC counts it; NaN if there is none.

    Parameters
    ----------
    background
        Whether label 0 is one of them.
    only_true
        Only labels that the truth holds: the released code's way (quirk 11). Otherwise a class that was
        only predicted counts 0.
    """
    values = iou(counts)
    wanted = (counts.sum(1) > 0) if only_true else ~np.isnan(values)
    wanted[0] &= background
    return float(values[wanted].mean()) if wanted.any() else float("nan")


def released_mean_iou(counts: Int64[np.ndarray, "k k"], *, background: bool) -> float:
    """Mean IoU exactly as the released code has it (quirk 11).

    Over the labels of the truth only; without background, pixels predicted as background are deleted from
    the matrix, so that what was missed costs nothing.
    """
    if not background:
        counts = counts.copy()
        counts[:, 0] = counts[0, :] = 0
    return mean_iou(counts, background=background, only_true=True)


def pixel_accuracy(counts: Int64[np.ndarray, "k k"]) -> float:
    """Share of pixels with the true label; NaN if there is no pixel."""
    return float(np.trace(counts) / counts.sum()) if counts.sum() else float("nan")
