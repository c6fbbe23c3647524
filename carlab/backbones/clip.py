"""CLIP in transformers' format, of any size and patch."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel, CLIPTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from carlab.backbones.checkpoint import Checkpoint, build
from carlab.backbones.vit import Vit, read_pixels
from carlab.errors import BackboneError, QueryError, quoted


class Clip(Vit):
    """A CLIP (Radford et al. 2021) as proposer or classifier."""

    FAMILY = "CLIP"
    CLASS_TOKENS = 1

    def _encode_text(self, texts: list[str]) -> Float[Tensor, "q d"]:
        limit = self.model.config.text_config.max_position_embeddings
        encoded = self.tokenizer(texts, verbose=False)["input_ids"]
        check_lengths(texts, [len(tokens) for tokens in encoded], limit)
        batch = self.tokenizer.pad({"input_ids": encoded}, return_tensors="pt").to(self.device)
        features = self.model.get_text_features(**batch).pooler_output
        return functional.normalize(features, dim=-1)

    @property
    def _head(self) -> torch.nn.Module:
        return self.model.visual_projection


def load(checkpoint: Checkpoint, *, device: torch.device, dtype: torch.dtype, **options: Any) -> Clip:
    """Load a CLIP of OpenAI, LAION, MetaCLIP, DataComp, ... in transformers' format.

    Raises BackboneError if weights or tokenizer are missing or broken.
    """
    model = build(CLIPModel, checkpoint.config, checkpoint.tensors(), checkpoint, dtype)
    pixels = read_pixels(CLIPImageProcessorPil, checkpoint)
    tokenizer = read_tokenizer(checkpoint, model.config.text_config.vocab_size)
    return Clip.frozen(checkpoint, model, device=device, tokenizer=tokenizer, **pixels, **options)


def read_tokenizer(checkpoint: Checkpoint, rows: int) -> Any:
    """Return the checkpoint's own tokenizer for a text tower with `rows` token embeddings.

    Raises BackboneError if there is none, or it is that of another model.
    """
    tokenizer = CLIPTokenizerFast.from_pretrained(str(checkpoint.folder), local_files_only=True)
    # Where its files are missing, transformers builds an empty tokenizer without an error.
    if not 256 < len(tokenizer) <= rows:
        raise BackboneError(
            f"expected a tokenizer of up to {rows} tokens beside the weights, got {len(tokenizer)} tokens in "
            f"{checkpoint.name!r}; copy tokenizer.json, or vocab.json and merges.txt, there "
            f"(for {VOCABULARY} tokens those of openai/clip-vit-base-patch32 do)"
        )
    return tokenizer


VOCABULARY = 49408
"""Tokens of CLIP's standard byte-pair encoding, which all but multilingual CLIPs share."""


def check_lengths(texts: list[str], lengths: list[int], limit: int) -> None:
    """Raise QueryError if a text has more tokens than the text tower has positions."""
    for text, length in zip(texts, lengths, strict=True):
        if length > limit:
            raise QueryError(f"expected at most {limit} tokens, got {length} in {quoted(text)}; shorten it")
