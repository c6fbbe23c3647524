"""Find, check and load CLIP checkpoints: a local folder, the hub's cache, or the hub."""

import json
import os
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from transformers import CLIPModel, CLIPTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from carlab.backbones.clip import Clip, weights_digest
from carlab.backbones.quiet import quiet
from carlab.errors import BackboneError

WAYS_OUT = 'give a local folder with the checkpoint, or use the backbone "offline"'
HUB_SECONDS = 8.0
"""How long a hub may take to answer at all; name resolution has no timeout of its own."""


def load_clip(name: str, *, device: torch.device, dtype: torch.dtype, **options: Any) -> Clip:
    """Load a CLIP by folder or hub name ("org/name", or "org/name@revision").

    Only safetensors weights are read and no code of the checkpoint is run.

    Raises
    ------
    BackboneError
        If it cannot be found, reached or read, is no CLIP, or holds broken weights.
    """
    folder = Path(name).expanduser()
    source = _local_folder(folder) if name and folder.is_dir() else _hub_source(name)
    try:
        with quiet():
            model, report = CLIPModel.from_pretrained(
                **source,
                dtype=dtype,
                use_safetensors=True,
                attn_implementation="sdpa",
                output_loading_info=True,
            )
        tokenizer = CLIPTokenizerFast.from_pretrained(**source)
        processor = CLIPImageProcessorPil.from_pretrained(**source)
    except Exception as error:  # loaders raise anything from OSError to RuntimeError and SafetensorError
        raise BackboneError(
            f"expected a CLIP checkpoint with safetensors weights, got {name!r} "
            f"({_first_line(error)}); {WAYS_OUT}"
        ) from error
    _check_weights(name, model, report)
    _check_tokenizer(name, len(tokenizer), model.config.text_config.vocab_size)
    model.requires_grad_(False)
    return Clip(
        model=model.eval().to(device),
        tokenizer=tokenizer,
        name=f"CLIP {name}",
        mean=tuple(processor.image_mean),
        std=tuple(processor.image_std),
        sha256=weights_digest(model),
        **options,
    )


def _local_folder(folder: Path) -> dict[str, Any]:
    try:
        kind = json.loads((folder / "config.json").read_text())["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackboneError(
            f"expected a folder with a transformers config.json, got {str(folder)!r} "
            f"({_first_line(error)}); save the model there with save_pretrained"
        ) from error
    if kind != "clip":
        raise BackboneError(
            f"expected a checkpoint of type 'clip', got {kind!r} in {str(folder)!r}; {WAYS_OUT}"
        )
    return {"pretrained_model_name_or_path": str(folder), "local_files_only": True}


def _hub_source(name: str) -> dict[str, Any]:
    repository, _, revision = name.partition("@")
    if len(repository.split("/")) != 2 or repository.startswith((".", "/", "~")):
        raise BackboneError(
            f'expected "offline", a folder that exists, or a hub name like "openai/clip-vit-base-patch16", '
            f"got {name!r}; run `carlab models` to see what can be loaded here"
        )
    return {
        "pretrained_model_name_or_path": repository,
        "revision": revision or "main",
        "local_files_only": _is_cached(repository, revision or "main") or not _reachable(name, repository),
    }


def _is_cached(repository: str, revision: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repository, "config.json", revision=revision), str)


def _reachable(name: str, repository: str) -> bool:
    """Ask the hub once, briefly: without this, a closed network costs minutes of retries."""
    from huggingface_hub import HfApi

    failure: list[Exception] = [TimeoutError(f"no answer in {HUB_SECONDS:.0f} s")]

    def ask() -> None:
        try:
            HfApi().model_info(repository, timeout=HUB_SECONDS / 2)
            failure.clear()
        except Exception as error:
            failure[:] = [error]

    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in {"1", "ON", "YES", "TRUE"}:
        failure[:] = [ConnectionError("HF_HUB_OFFLINE is set")]
    else:
        asking = Thread(target=ask, daemon=True)
        asking.start()
        asking.join(HUB_SECONDS)
    if failure:
        raise BackboneError(
            f"expected {name!r} from the model hub, got nothing ({_first_line(failure[0])}); {WAYS_OUT}"
        ) from failure[0]
    return True


def _check_weights(name: str, model: CLIPModel, report: dict[str, Any]) -> None:
    missing = sorted(map(str, report["missing_keys"])) + sorted(map(str, report.get("mismatched_keys", ())))
    broken = [key for key, weight in model.state_dict().items() if not weight.isfinite().all()]
    for problem, keys in (("lacks", missing), ("has NaN or infinity in", broken)):
        if keys:
            raise BackboneError(
                f"expected whole, finite weights, got {name!r}, which {problem} {len(keys)} tensors "
                f"({keys[0]}, ...); download or save the checkpoint again"
            )


def _check_tokenizer(name: str, words: int, rows: int) -> None:
    # Where its files are missing, transformers builds an empty tokenizer without a word.
    if not 256 < words <= rows:
        raise BackboneError(
            f"expected a tokenizer of up to {rows} words beside the weights, got {words} words in {name!r}; "
            "copy vocab.json and merges.txt (or tokenizer.json) there"
        )


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
