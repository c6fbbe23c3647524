"""MaskCLIP: the values of the last block's attention, without the attention."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from carlab.stages.proposer.patches import Reattended


@dataclass(frozen=True)
class MaskClip(Reattended):
    """MaskCLIP: in the last block each token attends to itself alone: what is left is its value projection.

    The rest of the block stays, residual connection and MLP, as in the released code for vision transformers.
    Every subset of the queries is free.

    Source: Zhou, Loy and Dai, "Extract Free Dense Labels from CLIP", ECCV 2022, section 3.2.

    Parameters
    ----------
    backbone
        A vision transformer. The other fields are those of every `Proposer`.

    Examples
    --------
    >>> maskclip = change(model, proposer="maskclip").proposer
    >>> maskclip.weigh(torch.ones(1, 2, 4), torch.ones(1, 2, 4), 1.0, (1, 2))
    tensor([[[1., 0.],
             [0., 1.]]])
    """

    def weigh(
        self,
        query: Float[Tensor, "a k e"],
        key: Float[Tensor, "a k e"],
        scale: float,
        grid: tuple[int, int],
    ) -> Float[Tensor, "a k k"]:
        """Return the identity for each head."""
        return torch.eye(query.shape[1], device=query.device).expand(len(query), -1, -1)
