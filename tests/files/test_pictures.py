"""Colours and painting, each against an independent way to compute it."""

import colorsys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion, map_coordinates

from carlab.files.pictures import OKABE_ITO, colour, colour_hex, edge, paint, resize_maps


def test_the_first_seven_are_for_colour_blind_readers() -> None:
    assert [colour(query) for query in range(7)] == list(OKABE_ITO)
    assert colour_hex(0) == "#e69f00"
    assert colour_hex(6) == "#cc79a7"


def test_colours_are_bytes_and_stay_the_same() -> None:
    for query in range(1000):
        assert all(isinstance(part, int) and 0 <= part <= 255 for part in colour(query))
        assert colour_hex(query) == "#" + bytes(colour(query)).hex() == colour_hex(query)


def test_neighbours_differ_in_hue() -> None:
    hues = [colorsys.rgb_to_hsv(*(part / 255 for part in colour(query)))[0] for query in range(7, 200)]
    steps = [abs(a - b) for a, b in pairwise(hues)]
    assert min(min(step, 1 - step) for step in steps) > 0.3


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(1, 4))
def test_enlarging_is_bilinear_with_half_pixel_centres(rows: int, across: int, tall: int, wide: int) -> None:
    maps = np.random.default_rng(0).random((2, rows, across), dtype=np.float32)
    height, width = rows * tall, across * wide
    places = np.mgrid[:height, :width] + 0.5
    places = places / np.array([tall, wide])[:, None, None] - 0.5
    for ours, patch_map in zip(resize_maps(maps, height, width), maps, strict=True):
        expected = map_coordinates(patch_map.astype(float), places, order=1, mode="nearest")
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_resizing_keeps_range_and_takes_none() -> None:
    maps = np.random.default_rng(0).random((3, 5, 7), dtype=np.float32)
    resized = resize_maps(maps, 61, 40)
    assert (resized.shape, resized.dtype) == ((3, 61, 40), np.float32)
    assert maps.min() <= resized.min() < resized.max() <= maps.max()
    assert resize_maps(maps[:0], 61, 40).shape == (0, 61, 40)
    np.testing.assert_array_equal(resize_maps(maps, 5, 7), maps)


@settings(max_examples=30)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_edges_are_what_erosion_takes(height: int, width: int, seed: int) -> None:
    region = np.random.default_rng(seed).random((height, width)) < 0.7
    np.testing.assert_array_equal(edge(region), region & ~binary_erosion(region, border_value=1))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_paint_mixes_inside_and_leaves_outside(dtype: type) -> None:
    image = np.random.default_rng(0).integers(0, 256, (12, 15, 3), dtype=np.uint8)
    labels = np.zeros((12, 15), dtype)
    labels[2:8, 2:8], labels[2:8, 8:14] = 3, 41
    before = image.copy()
    painted = paint(image, labels, opacity=0.25)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(painted[labels == 0], image[labels == 0])
    for label in (3, 41):
        region, tint = labels == label, np.array(colour(label - 1), float)
        inside = region & ~edge(region)
        np.testing.assert_allclose(painted[inside], 0.75 * image[inside] + 0.25 * tint, atol=0.51)
        np.testing.assert_allclose(
            painted[edge(region)], np.tile(0.6 * tint, (edge(region).sum(), 1)), atol=0.51
        )


def test_nothing_to_paint() -> None:
    image = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    np.testing.assert_array_equal(paint(image, np.zeros((3, 4), int)), image)
