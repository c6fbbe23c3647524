"""Grad-CAM++: channels weighted by a sum over patches whose terms have weights of their own."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from carlab.stages.proposer.pointwise import PointwiseCam


@dataclass(frozen=True)
class GradCamPlusPlus(PointwiseCam):
    """Grad-CAM++ with the score Y = p_k = exp(S), S = log p_k, as the paper writes Y = exp(S).

    With G = d S / d A, a channel's weight is the sum over patches of alpha * relu(G), where
    alpha = G^2 / (2 G^2 + G^3 * sum over patches of A). Not linear in the text: a vector-Jacobian product for
    each active query, once for each set of them.

    Source: Chattopadhyay et al., "Grad-CAM++: Generalized Gradient-Based Visual Explanations for Deep
    Convolutional Networks", WACV 2018, equations 5, 19 and 21. As there, alpha is that of a network whose
    second derivatives are zero.

    Parameters
    ----------
    backbone
        Any; the fields are those of `GradCam`.

    Examples
    --------
    >>> plus = change(model, proposer="gradcam++").proposer
    >>> plus.weights(torch.tensor([[[1.0], [-1.0]]]), torch.tensor([[0.5], [1.5]]))
    tensor([[[0.2500]]])
    """

    def weights(
        self, gradients: Float[Tensor, "v n c"], tokens: Float[Tensor, "n c"]
    ) -> Float[Tensor, "v 1 c"]:
        """Return the weight of each channel."""
        # G^2 cancels from numerator and denominator, and a gradient of 0 has no weight.
        below = 2 + gradients * tokens.sum(0)
        alpha = torch.where(below != 0, 1 / below, 0)
        return (alpha * gradients.clamp(min=0)).sum(dim=1, keepdim=True)
