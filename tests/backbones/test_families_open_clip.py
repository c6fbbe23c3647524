"""open_clip's own format: against open_clip's outputs, an independent forward pass, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize
from transformers import CLIPModel

from carlab.backbones import load_backbone
from carlab.backbones.checkpoint import Checkpoint
from carlab.backbones.clip import Clip
from carlab.backbones.open_clip import convert_config, convert_tensors
from carlab.errors import BackboneError
from tests.backbones.golden.make import CONFIGS, TOKENS, golden_pixels
from tests.tiny_clip import pixel_values
from tests.tiny_open_clip import (
    CONFIG,
    MEAN,
    STD,
    OpenClip,
    random_tensors,
    save_tiny_open_clip,
    tiny_open_clip,
)

GOLDEN = json.loads((Path(__file__).parent / "golden" / "open_clip.json").read_text())
LONG = torch.tensor([row + [0] * (77 - len(row)) for row in TOKENS])


class InMemory(Checkpoint):
    """A checkpoint of the tensors that open_clip 3.3.0 has for a configuration."""

    def tensors(self) -> dict[str, torch.Tensor]:
        shapes = {name: tuple(shape) for name, shape in GOLDEN[self.name]["shapes"].items()}
        return random_tensors(shapes, 3)


@pytest.mark.parametrize("name", CONFIGS)
def test_outputs_are_open_clips(name: str) -> None:
    """By open_clip 3.3.0 itself, see golden/make.py: every tensor finds its place, and the outputs agree."""
    checkpoint = InMemory(name, Path(), (), {"model_cfg": CONFIGS[name]})
    model = CLIPModel(convert_config(checkpoint)).eval()
    report = model.load_state_dict(convert_tensors(checkpoint), strict=True)
    assert not report.missing_keys and not report.unexpected_keys
    images = model.get_image_features(pixel_values=golden_pixels()).pooler_output
    torch.testing.assert_close(images, torch.tensor(GOLDEN[name]["images"]), atol=1e-5, rtol=0)
    texts = model.get_text_features(input_ids=LONG).pooler_output
    torch.testing.assert_close(texts, torch.tensor(GOLDEN[name]["texts"]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["gelu", "quick"])
def test_the_independent_model_is_open_clips(name: str) -> None:
    """So that the tests below compare with what open_clip computes."""
    model = OpenClip(CONFIGS[name]).eval()
    model.load_state_dict(InMemory(name, Path(), (), {}).tensors())
    images, texts = model.visual(golden_pixels()), model.encode_text(LONG)
    torch.testing.assert_close(images, torch.tensor(GOLDEN[name]["images"]), atol=1e-5, rtol=0)
    torch.testing.assert_close(texts, torch.tensor(GOLDEN[name]["texts"]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "bin"])
@pytest.mark.parametrize("change", [{}, {"quick_gelu": True}, {"custom_text": True}], ids=str)
def test_a_saved_folder(tmp_path: Path, photo: np.ndarray, change: dict[str, Any], pickled: bool) -> None:
    """From the folder to embeddings and logits, against the independent forward pass."""
    cfg = CONFIG | change
    backbone = load_backbone(str(save_tiny_open_clip(tmp_path, cfg, pickled=pickled)))
    reference = tiny_open_clip(cfg)
    assert isinstance(backbone, Clip)
    assert (backbone.mean, backbone.std) == (MEAN, STD)
    assert backbone.source.startswith("open_clip_pytorch_model.bin" if pickled else "open_clip_model.safeten")
    images = np.stack([photo[:64, :64], photo[5:69, 20:84]])
    visual = normalize(reference.visual(pixel_values(backbone, images)), dim=-1)
    torch.testing.assert_close(backbone.encode_images(images), visual, atol=1e-5, rtol=0)
    texts = ["a photo of a cat", "red"]
    tokens = [row + [0] * (77 - len(row)) for row in backbone.tokenizer(texts)["input_ids"]]
    text = normalize(reference.encode_text(torch.tensor(tokens)), dim=-1)
    torch.testing.assert_close(backbone.encode_text(texts), text, atol=1e-5, rtol=0)
    logits = reference.logit_scale.exp() * visual @ text.T
    torch.testing.assert_close(backbone.logits(visual, text), logits, atol=1e-4, rtol=0)


def test_statistics_that_are_not_given_are_openais(tmp_path: Path) -> None:
    folder = save_tiny_open_clip(tmp_path)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG}))
    backbone = load_backbone(str(folder))
    assert backbone.mean == (0.48145466, 0.4578275, 0.40821073)
    assert backbone.std == (0.26862954, 0.26130258, 0.27577711)


def edit(folder: Path, part: str | None, **values: Any) -> None:
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    (config["model_cfg"][part] if part else config["model_cfg"]).update(values)
    path.write_text(json.dumps(config))


def add_tensor(folder: Path, name: str) -> None:
    path = folder / "open_clip_model.safetensors"
    save_file({**load_file(path), name: torch.zeros(3)}, path)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "timm": (
        lambda f: edit(f, "vision_cfg", timm_model_name="convnext_base"),
        "got timm_model_name='convnext",
    ),
    "CoCa": (lambda f: edit(f, None, multimodal_cfg={"width": 8}), "got multimodal_cfg="),
    "ResNet": (lambda f: edit(f, "vision_cfg", layers=[3, 4, 6, 3]), r"got layers=\[3, 4, 6, 3\]"),
    "text of another family": (
        lambda f: edit(f, "text_cfg", hf_model_name="roberta-base"),
        "got hf_model_name",
    ),
    "another pooling": (lambda f: edit(f, "text_cfg", pool_type="last"), "got pool_type='last'"),
    "a bias": (lambda f: edit(f, None, init_logit_bias=-10), "got init_logit_bias=-10"),
    "nothing in the config": (
        lambda f: (f / "open_clip_config.json").write_text('{"model_cfg": {}}'),
        "broken",
    ),
    "no number": (lambda f: edit(f, "text_cfg", width="wide"), "a broken open_clip_config.json"),
    "a tensor more": (
        lambda f: add_tensor(f, "visual.attn_pool.query"),
        r"1 others \(visual.attn_pool.query",
    ),
    "no tokenizer": (
        lambda f: [(f / name).unlink() for name in ("vocab.json", "merges.txt", "tokenizer_config.json")],
        "copy tokenizer.json, or vocab.json and merges.txt, there .*49408 tokens",
    ),
}


@pytest.mark.parametrize("problem", BROKEN)
def test_what_is_no_plain_clip_is_one_clear_error(tmp_path: Path, problem: str) -> None:
    folder = save_tiny_open_clip(tmp_path)
    change, message = BROKEN[problem]
    change(folder)
    with pytest.raises(BackboneError, match=message) as caught:
        load_backbone(str(folder))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("expected")
