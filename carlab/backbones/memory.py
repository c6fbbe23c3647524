"""Each text is encoded once, however many photos and steps ask for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from carlab.ledger import count
from carlab.memory import forget

BATCH = 32
"""Texts encoded at once: 12,000 prompts of 850 classes must not be one batch."""
LIMIT = 20_000
"""How many texts are kept; the oldest go first. At 768 numbers each, 60 MB."""


@dataclass
class TextMemory:
    """Embeddings by text, filled by the encoder they belong to."""

    known: dict[str, Tensor] = field(default_factory=dict)

    def look_up(
        self, texts: Sequence[str], encode: Callable[[list[str]], Float[Tensor, "q d"]]
    ) -> Float[Tensor, "q d"]:
        """Embeddings of the texts; `encode` is asked for the new ones, short ones first."""
        # Texts of like length share a batch: a short one is not padded to the longest of all.
        new = sorted((text for text in dict.fromkeys(texts) if text not in self.known), key=len)
        for start in range(0, len(new), BATCH):
            batch = new[start : start + BATCH]
            count("text encode", len(batch))
            self.known.update(zip(batch, encode(batch), strict=True))
        embeddings = torch.stack([self.known[text] for text in texts])
        forget(self.known, LIMIT)
        return embeddings
