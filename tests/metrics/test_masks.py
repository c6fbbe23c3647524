"""Scores of masks, against pycocotools, OpenCV and loops."""

from math import ceil, hypot

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from carlab.metrics.referring import (
    PRECISIONS,
    SCORES,
    TARGET_SCORES,
    mask_iou,
    merge_released,
    overlaps,
    ratios,
)
from carlab.metrics.video import TOLERANCE, boundary, boundary_accuracy, region_similarity

MASKS = arrays(bool, (3, 5, 7))
MASK = arrays(bool, (9, 12))


def blob(size: tuple[int, int], centre: tuple[float, float], radius: float) -> np.ndarray:
    rows, columns = np.mgrid[: size[0], : size[1]]
    return hypot_of(rows - centre[0], columns - centre[1]) <= radius


def hypot_of(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return np.sqrt(rows**2 + columns**2)


@given(truth=MASKS, masks=MASKS)
def test_iou_is_pycocotools(truth: np.ndarray, masks: np.ndarray) -> None:
    above, below = overlaps(truth, masks)
    values = mask_iou(above, below)
    for row, (a, b) in enumerate(zip(truth, masks, strict=True)):
        if not (a | b).any():
            assert values[row] == 1  # both empty: right, where an expression means nothing
            continue
        first, second = (coco.encode(np.asfortranarray(m.astype(np.uint8))) for m in (a, b))
        assert values[row] == pytest.approx(coco.iou([first], [second], [0])[0, 0])
        assert region_similarity(a, b) == pytest.approx(values[row])


COUNTS = st.lists(st.integers(0, 20).flatmap(lambda u: st.tuples(st.integers(0, u), st.just(u))), min_size=1)


@given(pairs=COUNTS, flags=st.data())
def test_ratios_are_the_scores_by_definition(pairs: list[tuple[int, int]], flags: st.DataObject) -> None:
    empty = [(not above and flags.draw(st.booleans()), flags.draw(st.booleans())) for above, _ in pairs]
    record = {"expressions": pairs, "objects": pairs[:1], "released": pairs[-1:], "empty": empty}
    found = ratios(record)
    values = [above / below if below else 1.0 for above, below in pairs]
    assert tuple(found) == SCORES + TARGET_SCORES
    assert found["mIoU per expression"] == pytest.approx((sum(values), len(values)))
    assert found["mIoU per object by union"] == (values[0], 1)
    above, below = pairs[-1]
    assert found["mIoU per object as released"] == (above / below if below else 0.0, 1)
    assert found["cIoU"] == (sum(above for above, _ in pairs), sum(below for _, below in pairs))
    for at in PRECISIONS:
        assert found[f"precision at {at}"] == (sum(value >= at for value in values), len(values))
    nothing = [silent for meant_nothing, silent in empty if meant_nothing]
    something = [not silent for meant_nothing, silent in empty if not meant_nothing]
    assert found["no-target accuracy"] == (sum(nothing), len(nothing))
    assert found["target accuracy"] == (sum(something), len(something))


def test_cumulative_iou_weighs_large_objects_more() -> None:
    counts = {"expressions": [[9, 10], [0, 2]], "objects": [[9, 12]], "released": [[3, 12]]}
    found = ratios({**counts, "empty": [[False, False]] * 2})
    assert {name: above / below for name, (above, below) in found.items() if below} == {
        **{"mIoU per expression": 0.45, "mIoU per object by union": 0.75},
        **{"mIoU per object as released": 0.25, "cIoU": 0.75, "target accuracy": 1.0},
        **{f"precision at {at}": 0.5 for at in PRECISIONS},
    }


@given(masks=MASKS, scores=st.lists(st.integers(0, 8), min_size=3, max_size=3))
def test_the_released_merge_by_loops(masks: np.ndarray, scores: list[int]) -> None:
    """Scores in eighths, so that the mean is exact and no pixel hangs on its last bit."""
    expected = np.zeros(masks.shape[1:], bool)
    for pixel in np.ndindex(expected.shape):
        weight = sum(score for score, mask in zip(scores, masks, strict=True) if mask[pixel])
        expected[pixel] = sum(scores) > 0 and 2 * weight >= sum(scores)
    if expected.sum() * 20 <= expected.size:
        expected = masks[0] | masks[1] | masks[2]
    merged = merge_released(masks, [score / 8 for score in scores])
    np.testing.assert_array_equal(merged, expected)


def test_nothing_kept_merges_to_nothing() -> None:
    assert not merge_released(np.zeros((0, 4, 5), bool), []).any()


def davis_boundary(mask: np.ndarray) -> np.ndarray:
    """Boundary map by loops: a pixel unlike its right, lower or lower right neighbour in the image."""
    height, width = mask.shape
    edge = np.zeros(mask.shape, bool)
    for y in range(height):
        for x in range(width):
            for down, right in ((0, 1), (1, 0), (1, 1)):
                # At the last row and column the neighbour is taken along the border.
                yy, xx = min(y + down, height - 1), min(x + right, width - 1)
                edge[y, x] |= mask[y, x] != mask[yy, xx]
    return edge


def davis_f(truth: np.ndarray, mask: np.ndarray) -> float:
    """F by dilation with OpenCV, as the DAVIS toolkit counts it."""
    radius = ceil(TOLERANCE * hypot(*truth.shape))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (y**2 + x**2 <= radius**2).astype(np.uint8)
    edges = [davis_boundary(m).astype(np.uint8) for m in (truth, mask)]
    wide = [cv2.dilate(edge, disk) for edge in edges]
    total_truth, total = (int(edge.sum()) for edge in edges)
    if total == 0 or total_truth == 0:
        return 1.0 if total == total_truth else 0.0
    precise = int((edges[1] * wide[0]).sum()) / total
    recalled = int((edges[0] * wide[1]).sum()) / total_truth
    return 2 * precise * recalled / (precise + recalled) if precise + recalled else 0.0


@given(truth=MASK, mask=MASK)
def test_boundary_and_f_as_in_the_davis_toolkit(truth: np.ndarray, mask: np.ndarray) -> None:
    np.testing.assert_array_equal(boundary(mask), davis_boundary(mask))
    assert boundary_accuracy(truth, mask) == pytest.approx(davis_f(truth, mask), abs=1e-12)


@pytest.mark.parametrize("shift", [0, 1, 2, 4, 9])
def test_f_of_blobs_at_a_wider_tolerance(shift: int) -> None:
    truth, mask = blob((110, 150), (50, 60), 25), blob((110, 150), (50 + shift, 60), 22)
    assert boundary_accuracy(truth, mask) == pytest.approx(davis_f(truth, mask), abs=1e-12)


@given(truth=MASK, mask=MASK)
def test_f_does_not_care_which_is_which(truth: np.ndarray, mask: np.ndarray) -> None:
    assert boundary_accuracy(truth, mask) == pytest.approx(boundary_accuracy(mask, truth))
    assert boundary_accuracy(mask, mask) == region_similarity(mask, mask) == 1


def test_one_empty_boundary_scores_nothing() -> None:
    empty, full = np.zeros((20, 30), bool), blob((20, 30), (10, 10), 5)
    assert boundary_accuracy(empty, full) == boundary_accuracy(full, empty) == 0
    assert boundary_accuracy(empty, ~empty) == 1  # a full mask has no boundary either
    assert region_similarity(empty, ~empty) == 0
