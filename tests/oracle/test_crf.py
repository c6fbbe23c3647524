"""The CRF against mean field written out in full, on 8 x 8 pixels (Kraehenbuehl and Koltun 2011)."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from carlab.files.pictures import resize_maps
from carlab.stages.refiner import DenseCrf, released

SIDE = 8
CLEAR = 0.2
"""Difference of the two largest marginals above which the lattice's approximation is to change no label."""


def kernel(features: np.ndarray) -> np.ndarray:
    """exp(-|f_i - f_j|^2 / 2) over all pairs of pixels, symmetrically normalised."""
    distance = ((features[:, None] - features[None]) ** 2).sum(-1)
    weights = np.exp(-distance / 2)
    scale = 1 / np.sqrt(weights.sum(1))
    return scale[:, None] * weights * scale


def mean_field(image: np.ndarray, probs: np.ndarray, crf: DenseCrf) -> np.ndarray:
    """Marginals (l, n) after so many updates of Q = softmax(-U + sum of weighted messages), Potts model."""
    rows, columns = np.mgrid[:SIDE, :SIDE].reshape(2, -1).astype(float)
    place = np.stack([columns, rows], axis=1)
    smooth = kernel(place / crf.smooth_deviation)
    colours = image.reshape(-1, 3).astype(float) / crf.colour_deviation
    bilateral = kernel(np.concatenate([place / crf.bilateral_deviation, colours], axis=1))
    unary = -np.log(np.clip(probs.reshape(len(probs), -1), 1e-5, 1))
    q = softmax(-unary, axis=0)
    for _ in range(crf.iterations):
        q = softmax(-unary + crf.smooth_weight * q @ smooth + crf.bilateral_weight * q @ bilateral, axis=0)
    return q


def scene(seed: int, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Flat patches of colour, a little noise, and noisy soft masks of the patches."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.repeat(rng.integers(0, labels + 1, (2, 2)), SIDE // 2, 0), SIDE // 2, 1)
    colours = rng.integers(0, 256, (labels + 1, 3))
    image = np.clip(colours[truth] + rng.normal(0, 2, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
    masks = np.stack([truth == label for label in range(1, labels + 1)]) * 0.2
    return image, np.clip(masks + rng.uniform(0.1, 0.7, masks.shape), 0, 1).astype(np.float32)


@pytest.mark.parametrize("labels", [1, 3])
@pytest.mark.parametrize("crf", [DenseCrf(), DenseCrf(background_power=3.0), DenseCrf(released_image=True)])
def test_labels_are_those_of_mean_field(crf: DenseCrf, labels: int) -> None:
    compared = equal = moved = 0
    for seed in range(12):
        image, masks = scene(seed, labels)
        final = crf(image, masks)
        full = resize_maps(masks, SIDE, SIDE)
        probs = np.concatenate([(1 - full.max(axis=0))[None] ** crf.background_power, full])
        seen = released(image) if crf.released_image else image
        marginals = mean_field(seen, probs, crf)
        best = np.sort(marginals, axis=0)
        clear = (best[-1] - best[-2] > CLEAR).reshape(SIDE, SIDE)
        expected = marginals.argmax(axis=0).reshape(SIDE, SIDE)
        found = np.where(final.any(axis=0), final.argmax(axis=0) + 1, 0)
        compared += clear.sum()
        equal += (found == expected)[clear].sum()
        moved += (expected != probs.argmax(axis=0))[clear].sum()
    assert compared > 0.7 * 12 * SIDE**2
    assert moved > 0.1 * compared, "the masks alone would say the same"
    assert equal >= 0.97 * compared


GENTLE = DenseCrf(
    iterations=2, smooth_weight=0.6, bilateral_weight=1.0, bilateral_deviation=4.0, colour_deviation=30.0
)
"""Far from saturation, so that every parameter shows in the marginals."""
WRONG = {
    "smooth_deviation": 1.5,
    "smooth_weight": 0.9,
    "bilateral_deviation": 8.0,
    "bilateral_weight": 1.5,
    "colour_deviation": 60.0,
    "iterations": 3,
    "background_power": 1.5,
}


def mean_difference(crf: DenseCrf, expected: DenseCrf, labels: int = 3) -> float:
    """Mean difference of the marginals over twelve scenes."""
    found = []
    for seed in range(12):
        image, masks = scene(seed, labels)
        probs = np.concatenate([(1 - masks.max(axis=0))[None] ** expected.background_power, masks])
        marginals = mean_field(image, probs, expected).reshape(-1, SIDE, SIDE)
        found.append(np.abs(crf.marginals(image, masks) - marginals).mean())
    return float(np.mean(found))


def test_marginals_are_those_of_mean_field() -> None:
    """As near as the lattice approximates a Gaussian; and a wrong parameter is farther off."""
    assert mean_difference(GENTLE, GENTLE, labels=1) < 0.003
    assert mean_difference(GENTLE, GENTLE) < 0.0015
    for name, value in WRONG.items():
        assert mean_difference(GENTLE, replace(GENTLE, **{name: value})) > 0.0015, name


def test_alone_each_mask_has_two_labels() -> None:
    image, masks = scene(1, 2)
    both = DenseCrf(compete=False)(image, masks)
    for row, mask in enumerate(masks):
        np.testing.assert_array_equal(both[row], DenseCrf()(image, mask[None])[0])
