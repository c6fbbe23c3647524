"""A checkpoint in a folder, and how a model is built from it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from carlab.errors import BackboneError, CarlabError, reason


@dataclass(frozen=True)
class Checkpoint:
    """Files of one model: configuration, weights, and whatever else lies in the folder."""

    name: str
    folder: Path
    weights: tuple[Path, ...]
    config: dict[str, Any]
    revision: str | None = None

    @property
    def kind(self) -> str:
        """Model type in transformers, or "open_clip"."""
        return "open_clip" if "model_cfg" in self.config else str(self.config.get("model_type"))

    @property
    def source(self) -> str:
        """Files, revision and digest, in one line."""
        digest = sha256()
        for path in self.weights:
            digest.update(path.read_bytes())
        return f"{', '.join(path.name for path in self.weights)} sha256:{digest.hexdigest()}"

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor by name."""
        found: dict[str, Tensor] = {}
        for path in self.weights:
            try:
                safe = path.suffix == ".safetensors"
                found |= load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:
                raise BackboneError(
                    f"expected whole weights in {path.name}, got {self.name!r} ({reason(error)}); "
                    "download the checkpoint again"
                ) from error
        return found


def read_folder(name: str, folder: Path) -> Checkpoint:
    """Return the checkpoint of a local folder."""
    try:
        config = folder / "config.json"
        config = config if config.is_file() else folder / "open_clip_config.json"
        values = json.loads(config.read_text())
        names = ("model.safetensors", "open_clip_model.safetensors", "open_clip_pytorch_model.bin")
        weights = tuple(folder / file for file in names if (folder / file).is_file())[:1]
        return Checkpoint(name, folder, weights, dict(values))
    except (OSError, ValueError, TypeError) as error:
        raise BackboneError(
            f"expected a folder with a transformers config.json, got {str(folder)!r} ({reason(error)}); "
            "save the model there with save_pretrained"
        ) from error


def build(
    cls: Any, config: Any, tensors: dict[str, Tensor], checkpoint: Checkpoint, dtype: torch.dtype
) -> Any:
    """Return a model of transformers with these weights."""
    with loading(checkpoint):
        model = cls(cls.config_class.from_dict(config) if isinstance(config, dict) else config)
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    for problem, keys in (
        ("lacks", [key for key, shape in shapes.items() if tensors.get(key, torch.empty(0)).shape != shape]),
        (
            "has NaN or infinity in",
            [key for key in shapes if key in tensors and not tensors[key].isfinite().all()],
        ),
    ):
        if keys:
            raise BackboneError(
                f"expected whole, finite weights, got {checkpoint.name!r}, which {problem} "
                f"{len(keys)} tensors ({keys[0]}, ...); download or save the checkpoint again"
            )
    model.load_state_dict({key: tensors[key] for key in shapes})
    return model.to(dtype)


@contextmanager
def loading(checkpoint: Checkpoint) -> Iterator[None]:
    """Silence transformers while it reads a checkpoint, and turn what it raises into one BackboneError."""
    try:
        with quiet():
            yield
    except CarlabError:
        raise
    except Exception as error:  # loaders raise anything from OSError to AttributeError
        raise BackboneError(
            f"expected a {checkpoint.kind} checkpoint that can be read, got {checkpoint.name!r} "
            f"({reason(error)}); download or save it again"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bars and loading reports: what matters is raised as an error."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
