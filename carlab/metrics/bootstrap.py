"""Confidence intervals over images, by the bootstrap."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

RESAMPLES = 2000
SEED = 0


class Interval(NamedTuple):
    """A number and the interval that holds 95 % of its resamples."""

    value: float
    low: float
    high: float


def interval(
    metric: Callable[[Int[np.ndarray, " n"]], float], images: int, *, resamples: int = RESAMPLES
) -> Interval:
    """Draw the images anew with replacement, always with the same seed (percentile bootstrap).

    Parameters
    ----------
    metric
        From the number of times each image is counted, shape (n,), to a score.
    images
        n, 1 or more.
    """
    random = np.random.default_rng(SEED)
    drawn = random.multinomial(images, np.full(images, 1 / images), size=resamples)
    values = [metric(times) for times in drawn]
    low, high = np.nanpercentile(values, [2.5, 97.5]) if not np.isnan(values).all() else (np.nan, np.nan)
    return Interval(metric(np.ones(images, dtype=np.int64)), float(low), float(high))
