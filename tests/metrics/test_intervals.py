"""Intervals over images, against leaving out and repeating images by hand, and against theory."""

from math import isnan, sqrt

import numpy as np
import pytest
from scipy import stats

from carlab.metrics.intervals import Interval, Terms, deletions, interval, paired_interval, standard_error

ONE = np.array([True])


def plain(above: np.ndarray, below: np.ndarray) -> Terms:
    """A ratio of two sums."""
    return Terms(above[:, None], below[:, None], below[:, None] > 0, ONE)


def classes(seed: int = 0, images: int = 12) -> Terms:
    """Three classes; the last is true in one image, and predicted in others."""
    rng = np.random.default_rng(seed)
    present = rng.random((images, 3)) < 0.5
    present[:2, :2], present[2:4, :2], present[:, 2] = True, False, np.arange(images) == 5
    below = rng.integers(1, 2**40, (images, 3)) * (present | (rng.random((images, 3)) < 0.3))
    above = (below * rng.random((images, 3))).astype(np.int64) * present
    return Terms(above, below, present, np.ones(3, dtype=bool))


def test_the_interval_of_a_mean_is_student_s() -> None:
    scores = np.random.default_rng(2).normal(0.5, 0.1, 23)
    found = interval(plain(scores, np.ones(23)))
    expected = stats.ttest_1samp(scores, 0).confidence_interval(0.95)
    assert found.value == pytest.approx(scores.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_a_paired_difference_of_means_is_student_s() -> None:
    rng = np.random.default_rng(3)
    first = rng.normal(0.5, 0.1, 23)
    second = first + rng.normal(0.02, 0.01, 23)
    found = paired_interval(plain(first, np.ones(23)), plain(second, np.ones(23)))
    expected = stats.ttest_rel(second, first).confidence_interval(0.95)
    assert found == pytest.approx((second.mean() - first.mean(), expected.low, expected.high))


def test_an_image_left_out_is_replaced_by_the_others_of_its_stratum() -> None:
    """By hand: the images with the class, and those without, are as many as before."""
    terms = classes()
    changes, weights = deletions(terms), terms.weights
    for c in range(3):
        for stratum in (terms.present[:, c], ~terms.present[:, c]):
            inside = np.flatnonzero(stratum)
            scores = []
            for image in inside:
                weight = np.ones(len(stratum))
                weight[inside] = len(inside) / (len(inside) - 1) if len(inside) > 1 else 1
                weight[image] = 0 if len(inside) > 1 else 1
                scores.append((weight @ terms.above[:, c]) / (weight @ terms.below[:, c]))
            expected = (np.array(scores) - np.mean(scores)) * sqrt(1 - 1 / len(inside)) * weights[c]
            np.testing.assert_allclose(changes[inside, c], expected, atol=1e-12)


def test_a_class_with_one_image_has_the_spread_of_the_others() -> None:
    terms = classes()
    ious = [(terms.above / np.maximum(terms.below, 1))[terms.present[:, c], c] for c in range(2)]
    pooled = sum(((iou - iou.mean()) ** 2).sum() for iou in ious) / sum(len(iou) - 1 for iou in ious)
    share = terms.below[5, 2] / terms.below[:, 2].sum()
    expected = (deletions(terms).sum(1) ** 2).sum() + pooled * (share / 3) ** 2
    assert standard_error([terms], [1]) == pytest.approx(sqrt(expected))
    assert expected > (deletions(terms).sum(1) ** 2).sum()


def test_two_runs_that_answer_alike_differ_by_nothing() -> None:
    assert paired_interval(classes(), classes()) == Interval(0, 0, 0)
    assert interval(classes()) == interval(classes())


def test_a_difference_is_that_of_the_scores_and_narrower_than_unpaired() -> None:
    first = classes()
    second = first._replace(above=first.above // 2)
    found = paired_interval(first, second)
    assert found.value == pytest.approx(second.score - first.score)
    assert paired_interval(second, first) == pytest.approx((-found.value, -found.high, -found.low))
    apart = sqrt(standard_error([first], [1]) ** 2 + standard_error([second], [1]) ** 2)
    assert 0 < standard_error([first, second], [-1, 1]) < apart


def test_classes_that_do_not_count_change_nothing() -> None:
    terms = classes()
    without = terms._replace(counted=np.array([True, True, False]))
    alone = Terms(*(part[..., :2] for part in terms))
    assert interval(without) == pytest.approx(interval(alone))


@pytest.mark.parametrize("images", [0, 1, 3])
def test_nothing_to_score_at_all(images: int) -> None:
    assert all(isnan(value) for value in interval(plain(np.zeros(images), np.zeros(images))))


@pytest.mark.parametrize("scores", [[0.3], [0.0, 0.0, 0.0], [1.0, 1.0]])
def test_no_spread_no_interval(scores: list[float]) -> None:
    """Three images that score 0 do not prove that all images do."""
    found = interval(plain(np.array(scores), np.ones(len(scores))))
    assert found.value == scores[0]
    assert isnan(found.low) and isnan(found.high)


def test_an_interval_of_a_share_is_a_share() -> None:
    found = interval(plain(np.array([1.0, 0, 0, 0]), np.ones(4)))
    assert (found.low, found.value) == (0, 0.25)
    assert found.high <= 1
