"""Checkpoints that somebody made to break a loader: one BackboneError, before anything is built by them."""

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from carlab.backbones import load_backbone
from carlab.backbones.checkpoint import read_tensors
from carlab.errors import BackboneError
from carlab.recurrence import ClipAsRnn
from carlab.stages.base import Proposal
from tests.torture.mutate import nested


@pytest.fixture
def folder(clip_folders: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(clip_folders[0], tmp_path / "clip"))


def complaint(folder: Path) -> str:
    with pytest.raises(BackboneError) as caught:
        load_backbone(str(folder))
    message = str(caught.value)
    assert message.startswith("expected") and message.isprintable() and len(message) < 600
    return message


def change(folder: Path, part: str, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (config[part] if part else config).update(values)
    (folder / "config.json").write_text(json.dumps(config))


CONFIGS: list[tuple[str, dict[str, Any]]] = [
    ("vision_config", {"num_hidden_layers": 1_000_000}),
    ("text_config", {"num_hidden_layers": 0}),
    ("vision_config", {"num_attention_heads": -2}),
    ("vision_config", {"num_attention_heads": 3}),
    ("vision_config", {"hidden_size": 10**9}),
    ("vision_config", {"image_size": 10**6}),
    ("vision_config", {"patch_size": 0}),
    ("vision_config", {"patch_size": 128}),
    ("vision_config", {"image_size": [64, 64]}),
    ("text_config", {"vocab_size": 10**9}),
    ("text_config", {"vocab_size": 3_000_000}),
    ("text_config", {"eos_token_id": None}),
    ("text_config", {"hidden_size": "wide"}),
    ("text_config", {"max_position_embeddings": 2_000_000}),
    ("", {"projection_dim": 60_000}),
    ("", {"projection_dim": None}),
    ("", {"vision_config": nested(20)}),
    ("", {"text_config": None, "vision_config": None}),
]


@pytest.mark.parametrize(("part", "values"), CONFIGS, ids=str)
def test_configurations_of_no_model(part: str, values: dict[str, Any], folder: Path) -> None:
    change(folder, part, **values)
    complaint(folder)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"model_type": "clip"', b"\xff", b"null", b"[]"])
def test_a_configuration_that_is_none(content: bytes, folder: Path) -> None:
    (folder / "config.json").write_bytes(content)
    complaint(folder)


PIXELS = [{"image_std": [0, 1, 1]}, {"image_mean": [1]}, {"rescale_factor": 0}, {"image_mean": ["a", 1, 1]}]


@pytest.mark.parametrize("values", PIXELS, ids=str)
def test_pixels_that_are_none(values: dict[str, Any], folder: Path) -> None:
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
    complaint(folder)


def as_int8(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: weight.to(torch.int8) for name, weight in weights.items()}


def as_zeros(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: torch.zeros_like(weight) for name, weight in weights.items()}


@pytest.mark.parametrize(("damage", "said"), [(as_int8, "int8"), (as_zeros, "nothing but zeros")])
def test_weights_that_are_none(damage: Callable[..., Any], said: str, folder: Path) -> None:
    file = folder / "model.safetensors"
    save_file(damage(load_file(file)), file, {"format": "pt"})
    assert said in complaint(folder)


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "vocab.json", "preprocessor_config.json"]
)
def test_special_files_do_not_hang(name: str, folder: Path) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    complaint(folder)


def test_weights_that_unpack_to_gigabytes(tmp_path: Path) -> None:
    file = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(2**20))
    with pytest.raises(BackboneError, match="is compressed"):
        read_tensors(file)


class Zeros:
    """A backbone whose text embeddings are zero, or whose logits are NaN."""

    def __init__(self, backbone: Any, kind: str) -> None:
        self.backbone, self.kind = backbone, kind

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backbone, name)

    def encode_text(self, texts: Any) -> Any:
        found = self.backbone.encode_text(texts)
        return torch.zeros_like(found) if self.kind == "texts" else found

    def logits(self, images: Any, texts: Any) -> Any:
        found = self.backbone.logits(images, texts)
        return found * float("nan") if self.kind == "scores" else found


@pytest.mark.parametrize(("kind", "what"), [("texts", "text embeddings"), ("scores", "the scores P_t")])
def test_nan_names_the_stage(kind: str, what: str, tiny: ClipAsRnn, photo: np.ndarray) -> None:
    classifier = replace(tiny.classifier, backbone=Zeros(tiny.classifier.backbone, kind))
    with pytest.raises(
        BackboneError, match=f"expected finite {what}, got NaN .* TemplateClassifier with CLIP"
    ):
        replace(tiny, classifier=classifier)(photo, ["cat", "dog"])


@dataclass(frozen=True)
class NanProposer:
    """Proposes maps that are NaN."""

    def prepare(self, photo: Any, queries: Any, background: Any) -> None:
        return None

    def __call__(self, proposals: Any, active: np.ndarray, t: int) -> Proposal:
        maps = np.zeros((len(active), 2, 3), np.float32)
        return Proposal(maps, maps * np.nan)


def test_nan_of_a_stage_of_ones_own_names_it(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    with pytest.raises(BackboneError, match="soft masks.*NanProposer"):
        replace(tiny, proposer=NanProposer())(photo, ["cat"])
