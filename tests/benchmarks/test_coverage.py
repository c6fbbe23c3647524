"""The simulation of intervals: its truth is the limit of its data sets, and BCa is scipy's."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import bootstrap

from benchmarks.coverage import FREQUENCIES, bca_shares, draw, expected_iou, means, misses, world


@pytest.mark.parametrize("name", list(FREQUENCIES)[:2])
def test_the_expected_iou_is_that_of_very_many_images(name: str) -> None:
    rng = np.random.default_rng(0)
    made = world(FREQUENCIES[name], rng)
    for terms, found in zip(draw(made, 60_000, rng), made.found, strict=True):
        ious = terms.above.sum(0) / terms.below.sum(0)
        np.testing.assert_allclose(ious, expected_iou(made.frequency, found), atol=0.02)
        assert abs((ious - expected_iou(made.frequency, found)).mean()) < 3e-3


def test_bca_is_scipy_s() -> None:
    rng = np.random.default_rng(1)
    terms = draw(world(FREQUENCIES["20 classes, each in 15 % of images"], rng), 30, rng)[0]
    times = rng.multinomial(30, np.full(30, 1 / 30), size=500)
    values = means(times @ terms.above, times @ terms.below)
    left = means(terms.above.sum(0) - terms.above, terms.below.sum(0) - terms.below)

    def score(images: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.apply_along_axis(lambda drawn: means(*sums(drawn))[0], axis, images)

    def sums(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return tuple(part[drawn.astype(int)].sum(0)[None] for part in (terms.above, terms.below))

    theirs = bootstrap(
        (np.arange(30),), score, method="BCa", vectorized=True, n_resamples=0,
        bootstrap_result=SimpleNamespace(bootstrap_distribution=values),
    ).confidence_interval  # fmt: skip
    found = np.quantile(values, bca_shares(values, left, terms.score))
    np.testing.assert_allclose(found, [theirs.low, theirs.high], rtol=1e-12)


def test_misses_are_counted_on_each_side() -> None:
    """With many images and frequent classes every method holds the truth about 95 times in a hundred."""
    shares = misses(np.full(3, 0.5), 200, 100, paired=False)
    assert shares.shape == (2, 3, 2)
    assert (shares.sum(-1) < 0.15).all()
    assert (shares.sum(-1) > 0).any()
