"""HiResCAM: the gradient of each patch weights the activations of that patch, not their mean over patches."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from carlab.stages.proposer.gradcam import GradCam, products


@dataclass(frozen=True)
class HiResCam(GradCam):
    """HiResCAM: m_k = sum over channels of A * d l_k / d A, element by element.

    Linear in the gradient, so the closed form of Grad-CAM holds and every subset of the queries is free. On a
    network that ends in mean pooling and a linear layer, such as the offline backbone, it equals Grad-CAM.

    Source: Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional
    neural networks", arXiv 2011.08891, equation 5.

    Parameters
    ----------
    backbone
        Any; the fields are those of `GradCam`.

    Examples
    --------
    >>> model.proposer.__class__.__name__, change(model, proposer="hirescam").proposer.__class__.__name__
    ('GradCam', 'HiResCam')
    """

    def maps(
        self, logits: Float[Tensor, " b"], leaf: Float[Tensor, "n c"], cotangents: Float[Tensor, "v b"]
    ) -> tuple[Float[Tensor, "v n"], Float[Tensor, "v c"]]:
        """Return the maps, and the mean gradients, which are reported alone."""
        tokens = leaf.detach()
        both = products(
            logits, leaf, cotangents, lambda each: torch.cat([(each * tokens).sum(-1), each.mean(1)], dim=-1)
        )
        maps, gradients = both.split([len(tokens), tokens.shape[1]], dim=-1)
        return maps, gradients
