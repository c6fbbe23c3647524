"""Simulate how often a 95 % interval of mIoU holds the truth; writes the table of docs/metrics.md.

    python -m benchmarks.coverage [DATA SETS]

Data sets are drawn from the distributions below, which no real image has entered. Sizes of objects are as
skewed as an exponential. Classes and two models have a quality of their own in each data set. The models
are correlated as two settings of one model are. The expected IoU is known exactly.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import norm
from tqdm import tqdm

from benchmarks.measured import write
from carlab.metrics.intervals import Interval, Terms, interval, paired_interval

IMAGES = (40, 80, 500)
RESAMPLES = 500
SEED = 12

FREQUENCIES = {
    "20 classes, each in 15 % of images": np.full(20, 0.15),
    "20 classes, one in 40 %, the others in 7 %": np.array([0.4, *[0.07] * 19]),
    "80 classes, the r-th in 50 % / r": 0.5 / np.arange(1, 81),
}
"""Share of the images in which each class occurs."""
AREA, BACKGROUND = 0.15, 0.6
"""Mean area of an object, and of what is rightly background, in images."""
HIT, SPILL, CONFUSED, SPURIOUS, SPURIOUS_AREA = (5.0, 2.0), 0.3, 0.3, 0.02, 0.1
"""Beta distribution of the share of a found object that its mask holds; what the mask holds beside it; share
of missed objects that get another class, the others being background; share of images with a mask of a class
that is not there, and its area."""
COMMON = 0.5
"""Share of masks that are the same in both models."""


class World(NamedTuple):
    """A data set's classes: how often each occurs, and how often each model finds it."""

    frequency: Float[np.ndarray, " k"]
    found: tuple[Float[np.ndarray, " k"], ...]


def world(frequency: Float[np.ndarray, " k"], rng: np.random.Generator) -> World:
    """Draw how often each model finds each class; the second is better on average."""
    base = rng.uniform(0.2, 0.9, len(frequency))
    noise = rng.normal(0, 0.1, (2, len(frequency)))
    return World(frequency, (*np.clip(base + noise + [[0.0], [0.05]], 0.05, 0.97),))


def expected_iou(
    frequency: Float[np.ndarray, " k"], found: Float[np.ndarray, " k"]
) -> Float[np.ndarray, " k1"]:
    """Return the IoU of background and of each class over infinitely many images."""
    there, share, k = frequency * AREA, HIT[0] / sum(HIT), len(frequency)
    hit, spill = there * found * share, there * found * SPILL
    missed = there * (1 - found)
    confused = (missed.sum() - missed) * CONFUSED / (k - 1)
    spurious = np.full(k, SPURIOUS * SPURIOUS_AREA)
    union = there + spill + confused + spurious
    taken = spill.sum() + spurious.sum()
    left = (there * found * (1 - share)).sum() + missed.sum() * (1 - CONFUSED)
    return np.concatenate([[BACKGROUND / (BACKGROUND + taken + left)], hit / union])


def draw(world: World, images: int, rng: np.random.Generator) -> list[Terms]:
    """Return the areas of a data set's images, background first, under each model."""
    shape = (images, len(world.frequency))
    areas = rng.exponential(AREA, shape) * (rng.random(shape) < world.frequency)
    background = rng.gamma(6.0, BACKGROUND / 6, (images, 1))
    luck, common = rng.random(shape), rng.random(shape) < COMMON
    shared = masks(shape, rng)
    terms = []
    for found in world.found:
        own = masks(shape, rng)
        drawn = Masks(*(np.where(common, a, b) for a, b in zip(shared, own, strict=True)))
        terms.append(count(areas, background, luck < found, drawn))
    return terms


class Masks(NamedTuple):
    """What chance decides of a model's masks, by image and class."""

    hit: Float[np.ndarray, "n k"]
    spill: Float[np.ndarray, "n k"]
    confused: Bool[np.ndarray, "n k"]
    spurious: Float[np.ndarray, "n k"]
    other: Float[np.ndarray, "n k"]


def masks(shape: tuple[int, int], rng: np.random.Generator) -> Masks:
    """Draw them."""
    return Masks(
        rng.beta(*HIT, shape),
        rng.exponential(SPILL, shape),
        rng.random(shape) < CONFUSED,
        rng.exponential(SPURIOUS_AREA, shape) * (rng.random(shape) < SPURIOUS),
        rng.random(shape),
    )


def count(
    areas: Float[np.ndarray, "n k"],
    background: Float[np.ndarray, "n 1"],
    found: Bool[np.ndarray, "n k"],
    drawn: Masks,
) -> Terms:
    """Return intersections and unions of background and classes."""
    k = areas.shape[1]
    hit, spill, missed = areas * found * drawn.hit, areas * found * drawn.spill, areas * ~found
    confused = np.zeros_like(areas)
    image, true = np.nonzero(missed * drawn.confused)
    other = (true + 1 + (drawn.other[image, true] * (k - 1)).astype(int)) % k
    np.add.at(confused, (image, other), missed[image, true])
    taken = (spill + drawn.spurious).sum(1, keepdims=True)
    left = (areas * found - hit + missed * ~drawn.confused).sum(1, keepdims=True)
    union = areas + spill + confused + drawn.spurious
    present = np.concatenate([background > 0, areas > 0], axis=1)
    return Terms(
        np.concatenate([background, hit], axis=1),
        np.concatenate([background + taken + left, union], axis=1),
        present,
        np.ones(k + 1, dtype=bool),
    )


@dataclass
class Resampled:
    """The bootstrap, as it was before, and with bias correction and acceleration (BCa, Efron 1987)."""

    rng: np.random.Generator

    def __call__(self, terms: list[Terms]) -> tuple[Interval, Interval]:
        """Return percentile and BCa intervals of a score, or of the second less the first."""
        images = len(terms[0].above)
        times = self.rng.multinomial(images, np.full(images, 1 / images), size=RESAMPLES).astype(float)
        values = difference([means(times @ t.above, times @ t.below) for t in terms])
        left = difference([means(t.above.sum(0) - t.above, t.below.sum(0) - t.below) for t in terms])
        value = float(difference([np.array([t.score]) for t in terms])[0])
        shares = [0.025, 0.975], bca_shares(values, left, value)
        low_high = [np.quantile(values, share) for share in shares]
        return Interval(value, *low_high[0].tolist()), Interval(value, *low_high[1].tolist())


def means(above: Float[np.ndarray, "r k"], below: Float[np.ndarray, "r k"]) -> Float[np.ndarray, " r"]:
    """Return the mean ratio of each row over the classes that it holds."""
    there = below > 1e-12
    return np.divide(above, below, out=np.zeros_like(above), where=there).sum(1) / there.sum(1)


def difference(values: list[Float[np.ndarray, " r"]]) -> Float[np.ndarray, " r"]:
    """Return the only values, or the second less the first."""
    return values[0] if len(values) == 1 else values[1] - values[0]


def bca_shares(
    values: Float[np.ndarray, " r"], left: Float[np.ndarray, " n"], value: float
) -> Float[np.ndarray, " 2"]:
    """Return the quantiles of BCa.

    Not by scipy.stats.bootstrap, which draws every resample's images one by one; the tests compare the two.
    """
    bias = norm.ppf(((values < value).sum() + (values <= value).sum()) / (2 * len(values)))
    centred = left.mean() - left
    acceleration = (centred**3).sum() / (6 * (centred**2).sum() ** 1.5)
    z = bias + norm.ppf([0.025, 0.975])
    return np.asarray(norm.cdf(bias + z / (1 - acceleration * z)))


def misses(
    frequency: Float[np.ndarray, " k"], images: int, data_sets: int, *, paired: bool
) -> Float[np.ndarray, "2 3 2"]:
    """Return the share of data sets whose truth lies below the interval, and above it.

    By truth: classes as frequent as in the data set's images, or as in the world; and by method: jackknife,
    percentile bootstrap, BCa.
    """
    rng = np.random.default_rng(SEED)
    resampled, models = Resampled(rng), 2 if paired else 1
    jackknife: Callable[..., Interval] = paired_interval if paired else interval
    missed = np.zeros((data_sets, 2, 3, 2), dtype=bool)
    for row in missed:
        made = world(frequency, rng)
        terms = draw(made, images, rng)[:models]
        found = np.array([jackknife(*terms), *resampled(terms)])
        for t, frequencies in enumerate((terms[0].present[:, 1:].mean(0), frequency)):
            ious = [expected_iou(frequencies, model) for model in made.found[:models]]
            scores = [part.weights[None] @ iou for part, iou in zip(terms, ious, strict=True)]
            truth = difference(scores)[0]
            row[t] = np.stack([truth < found[:, 1], truth > found[:, 2]], axis=1)
    return missed.mean(0)


def table(data_sets: int) -> str:
    """Return coverage in percent, a row for each kind of data set and number of images."""
    lines = [
        "| | images | **jackknife** | percentile | BCa | jackknife, world | percentile, world | BCa, world |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    kinds = [(name, images, paired) for paired in (False, True) for name in FREQUENCIES for images in IMAGES]
    for name, images, paired in tqdm(kinds, desc="coverage"):
        both = 100 * misses(FREQUENCIES[name], images, data_sets, paired=paired).reshape(6, 2)
        cells = [f"{100 - low - high:.1f} ({low:.1f}, {high:.1f})" for low, high in both]
        title = f"{'difference: ' if paired else ''}{name}"
        lines.append(f"| {title} | {images} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(data_sets: str = "1000") -> None:
    """Write the table into the page."""
    write("metrics.md", f"coverage {data_sets}", table(int(data_sets)), section="coverage")


if __name__ == "__main__":
    main(*sys.argv[1:])
