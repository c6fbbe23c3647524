"""The bootstrap, against resampling by hand and against theory."""

from math import isnan, nan, sqrt

import numpy as np
import pytest

from carlab.metrics.bootstrap import SEED, Interval, interval


def ratio(sums: np.ndarray) -> float:
    return float(sums[0] / sums[1]) if sums[1] else nan


def test_each_resample_is_the_score_of_images_drawn_with_replacement() -> None:
    rows = np.random.default_rng(1).integers(0, 2**40, (13, 2))
    found = interval(rows, ratio, resamples=50)
    times = np.random.default_rng(SEED).multinomial(13, [1 / 13] * 13, size=50)
    drawn = [np.repeat(np.arange(13), count) for count in times]
    assert {len(images) for images in drawn} == {13}
    values = [ratio(rows[images].sum(0)) for images in drawn]  # in whole numbers: nothing is rounded
    assert found == Interval(ratio(rows.sum(0)), *np.percentile(values, [2.5, 97.5]).tolist())


def test_the_interval_of_a_mean_is_that_of_theory() -> None:
    scores = np.random.default_rng(2).normal(0.5, 0.1, 400)
    found = interval(np.stack([scores, np.ones(400)], axis=1), ratio)
    middle, half = scores.mean(), 1.96 * scores.std() / sqrt(400)
    assert found.value == pytest.approx(middle)
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half), abs=half / 10)


def test_it_is_the_same_every_time_and_pairs_share_their_images() -> None:
    rows = np.random.default_rng(3).random((30, 2))
    assert interval(rows, ratio) == interval(rows, ratio)
    pairs = np.concatenate([rows, rows + np.array([0.25, 0])], axis=1)
    constant = interval(np.concatenate([rows, rows], axis=1), lambda sums: ratio(sums[2:]) - ratio(sums[:2]))
    assert constant == Interval(0, 0, 0)
    better = interval(pairs, lambda sums: ratio(sums[2:]) - ratio(sums[:2]))
    assert better.low > 0


def test_resamples_with_nothing_to_score_are_left_out() -> None:
    rows = np.array([[1, 1], [0, 0], [0, 0]])
    assert interval(rows, ratio) == Interval(1, 1, 1)


@pytest.mark.parametrize("rows", [np.zeros((0, 2)), np.zeros((3, 2))])
def test_nothing_to_score_at_all(rows: np.ndarray) -> None:
    assert all(isnan(value) for value in interval(rows, ratio))
