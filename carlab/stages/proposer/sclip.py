"""SCLIP: correlative self-attention in the last block, queries with queries and keys with keys."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from carlab.backbones.base import attention_weights
from carlab.stages.proposer.patches import Reattended


@dataclass(frozen=True)
class SClip(Reattended):
    """SCLIP: softmax(q q) + softmax(k k) in place of softmax(q k), so that like patches attend to each other.

    The sum is not halved, and residual connection and MLP stay, as released. Every subset of the queries is
    free.

    Source: Wang, Mei and Yuille, "SCLIP: Rethinking Self-Attention for Dense Vision-Language Inference",
    ECCV 2024, equation 5.

    Parameters
    ----------
    backbone
        A vision transformer. The other fields are those of every `Proposer`.

    Examples
    --------
    >>> import torch
    >>> sclip = change(model, proposer="sclip").proposer
    >>> sclip.weigh(torch.ones(1, 2, 4), torch.ones(1, 2, 4), 1.0, (1, 2))
    tensor([[[1., 1.],
             [1., 1.]]])
    """

    def weigh(
        self,
        query: Float[Tensor, "a k e"],
        key: Float[Tensor, "a k e"],
        scale: float,
        grid: tuple[int, int],
    ) -> Float[Tensor, "a k k"]:
        """Return the sum of both self-correlations; rows sum to 2."""
        return attention_weights(query, query, scale) + attention_weights(key, key, scale)
