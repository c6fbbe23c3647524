"""Region and boundary scores of DAVIS (Perazzi et al. 2016): J, F and their mean."""

from math import ceil, hypot

import numpy as np
from jaxtyping import Bool
from scipy.ndimage import distance_transform_edt

TOLERANCE = 0.008
"""How far two boundaries may lie apart, as a share of the image's diagonal."""


def region_similarity(truth: Bool[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"]) -> float:
    """J, intersection over union; 1 when both are empty."""
    union = (truth | mask).sum()
    return float((truth & mask).sum() / union) if union else 1.0


def boundary_accuracy(truth: Bool[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"]) -> float:
    """F, harmonic mean of precision and recall of the mask's boundary; 1 when both have none.

    A boundary pixel is right when the other boundary passes within 0.8 % of the diagonal, rounded up to
    pixels: the DAVIS toolkit's stand-in for matching them one to one. As there, one empty boundary gives 0.
    """
    reach = ceil(TOLERANCE * hypot(*truth.shape))
    true_edge, edge = boundary(truth), boundary(mask)
    if not true_edge.any() and not edge.any():
        return 1.0
    if not true_edge.any() or not edge.any():
        return 0.0
    precise = (distance_transform_edt(~true_edge)[edge] <= reach).mean()
    recalled = (distance_transform_edt(~edge)[true_edge] <= reach).mean()
    return float(2 * precise * recalled / (precise + recalled)) if precise + recalled else 0.0


def boundary(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Pixels that differ from their right, lower, or lower right neighbour."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    here, right, below, across = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    return np.asarray((here ^ right) | (here ^ below) | (here ^ across))
