"""The table of smoothing: means over frames, then over videos; and the flicker rate over pairs of frames."""

import math

from benchmarks.video import SCORES, Scored, difference, one, table
from carlab.metrics.video import flicker


def by_hand() -> Scored:
    found = Scored()
    found.add([0.2, 0.4, 0.6], [0.1, 0.1, 0.4], [[0], [0, 1], [1, 0]])
    found.add([0.8, 0.6], [0.6, 0.8], [[2], []])
    return found


def test_scores_are_means_over_videos() -> None:
    values = {name: one(by_hand(), name).value for name in SCORES}
    assert math.isclose(values["J"], (0.4 + 0.7) / 2)
    assert math.isclose(values["F"], (0.2 + 0.7) / 2)
    assert math.isclose(values["J&F"], (0.3 + 0.7) / 2)
    assert math.isclose(values["flicker rate"], (1 + 1) / (2 + 1))


def test_an_interval_over_two_videos_by_student() -> None:
    """Half of the interval: t of one degree of freedom (12.706) times the standard error of the mean."""
    interval = one(by_hand(), "J")
    half = 12.706 * 0.15  # the two values differ by 0.3
    assert math.isclose(interval.low, max(0.0, 0.55 - half), abs_tol=1e-3)
    assert math.isclose(interval.high, min(1.0, 0.55 + half), abs_tol=1e-3)


def test_a_difference_is_paired() -> None:
    worse = Scored()
    worse.add([0.1, 0.3, 0.5], [0.1, 0.1, 0.4], [[0], [0], [0]])
    worse.add([0.7, 0.5], [0.6, 0.8], [[2], [2]])
    found = difference(by_hand(), worse, "J")
    assert math.isclose(found.value, -0.1)
    assert math.isclose(found.low, -0.1, abs_tol=1e-9) or math.isnan(found.low)
    assert "flicker rate" in table({"plain": by_hand(), "smooth": worse})


def test_flicker_by_loops() -> None:
    kept = [[0], [1], [1, 2], [2, 1], [], [], [0]]
    changes = 0
    for k in range(1, len(kept)):
        changes += sorted(kept[k]) != sorted(kept[k - 1])
    assert flicker(kept) == (changes, 6)
    assert flicker([]) == flicker([[0]]) == (0, 0)
