"""A checkpoint that lies whole on this machine, and models built from it without running any of its code."""

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import file_digest
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZIP_STORED, ZipFile, is_zipfile

import torch
from safetensors.torch import load_file
from torch import Tensor

from carlab.backbones.bounds import check_config, check_size
from carlab.backbones.contents import MOST_WEIGHTS, kind_of
from carlab.errors import BackboneError, CarlabError, reason
from carlab.files.opening import open_file

SHA256 = re.compile("[0-9a-f]{64}")
CODE = re.compile(r"GLOBAL (\S+)")
"""How torch names the Python object that a pickle asks for."""


@dataclass(frozen=True)
class Checkpoint:
    """Files of a model, all of them whole.

    Parameters
    ----------
    name
        As the user wrote it: a folder, "org/name" or "org/name@revision".
    folder
        Where configuration, tokenizer and preprocessor lie.
    weights
        One safetensors or .bin file, or the shards of one. They may lie elsewhere.
    config
        Content of config.json, or of open_clip_config.json where that is what there is.
    revision
        Commit of a hub checkpoint.
    """

    name: str
    folder: Path
    weights: tuple[Path, ...]
    config: dict[str, Any]
    revision: str | None = None

    @property
    def kind(self) -> str:
        """Model type: "clip", "siglip", "sam", ..., or "open_clip" for open_clip's own format."""
        return kind_of(self.config)

    @cached_property
    def source(self) -> str:
        """For provenance: file name, revision and sha256 of each weights file."""
        return ", ".join(map(_described, self.weights))

    def tensors(self) -> dict[str, Tensor]:
        """Read all weights into memory of the CPU; no code in them is run.

        Raises BackboneError if a file is broken, or holds anything that is no tensor.
        """
        merged: dict[str, Tensor] = {}
        for path in self.weights:
            merged |= read_tensors(path)
        return merged


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, or of a .bin through torch's weights-only reader.

    Raises BackboneError if it is broken, or a pickle that asks for anything but tensors; none of it is run.
    """
    try:
        with open_file(path, MOST_WEIGHTS) as stream:
            check_stored(stream)
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():  # of pickle protocols; what cannot be read is an error
            warnings.simplefilter("ignore")
            read = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except Exception as error:  # SafetensorError, UnpicklingError, RuntimeError, OSError, ...
        code = CODE.search(str(error))
        problem = f"it asks for {code[1]}, which could run code; nothing was run" if code else reason(error)
        raise BackboneError(
            f"expected a file of tensors, got {path.name!r} ({problem}); get the checkpoint again, as "
            "safetensors where there is one"
        ) from error
    tensors = read.get("state_dict", read) if isinstance(read, Mapping) else {}
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise BackboneError(
            f"expected tensors by name, got {type(read).__name__} in {path.name!r}; "
            "save the model's state_dict there"
        )
    return dict(tensors)


def check_stored(stream: BinaryIO) -> None:
    """Raise ValueError for a zip of compressed parts: torch writes none, and they may unpack to anything."""
    if is_zipfile(stream):
        packed = [part.filename for part in ZipFile(stream).infolist() if part.compress_type != ZIP_STORED]
        if packed:
            raise ValueError(f"{packed[0]} is compressed")


def build(
    cls: Any, config: Any, tensors: Mapping[str, Tensor], checkpoint: Checkpoint, dtype: torch.dtype
) -> Any:
    """Build a frozen transformers model from weights in memory, without any network.

    Names of tensors that transformers has changed since are understood.

    Raises BackboneError if tensors are missing, of another shape, NaN or infinite, and names them.

    Parameters
    ----------
    cls
        Class of the model, such as `CLIPModel`.
    config
        Its configuration, as an object or as in config.json.
    tensors
        Weights by name; those that the model does not know are left out.
    checkpoint
        Where they come from, for messages.
    """
    with loading(checkpoint):
        made = cls.config_class.from_dict(config) if isinstance(config, Mapping) else config
        check_config(made)
        check_size(cls, made, tensors)
        model, report = cls.from_pretrained(
            None,
            config=made,
            state_dict=dict(tensors),
            dtype=dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, by name
        )
    _check_weights(checkpoint.name, model, report)
    return model.requires_grad_(False).eval()


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


def _check_weights(name: str, model: Any, report: Mapping[str, Any]) -> None:
    missing = sorted(map(str, report["missing_keys"]))
    misshapen = sorted(f"{key} {tuple(got)} for {tuple(due)}" for key, got, due in report["mismatched_keys"])
    large = {key: weight for key, weight in model.named_parameters() if weight.ndim > 1}
    empty = [key for key, weight in large.items() if not weight.any()]
    broken = [key for key, weight in model.state_dict().items() if not weight.isfinite().all()]
    problems = {"lacks": missing, "has another shape in": misshapen, "has NaN or infinity in": broken}
    if 2 * len(empty) > len(large):  # one that was never trained may be
        problems["has nothing but zeros in"] = empty
    for problem, keys in problems.items():
        if keys:
            raise BackboneError(
                f"expected whole, finite weights, got {name!r}, which {problem} {len(keys)} tensors "
                f"({keys[0]}, ...); download or save the checkpoint again"
            )


def _described(weights: Path) -> str:
    """Return file name, commit and digest. The hub's cache names a large file by its sha256."""
    commit = f" at {weights.parent.name[:8]}" if weights.parent.parent.name == "snapshots" else ""
    digest = weights.resolve().name
    if not SHA256.fullmatch(digest):
        with open_file(weights, MOST_WEIGHTS) as stream:
            digest = file_digest(stream, "sha256").hexdigest()
    return f"{weights.name}{commit} sha256 {digest}"
