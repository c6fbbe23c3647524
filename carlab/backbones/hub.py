"""Find and read a checkpoint: a local folder, the hub's cache, or the hub. Weights from safetensors only."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple, TypeVar

from carlab.backbones.checkpoint import Checkpoint, quiet, read_folder
from carlab.errors import BackboneError, reason

HUB_SECONDS = 8.0
"""Timeout of the first request to a hub; name resolution has none of its own."""

_T = TypeVar("_T")


class Family(NamedTuple):
    """A family of models: its name, transformers' model types, and an example of a hub name."""

    name: str
    types: tuple[str, ...]
    example: str
    stand_in: str
    """The name that needs no weights."""

    @property
    def ways_out(self) -> str:
        """Advice for when there is no such checkpoint."""
        return f'give a local folder with the checkpoint, or use "{self.stand_in}"'


def read_checkpoint(family: Family, name: str, read: Callable[[dict[str, Any]], _T]) -> _T:
    """Find and read the checkpoint of a folder or hub name ("org/name", or "org/name@revision").

    `read` is called with the arguments by which transformers' `from_pretrained` finds it.

    Raises BackboneError if it cannot be found, reached or read, or is of another family.
    """
    folder = Path(name).expanduser()
    source = _local_folder(family, folder) if name and folder.is_dir() else _hub_source(family, name)
    try:
        with quiet():
            return read(source)
    except Exception as error:  # loaders raise anything from OSError to RuntimeError and SafetensorError
        raise BackboneError(
            f"expected a {family.name} checkpoint with safetensors weights, got {name!r} "
            f"({reason(error)}); {family.ways_out}"
        ) from error


CLIP = Family("CLIP", ("clip",), "openai/clip-vit-base-patch16", "offline")


def find_checkpoint(name: str) -> Checkpoint:
    """Return the checkpoint of a folder or hub name."""
    from huggingface_hub import snapshot_download

    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return read_folder(name, folder)
    source = _hub_source(CLIP, name)
    repository = source.pop("pretrained_model_name_or_path")
    return read_folder(name, Path(snapshot_download(repository, **source)))


def check_weights(name: str, model: Any, report: dict[str, Any]) -> None:
    """Check that a model has all its weights and that they are finite, by transformers' loading report.

    Raises BackboneError, which names the tensors that are missing or broken.
    """
    missing = sorted(map(str, report["missing_keys"])) + sorted(map(str, report.get("mismatched_keys", ())))
    broken = [key for key, weight in model.state_dict().items() if not weight.isfinite().all()]
    for problem, keys in (("lacks", missing), ("has NaN or infinity in", broken)):
        if keys:
            raise BackboneError(
                f"expected whole, finite weights, got {name!r}, which {problem} {len(keys)} tensors "
                f"({keys[0]}, ...); download or save the checkpoint again"
            )


def _local_folder(family: Family, folder: Path) -> dict[str, Any]:
    try:
        kind = json.loads((folder / "config.json").read_text())["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackboneError(
            f"expected a folder with a transformers config.json, got {str(folder)!r} "
            f"({reason(error)}); save the model there with save_pretrained"
        ) from error
    if kind not in family.types:
        raise BackboneError(
            f"expected a checkpoint of type {' or '.join(map(repr, family.types))}, got {kind!r} "
            f"in {str(folder)!r}; {family.ways_out}"
        )
    return {"pretrained_model_name_or_path": str(folder), "local_files_only": True}


def _hub_source(family: Family, name: str) -> dict[str, Any]:
    repository, _, revision = name.partition("@")
    if len(repository.split("/")) != 2 or repository.startswith((".", "/", "~")):
        raise BackboneError(
            f'expected "{family.stand_in}", a folder that exists, or a hub name like "{family.example}", '
            f"got {name!r}; run `carlab models` to see what can be loaded here"
        )
    return {
        "pretrained_model_name_or_path": repository,
        "revision": revision or "main",
        "local_files_only": _is_cached(repository, revision or "main")
        or not _reachable(family, name, repository),
    }


def _is_cached(repository: str, revision: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repository, "config.json", revision=revision), str)


def _reachable(family: Family, name: str, repository: str) -> bool:
    """Send the hub one short request: without it, a closed network costs minutes of retries."""
    from huggingface_hub import HfApi

    failure: list[Exception] = [TimeoutError(f"no answer in {HUB_SECONDS:.0f} s")]

    def request() -> None:
        try:
            HfApi().model_info(repository, timeout=HUB_SECONDS / 2)
            failure.clear()
        except Exception as error:
            failure[:] = [error]

    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in {"1", "ON", "YES", "TRUE"}:
        failure[:] = [ConnectionError("HF_HUB_OFFLINE is set")]
    else:
        thread = Thread(target=request, daemon=True)
        thread.start()
        thread.join(HUB_SECONDS)
    if failure:
        raise BackboneError(
            f"expected {name!r} from the model hub, got nothing ({reason(failure[0])}); {family.ways_out}"
        ) from failure[0]
    return True
