"""CLIP from a local folder or a hub name, of any size and patch."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel, CLIPTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from carlab.backbones.base import weights_digest
from carlab.backbones.hub import Family, check_weights, read_checkpoint
from carlab.backbones.vit import Vit
from carlab.errors import BackboneError, QueryError, quoted

CLIP = Family("CLIP", ("clip",), "openai/clip-vit-base-patch16", "offline")


class Clip(Vit):
    """A CLIP (Radford et al. 2021) as proposer or classifier."""

    def _encode_text(self, texts: list[str]) -> Float[Tensor, "q d"]:
        limit = self.model.config.text_config.max_position_embeddings
        encoded = self.tokenizer(texts, verbose=False)["input_ids"]
        for text, tokens in zip(texts, encoded, strict=True):
            if len(tokens) > limit:
                raise QueryError(
                    f"expected at most {limit} tokens, got {len(tokens)} in {quoted(text)}; shorten it"
                )
        batch = self.tokenizer.pad({"input_ids": encoded}, return_tensors="pt").to(self.device)
        features = self.model.get_text_features(**batch).pooler_output
        return functional.normalize(features, dim=-1)


def load_clip(name: str, *, device: torch.device, dtype: torch.dtype, **options: Any) -> Clip:
    """Load a CLIP by folder or hub name ("org/name", or "org/name@revision").

    Only safetensors weights are read and no code of the checkpoint is run.

    Raises BackboneError if it cannot be found, reached or read, is no CLIP, or holds broken weights.
    """

    def read(source: dict[str, Any]) -> tuple[Any, ...]:
        model, report = CLIPModel.from_pretrained(
            **source, dtype=dtype, use_safetensors=True, attn_implementation="sdpa", output_loading_info=True
        )
        tokenizer = CLIPTokenizerFast.from_pretrained(**source)
        return model, report, tokenizer, CLIPImageProcessorPil.from_pretrained(**source)

    model, report, tokenizer, processor = read_checkpoint(CLIP, name, read)
    check_weights(name, model, report)
    size, rows = len(tokenizer), model.config.text_config.vocab_size
    # Where its files are missing, transformers builds an empty tokenizer without an error.
    if not 256 < size <= rows:
        raise BackboneError(
            f"expected a tokenizer of up to {rows} tokens beside the weights, got {size} tokens in {name!r}; "
            "copy vocab.json and merges.txt (or tokenizer.json) there"
        )
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
