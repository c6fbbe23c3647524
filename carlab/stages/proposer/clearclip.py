"""ClearCLIP: the last block's attention alone, queries with queries."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from carlab.backbones.base import attention_weights
from carlab.stages.proposer.patches import Reattended


@dataclass(frozen=True)
class ClearClip(Reattended):
    """ClearCLIP: softmax(q q) in the last block, without its residual connection and without its MLP.

    Every subset of the queries is free.

    Source: Lan et al., "ClearCLIP: Decomposing CLIP Representations for Dense Vision-Language Inference",
    ECCV 2024, equation 6.

    Parameters
    ----------
    backbone
        A vision transformer. The other fields are those of every `Proposer`.

    Examples
    --------
    >>> clearclip = change(model, proposer="clearclip").proposer
    >>> clearclip.RESIDUAL, clearclip.MLP
    (False, False)
    """

    RESIDUAL: ClassVar[bool] = False
    MLP: ClassVar[bool] = False

    def weigh(
        self,
        query: Float[Tensor, "a k e"],
        key: Float[Tensor, "a k e"],
        scale: float,
        grid: tuple[int, int],
    ) -> Float[Tensor, "a k k"]:
        """Return the self-correlation of the queries; rows sum to 1."""
        return attention_weights(query, query, scale)
