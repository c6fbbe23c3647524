"""Every mask proposer against an independent implementation on transformers' own CLIP."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel

import carlab
from carlab.backbones import load_backbone
from carlab.errors import SettingError
from carlab.hooks import edit, measure
from carlab.photo import Photo
from carlab.recurrence import ClipAsRnn
from carlab.settings import SETTINGS, change, current
from carlab.stages.proposer import PROPOSERS, written
from carlab.stages.proposer.patches import Reattended
from carlab.widgets.lab.state import LabState
from tests.conftest import WORDS
from tests.tiny_clip import pixel_values

BACKGROUND = ("ground", "sky")
SUBSETS = [range(5), (0, 1), (1, 3, 4), (2,)]
CAMS = ("gradcam", "hirescam", "layercam", "gradcam++")
DENSE = ("patches", "maskclip", "sclip", "clearclip", "naclip")
FREE = ("gradcam", "hirescam", "legrad", "rollout", *DENSE)
OFFLINE = ("gradcam", "hirescam", "layercam", "gradcam++", "patches")


@pytest.fixture
def image(photo: np.ndarray) -> np.ndarray:
    """As large as a grid of 4 by 5 patches: nothing is resized."""
    return photo[:64, :80]


@pytest.fixture(scope="module")
def theirs(clip_folders: tuple[Path, Path]) -> Any:
    """The proposer's network as transformers itself reads it, in double precision."""
    model = AutoModel.from_pretrained(clip_folders[0], attn_implementation="eager")
    return model.double().eval().requires_grad_(False)


def proposer_of(model: ClipAsRnn, name: str, **values: Any) -> Any:
    return change(model, proposer=name, affinity=False, **values).proposer


def raw_maps(
    proposer: Any, image: np.ndarray, subset: Sequence[int], background: Sequence[str]
) -> np.ndarray:
    proposals = proposer.prepare(Photo.of(image), WORDS, tuple(background))
    texts = written([WORDS[k] for k in subset], proposer.template)
    return proposer.raw(proposals, texts, proposals.context)


def close(ours: np.ndarray, truth: np.ndarray, bound: float = 1e-5) -> None:
    """Equal but for the pixels, which the backbone normalises in single precision."""
    assert truth.max() > 0
    np.testing.assert_allclose(ours, truth, rtol=0, atol=bound * np.abs(truth).max())


# --- gradients ------------------------------------------------------------------------------------


def log_probability_gradients(
    theirs: Any, proposer: Any, image: np.ndarray, subset: Sequence[int], background: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A, d log p_k / d A and p_k, by a hook that makes the last block's normed input a leaf."""
    leaves = []

    def hook(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        leaves.append(output.detach().requires_grad_())
        return leaves[-1]

    vision = theirs.vision_model
    handle = vision.encoder.layers[-1].layer_norm1.register_forward_hook(hook)
    pixels = pixel_values(proposer.backbone, image[None])
    with torch.enable_grad():
        out = vision(pixel_values=pixels, interpolate_pos_encoding=True)
    handle.remove()
    texts = [*(WORDS[k] for k in subset), *background]
    embeddings = proposer.backbone.encode_text(written(texts, proposer.template))
    gradients, shares = [], []
    for k in range(len(subset)):
        with torch.enable_grad():
            pooled = theirs.visual_projection(vision.post_layernorm(out.last_hidden_state[0, 1:]).mean(0))
            cosines = torch.nn.functional.cosine_similarity(pooled[None], embeddings)
            log_probs = (theirs.logit_scale.exp() * cosines).log_softmax(0)
        (gradient,) = torch.autograd.grad(log_probs[k], leaves[0], retain_graph=True)
        gradients.append(gradient[0, 1:].numpy())
        shares.append(log_probs[k].exp().item())
    return leaves[0][0, 1:].detach().numpy(), np.stack(gradients), np.array(shares)


def hirescam(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    return np.maximum([sum(a[:, c] * g[:, c] for c in range(a.shape[1]))], 0)[0]


def layercam(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    return np.maximum((np.maximum(g, 0) * a).sum(1), 0)


def gradcam(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    return np.maximum(a @ g.mean(0), 0)


def gradcam_plus_plus(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    """As its equations stand, channel by channel and patch by patch."""
    weights = np.zeros(a.shape[1])
    for c in range(a.shape[1]):
        for i in range(len(a)):
            below = 2 * g[i, c] ** 2 + a[:, c].sum() * g[i, c] ** 3
            weights[c] += g[i, c] ** 2 / below * max(g[i, c], 0) if below else 0
    return np.maximum(a @ weights, 0)


ORACLES = {"gradcam": gradcam, "hirescam": hirescam, "layercam": layercam, "gradcam++": gradcam_plus_plus}


@pytest.mark.parametrize("background", [BACKGROUND, ()], ids=["background", "bare"])
@pytest.mark.parametrize("name", CAMS)
def test_gradient_maps_are_autograd(
    name: str, background: Sequence[str], theirs: Any, tiny_double: ClipAsRnn, image: np.ndarray
) -> None:
    proposer = proposer_of(tiny_double, name)
    for subset in SUBSETS[: 4 if background else 3]:
        a, gradients, _ = log_probability_gradients(theirs, proposer, image, subset, background)
        truth = np.stack([ORACLES[name](a, g) for g in gradients])
        ours = raw_maps(proposer, image, subset, background)
        close(ours, truth) if truth.any() else np.testing.assert_array_equal(ours, truth)
    assert len(subset) == 1 or truth.any()


@pytest.mark.parametrize("name", CAMS)
def test_referring_is_each_query_against_the_background(
    name: str, theirs: Any, tiny_double: ClipAsRnn, image: np.ndarray
) -> None:
    proposer = proposer_of(tiny_double, name, refer=True)
    truth = []
    for k in range(3):
        a, gradients, _ = log_probability_gradients(theirs, proposer, image, [k], BACKGROUND)
        truth.append(ORACLES[name](a, gradients[0]))
    close(raw_maps(proposer, image, range(3), BACKGROUND), np.stack(truth))


def test_no_two_gradient_maps_are_the_same(tiny_double: ClipAsRnn, image: np.ndarray) -> None:
    maps = [proposer_of(tiny_double, name)(*prepared(tiny_double, name, image), 0).cams for name in CAMS]
    for i, one in enumerate(maps):
        for other in maps[:i]:
            assert np.abs(one - other).max() > 0.05


def prepared(model: ClipAsRnn, name: str, image: np.ndarray) -> tuple[Any, np.ndarray]:
    return proposer_of(model, name).prepare(Photo.of(image), WORDS, BACKGROUND), np.arange(len(WORDS))


def test_hirescam_is_gradcam_where_the_network_ends_in_mean_and_linear(
    offline: ClipAsRnn, image: np.ndarray
) -> None:
    """The theorem of its paper, on the offline backbone."""
    maps = [raw_maps(proposer_of(offline, name), image, range(3), BACKGROUND) for name in CAMS[:2]]
    close(maps[1], maps[0], 1e-4)


# --- dense features -------------------------------------------------------------------------------


def softmax(rows: np.ndarray) -> np.ndarray:
    powers = np.exp(rows - rows.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


Attention = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


def naclip_attention(q: np.ndarray, k: np.ndarray, scale: float) -> np.ndarray:
    products = scale * k @ k.T
    for one in range(20):
        for other in range(20):
            apart = (one // 5 - other // 5) ** 2 + (one % 5 - other % 5) ** 2
            products[one + 1, other + 1] += np.exp(-apart / 50)
    return softmax(products)


ATTENTION: dict[str, tuple[Attention, bool]] = {
    "patches": (lambda q, k, scale: softmax(scale * q @ k.T), True),
    "maskclip": (lambda q, k, scale: np.eye(len(q)), True),
    "sclip": (lambda q, k, scale: softmax(scale * q @ q.T) + softmax(scale * k @ k.T), True),
    "clearclip": (lambda q, k, scale: softmax(scale * q @ q.T), False),
    "naclip": (naclip_attention, False),
}
"""What each does in the last block, head by head, and whether it keeps residual connection and MLP."""


def dense_features(theirs: Any, proposer: Any, image: np.ndarray, name: str) -> torch.Tensor:
    seen: dict[str, torch.Tensor] = {}
    last = theirs.vision_model.encoder.layers[-1]
    parts = {"q": last.self_attn.q_proj, "k": last.self_attn.k_proj, "v": last.self_attn.v_proj}
    handles = [
        part.register_forward_hook(lambda m, i, out, key=key: seen.__setitem__(key, out[0]))
        for key, part in parts.items()
    ]
    handles.append(last.register_forward_pre_hook(lambda m, i: seen.__setitem__("x", i[0][0])))
    theirs.vision_model(
        pixel_values=pixel_values(proposer.backbone, image[None]), interpolate_pos_encoding=True
    )
    for handle in handles:
        handle.remove()
    attention, whole = ATTENTION[name]
    width = seen["q"].shape[1] // 2
    mixed = []
    for head in range(2):
        q, k, v = (seen[key][:, head * width : (head + 1) * width].numpy() for key in "qkv")
        mixed.append(torch.from_numpy(attention(q, k, width**-0.5) @ v))
    out = last.self_attn.out_proj(torch.cat(mixed, dim=1))
    if whole:
        out = seen["x"] + out
        out = out + last.mlp(last.layer_norm2(out))
    return theirs.visual_projection(theirs.vision_model.post_layernorm(out[1:]))


@pytest.mark.parametrize("name", DENSE)
def test_dense_features_are_theirs(name: str, theirs: Any, tiny_double: ClipAsRnn, image: np.ndarray) -> None:
    proposer = proposer_of(tiny_double, name)
    truth = dense_features(theirs, proposer, image, name)
    ours = proposer.features(proposer.backbone.trunk(image))
    assert ours.shape == (20, 32)
    close(ours.numpy(), truth.numpy())


@pytest.mark.parametrize("weight", [1.0, 3.0])
@pytest.mark.parametrize("name", DENSE)
def test_dense_maps_are_a_softmax_in_every_patch(
    name: str, weight: float, theirs: Any, tiny_double: ClipAsRnn, image: np.ndarray
) -> None:
    proposer = proposer_of(tiny_double, name, background_weight=weight)
    patches = torch.nn.functional.normalize(dense_features(theirs, proposer, image, name), dim=-1).numpy()
    scale = theirs.logit_scale.exp().item()
    for subset in SUBSETS:
        texts = written([*(WORDS[k] for k in subset), *BACKGROUND], proposer.template)
        powers = np.exp(scale * patches @ proposer.backbone.encode_text(texts).numpy().T)
        powers[:, len(subset) :] *= weight
        truth = (powers / powers.sum(1, keepdims=True)).T[: len(subset)]
        close(raw_maps(proposer, image, subset, BACKGROUND), truth)
        alone = proposer_of(tiny_double, name, background_weight=weight, refer=True)
        pairs = powers[:, : len(subset)] / (
            powers[:, : len(subset)] + powers[:, len(subset) :].sum(1, keepdims=True)
        )
        close(raw_maps(alone, image, subset, BACKGROUND), pairs.T)


def test_dense_maps_of_the_offline_backbone_are_its_class_activation_maps(
    offline: ClipAsRnn, image: np.ndarray
) -> None:
    """Patch by patch what the network says of an image whose every patch is that one."""
    proposer = proposer_of(offline, "patches")
    backbone = proposer.backbone
    trunk = backbone.trunk(image)
    texts = backbone.encode_text(written([*WORDS, *BACKGROUND], proposer.template))
    truth = []
    for token in trunk.activations:
        logits = backbone.logits(backbone.tail(trunk, token[None])[None], texts)[0]
        truth.append(logits.double().softmax(0)[: len(WORDS)].numpy())
    close(raw_maps(proposer, image, range(5), BACKGROUND), np.stack(truth, axis=1), 1e-4)


def test_siglip_pools_each_patch_alone(tiny_sigmoid: ClipAsRnn, image: np.ndarray) -> None:
    """Its attention pooling of one token: the value of that token, through the rest of the head."""
    backbone = tiny_sigmoid.classifier.backbone
    trunk = backbone.trunk(image)
    vision = backbone.model.vision_model
    (block,) = backbone.blocks(trunk)
    tokens = vision.post_layernorm(block())
    truth = torch.cat([vision.head(token[None, None]) for token in tokens])
    close(backbone.patches(trunk).numpy(), truth.numpy())
    close(backbone.tail(trunk, trunk.activations).numpy(), vision.head(tokens[None])[0].numpy())


# --- attention ------------------------------------------------------------------------------------


def test_legrad_is_autograd(theirs: Any, tiny_double: ClipAsRnn, image: np.ndarray) -> None:
    proposer = proposer_of(tiny_double, "legrad")
    pixels = pixel_values(proposer.backbone, image[None]).requires_grad_()
    embeddings = proposer.backbone.encode_text(written(WORDS, proposer.template))
    vision = theirs.vision_model
    with torch.enable_grad():
        out = vision(
            pixel_values=pixels, interpolate_pos_encoding=True,
            output_attentions=True, output_hidden_states=True,
        )  # fmt: skip
        truth = np.zeros((len(WORDS), 20))
        for layer in (1, 2):  # the last two of three
            pooled = theirs.visual_projection(vision.post_layernorm(out.hidden_states[layer + 1][0].mean(0)))
            for k in range(len(WORDS)):
                score = theirs.logit_scale.exp() * torch.cosine_similarity(pooled, embeddings[k], dim=0)
                (gradient,) = torch.autograd.grad(score, out.attentions[layer], retain_graph=True)
                truth[k] += gradient[0].clamp(min=0).mean(dim=(0, 1))[1:].numpy()
    close(raw_maps(proposer, image, range(5), BACKGROUND), truth)


def test_rollout_is_the_product_of_all_blocks(theirs: Any, tiny_double: ClipAsRnn, image: np.ndarray) -> None:
    proposer = proposer_of(tiny_double, "rollout")
    pixels = pixel_values(proposer.backbone, image[None])
    out = theirs.vision_model(pixel_values=pixels, interpolate_pos_encoding=True, output_attentions=True)
    flow = np.eye(21)
    for attention in out.attentions:
        flow = (attention[0].mean(0).numpy() + np.eye(21)) / 2 @ flow
    maps = raw_maps(proposer, image, (0, 4), BACKGROUND)
    close(maps, np.stack([flow[0, 1:]] * 2))


def test_rollout_without_a_class_token_is_the_mean_over_patches(
    tiny_sigmoid: ClipAsRnn, image: np.ndarray
) -> None:
    backbone = tiny_sigmoid.classifier.backbone
    proposer = proposer_of(carlab.change(tiny_sigmoid), "rollout")
    proposer = type(proposer)(backbone, affinity=None)
    flow = np.eye(20)
    for block in backbone.blocks(backbone.trunk(image), None):
        flow = (block.weights().mean(0).numpy() + np.eye(20)) / 2 @ flow
    close(raw_maps(proposer, image, (0,), ()), flow.mean(0)[None])


def test_blocks_are_those_of_the_tower(theirs: Any, tiny_double: ClipAsRnn, image: np.ndarray) -> None:
    backbone = tiny_double.proposer.backbone
    trunk = backbone.trunk(image)
    pixels = pixel_values(backbone, image[None])
    out = theirs.vision_model(pixel_values=pixels, interpolate_pos_encoding=True, output_hidden_states=True)
    for number in (1, 2, 3, None, 9):
        blocks = backbone.blocks(trunk, number)
        assert len(blocks) == min(number or 3, 3)
        for block, hidden in zip(blocks, out.hidden_states[-len(blocks) :], strict=True):
            close(block().numpy(), hidden[0].numpy())


# --- what is free ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROPOSERS)
def test_what_a_subset_costs(name: str, tiny: ClipAsRnn, image: np.ndarray) -> None:
    """Nothing where maps are linear in the text, or its own alone; else a product for each active query."""
    proposer = change(tiny, proposer=name).proposer
    with measure() as first:
        # With a background, a map that is zero everywhere is computed once more without.
        against = BACKGROUND if name in FREE else ()
        proposals = proposer.prepare(Photo.of(image), WORDS, against)
    assert first.passes["trunk"] == (2 if name in ("legrad", "rollout") else 1)
    once = {"gradcam": 6, "hirescam": 6, "legrad": 10}
    assert first.passes.get("vjp", 0) == once.get(name, 0)
    assert first.passes.get("dense", 0) == (name in DENSE)
    with measure() as later:
        for _ in range(2):  # the step that confirms a fixed point has the same queries
            for t, subset in enumerate(SUBSETS):
                proposer(proposals, np.array(subset), t)
    nonlinear = sum(map(len, SUBSETS))
    assert later.passes == ({} if name in FREE else {"vjp": nonlinear})


@pytest.mark.parametrize("name", FREE)
def test_an_edited_activation_reaches_the_map(name: str, tiny: ClipAsRnn, image: np.ndarray) -> None:
    proposer = proposer_of(tiny, name)
    active = np.arange(2)
    photo = Photo.of(image)
    plain = proposer(proposer.prepare(photo, WORDS, BACKGROUND), active, 0).cams
    with edit("cam.activations", lambda tokens: tokens.flip(0)):
        edited = proposer(proposer.prepare(photo, WORDS, BACKGROUND), active, 0).cams
    assert np.abs(plain - edited).max() > 0.01
    again = proposer(proposer.prepare(photo, WORDS, BACKGROUND), active, 0).cams
    np.testing.assert_array_equal(plain, again)


# --- the table ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROPOSERS)
def test_every_name_runs_and_comes_back(
    name: str, tiny: ClipAsRnn, image: np.ndarray, tmp_path: Path
) -> None:
    model = change(tiny, proposer=name)
    assert SETTINGS["proposer"].read(model) == current(model)["proposer"] == name
    trace = model(image, WORDS)
    assert trace.steps[0].masks.shape == (5, 4, 5)
    assert trace.steps[0].masks.max() == 1
    loaded = carlab.Trace.load(trace.save(tmp_path / "t.safetensors"))
    assert loaded.settings["proposer"]["stage"] == type(model.proposer).__name__
    state = LabState(WORDS, "offline").but(proposer=name)
    code = state.code(None, own_model=True).removeprefix("import carlab\n\n").removesuffix("\ntrace")
    made: dict[str, Any] = {"carlab": carlab, "model": tiny, "image": image}
    exec(code, made)  # noqa: S102 - what the Lab tells people to run
    assert made["trace"] == trace


def test_the_other_settings_of_a_proposer_stay(tiny: ClipAsRnn) -> None:
    model = change(tiny, box=0.7, background_weight=0.5, refer=True)
    there = change(model, proposer="naclip").proposer
    assert (there.affinity.box_threshold, there.background_weight, there.compete) == (0.7, 0.5, False)
    assert there.backbone is model.proposer.backbone
    assert change(change(model, proposer="naclip"), proposer="gradcam") == model


@pytest.mark.parametrize("name", PROPOSERS)
def test_the_offline_backbone_has_no_attention(name: str, offline: ClipAsRnn, image: np.ndarray) -> None:
    if name in OFFLINE:
        trace = change(offline, proposer=name, refiner="none")(image, ["cat", "dog"])
        assert np.isfinite(trace.steps[0].masks).all()
        return
    with pytest.raises(SettingError, match=r"with other attention \(CLIP, open_clip, SigLIP\)") as caught:
        change(offline, proposer=name)
    assert f"a proposer out of {', '.join(OFFLINE)}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", PROPOSERS)
def test_siglip_supports_all(name: str, tiny_sigmoid: ClipAsRnn, image: np.ndarray) -> None:
    kind = type(change(tiny_sigmoid, proposer=name).proposer)
    proposer = kind(tiny_sigmoid.classifier.backbone)
    masks = proposer(proposer.prepare(Photo.of(image), WORDS, BACKGROUND), np.arange(3), 0).masks
    assert masks.shape == (3, 4, 5)
    assert masks.max() == 1


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
@pytest.mark.parametrize("name", PROPOSERS)
def test_other_precisions(
    name: str, dtype: str, tiny: ClipAsRnn, clip_folders: tuple[Path, Path], image: np.ndarray
) -> None:
    backbone = load_backbone(str(clip_folders[0]), dtype=dtype)
    proposer = type(change(tiny, proposer=name).proposer)(backbone, affinity=None)
    cams = proposer(proposer.prepare(Photo.of(image), WORDS, BACKGROUND), np.arange(3), 0).cams
    plain = proposer_of(tiny, name)
    truth = plain(plain.prepare(Photo.of(image), WORDS, BACKGROUND), np.arange(3), 0).cams
    assert np.corrcoef(cams.ravel(), truth.ravel())[0, 1] > (0.5 if dtype == "bfloat16" else 0.9999)


def test_a_network_is_no_proposer(tiny: ClipAsRnn) -> None:
    for name in ("openai/clip-vit-base-patch16", "offline", "/models/clip"):
        with pytest.raises(SettingError, match="out of gradcam, .*--proposer-backbone.*proposer_backbone="):
            change(tiny, proposer=name)
        with pytest.raises(SettingError, match="expected a network as proposer_backbone=, got proposer="):
            carlab.load("offline", proposer=name)


def test_deviation_and_depth_are_checked(tiny: ClipAsRnn) -> None:
    for name, wrong in (("naclip", {"deviation": 0.0}), ("legrad", {"depth": 0})):
        with pytest.raises(SettingError, match="expected a"):
            replace(change(tiny, proposer=name).proposer, **wrong)


class Uniform(Reattended):
    """Of one's own: every token attends to all alike."""

    def weigh(self, query: Any, key: Any, scale: float, grid: tuple[int, int]) -> torch.Tensor:
        return torch.full((len(query), query.shape[1], query.shape[1]), 1 / query.shape[1])


def test_a_proposer_of_ones_own_gets_a_name(tiny: ClipAsRnn, image: np.ndarray) -> None:
    PROPOSERS["uniform"] = Uniform
    try:
        model = change(tiny, proposer="uniform")
        assert current(model)["proposer"] == "uniform"
        assert "uniform" in SETTINGS["proposer"].choices
        assert model(image, WORDS).settings["proposer"]["stage"] == "Uniform"
    finally:
        del PROPOSERS["uniform"]
    assert current(model)["proposer"] is None
