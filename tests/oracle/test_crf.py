"""The CRF against mean field written out in full, on 8 x 8 pixels (Kraehenbuehl and Koltun 2011).

Both engines; and torch's against pydensecrf's, on images of any size.
"""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import softmax

from carlab.backbones import registry
from carlab.cache import Cache
from carlab.errors import SettingError
from carlab.files.pictures import resize_maps
from carlab.stages import crf_torch
from carlab.stages.crf_torch import interpolated
from carlab.stages.lattice import Lattice
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


@pytest.fixture(params=["pydensecrf", "torch"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "pydensecrf":
        pytest.importorskip("pydensecrf")
    return request.param


@pytest.mark.parametrize("labels", [1, 3])
@pytest.mark.parametrize("crf", [DenseCrf(), DenseCrf(background_power=3.0), DenseCrf(released_image=True)])
def test_labels_are_those_of_mean_field(crf: DenseCrf, labels: int, engine: str) -> None:
    crf = replace(crf, engine=engine)
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


def test_marginals_are_those_of_mean_field(engine: str) -> None:
    """As near as the lattice approximates a Gaussian; and a wrong parameter is farther off."""
    gentle = replace(GENTLE, engine=engine)
    assert mean_difference(gentle, gentle, labels=1) < 0.003
    assert mean_difference(gentle, gentle) < 0.0015
    for name, value in WRONG.items():
        assert mean_difference(gentle, replace(gentle, **{name: value})) > 0.0015, name


def test_alone_each_mask_has_two_labels(engine: str) -> None:
    image, masks = scene(1, 2)
    both = DenseCrf(compete=False, engine=engine)(image, masks)
    for row, mask in enumerate(masks):
        np.testing.assert_array_equal(both[row], DenseCrf(engine=engine)(image, mask[None])[0])


def engines(crf: DenseCrf) -> list[DenseCrf]:
    """The same CRF by pydensecrf and by torch, or a skip."""
    pytest.importorskip("pydensecrf")
    return [replace(crf, engine="pydensecrf"), replace(crf, engine="torch")]


def blotches(seed: int, size: tuple[int, int], number: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy image of smooth colours, and smooth soft masks in pixels."""
    rng = np.random.default_rng(seed)
    grids = resize_maps(rng.random((number + 3, 5, 6), dtype=np.float32), *size)
    image = 255 * grids[:3].transpose(1, 2, 0) + rng.normal(0, 4, (*size, 3))
    return image.clip(0, 255).astype(np.uint8), grids[3:] ** 3


@pytest.mark.parametrize(
    ("crf", "tolerance"),
    [
        (GENTLE, 1e-5),
        # Ten rounds at full weight let a few pixels tip over, and those magnify the last bit.
        (DenseCrf(), 1e-4),
        (DenseCrf(released_image=True, background_power=3.0), 1e-4),
    ],
)
@pytest.mark.parametrize("number", [1, 4, 20])
@pytest.mark.parametrize("size", [(8, 8), (1, 4), (4, 1), (60, 84), (150, 200)])
def test_engines_give_the_same_marginals(
    crf: DenseCrf, tolerance: float, number: int, size: tuple[int, int]
) -> None:
    """Sizes of a multiple of four pixels: pydensecrf pads others with a black point in the corner."""
    reference, found = engines(crf)
    image, masks = blotches(number, size, number)
    marginals = found.marginals(image, masks)
    expected = reference.marginals(image, masks)
    np.testing.assert_allclose(marginals, expected, atol=tolerance)
    assert np.abs(marginals - expected).mean() < 1e-6
    np.testing.assert_allclose(marginals.sum(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (61, 83)])
def test_engines_agree_on_sizes_that_pydensecrf_pads(size: tuple[int, int]) -> None:
    reference, found = engines(DenseCrf())
    image, masks = blotches(1, size, 3)
    image = np.maximum(image, 60)  # far from the black point
    np.testing.assert_allclose(found.marginals(image, masks), reference.marginals(image, masks), atol=1e-5)


MASKS = {
    "no background": np.ones((2, 4, 6), np.float32),
    "nothing": np.zeros((2, 4, 6), np.float32),
    "one of two empty": np.stack([np.zeros((4, 6)), np.eye(4, 6)]).astype(np.float32),
    "no mask": np.zeros((0, 4, 6), np.float32),
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("crf", [DenseCrf(), DenseCrf(compete=False), DenseCrf(max_volume=500)])
def test_engines_agree_on_degenerate_masks(crf: DenseCrf, name: str) -> None:
    reference, found = engines(crf)
    noisy, flat = blotches(0, (24, 30), 1)[0], np.full((24, 30, 3), 7, np.uint8)
    for image in (noisy, flat, flat[:1, :1]):
        np.testing.assert_array_equal(found(image, MASKS[name]), reference(image, MASKS[name]))


def test_torch_builds_its_lattices_once_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    build = Lattice.of
    monkeypatch.setattr(Lattice, "of", lambda features: built.append(len(features)) or build(features))
    monkeypatch.setattr(crf_torch, "_smoothness", Cache())
    for _ in range(2):  # of the smoothness kernel once a size
        DenseCrf(compete=False, engine="torch")(*scene(1, 3))
    assert built == [5, 2, 5]


def test_torch_makes_no_tensor_on_the_default_device() -> None:
    """Whatever were made without a device would be on another one here, and could not meet the rest."""
    image, masks = scene(1, 3)
    crf = DenseCrf(engine="torch")
    expected = crf(image, masks)
    with torch.device("meta"):
        np.testing.assert_array_equal(crf(image, masks), expected)


def test_the_engine_is_pydensecrf_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pydensecrf")
    assert DenseCrf().chosen_engine == "pydensecrf"
    assert DenseCrf(engine="torch").chosen_engine == "torch"
    assert DenseCrf(device="meta").chosen_engine == "torch"
    assert DenseCrf(device="meta", engine="pydensecrf").chosen_engine == "pydensecrf"
    expected = DenseCrf(engine="torch")(*scene(1, 3))
    monkeypatch.setitem(sys.modules, "pydensecrf", None)  # as if it were not installed
    assert DenseCrf().chosen_engine == "torch"
    np.testing.assert_array_equal(DenseCrf()(*scene(1, 3)), expected)
    with pytest.raises(SettingError, match=r'pip install "clip-as-rnn-lab\[crf\]", or use engine="torch"'):
        DenseCrf(engine="pydensecrf")


def test_a_crf_is_beside_its_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "check_device", torch.device)  # there may be no GPU
    for device, expected in (("cuda:1", "cuda:1"), ("cpu", "cpu"), ("mps", "cpu")):
        crf = DenseCrf.beside(SimpleNamespace(device=torch.device(device)), background_power=2.0)
        assert (crf.device, crf.background_power) == (expected, 2.0)
    assert DenseCrf.beside(None) == DenseCrf()


@pytest.mark.parametrize(
    "wrong", [{"engine": "tensorflow"}, {"device": "cuda:99"}, {"device": "?"}, {"colour_deviation": 0.0}]
)
def test_what_cannot_be_used(wrong: dict[str, object]) -> None:
    crf = DenseCrf()
    vars(crf).update(wrong)  # past the check of types, which users do not have
    with pytest.raises(SettingError, match="expected"):
        crf.__post_init__()


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (9, 13), (37, 50), (40, 31)])
def test_maps_are_resized_on_a_device_as_on_the_cpu(size: tuple[int, int]) -> None:
    maps = np.random.default_rng(1).random((3, 9, 13), dtype=np.float32)
    grown = interpolated(torch.from_numpy(maps), *size).numpy()
    np.testing.assert_allclose(grown, resize_maps(maps, *size), atol=1e-6)
