"""Scores that are means of ratios over images, and their confidence intervals.

mIoU is the mean over classes of a ratio of two sums over images. Resampling images (the bootstrap) loses rare
classes, and its interval lies too low. The interval here is that of the jackknife: how much does the score
change when one image is left out? The images with a class, and those without it, are two strata of that class
(stratified jackknife; Wolter, Introduction to Variance Estimation, 2007, section 4.5): where one is left out,
the others of its stratum weigh more in its place, so that the class stays as frequent as it is.
`python -m benchmarks.coverage` simulates how often such intervals hold the truth (docs/metrics.md).
"""

from collections.abc import Sequence
from itertools import product
from math import isnan
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Num
from scipy.stats import t as student

LEVEL = 0.95
Counts = Num[np.ndarray, "n k"]


class Interval(NamedTuple):
    """A score, and its 95 % interval; NaN where nothing can be said."""

    value: float
    low: float
    high: float


class Terms(NamedTuple):
    """What a score is made of: the mean over classes of a ratio of sums over images.

    Parameters
    ----------
    above, below
        Numerator and denominator of each image (n) and class (k); a plain ratio has one class.
    present
        Images that have the class in their truth.
    counted
        Classes that enter the mean, unless their denominators are all 0.
    """

    above: Counts
    below: Counts
    present: Bool[np.ndarray, "n k"]
    counted: Bool[np.ndarray, " k"]

    @property
    def weights(self) -> Float[np.ndarray, " k"]:
        """Share of each class in the mean; 0 everywhere if there is nothing to score."""
        counted = self.counted & self.below.any(axis=0)
        return counted / max(1, counted.sum())

    @property
    def score(self) -> float:
        """The mean of the ratios; NaN if there is nothing to score."""
        weights = self.weights
        ratios = _ratio(self.above.sum(0), self.below.sum(0))
        return float((weights * ratios).sum()) if weights.any() else float("nan")


def interval(terms: Terms) -> Interval:
    """Return a score with its 95 % interval, cut at 0 and 1.

    No interval if all images score the same or only one has anything: their spread says nothing.

    Examples
    --------
    >>> ones = np.ones((4, 1))
    >>> terms = Terms(np.array([[0.2], [0.4], [0.4], [0.6]]), ones, ones > 0, np.array([True]))
    >>> [round(number, 3) for number in interval(terms)]
    [0.4, 0.14, 0.66]
    """
    error = standard_error([terms], [1])
    half = _quantile(terms) * error if error > 0 else float("nan")
    value = terms.score
    return Interval(value, *np.clip([value - half, value + half], 0, 1).tolist())


def paired_interval(first: Terms, second: Terms) -> Interval:
    """Return the score of the second less that of the first, over the same images, with its 95 % interval."""
    half = _quantile(first) * standard_error([first, second], [-1, 1])
    value = second.score - first.score
    return Interval(value, value - half, value + half)


def standard_error(models: Sequence[Terms], signs: Sequence[int]) -> float:
    """Return the standard error of a score, or of a signed sum of scores over the same images."""
    changes = sum(sign * deletions(terms) for terms, sign in zip(models, signs, strict=True))
    single = single_image_variance(models, signs)
    return float(np.sqrt((np.sum(changes, axis=1) ** 2).sum() + single))


def deletions(terms: Terms) -> Float[np.ndarray, "n k"]:
    """Return how the score changes when an image is left out of its stratum of each class.

    Changes are centred, and scaled so that the sum over images of their squares is a variance. A stratum of
    one image has none.
    """
    above, below = terms.above.sum(0), terms.below.sum(0)
    changes = np.zeros(terms.above.shape)
    for stratum in (terms.present, ~terms.present):
        size = stratum.sum(0)
        grow = _ratio(size, size - 1)
        h, u = terms.above * stratum, terms.below * stratum
        # Leave h of an image out, and let the others of the stratum grow in its place.
        left_above = above + (grow - 1) * h.sum(0) - grow * h
        left_below = below + (grow - 1) * u.sum(0) - grow * u
        inside = stratum & (size > 1)
        left = np.where(inside, _ratio(left_above, left_below), 0)
        centred = np.where(inside, left - left.sum(0) / np.maximum(size, 1), 0)
        changes += centred * np.sqrt(_ratio(size - 1, size))
    return changes * terms.weights


def single_image_variance(models: Sequence[Terms], signs: Sequence[int]) -> float:
    """Return the variance that classes with one image add.

    One image shows no spread. As is done for a stratum of one unit in surveys, it gets that of the others:
    the mean variance, within a class, of the IoU of one image.
    """
    present = models[0].present
    size = present.sum(0)
    many, single = present & (size > 1), size == 1
    freedom = many.sum() - (size > 1).sum()
    if not freedom:
        return 0.0
    spread, factors = [], []
    for terms, sign in zip(models, signs, strict=True):
        ratios = np.where(many, _ratio(terms.above, terms.below), 0)
        spread.append(np.where(many, ratios - ratios.sum(0) / np.maximum(size, 1), 0))
        # The class's IoU is that of its one image, less what false positives in other images cost.
        share = _ratio((terms.below * present).sum(0), terms.below.sum(0))
        factors.append((sign * terms.weights * share)[single])
    return sum(
        float((spread[a] * spread[b]).sum() / freedom * (factors[a] @ factors[b]))
        for a, b in product(range(len(models)), repeat=2)
    )


def _quantile(terms: Terms) -> float:
    """Return the quantile of Student's t for the images that have anything; NaN for fewer than two."""
    images = int(terms.present.any(axis=1).sum())
    return float(student.ppf((1 + LEVEL) / 2, images - 1)) if images > 1 else float("nan")


def _ratio(above: Num[np.ndarray, "..."], below: Num[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Return a quotient; 0 where the denominator is 0."""
    return np.divide(above, below, out=np.zeros(np.broadcast(above, below).shape), where=below != 0)


def percent(value: float, sign: str = "", none: str = "") -> str:
    """Return percent with one digit; `none` for NaN."""
    return none if isnan(value) else f"{100 * value:{sign}.1f}"


def shown(interval: Interval, sign: str = "") -> str:
    """Return a score such as `41.2 [38.0, 44.1]` in percent, or `41.2`; "" if there is none."""
    value, low, high = (percent(number, sign) for number in interval)
    return f"{value} [{low}, {high}]" if low else value
