"""Scores of masks of referring expressions, from intersections and unions in pixels."""

import numpy as np
from jaxtyping import Bool, Float, Int, Int64

PRECISIONS = (0.5, 0.6, 0.7, 0.8, 0.9)


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


def cumulative_iou(intersections: Int[np.ndarray, " e"], unions: Int[np.ndarray, " e"]) -> float:
    """Overall IoU (cIoU): all intersections over all unions; large objects weigh more."""
    return float(intersections.sum() / unions.sum()) if unions.sum() else float("nan")


def precision(ious: Float[np.ndarray, " e"], at: float) -> float:
    """Share of expressions whose IoU is above `at`."""
    return float((ious > at).mean()) if len(ious) else float("nan")
