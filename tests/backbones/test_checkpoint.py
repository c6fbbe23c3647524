"""Checkpoints on this machine: weights read without running code, models built from them, provenance."""

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPModel

from carlab.backbones.checkpoint import Checkpoint, build, read_tensors
from carlab.backbones.contents import inspect, is_whole
from carlab.backbones.hub import find_checkpoint
from carlab.errors import BackboneError
from carlab.recurrence import ClipAsRnn
from carlab.trace import Trace
from tests.conftest import WORDS


@pytest.fixture
def folder(clip_folders: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(clip_folders[0], tmp_path / "clip"))


@pytest.fixture
def checkpoint(folder: Path) -> Checkpoint:
    return find_checkpoint(str(folder))


def test_a_folder_is_what_transformers_reads(checkpoint: Checkpoint, folder: Path) -> None:
    digest = sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert checkpoint.source == f"model.safetensors sha256 {digest}"
    assert (checkpoint.kind, checkpoint.folder, checkpoint.revision) == ("clip", folder, None)
    built = build(CLIPModel, checkpoint.config, checkpoint.tensors(), checkpoint, torch.float32)
    truth = CLIPModel.from_pretrained(folder).state_dict()
    assert built.state_dict().keys() == truth.keys()
    assert all(torch.equal(weight, truth[name]) for name, weight in built.state_dict().items())
    assert not built.training
    assert not any(weight.requires_grad for weight in built.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_weights_in_half_precision(checkpoint: Checkpoint, dtype: torch.dtype) -> None:
    halved = {name: tensor.half() for name, tensor in checkpoint.tensors().items()}
    built = build(CLIPModel, checkpoint.config, halved, checkpoint, dtype)
    assert {weight.dtype for weight in built.parameters()} == {dtype}
    assert torch.equal(built.logit_scale, halved["logit_scale"].to(dtype))


def test_names_of_old_are_understood(checkpoint: Checkpoint) -> None:
    """Buffers that were saved before 4.31, and names of layer norms from TensorFlow."""
    tensors = checkpoint.tensors()
    truth = build(CLIPModel, checkpoint.config, tensors, checkpoint, torch.float32).state_dict()
    tensors["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    tensors["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    tensors["who.put.this.here"] = torch.ones(3)
    built = build(CLIPModel, checkpoint.config, tensors, checkpoint, torch.float32).state_dict()
    assert all(torch.equal(weight, truth[name]) for name, weight in built.items())


WRONG: dict[str, tuple[Callable[[dict[str, torch.Tensor]], object], str]] = {
    "missing": (
        lambda w: w.pop("visual_projection.weight"),
        "lacks 1 tensors (visual_projection.weight, ...)",
    ),
    "misshapen": (
        lambda w: w.update({"visual_projection.weight": torch.ones(2, 2)}),
        "has another shape in 1 tensors (visual_projection.weight (2, 2) for (32, 64), ...)",
    ),
    "infinite": (
        lambda w: w["logit_scale"].fill_(float("inf")),
        "has NaN or infinity in 1 tensors (logit_scale, ...)",
    ),
}


@pytest.mark.parametrize("problem", WRONG)
def test_wrong_tensors_are_named(checkpoint: Checkpoint, problem: str) -> None:
    change, text = WRONG[problem]
    tensors = checkpoint.tensors()
    change(tensors)
    with pytest.raises(BackboneError) as caught:
        build(CLIPModel, checkpoint.config, tensors, checkpoint, torch.float32)
    assert text in str(caught.value)


@pytest.mark.parametrize("config", [{"vision_config": 3}, {"text_config": {"hidden_size": "wide"}}])
def test_a_wrong_configuration_is_one_line(checkpoint: Checkpoint, config: dict[str, object]) -> None:
    with pytest.raises(BackboneError, match="expected a clip checkpoint that can be read") as caught:
        build(CLIPModel, {**checkpoint.config, **config}, checkpoint.tensors(), checkpoint, torch.float32)
    assert "\n" not in str(caught.value)


def test_what_a_bin_may_hold(tmp_path: Path) -> None:
    path, truth = tmp_path / "pytorch_model.bin", {"a": torch.arange(3.0)}
    for content in (truth, {"state_dict": truth, "epoch": 3}):
        torch.save(content, path)
        assert torch.equal(read_tensors(path)["a"], truth["a"])
    for content in ([1, 2], {"a": 3}, {}, torch.ones(3)):
        torch.save(content, path)
        with pytest.raises(BackboneError, match="expected tensors by name"):
            read_tensors(path)


def test_cut_files_are_not_whole(folder: Path, tmp_path: Path) -> None:
    """At forty places each."""
    torch.save({"a": torch.ones(9)}, folder / "pytorch_model.bin")
    for name in ("model.safetensors", "pytorch_model.bin", "vocab.json"):
        content = (folder / name).read_bytes()
        assert is_whole(name, folder / name)
        for size in {*range(0, len(content), max(1, len(content) // 40)), len(content) - 1}:
            (tmp_path / name).write_bytes(content[:size])
            assert not is_whole(name, tmp_path / name), (name, size)


def test_headers_that_lie(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    for content in (
        b"",
        b"\xff" * 40,
        bytes(8),
        (2**40).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (11).to_bytes(8, "little") + b'{"a": true}',
        (2).to_bytes(8, "little") + b"{}more",
    ):
        path.write_bytes(content)
        assert not is_whole(path.name, path)


def test_the_other_format_is_taken_where_one_is_broken(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    assert find_checkpoint(str(folder)).weights == (folder / "model.safetensors",)
    (folder / "model.safetensors").write_bytes(b"broken")
    assert find_checkpoint(str(folder)).weights == (folder / "pytorch_model.bin",)
    (folder / "pytorch_model.bin").write_bytes(b"PK")
    with pytest.raises(BackboneError, match="without a whole model.safetensors"):
        find_checkpoint(str(folder))


def test_shards_in_a_folder(folder: Path) -> None:
    truth = load_file(folder / "model.safetensors")
    names = sorted(truth)
    for number, part in enumerate((names[:10], names[10:])):
        save_file({name: truth[name] for name in part}, folder / f"{number}.safetensors")
    (folder / "model.safetensors").unlink()
    places = {name: f"{int(name in names[10:])}.safetensors" for name in names}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    tensors = find_checkpoint(str(folder)).tensors()
    assert all(torch.equal(tensor, truth[name]) for name, tensor in tensors.items())
    assert tensors.keys() == truth.keys()
    (folder / "1.safetensors").unlink()
    with pytest.raises(BackboneError, match="without every shard of model.safetensors.index.json"):
        find_checkpoint(str(folder))
    index.write_text(json.dumps({"weight_map": {"a": "../0.safetensors"}}))
    with pytest.raises(BackboneError, match="without every shard"):
        find_checkpoint(str(folder))


def test_nothing_is_a_checkpoint_too(tmp_path: Path) -> None:
    assert inspect({}).lacking[0] == "config.json"
    with pytest.raises(BackboneError, match=r"expected a whole model checkpoint.* without config.json and"):
        find_checkpoint(str(tmp_path))


def test_a_trace_says_from_which_file(
    tiny: ClipAsRnn, clip_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """In its provenance; the settings, by which runs are compared, know the digest of the weights alone."""
    trace = tiny(np.zeros((40, 40, 3), np.uint8), WORDS)
    for stage, folder in zip(("proposer", "classifier"), clip_folders, strict=True):
        digest = sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        assert trace.provenance[f"{stage}.source"] == f"model.safetensors sha256 {digest}"
        assert "source" not in trace.settings[stage]["backbone"]
    assert Trace.load(trace.save(tmp_path / "a.trace.safetensors")).provenance == trace.provenance
