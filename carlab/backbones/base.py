"""What stages require of a frozen image-text model, and what all backbones share.

Axis letters: h w image rows and columns, n patch tokens (i rows by j columns), k tokens with a class token
first where there is one, a attention heads, c token width, e head width, d embedding width, m images,
s input side, q texts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from carlab.cache import Cache
from carlab.hooks import count

TEXT_BATCH = 32
"""Texts encoded at once: 12,000 prompts of 850 classes must not be one batch."""
GPU_TEXT_BATCH = 512
"""On a GPU, where a batch of 32 costs as much as one of 512."""
TEXT_BYTES = 2**26
"""Limit of a cache of text embeddings: 20,000 texts of 768 numbers."""


@dataclass(frozen=True)
class Trunk:
    """Output of the forward pass through the frozen part of the proposer, made once an image.

    Parameters
    ----------
    activations
        A, the patch tokens that the tail reads and Grad-CAM differentiates by.
    grid
        Patch rows i and columns j; n = i * j.
    relations
        Attention or similarity of patch row to patch column, non-negative: the source of the affinity.
    relation_kind
        Which of the two; it names the probe.
    state
        What else the backbone's own tail needs.
    """

    activations: Float[Tensor, "n c"]
    grid: tuple[int, int]
    relations: Float[Tensor, "n n"]
    relation_kind: Literal["attention", "similarity"]
    state: Any = None


@runtime_checkable
class FrozenVlm(Protocol):
    """A frozen model that maps texts and images into one space.

    How embeddings become logits is the backbone's own business; the closed form of Grad-CAM holds for any
    differentiable logit.
    """

    @property
    def name(self) -> str:
        """Name in legends and provenance; says "not CLIP" where it is not."""
        ...

    @property
    def sha256(self) -> str:
        """Digest of the weights."""
        ...

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        ...

    @property
    def input_side(self) -> int:
        """s: side in pixels of the square images that `encode_images` was trained on."""
        ...

    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "q d"]:
        """Return text embeddings. QueryError if a text has too many tokens."""
        ...

    def trunk(self, image: UInt8[np.ndarray, "h w 3"]) -> Trunk:
        """Run the frozen part once, without gradients."""
        ...

    def tail(self, trunk: Trunk, activations: Float[Tensor, "n c"]) -> Float[Tensor, " d"]:
        """Run the differentiable rest of the proposer: patch tokens to one image embedding."""
        ...

    def encode_images(
        self, images: UInt8[np.ndarray, "m s1 s2 3"], *, skip_blocks: int = 0
    ) -> Float[Tensor, "m d"]:
        """Return image embeddings; `skip_blocks` last blocks are left out (the release leaves out one)."""
        ...

    def logits(self, images: Float[Tensor, "m d"], texts: Float[Tensor, "q d"]) -> Float[Tensor, "m q"]:
        """Return the scaled similarity of every pair, the input of the softmax or sigmoid."""
        ...


@runtime_checkable
class DenseVlm(FrozenVlm, Protocol):
    """A frozen model that embeds each patch by itself, in the space of the texts."""

    def patches(self, trunk: Trunk) -> Float[Tensor, "n d"]:
        """Return the embedding of every patch, as if it alone were pooled."""
        ...


Weigh = Callable[[Float[Tensor, "a k e"], Float[Tensor, "a k e"], float], Float[Tensor, "a k k"]]
"""Queries, keys and the scale of their products to attention weights, for each head."""


def attention_weights(
    query: Float[Tensor, "a k e"], key: Float[Tensor, "a k e"], scale: float
) -> Float[Tensor, "a k k"]:
    """Return softmax(scale * query . key) for each head, in single precision or better."""
    precision = torch.promote_types(query.dtype, torch.float32)
    return (query * scale @ key.mT).softmax(-1, dtype=precision)


@runtime_checkable
class Block(Protocol):
    """A transformer block and its input, to be run as it was trained or with other attention."""

    def weights(self) -> Float[Tensor, "a k k"]:
        """Return its own attention weights."""
        ...

    def __call__(
        self, weigh: Weigh = attention_weights, *, residual: bool = True, mlp: bool = True
    ) -> Float[Tensor, "k c"]:
        """Return its output, without residual connection around the attention or without MLP if told so."""
        ...


@runtime_checkable
class AttentionVlm(DenseVlm, Protocol):
    """A frozen vision transformer whose blocks can be run with other attention weights."""

    def blocks(self, trunk: Trunk, number: int | None = 1) -> Sequence[Block]:
        """Return the last blocks, in order, each with its input; None: all.

        The last one alone costs nothing; more cost one more pass through the trunk.
        """
        ...

    def embed(self, tokens: Float[Tensor, "m c"]) -> Float[Tensor, "m d"]:
        """Return the embedding of each token of the last block's output by itself, by norm and head."""
        ...


@runtime_checkable
class SigmoidVlm(FrozenVlm, Protocol):
    """A frozen model that was trained on each pair alone: the sigmoid of a logit is an absolute score.

    Source: Zhai et al., "Sigmoid Loss for Language Image Pre-Training", ICCV 2023.
    """

    @property
    def logit_bias(self) -> float:
        """Bias in `logits` that the sigmoid was trained with."""
        ...


def cached_embeddings(
    cache: Cache,
    texts: Sequence[str],
    encode: Callable[[list[str]], Float[Tensor, "m d"]],
    batch_size: int = TEXT_BATCH,
) -> Float[Tensor, "q d"]:
    """Return the embedding of every text; those that the cache lacks are encoded in batches."""

    def encode_missing(missing: list[str]) -> list[Tensor]:
        # Texts of like length share a batch: a short one is not padded to the longest of all.
        ordered = sorted(missing, key=len)
        embeddings: dict[str, Tensor] = {}
        for start in range(0, len(ordered), batch_size):
            batch = ordered[start : start + batch_size]
            count("text encode", len(batch))
            # Each row by itself: a view of one would keep the whole batch in memory.
            embeddings.update(zip(batch, (row.clone() for row in encode(batch)), strict=True))
        return [embeddings[text] for text in missing]

    return torch.stack(cache.get_all(texts, encode_missing))


def weights_digest(model: torch.nn.Module) -> str:
    """Return the sha256 over every weight, in order of name, in the precision it was loaded in."""
    digest = sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
