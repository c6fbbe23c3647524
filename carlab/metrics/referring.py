"""Scores of masks of referring expressions, from intersections and unions in pixels."""

import numpy as np
from jaxtyping import Bool, Float, Int, Int64

PRECISIONS = (0.5, 0.6, 0.7, 0.8, 0.9)
SCORES = ("mIoU per expression", "mIoU per object", "cIoU", *(f"precision at {at}" for at in PRECISIONS))
"""Scores of every data set."""
TARGET_SCORES = ("no-target accuracy", "target accuracy")
"""Scores for data sets in which an expression may refer to nothing, as in gRefCOCO."""


def overlaps(
    truth: Bool[np.ndarray, "e h w"], masks: Bool[np.ndarray, "e h w"]
) -> tuple[Int64[np.ndarray, " e"], Int64[np.ndarray, " e"]]:
    """Return intersection and union of each pair of masks, in pixels."""
    return (truth & masks).sum((1, 2), dtype=np.int64), (truth | masks).sum((1, 2), dtype=np.int64)


def mask_iou(intersections: Int[np.ndarray, " e"], unions: Int[np.ndarray, " e"]) -> Float[np.ndarray, " e"]:
    """Return intersection over union; 1 where both masks are empty, as in gRefCOCO."""
    return np.divide(intersections, unions, out=np.ones(len(unions)), where=unions > 0)


def ratios(
    expressions: Int[np.ndarray, "e 2"], objects: Int[np.ndarray, "o 2"], empty: Bool[np.ndarray, "e 2"]
) -> dict[str, tuple[float, float]]:
    """Return every score of one image as a numerator and a denominator, each of which adds up over images.

    By `SCORES`: mean IoU per expression (gIoU in gRefCOCO) and per object; cIoU, all intersections over all
    unions, in which large objects weigh more; precision, the share of expressions whose IoU reaches a
    threshold. By `TARGET_SCORES`: the share of expressions that refer to nothing and have no mask (N-acc.),
    and of those that refer to something and have one (T-acc.).

    Parameters
    ----------
    expressions, objects
        Intersection and union, in pixels, of each expression, and of each object, whose mask is the union of
        the masks of its expressions. The released code (quirk 12) thresholds their score-weighted mean at .5
        instead, and takes the union only if that covers at most 5 % of the image.
    empty
        Whether the truth, and the mask, of each expression is empty.
    """
    ious, merged = mask_iou(*expressions.T), mask_iou(*objects.T)
    nothing, silent = empty.T
    pairs = [
        (ious.sum(), len(ious)),
        (merged.sum(), len(merged)),
        expressions.sum(0),
        *(((ious >= at).sum(), len(ious)) for at in PRECISIONS),
        ((nothing & silent).sum(), nothing.sum()),
        ((~nothing & ~silent).sum(), (~nothing).sum()),
    ]
    names = SCORES + TARGET_SCORES
    return {name: (float(above), float(below)) for name, (above, below) in zip(names, pairs, strict=True)}
