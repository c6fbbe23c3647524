"""LeGrad: how much more attention to a patch would raise the score of a query."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from carlab.backbones.base import AttentionVlm, Trunk
from carlab.errors import SettingError
from carlab.hooks import timed
from carlab.stages.proposer.base import Evidence, Proposer, together
from carlab.stages.proposer.gradcam import products


@dataclass(frozen=True)
class LeGrad(Proposer):
    """LeGrad: the positive gradient of a query's score by the attention weights, summed over the last blocks.

    The score of a block is the similarity of the text with the mean of the block's output tokens, the class
    token included, through the last norm and the head; its gradient's positive part is averaged over heads
    and attending tokens. A map belongs to its query alone: no other query and no background changes it, so
    every subset is free. It costs a vector-Jacobian product for each text and block, and another pass through
    the trunk. SigLIP's pooling attention is applied to that mean token, not differentiated by itself.

    Source: Bousselham et al., "LeGrad: An Explainability Method for Vision Transformers via Feature Formation
    Sensitivity", ICCV 2025 (arXiv 2404.03214), equations 4 to 9.

    Raises SettingError if no block is taken.

    Parameters
    ----------
    depth
        Blocks taken, from the last one on; released with 2. The other fields are those of every `Proposer`,
        of which `compete` and `background_weight` have no effect; the backbone is a vision transformer.

    Examples
    --------
    >>> legrad = change(model, proposer="legrad", affinity=False).proposer
    >>> proposals = legrad.prepare(Photo.of(image), ("cat", "dog"), ())
    >>> both, alone = legrad(proposals, np.array([0, 1]), t=0), legrad(proposals, np.array([1]), t=0)
    >>> bool((both.cams[1] == alone.cams[0]).all())
    True
    """

    depth: int = 2

    NEEDS: ClassVar[Any] = AttentionVlm
    ALONE: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.depth < 1:
            raise SettingError(f"expected a depth of 1 block or more, got {self.depth}; 2 is as released")

    def gather(self, trunk: Trunk, texts: Sequence[str], background: Sequence[str] = ()) -> list[Evidence]:
        """Return the map of every text."""
        embeddings, backbone = self.backbone.encode_text(texts), self.backbone
        whole = torch.zeros((), device=embeddings.device)
        blocks = backbone.blocks(trunk, self.depth)  # type: ignore[attr-defined]
        with timed("vjp"):
            for block in blocks:
                whole = whole + self._sensitivity(block, embeddings, len(trunk.activations))
            return [Evidence(0.0, row.copy()) for row in together(whole)[0]]

    def _sensitivity(
        self, block: Any, embeddings: Float[Tensor, "q d"], patches: int
    ) -> Float[Tensor, "q n"]:
        """Return the positive gradient of every text's score by the attention to each patch."""
        backbone: Any = self.backbone
        leaf = block.weights().detach().requires_grad_()
        with torch.enable_grad():
            tokens = block(lambda query, key, scale: leaf)
            logits = backbone.logits(backbone.embed(tokens.mean(0, keepdim=True)), embeddings)[0]
        rows = torch.eye(len(logits), device=logits.device, dtype=logits.dtype)
        return products(logits, leaf, rows, lambda each: each.clamp(min=0).mean((1, 2))[:, -patches:])

    def closed_form(self, own: Sequence[Evidence], context: Evidence | None) -> Float64[np.ndarray, "q n"]:
        """Return the maps as they are.

        Parameters
        ----------
        own, context
            Of the active queries, and of the background, which has no effect.
        """
        return np.array([one.map for one in own], dtype=np.float64)
