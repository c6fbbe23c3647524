"""Confidence intervals over images, by the bootstrap."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Num

RESAMPLES = 2000
SEED = 0


class Interval(NamedTuple):
    """A score, and the interval that holds 95 % of its resamples."""

    value: float
    low: float
    high: float


def interval(
    rows: Num[np.ndarray, "n m"],
    metric: Callable[[Num[np.ndarray, " m"]], float],
    *,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return the percentile bootstrap of a score: images resampled with replacement, with a fixed seed.

    Parameters
    ----------
    rows
        Counts of each image, which add up over images.
    metric
        From the sum of rows to a score. NaN, where a resample holds nothing to score, is left out.
    """
    if not len(rows):
        return Interval(*[float("nan")] * 3)
    drawn = np.random.default_rng(SEED).multinomial(len(rows), [1 / len(rows)] * len(rows), size=resamples)
    # In floats, which BLAS multiplies; integers stay exact below 2**53.
    values = np.array([metric(sums) for sums in drawn.astype(np.float64) @ rows])
    known = values[~np.isnan(values)]
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (np.nan, np.nan)
    return Interval(metric(rows.sum(0)), float(low), float(high))
