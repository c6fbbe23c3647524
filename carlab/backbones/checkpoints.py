"""Load a CLIP checkpoint."""

from typing import Any

import torch
from transformers import CLIPModel, CLIPTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from carlab.backbones.clip import Clip, weights_digest
from carlab.backbones.hub import Family, check_weights, read_checkpoint
from carlab.errors import BackboneError

CLIP = Family("CLIP", ("clip",), "openai/clip-vit-base-patch16", "offline")


def load_clip(name: str, *, device: torch.device, dtype: torch.dtype, **options: Any) -> Clip:
    """Load a CLIP by folder or hub name ("org/name", or "org/name@revision").

    Only safetensors weights are read and no code of the checkpoint is run.

    Raises
    ------
    BackboneError
        If it cannot be found, reached or read, is no CLIP, or holds broken weights.
    """

    def read(source: dict[str, Any]) -> tuple[Any, ...]:
        model, report = CLIPModel.from_pretrained(
            **source,
            dtype=dtype,
            use_safetensors=True,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
        return (
            model,
            report,
            CLIPTokenizerFast.from_pretrained(**source),
            CLIPImageProcessorPil.from_pretrained(**source),
        )

    model, report, tokenizer, processor = read_checkpoint(CLIP, name, read)
    check_weights(name, model, report)
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


def _check_tokenizer(name: str, words: int, rows: int) -> None:
    # Where its files are missing, transformers builds an empty tokenizer without a word.
    if not 256 < words <= rows:
        raise BackboneError(
            f"expected a tokenizer of up to {rows} words beside the weights, got {words} words in {name!r}; "
            "copy vocab.json and merges.txt (or tokenizer.json) there"
        )
