"""Scores of label maps and of kept queries, against loops over pixels and queries."""

from collections import Counter
from collections.abc import Iterable
from math import isnan, nan
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from carlab.datasets import IGNORE
from carlab.metrics.kept import Kept, kept_by_step
from carlab.metrics.semantic import (
    Tally,
    accuracy_terms,
    confusion,
    label_iou,
    mean_iou,
    released_iou_terms,
    tally,
    true_iou_terms,
)

CLASSES = 3
TRUTHS = arrays(np.int64, (4, 5), elements=st.integers(IGNORE, CLASSES))
LABELS = arrays(np.int64, (4, 5), elements=st.integers(0, CLASSES))

Pairs = list[tuple[int, int]]


def pixels(truth: np.ndarray, labels: np.ndarray) -> Pairs:
    """True and predicted label of each pixel that counts."""
    pairs = zip(truth.ravel().tolist(), labels.ravel().tolist(), strict=True)
    return [pair for pair in pairs if pair[0] != IGNORE]


def loop_iou(pairs: Pairs, label: int) -> float:
    both = sum(1 for true, found in pairs if true == label and found == label)
    either = sum(1 for true, found in pairs if label in (true, found))
    return both / either if either else nan


def loop_mean(pairs: Pairs, labels: Iterable[int]) -> float:
    values = [value for value in (loop_iou(pairs, label) for label in labels) if not isnan(value)]
    return sum(values) / len(values) if values else nan


def counted(truth: np.ndarray, labels: np.ndarray) -> Tally:
    return tally(confusion(truth, labels, CLASSES))


def one_image(counts: Tally) -> Tally:
    return Tally(*np.stack(counts)[:, None])


def true_mean_iou(counts: Tally, *, background: bool) -> float:
    return true_iou_terms(one_image(counts), background=background).score


def released_mean_iou(counts: Tally, *, background: bool) -> float:
    return released_iou_terms(one_image(counts), background=background).score


def pixel_accuracy(counts: Tally) -> float:
    return accuracy_terms(one_image(counts)).score


def same(value: float, expected: float) -> None:
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-12, equal_nan=True)


@given(truth=TRUTHS, labels=LABELS)
def test_confusion_counts_each_pixel_once(truth: np.ndarray, labels: np.ndarray) -> None:
    counts = confusion(truth, labels, CLASSES)
    assert counts.dtype == np.int64
    expected = Counter(pixels(truth, labels))
    assert {(t, p): n for (t, p), n in np.ndenumerate(counts) if n} == expected


@pytest.mark.parametrize("background", [True, False])
@given(truth=TRUTHS, labels=LABELS)
def test_mean_iou_is_what_a_loop_over_pixels_gives(
    background: bool, truth: np.ndarray, labels: np.ndarray
) -> None:
    pairs, counts = pixels(truth, labels), counted(truth, labels)
    scored = range(0 if background else 1, CLASSES + 1)
    there = {true for true, _ in pairs}
    for label in range(CLASSES + 1):
        same(label_iou(counts)[label], loop_iou(pairs, label))
    same(mean_iou(counts, background=background), loop_mean(pairs, scored))
    same(true_mean_iou(counts, background=background), loop_mean(pairs, there & set(scored)))


@given(truth=TRUTHS, labels=LABELS)
def test_the_release_deletes_pixels_that_are_background_in_truth_or_prediction(
    truth: np.ndarray, labels: np.ndarray
) -> None:
    counts = counted(truth, labels)
    same(released_mean_iou(counts, background=True), true_mean_iou(counts, background=True))
    # Without background no pixel is truly 0: readers make those IGNORE.
    foreground = np.where(truth == 0, IGNORE, truth)
    left = [pair for pair in pixels(foreground, labels) if pair[1] != 0]
    expected = loop_mean(left, {true for true, _ in left})
    same(released_mean_iou(counted(foreground, labels), background=False), expected)


@given(truth=TRUTHS, labels=LABELS)
def test_pixel_accuracy(truth: np.ndarray, labels: np.ndarray) -> None:
    pairs = pixels(truth, labels)
    right = sum(true == found for true, found in pairs)
    same(pixel_accuracy(counted(truth, labels)), right / len(pairs) if pairs else nan)


@given(images=st.lists(st.tuples(TRUTHS, LABELS), min_size=1, max_size=5), order=st.randoms())
def test_tallies_add_up_in_any_order_and_grouping(
    images: list[tuple[np.ndarray, np.ndarray]], order: Random
) -> None:
    rows = [np.stack(counted(*image)) for image in images]
    whole = [pair for image in images for pair in pixels(*image)]
    total = Tally(*sum(rows[1:], rows[0]))
    order.shuffle(rows)
    half = len(rows) // 2
    parts = [sum(part, np.zeros_like(rows[0])) for part in (rows[:half], rows[half:])]
    for field, other in zip(total, Tally(*(parts[1] + parts[0])), strict=True):
        np.testing.assert_array_equal(field, other)
    same(mean_iou(total, background=True), loop_mean(whole, range(CLASSES + 1)))


@given(truth=TRUTHS, labels=LABELS, other=LABELS)
def test_ignored_pixels_change_nothing(truth: np.ndarray, labels: np.ndarray, other: np.ndarray) -> None:
    changed = np.where(truth == IGNORE, other, labels)
    np.testing.assert_array_equal(confusion(truth, labels, CLASSES), confusion(truth, changed, CLASSES))


def test_an_example_by_hand() -> None:
    truth = np.array([[0, 0, 1, 1], [0, 2, 2, IGNORE]])
    found = np.array([[0, 3, 1, 0], [0, 2, 1, 3]])
    counts = counted(truth, found)
    np.testing.assert_allclose(label_iou(counts), [2 / 4, 1 / 3, 1 / 2, 0])
    same(mean_iou(counts, background=True), (2 / 4 + 1 / 3 + 1 / 2 + 0) / 4)
    same(true_mean_iou(counts, background=False), (1 / 3 + 1 / 2) / 2)
    same(pixel_accuracy(counts), 4 / 7)


def test_what_was_missed_costs_nothing_in_the_release() -> None:
    truth, found = np.ones((2, 2), np.int64), np.array([[1, 0], [0, 0]])
    counts = counted(truth, found)
    assert mean_iou(counts, background=False) == 0.25
    assert released_mean_iou(counts, background=False) == 1


WORDS = st.sets(st.integers(0, 4))
IMAGES = st.lists(st.tuples(st.lists(WORDS, min_size=1, max_size=4), WORDS), max_size=4)


@given(images=IMAGES)
def test_kept_words_of_each_step(images: list[tuple[list[set[int]], set[int]]]) -> None:
    table = kept_by_step(([sorted(step) for step in steps], sorted(true)) for steps, true in images)
    assert len(table) == max((len(steps) for steps, _ in images), default=0)
    for t, row in enumerate(table):
        right = kept = true = 0
        for steps, meant in images:
            now = steps[t] if t < len(steps) else steps[-1]
            right, kept, true = right + len(now & meant), kept + len(now), true + len(meant)
        assert row == Kept(right, kept, true)
        same(row.precision, right / kept if kept else nan)
        same(row.recall, right / true if true else nan)
