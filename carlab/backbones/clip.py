"""CLIP from a local folder or a hub name, of any size and patch."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel, CLIPTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from carlab.backbones.base import weights_digest
from carlab.backbones.checkpoint import Checkpoint, build
from carlab.backbones.vit import Vit
from carlab.errors import BackboneError, QueryError, quoted


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


def load(checkpoint: Checkpoint, *, device: torch.device, dtype: torch.dtype, **options: Any) -> Clip:
    """Load a CLIP from a checkpoint in transformers' format.

    Raises BackboneError if it cannot be read, or holds broken weights or no tokenizer.
    """
    model = build(CLIPModel, checkpoint.config, checkpoint.tensors(), checkpoint, dtype)
    tokenizer = CLIPTokenizerFast.from_pretrained(checkpoint.folder, local_files_only=True)
    processor = CLIPImageProcessorPil.from_pretrained(checkpoint.folder, local_files_only=True)
    size, rows = len(tokenizer), model.config.text_config.vocab_size
    # Where its files are missing, transformers builds an empty tokenizer without an error.
    if not 256 < size <= rows:
        raise BackboneError(
            f"expected a tokenizer of up to {rows} tokens beside the weights, got {size} tokens in "
            f"{checkpoint.name!r}; copy vocab.json and merges.txt (or tokenizer.json) there"
        )
    return Clip(
        model=model.to(device),
        tokenizer=tokenizer,
        name=f"CLIP {checkpoint.name}",
        mean=tuple(processor.image_mean),
        std=tuple(processor.image_std),
        sha256=weights_digest(model),
        source=checkpoint.source,
        **options,
    )
