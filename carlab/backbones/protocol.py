"""What a stage may ask of a frozen image-text model.

Axis letters: h w image rows and columns, n patch tokens (i rows by j columns),
c token width, d embedding width, m images, s input side, q texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor


@dataclass(frozen=True)
class Trunk:
    """What one pass through the frozen part of the proposer leaves behind.

    Everything later - every query, every step, every subset - is made from
    this: the image is never run through the trunk again.
    """

    activations: Float[Tensor, "n c"]
    """A, the patch tokens that the tail reads and Grad-CAM differentiates by."""
    grid: tuple[int, int]
    """Patch rows i and columns j; n = i * j."""
    relations: Float[Tensor, "n n"]
    """How strongly patch row looks at patch column, non-negative: the affinity source."""
    relation_kind: Literal["attention", "similarity"]
    state: Any = None
    """What else the backbone's own tail needs."""


@runtime_checkable
class FrozenVlm(Protocol):
    """A frozen model that maps texts and images into one space.

    How embeddings become logits is the backbone's own business; the closed
    form of Grad-CAM holds for any differentiable logit.
    """

    @property
    def name(self) -> str:
        """What people read, e.g. in a legend; says "not CLIP" where it is not."""
        ...

    @property
    def sha256(self) -> str:
        """Digest of the weights."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    @property
    def input_side(self) -> int:
        """s: side in pixels of the square images that `encode_images` was made for."""
        ...

    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "q d"]:
        """Text embeddings. QueryError if a text has too many tokens."""
        ...

    def trunk(self, image: UInt8[np.ndarray, "h w 3"]) -> Trunk:
        """Run the frozen part once, without gradients."""
        ...

    def tail(self, trunk: Trunk, activations: Float[Tensor, "n c"]) -> Float[Tensor, " d"]:
        """Differentiable rest of the proposer: patch tokens to one image embedding."""
        ...

    def encode_images(
        self, pictures: UInt8[np.ndarray, "m s1 s2 3"], *, skip_blocks: int = 0
    ) -> Float[Tensor, "m d"]:
        """Image embeddings; `skip_blocks` last blocks are left out (the release leaves out one)."""
        ...

    def logits(self, images: Float[Tensor, "m d"], texts: Float[Tensor, "q d"]) -> Float[Tensor, "m q"]:
        """Scaled similarity: what goes into the softmax."""
        ...
