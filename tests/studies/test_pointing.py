"""Words at a patch against autograd, regions against a run's own scores, strokes against distances."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from carlab.errors import QueryError, SettingError
from carlab.hooks import measure
from carlab.photo import Photo
from carlab.recurrence import ClipAsRnn
from carlab.studies import drawn_region, region_scores, word_maps
from tests.conftest import WORDS

QUERIES, BACKGROUND = WORDS[:3], ("sky", WORDS[0], "grass")


@pytest.fixture(scope="module")
def model(tiny_double: ClipAsRnn) -> ClipAsRnn:
    return tiny_double


def test_every_word_competes_with_all_others(model: ClipAsRnn, photo: np.ndarray) -> None:
    """The gradient of each word's log-probability, by autograd, without the closed form."""
    said = word_maps(model, Photo.of(photo), QUERIES, BACKGROUND)
    assert (said.queries, said.background) == (tuple(QUERIES), ("sky", "grass"))  # one word is both
    proposer = model.proposer
    words = [proposer.template.replace("{}", word) for word in (*said.queries, *said.background)]
    trunk = proposer.backbone.trunk(photo)
    embeddings = proposer.backbone.encode_text(words)
    expected = []
    for k in range(len(words)):
        leaf = trunk.activations.detach().requires_grad_()
        logits = proposer.backbone.logits(proposer.backbone.tail(trunk, leaf)[None], embeddings)[0]
        (gradient,) = torch.autograd.grad(logits.log_softmax(0)[k], leaf)
        expected.append((leaf.detach() @ gradient.mean(0)).relu().reshape(trunk.grid).numpy())
    brute = np.stack(expected)
    np.testing.assert_allclose(said.maps, brute / brute.max(), atol=1e-4)


def test_words_cost_no_trunk_pass(model: ClipAsRnn, photo: np.ndarray) -> None:
    shared = Photo.of(photo)
    model(shared, QUERIES)
    with measure() as cost:
        word_maps(model, shared, QUERIES, BACKGROUND)
        word_maps(model, shared, QUERIES, BACKGROUND)
    assert set(cost.passes) <= {"tail", "vjp", "text encode"}
    assert cost.passes["vjp"] <= len(QUERIES) + 2


def test_the_region_of_a_mask_has_the_score_of_its_query(model: ClipAsRnn, photo: np.ndarray) -> None:
    trace = model(photo, QUERIES)
    regions = trace.masks(0) > model.mask_threshold
    seen = [row for row, region in enumerate(regions) if region.any()]
    assert len(seen) > 1
    for row in seen:
        found = region_scores(model, Photo.of(photo), QUERIES, regions[row])
        np.testing.assert_allclose(found.scores, trace.steps[0].probs[row], atol=1e-5)
        np.testing.assert_array_equal(found.prompted, trace.steps[0].prompted[row])


def test_a_region_says_what_is_wrong(model: ClipAsRnn, photo: np.ndarray) -> None:
    shared, full = Photo.of(photo), np.ones(photo.shape[:2], bool)
    with pytest.raises(SettingError, match="not empty"):
        region_scores(model, shared, QUERIES, ~full)
    with pytest.raises(SettingError, match="expected a region"):
        region_scores(model, shared, QUERIES, full[1:])
    with pytest.raises(QueryError, match="one or more"):
        region_scores(model, shared, [], full)
    with pytest.raises(SettingError, match="two or more points"):
        drawn_region("box", [(0, 0)], 4, 4)
    with pytest.raises(SettingError, match="region"):
        drawn_region("circle", [(0, 0), (1, 1)], 4, 4)


@pytest.mark.parametrize(
    "points", [[(0.1, 0.2), (0.8, 0.3)], [(0.5, 0.1), (0.5, 0.9), (0.9, 0.5)], [(0, 0), (2, -1)]]
)
def test_a_stroke_is_what_lies_near_its_line(points: list[tuple[float, float]]) -> None:
    height, width = 90, 160
    drawn = drawn_region("scribble", points, height, width)
    spots = np.clip(np.array(points), 0, 1) * (width, height)
    y, x = np.mgrid[:height, :width] + 0.5
    nearest = np.full((height, width), np.inf)
    for a, b in pairwise(spots):
        t = np.clip(
            ((x - a[0]) * (b - a)[0] + (y - a[1]) * (b - a)[1]) / max(((b - a) ** 2).sum(), 1e-9), 0, 1
        )
        nearest = np.minimum(nearest, np.hypot(x - a[0] - t * (b - a)[0], y - a[1] - t * (b - a)[1]))
    half = 0.04 * width / 2
    assert not drawn[nearest > half + 1.5].any()
    assert drawn[nearest < half - 1.5].all()


def test_pointing_follows_the_prompter(model: ClipAsRnn, photo: np.ndarray) -> None:
    """A region is drawn as the model at hand draws masks."""
    region = drawn_region("box", [(0.2, 0.2), (0.7, 0.8)], *photo.shape[:2])
    calls: list[int] = []

    def blank(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        calls.append(int(mask.sum()))
        return np.zeros_like(image)

    found = region_scores(replace(model, prompter=blank), Photo.of(photo), QUERIES, region)
    assert calls == [region.sum()]
    assert not found.prompted.any()
