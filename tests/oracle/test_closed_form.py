"""The closed form against autograd through the softmax, as Grad-CAM is defined."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from carlab.backbones.base import Trunk
from carlab.backbones.clip import Clip
from carlab.hooks import measure
from carlab.photo import Photo
from carlab.stages.proposer import GradCam, written
from tests.conftest import WORDS

BACKGROUND = ("ground", "grass", "sky")


def autograd_cams(
    backbone: Clip, trunk: Trunk, queries: Sequence[str], background: Sequence[str], template: str
) -> np.ndarray:
    """relu(A mean_tokens(d p_k / d A)) / p_k, one backward pass per query."""
    texts = backbone.encode_text([template.replace("{}", query) for query in (*queries, *background)])
    maps = []
    for k in range(len(queries)):
        leaf = trunk.activations.clone().requires_grad_()
        with torch.enable_grad():
            probs = backbone.logits(backbone.tail(trunk, leaf)[None], texts)[0].softmax(-1)
            probs[k].backward()
        weights = leaf.grad.mean(dim=0)
        maps.append(((leaf.detach() @ weights) / probs[k].detach()).clamp(min=0).numpy())
    return np.stack(maps)


def subsets() -> list[tuple[int, ...]]:
    rng = np.random.default_rng(3)
    drawn = [
        tuple(sorted(rng.choice(len(WORDS), size, replace=False).tolist())) for size in (1, 2, 3, 4, 2, 3)
    ]
    return [tuple(range(len(WORDS))), *drawn]


@pytest.mark.parametrize("background", [BACKGROUND, ()], ids=["background", "bare"])
@pytest.mark.parametrize("compete", [True, False], ids=["competing", "alone"])
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float64", 1e-10)])
def test_closed_form_is_autograd(
    load_tiny: Callable[..., Clip],
    photo: np.ndarray,
    dtype: str,
    bound: float,
    compete: bool,
    background: tuple[str, ...],
) -> None:
    backbone = load_tiny(dtype=dtype)
    proposer = GradCam(backbone, affinity=None, compete=compete)
    proposals = proposer.prepare(Photo.of(photo), WORDS, background)
    for subset in subsets():
        queries = [WORDS[k] for k in subset]
        own = [proposals.evidence[text] for text in written(queries, proposer.template)]
        ours = proposer.closed_form(own, proposals.context)
        if compete:
            truth = autograd_cams(backbone, proposals.trunk, queries, background, proposer.template)
        else:
            truth = np.concatenate(
                [
                    autograd_cams(backbone, proposals.trunk, [q], background, proposer.template)
                    for q in queries
                ]
            )
        if (len(queries) == 1 and not background) or (not compete and not background):
            # One text alone has probability 1 whatever the image: no evidence at all.
            np.testing.assert_allclose(ours, 0, atol=1e-12)
            continue
        assert truth.max() > 0
        assert np.abs(ours - truth).max() <= bound * truth.max()


@pytest.mark.parametrize("weight", [0.25, 3.0])
def test_background_weight_is_that_many_copies(
    load_tiny: Callable[..., Clip], photo: np.ndarray, weight: float
) -> None:
    """Weighting the background by w equals adding log w to each of its logits."""
    backbone = load_tiny(dtype="float64")
    proposer = GradCam(backbone, affinity=None, background_weight=weight)
    proposals = proposer.prepare(Photo.of(photo), WORDS, BACKGROUND)
    own = [proposals.evidence[text] for text in written(WORDS, proposer.template)]
    ours = proposer.closed_form(own, proposals.context)
    texts = backbone.encode_text([proposer.template.replace("{}", name) for name in (*WORDS, *BACKGROUND)])
    offset = torch.tensor([0.0] * len(WORDS) + [np.log(weight)] * len(BACKGROUND), dtype=torch.float64)
    for k in range(len(WORDS)):
        leaf = proposals.trunk.activations.clone().requires_grad_()
        with torch.enable_grad():
            logits = backbone.logits(backbone.tail(proposals.trunk, leaf)[None], texts)[0] + offset
            probs = logits.softmax(-1)
            probs[k].backward()
        truth = ((leaf.detach() @ leaf.grad.mean(0)) / probs[k].detach()).clamp(min=0).numpy()
        np.testing.assert_allclose(ours[k], truth, atol=1e-10 * max(1.0, truth.max()))


def test_one_product_per_query_and_one_for_the_background(
    load_tiny: Callable[..., Clip], photo: np.ndarray
) -> None:
    proposer = GradCam(load_tiny())
    with measure() as cost:
        proposals = proposer.prepare(Photo.of(photo), WORDS, BACKGROUND)
        for subset in subsets():
            for t in range(3):
                proposer(proposals, np.array(subset), t)
    assert cost.passes["trunk"] == 1
    assert cost.passes["vjp"] == len(WORDS) + 1
    assert cost.passes["affinity"] == 1


def test_a_second_template_costs_only_the_queries_still_there(
    load_tiny: Callable[..., Clip], photo: np.ndarray
) -> None:
    proposer = GradCam(load_tiny(), first_template="{}")
    proposals = proposer.prepare(Photo.of(photo), WORDS, BACKGROUND)
    with measure() as cost:
        proposer(proposals, np.arange(len(WORDS)), 0)
        proposer(proposals, np.arange(2), 1)
        proposer(proposals, np.arange(2), 2)
    assert cost.passes["vjp"] == 2
    assert "trunk" not in cost.passes


def test_a_flat_cam_is_recomputed_without_background(
    load_tiny: Callable[..., Clip], photo: np.ndarray
) -> None:
    """A background equal to the query leaves nothing; the other queries must then decide."""
    proposer = GradCam(load_tiny(), affinity=None)
    proposals = proposer.prepare(Photo.of(photo), ["cat", "dog"], ("x",))
    proposals.context = proposals.evidence[proposer.template.replace("{}", "cat")]._replace(logit=1e3)
    cams = proposer(proposals, np.arange(2), 0).cams
    bare = proposer.prepare(Photo.of(photo), ["cat", "dog"], ())
    np.testing.assert_allclose(cams[0], proposer(bare, np.arange(2), 0).cams[0], atol=1e-5)
    assert cams[0].max() == pytest.approx(1)
