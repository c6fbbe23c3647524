"""Dense features: the logits of each patch, and a softmax over the queries in every patch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy.special import softmax
from torch import Tensor

from carlab.backbones.base import AttentionVlm, DenseVlm, Trunk
from carlab.hooks import timed
from carlab.stages.proposer.base import Evidence, Proposer, together


@dataclass(frozen=True)
class Patches(Proposer):
    """The network as it is, each patch embedded by itself: the baseline that all dense variants start from.

    The map of a query is its probability in each patch, among the active queries and the background. The
    logits of a text in the patches are computed once, so every subset of the queries is free. Of the offline
    backbone these are the class activation maps of its network.

    Source: Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016; for CLIP the
    row "CLIP" in the tables of MaskCLIP, SCLIP, ClearCLIP and NACLIP. A variant overrides `features`.

    Parameters
    ----------
    backbone
        One that embeds each patch by itself. The other fields are those of every `Proposer`.

    Examples
    --------
    >>> dense = change(model, proposer="patches", affinity=False).proposer
    >>> proposals = dense.prepare(Photo.of(image), ("cat", "dog"), ("sky",))
    >>> cams, masks = dense(proposals, np.array([1]), t=0)
    >>> float(cams.min()), float(cams.max())
    (0.0, 1.0)
    """

    NEEDS: ClassVar[Any] = DenseVlm

    def features(self, trunk: Trunk) -> Float[Tensor, "n d"]:
        """Return the embedding of each patch."""
        patches: Float[Tensor, "n d"] = self.backbone.patches(trunk)  # type: ignore[attr-defined]
        return patches

    @torch.no_grad()
    def gather(self, trunk: Trunk, texts: Sequence[str], background: Sequence[str] = ()) -> list[Evidence]:
        """Return the logits of every text in the patches; of the background their log-sum-exp."""
        embeddings = self.backbone.encode_text([*texts, *background])
        with timed("dense", passes=1):
            logits = self.backbone.logits(self.features(trunk), embeddings).T
            own, others = logits[: len(texts)], logits[len(texts) :]
            maps = torch.cat([own, others.logsumexp(0, keepdim=True)]) if background else own
            return [Evidence(0.0, row.copy()) for row in together(maps)[0]]

    def closed_form(self, own: Sequence[Evidence], context: Evidence | None) -> Float64[np.ndarray, "q n"]:
        """Return the probability of every query in each patch.

        Parameters
        ----------
        own
            Of the active queries.
        context
            Of the background, its weight included; None: no background.
        """
        energies = np.array([one.map.astype(np.float64) for one in own])
        # The logit of a background is the logarithm of its weight.
        beside = energies[:0] if context is None else (context.map.astype(np.float64) + context.logit)[None]
        if self.compete:
            probs = softmax(np.concatenate([energies, beside]), axis=0)
            return np.asarray(probs[: len(own)])
        pairs = [softmax(np.concatenate([one[None], beside]), axis=0)[0] for one in energies]
        return np.stack(pairs)


@dataclass(frozen=True)
class Reattended(Patches):
    """Dense features of the last block with other attention weights; a subclass overrides `weigh`.

    Parameters
    ----------
    backbone
        A vision transformer. The other fields are those of every `Proposer`.
    """

    NEEDS: ClassVar[Any] = AttentionVlm
    RESIDUAL: ClassVar[bool] = True
    """Whether the residual connection around the attention is kept."""
    MLP: ClassVar[bool] = True
    """Whether the second half of the block, the MLP, is kept."""

    def weigh(
        self,
        query: Float[Tensor, "a k e"],
        key: Float[Tensor, "a k e"],
        scale: float,
        grid: tuple[int, int],
    ) -> Float[Tensor, "a k k"]:
        """Return attention weights of the last block; a class token comes before the patches of the grid."""
        raise NotImplementedError

    def features(self, trunk: Trunk) -> Float[Tensor, "n d"]:
        """Run the last block with these weights, and embed each patch by itself."""
        backbone: Any = self.backbone
        (block,) = backbone.blocks(trunk)
        tokens = block(
            lambda query, key, scale: self.weigh(query, key, scale, trunk.grid),
            residual=self.RESIDUAL,
            mlp=self.MLP,
        )
        return backbone.embed(tokens[-len(trunk.activations) :])
