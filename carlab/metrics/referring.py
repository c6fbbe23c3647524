"""Scores of masks of referring expressions, from intersections and unions in pixels."""

import numpy as np
from jaxtyping import Bool, Float, Int, Int64

PRECISIONS = (0.5, 0.6, 0.7, 0.8, 0.9)
SCORES = ("mIoU per expression", "mIoU per object", "cIoU", *(f"precision at {at}" for at in PRECISIONS))
"""What `ratios` gives of every data set."""
TARGET_SCORES = ("no-target accuracy", "target accuracy")
"""What it gives besides: of use where an expression may mean nothing, as in gRefCOCO."""


def overlaps(
    truth: Bool[np.ndarray, "e h w"], masks: Bool[np.ndarray, "e h w"]
) -> tuple[Int64[np.ndarray, " e"], Int64[np.ndarray, " e"]]:
    """Intersection and union of each pair of masks, in pixels."""
    return (
        np.asarray((truth & masks).sum((1, 2)), dtype=np.int64),
        np.asarray((truth | masks).sum((1, 2)), dtype=np.int64),
    )


def iou(intersections: Int[np.ndarray, " e"], unions: Int[np.ndarray, " e"]) -> Float[np.ndarray, " e"]:
    """Intersection over union; 1 where both masks are empty, as gRefCOCO has it."""
    return np.divide(intersections, unions, out=np.ones(len(unions)), where=unions > 0)


def ratios(
    expressions: Int[np.ndarray, "e 2"], objects: Int[np.ndarray, "o 2"], empty: Bool[np.ndarray, "e 2"]
) -> dict[str, tuple[float, float]]:
    """Every score of one image as a numerator and a denominator, each of which adds up over images.

    Parameters
    ----------
    expressions, objects
        Intersection and union, in pixels, of each expression, and of each object with all of its
        expressions merged, which is what the released code scores (quirk 12).
    empty
        Whether the truth, and the mask, of each expression is empty.

    Returns
    -------
    dict
        By `SCORES`: mean IoU per expression (gRefCOCO calls it gIoU) and per object; cIoU, all
        intersections over all unions, in which large objects weigh more; precision, the share of
        expressions whose IoU reaches a threshold. By `TARGET_SCORES`: the share of expressions that mean
        nothing and got no mask (N-acc.), and of those that mean something and got one (T-acc.).
    """
    ious, merged = iou(*expressions.T), iou(*objects.T)
    nothing, silent = empty.T
    means = [(ious.sum(), len(ious)), (merged.sum(), len(merged)), tuple(expressions.sum(0))]
    reached = [((ious >= at).sum(), len(ious)) for at in PRECISIONS]
    targets = [((nothing & silent).sum(), nothing.sum()), ((~nothing & ~silent).sum(), (~nothing).sum())]
    pairs = zip(SCORES + TARGET_SCORES, means + reached + targets, strict=True)
    return {name: (float(above), float(below)) for name, (above, below) in pairs}
