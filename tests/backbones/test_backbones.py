"""Backbones: against transformers' own forward pass, and everything that can be wrong with weights."""

import json
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPModel

from benchmarks.class_vectors import class_names, name_vectors
from carlab.backbones import FrozenVlm, download, load_backbone
from carlab.backbones.clip import Clip
from carlab.backbones.offline import PEOPLE_PRIOR
from carlab.datasets import load_dataset
from carlab.errors import BackboneError, QueryError, SettingError
from carlab.recurrence import ClipAsRnn
from tests.tiny_clip import pixel_values, save_tiny_clip


def test_embeddings_are_those_of_transformers(load_tiny: Callable[..., Clip], photo: np.ndarray) -> None:
    backbone = load_tiny()
    pictures = np.stack([photo[:64, :64], photo[5:69, 20:84]])
    pixels = pixel_values(backbone, pictures)
    truth = backbone.model.get_image_features(pixel_values=pixels).pooler_output
    truth = torch.nn.functional.normalize(truth, dim=-1)
    torch.testing.assert_close(backbone.encode_images(pictures), truth, atol=1e-5, rtol=0)
    tokens = backbone.tokenizer(["a red car"], return_tensors="pt")
    text = torch.nn.functional.normalize(backbone.model.get_text_features(**tokens).pooler_output, dim=-1)
    torch.testing.assert_close(backbone.encode_text(["a red car"]), text, atol=1e-6, rtol=0)


def test_other_sizes_interpolate_positions_like_transformers(
    load_tiny: Callable[..., Clip], photo: np.ndarray
) -> None:
    backbone = load_tiny()
    pictures = photo[None, :48, :80]
    pixels = pixel_values(backbone, pictures)
    truth = backbone.model.get_image_features(
        pixel_values=pixels, interpolate_pos_encoding=True
    ).pooler_output
    truth = torch.nn.functional.normalize(truth, dim=-1)
    torch.testing.assert_close(backbone.encode_images(pictures), truth, atol=1e-5, rtol=0)


def test_trunk_and_tail_are_the_whole_tower(load_tiny: Callable[..., Clip], photo: np.ndarray) -> None:
    """Mean of the post-normed patch tokens of the full forward pass, and its attention maps."""
    backbone = load_tiny()
    trunk = backbone.trunk(photo[:64, :80])
    assert trunk.grid == (4, 5)
    eager = CLIPModel.from_pretrained(backbone.name.removeprefix("CLIP "), attn_implementation="eager")
    out = eager.vision_model(
        pixel_values=pixel_values(backbone, photo[None, :64, :80]),
        interpolate_pos_encoding=True,
        output_attentions=True,
    )
    pooled = eager.vision_model.post_layernorm(out.last_hidden_state[0, 1:]).mean(0)
    truth = eager.visual_projection(pooled)
    torch.testing.assert_close(backbone.tail(trunk, trunk.activations), truth, atol=1e-5, rtol=0)
    attention = torch.stack([layer[0].mean(0)[1:, 1:] for layer in out.attentions]).mean(0)
    torch.testing.assert_close(trunk.relations, attention, atol=1e-6, rtol=0)


def test_skipping_blocks(load_tiny: Callable[..., Clip], photo: np.ndarray) -> None:
    backbone = load_tiny()
    hidden = backbone.model.vision_model(
        pixel_values=pixel_values(backbone, photo[None, :64, :64]), output_hidden_states=True
    ).hidden_states
    truth = backbone.model.visual_projection(backbone.model.vision_model.post_layernorm(hidden[-2][:, 0]))
    skipped = backbone.encode_images(photo[None, :64, :64], skip_blocks=1)
    torch.testing.assert_close(skipped, torch.nn.functional.normalize(truth, dim=-1), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("size", "multiple", "grid"), [((70, 90), None, (5, 6)), ((16, 16), 32, (2, 2)), ((1, 1), None, (1, 1))]
)
def test_input_sides_are_rounded_up(
    load_tiny: Callable[..., Clip], size: tuple[int, int], multiple: int | None, grid: tuple[int, int]
) -> None:
    assert load_tiny(side_multiple=multiple).trunk(np.zeros((*size, 3), np.uint8)).grid == grid


def test_a_large_photo_is_shrunk_first(load_tiny: Callable[..., Clip]) -> None:
    assert load_tiny(max_side=160).trunk(np.zeros((1000, 2000, 3), np.uint8)).grid == (5, 10)


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_other_precisions_agree(load_tiny: Callable[..., Clip], photo: np.ndarray, dtype: str) -> None:
    single, other = load_tiny(), load_tiny(dtype=dtype)
    a, b = (model.encode_images(photo[None, :64, :64]).double() for model in (single, other))
    assert torch.nn.functional.cosine_similarity(a, b).item() > 0.999
    assert other.trunk(photo).activations.dtype == (torch.float64 if dtype == "float64" else torch.float32)


def test_too_many_tokens(load_tiny: Callable[..., Clip]) -> None:
    load_tiny().encode_text(["x" * 60])
    with pytest.raises(QueryError, match="expected at most 77 tokens, got 102 in 'x"):
        load_tiny().encode_text(["x" * 100])


@pytest.mark.parametrize("device", ["cuda:99", "nonsense", ""])
def test_devices_that_are_not_there(device: str) -> None:
    with pytest.raises(SettingError, match="expected a device of this machine"):
        load_backbone("offline", device=device)


@pytest.mark.parametrize("dtype", ["float16", "int8", "f32"])
def test_precisions_that_do_not_work(dtype: str) -> None:
    with pytest.raises(SettingError, match="expected"):
        load_backbone("offline", dtype=dtype)


@pytest.fixture
def folder(clip_folders: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(clip_folders[0], tmp_path / "clip"))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


BROKEN: dict[str, Callable[[Path], object]] = {
    "no config": lambda f: (f / "config.json").unlink(),
    "config is not JSON": lambda f: (f / "config.json").write_text("{"),
    "another model": lambda f: (f / "config.json").write_text(json.dumps({"model_type": "bert"})),
    "no weights": lambda f: (f / "model.safetensors").unlink(),
    "truncated weights": lambda f: cut(f / "model.safetensors"),
    "random bytes": lambda f: (f / "model.safetensors").write_bytes(bytes(range(256)) * 9),
    "NaN": lambda f: change_weights(f, lambda w: w["logit_scale"].fill_(float("nan"))),
    "a tensor missing": lambda f: change_weights(f, lambda w: w.pop("visual_projection.weight")),
    "a tensor misshapen": lambda f: change_weights(
        f, lambda w: w.update({"visual_projection.weight": torch.ones(2, 2)})
    ),
    "no tokenizer": lambda f: [
        (f / name).unlink() for name in ("vocab.json", "merges.txt", "tokenizer_config.json")
    ],
    "pickle only": lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
}


@pytest.mark.parametrize("problem", BROKEN)
def test_a_broken_checkpoint_is_one_clear_error(folder: Path, problem: str) -> None:
    BROKEN[problem](folder)
    with pytest.raises(BackboneError, match="expected") as caught:
        load_backbone(str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "no-such-folder", "/no/such/folder", "a/b/c"])
def test_names_that_are_nothing(name: str) -> None:
    with pytest.raises(BackboneError, match="carlab models"):
        load_backbone(name)


def test_a_hub_that_is_switched_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BackboneError, match="HF_HUB_OFFLINE is set.*local folder.*offline"):
        load_backbone("nobody/no-such-model")


def test_a_hub_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setattr(download, "HUB_SECONDS", 0.5)
        monkeypatch.setattr(
            "huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}"
        )
        with pytest.raises(BackboneError, match="local folder.*offline"):
            load_backbone("nobody/no-such-model")


# --- the embedded default -------------------------------------------------------------------------


def test_offline_says_what_it_is(offline: ClipAsRnn) -> None:
    backbone = offline.proposer.backbone
    assert isinstance(backbone, FrozenVlm)
    assert "not CLIP" in backbone.name
    assert "not CLIP" in repr(backbone)
    assert len(backbone.sha256) == 64


def test_shipped_name_vectors_are_what_the_encoder_gives(offline: ClipAsRnn) -> None:
    backbone = offline.proposer.backbone
    made = name_vectors(backbone.sentences)
    torch.testing.assert_close(backbone.class_names, made["names"], atol=2e-3, rtol=0)
    torch.testing.assert_close(backbone.people, made["people"], atol=2e-3, rtol=0)
    torch.testing.assert_close(backbone.class_centre, made["centre"], atol=1e-4, rtol=0)


def test_class_names_find_their_own_class(offline: ClipAsRnn) -> None:
    shares = offline.proposer.backbone.encode_text(["tabby cat", "goldfish", "space shuttle"])
    assert shares.argmax(dim=1).tolist() == [281, 1, 812]
    torch.testing.assert_close(shares.sum(1), torch.ones(3))


def test_people_are_known_by_what_they_wear(offline: ClipAsRnn, photo: np.ndarray) -> None:
    backbone = offline.proposer.backbone
    worn = backbone.worn > 0
    assert {class_names()[index][0] for index in worn.nonzero().flatten().tolist()} == set(
        (files("carlab.data") / "imagenet1k_worn.txt").read_text().split("\n")[:-1]
    )
    people = backbone.encode_text(["person", "woman", "people", "dog", "sofa"])[:, -1]
    assert (people[:3] > 0.9).all()
    assert (people[3:] < 0.1).all()
    scores = backbone.encode_images(photo[None])
    torch.testing.assert_close(scores[0, -1].exp(), backbone.worn @ scores[0, :-1].exp())


def test_people_have_a_prior(offline: ClipAsRnn) -> None:
    """It adds a constant to the logits of people, and none to those of others."""
    queries = ["person", "woman", "tie", "saucer"]
    scores = torch.randn(3, 1001, generator=torch.Generator().manual_seed(0))
    backbone = offline.proposer.backbone
    texts = backbone.encode_text(queries)
    plain = replace(backbone, people_prior=1.0).logits(scores, texts)
    more = backbone.scale * float(np.log(PEOPLE_PRIOR))
    want = plain + torch.tensor([more, more, 0.0, 0.0])
    torch.testing.assert_close(backbone.logits(scores, texts), want)


def test_the_prior_of_people_is_counted(shared: Path) -> None:
    train = load_dataset("voc21", shared / "data", split="train")
    shown = [set(np.unique(train[index].truth())) - {0, 255} for index in range(len(train))]
    with_class = [sum(number in classes for classes in shown) for number in range(1, 21)]
    people = with_class.pop(train.classes.index("person"))
    assert round(people / np.mean(with_class)) == PEOPLE_PRIOR


def test_logits_are_the_rule_of_total_probability(offline: ClipAsRnn) -> None:
    backbone = replace(offline.proposer.backbone, scale=0.5)
    texts = backbone.encode_text(["dog", "train", "person"])
    prior = torch.tensor([[1.0], [1.0], [PEOPLE_PRIOR]], dtype=torch.float64)
    shares = prior * texts.double()
    scores = 6 * torch.randn(3, 1001, generator=torch.Generator().manual_seed(0))
    total = 0.5 * (scores[:, None].double() + shares.log()).logsumexp(-1)
    torch.testing.assert_close(backbone.logits(scores, texts).double(), total, atol=1e-4, rtol=0)
    torch.testing.assert_close(backbone.logits(scores, 2 * texts).double(), total, atol=1e-4, rtol=0)


def test_templates_move_no_prior(offline: ClipAsRnn) -> None:
    """The mean over templates, in its length of 1, is read as the mean of the shares."""
    templates = ("a photo of a {}.", "a drawing of {}, by a child.", "{}")
    classifier = replace(offline.classifier, templates=templates, ensemble="embeddings")
    backbone = classifier.backbone
    (texts,) = classifier.encode_text(["person", "dog"])
    texts = torch.from_numpy(texts)
    assert (texts.sum(-1) > 1.01).any()  # of length 1: a row does not sum to 1
    scores = torch.randn(2, 1001, generator=torch.Generator().manual_seed(0))
    shares = texts / texts.sum(-1, keepdim=True)
    torch.testing.assert_close(backbone.logits(scores, texts), backbone.logits(scores, shares))


def test_a_broad_word_is_as_good_as_the_best_of_its_classes(offline: ClipAsRnn) -> None:
    """A picture that is a beagle (162) and no other breed shows a dog, and no cat."""
    backbone = offline.proposer.backbone
    scores = torch.full((1, 1001), 0.0)
    scores[0, 151:269] = -5.0  # the dogs
    scores[0, 162] = 12.0
    dog, cat = backbone.logits(scores, backbone.encode_text(["dog", "cat"]))[0]
    assert dog > cat + 1


def test_dense_and_strided_networks_share_weights_not_strides(offline: ClipAsRnn, photo: np.ndarray) -> None:
    backbone = offline.proposer.backbone
    assert backbone.trunk(photo).grid == (28, 36)
    assert backbone.encode_images(photo[None]).shape == (1, 1001)
    with pytest.raises(BackboneError, match="only CLIP and SigLIP have blocks"):
        backbone.encode_images(photo[None], skip_blocks=1)


def test_offline_text_limit(offline: ClipAsRnn) -> None:
    with pytest.raises(QueryError, match="at most 256 word pieces"):
        offline.proposer.backbone.encode_text(["word " * 300])


def test_a_tiny_clip_is_the_same_each_time(tmp_path: Path) -> None:
    a, b = (save_tiny_clip(tmp_path / name, seed=5) for name in "ab")
    assert (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()
