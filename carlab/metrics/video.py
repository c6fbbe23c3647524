"""Region and boundary scores of DAVIS (Perazzi et al. 2016), J, F and their mean; and the flicker rate."""

from collections.abc import Collection, Sequence
from itertools import pairwise
from math import ceil, hypot

import numpy as np
from scipy.ndimage import distance_transform_edt

from carlab.files.shapes import Mask

TOLERANCE = 0.008
"""Largest distance of two boundaries that match, as a share of the image's diagonal."""


def region_similarity(truth: Mask, mask: Mask) -> float:
    """Return J, intersection over union; 1 if both are empty."""
    union = (truth | mask).sum()
    return float((truth & mask).sum() / union) if union else 1.0


def boundary_accuracy(truth: Mask, mask: Mask) -> float:
    """Return F, harmonic mean of precision and recall of the mask's boundary; 1 if both have none.

    A boundary pixel is right if the other boundary is within 0.8 % of the diagonal, rounded up to pixels: the
    DAVIS toolkit's approximation of matching them one to one. As there, one empty boundary gives 0.
    """
    reach = ceil(TOLERANCE * hypot(*truth.shape))
    true_edge, edge = boundary(truth), boundary(mask)
    if not (true_edge.any() and edge.any()):
        return float(true_edge.any() == edge.any())
    precise = (distance_transform_edt(~true_edge)[edge] <= reach).mean()
    recalled = (distance_transform_edt(~edge)[true_edge] <= reach).mean()
    return float(2 * precise * recalled / (precise + recalled)) if precise + recalled else 0.0


def flicker(kept: Sequence[Collection[int]]) -> tuple[int, int]:
    """Return how many frames keep other queries than the frame before, and of how many; a rate adds up so.

    Parameters
    ----------
    kept
        Queries that each frame of one video keeps, by index.

    Examples
    --------
    >>> flicker([[0, 1], [1, 0], [0], [0, 1]])
    (2, 3)
    """
    return sum(set(a) != set(b) for a, b in pairwise(kept)), max(0, len(kept) - 1)


def boundary(mask: Mask) -> Mask:
    """Return the pixels that differ from their right, lower, or lower right neighbour."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    here, right, below, across = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    return np.asarray((here ^ right) | (here ^ below) | (here ^ across))
