"""Gradients weighted patch by patch before they are summed: LayerCAM, Grad-CAM++ weights.

Their maps are not linear in the gradient of a text, so those of a set of queries follow from its own
gradient, that of log p_k: a vector-Jacobian product for each active query, once for each set.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy.special import softmax
from torch import Tensor

from carlab.hooks import timed
from carlab.stages.proposer.base import Evidence, Proposals, together
from carlab.stages.proposer.gradcam import GradCam, products


@dataclass(frozen=True)
class PointwiseCam(GradCam):
    """Grad-CAM of which a subclass weights the gradient of log p_k, by `weights`.

    p_k is the probability of query k among the active ones and the background. Its logarithm's gradient is
    that of p_k but for a positive factor, which min-max removes.

    Parameters
    ----------
    backbone
        Any; the fields are those of `GradCam`.
    """

    def weights(
        self, gradients: Float[Tensor, "v n c"], tokens: Float[Tensor, "n c"]
    ) -> Float[Tensor, "v n c"] | Float[Tensor, "v 1 c"]:
        """Return the weight of each patch and channel; relu of their sum over A is the map."""
        raise NotImplementedError

    def maps(
        self, logits: Float[Tensor, " b"], leaf: Float[Tensor, "n c"], cotangents: Float[Tensor, "v b"]
    ) -> tuple[Float[Tensor, "v 0"], Float[Tensor, "v 0"]]:
        """Return nothing: no map of a text alone is of use, and its logit is all that is gathered."""
        return (logits.detach().new_empty(len(cotangents), 0),) * 2

    def raw(
        self, proposals: Proposals, texts: Sequence[str], context: Evidence | None
    ) -> Float64[np.ndarray, "q n"]:
        """Return the maps of the active texts, computed once for each set of them."""
        against = () if context is None else proposals.against
        key = ("pointwise", self, tuple(texts), against)
        return proposals.store.get(key, lambda: self._raw(proposals, texts, context, against)).copy()

    def _raw(
        self, proposals: Proposals, texts: Sequence[str], context: Evidence | None, against: Sequence[str]
    ) -> Float64[np.ndarray, "q n"]:
        own = self.evidence(proposals, texts)
        # Unit rows in place of maps: row k then holds how much each logit adds to log p_k.
        rows, _ = self.contrast(own, context, np.eye(len(own) + (context is not None)))
        if context is not None:
            rows = np.concatenate([rows[:, :-1], rows[:, -1:] * softmax(context.parts)], axis=1)
        embeddings = self.backbone.encode_text([*texts, *against])
        with timed("vjp"):
            logits, leaf = self.differentiable(proposals.trunk, embeddings)
            tokens = leaf.detach()

            def keep(each: Float[Tensor, "v n c"]) -> Float[Tensor, "v n"]:
                return (self.weights(each, tokens) * tokens).sum(-1).clamp(min=0)

            made = products(logits, leaf, torch.from_numpy(rows).to(logits), keep)
            return together(made)[0].astype(np.float64)
