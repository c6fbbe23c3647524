"""Scores of masks of referring expressions, from intersections and unions in pixels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Int64

from carlab.files.shapes import Mask

PRECISIONS = (0.5, 0.6, 0.7, 0.8, 0.9)
PER_OBJECT = ("mIoU per object as released", "mIoU per object by union")
SCORES = (
    *("mIoU per expression", *PER_OBJECT, "cIoU"),
    *(f"precision at {at}" for at in PRECISIONS),
)
"""Scores of every data set."""
TARGET_SCORES = ("no-target accuracy", "target accuracy")
"""Scores for data sets in which an expression may refer to nothing, as in gRefCOCO."""
MERGE_AT, SMALL = 0.5, 0.05
"""Of the released merge: where the score-weighted mean is cut, and the share of the image up to which the
union is taken instead."""


def overlaps(
    truth: Bool[np.ndarray, "e h w"], masks: Bool[np.ndarray, "e h w"]
) -> tuple[Int64[np.ndarray, " e"], Int64[np.ndarray, " e"]]:
    """Return intersection and union of each pair of masks, in pixels."""
    return (truth & masks).sum((1, 2), dtype=np.int64), (truth | masks).sum((1, 2), dtype=np.int64)


def mask_iou(intersections: Int[np.ndarray, " e"], unions: Int[np.ndarray, " e"]) -> Float[np.ndarray, " e"]:
    """Return intersection over union; 1 where both masks are empty, as in gRefCOCO."""
    return np.divide(intersections, unions, out=np.ones(len(unions)), where=unions > 0)


def merge_released(masks: Bool[np.ndarray, "k h w"], scores: Sequence[float]) -> Mask:
    """Return the one mask of an object from those of its expressions, as the released code does (quirk 12).

    Their mean, weighted by score, is cut at .5; where that covers 5 % of the image or less, their union is
    taken.

    Parameters
    ----------
    masks
        Final masks of the expressions that were kept.
    scores
        Of each in the last step, 0 or more.

    >>> masks = np.array([[[1, 1, 0]], [[0, 1, 0]], [[0, 1, 1]]], dtype=bool)
    >>> merge_released(masks, [0.6, 0.2, 0.2]).astype(int)
    array([[1, 1, 0]])
    >>> merge_released(masks, [0.4, 0.2, 0.4]).astype(int)
    array([[0, 1, 0]])
    """
    weights = np.asarray(scores, dtype=np.float32)
    total = weights.sum()
    mean = np.tensordot(weights, masks.astype(np.float32), axes=1) / (total if total > 0 else 1)
    merged = mean >= MERGE_AT
    return np.asarray(masks.any(axis=0) if merged.mean() <= SMALL else merged)


def ratios(record: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return every score of one image as a numerator and a denominator, each of which adds up over images.

    By `SCORES`: mean IoU per expression (gIoU in gRefCOCO); per object, the expressions of which are merged
    into one mask as released (`merge_released`; there both empty scores 0), or by union; cIoU, all
    intersections over all unions of the expressions, in which large objects weigh more; precision, the share
    of expressions whose IoU reaches a threshold. By `TARGET_SCORES`: the share of expressions that refer to
    nothing and have no mask (N-acc.), and of those that refer to something and have one (T-acc.).

    Parameters
    ----------
    record
        Of the image: `expressions`, `objects` and `released`, intersection and union in pixels of each
        expression, and of each object by union and as released; `empty`, whether the truth, and the mask, of
        each expression is empty.
    """
    parts = {name: np.array(record[name]) for name in ("expressions", "objects", "released")}
    ious, by_union, released = (mask_iou(*counts.T) for counts in parts.values())
    nothing, silent = np.array(record["empty"]).T
    pairs = [
        (ious.sum(), len(ious)),
        (released[parts["released"][:, 1] > 0].sum(), len(released)),
        (by_union.sum(), len(by_union)),
        parts["expressions"].sum(0),
        *(((ious >= at).sum(), len(ious)) for at in PRECISIONS),
        ((nothing & silent).sum(), nothing.sum()),
        ((~nothing & ~silent).sum(), (~nothing).sum()),
    ]
    names = SCORES + TARGET_SCORES
    return {name: (float(above), float(below)) for name, (above, below) in zip(names, pairs, strict=True)}
