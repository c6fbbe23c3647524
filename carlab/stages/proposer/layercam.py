"""LayerCAM: each patch and channel is weighted by its own positive gradient."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from carlab.stages.proposer.pointwise import PointwiseCam


@dataclass(frozen=True)
class LayerCam(PointwiseCam):
    """LayerCAM: relu of the sum over channels of relu(d log p_k / d A) * A.

    Not linear in the text: a vector-Jacobian product for each active query, once for each set of them.

    Source: Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", IEEE TIP
    2021, equations 5 to 7.

    Parameters
    ----------
    backbone
        Any; the fields are those of `GradCam`.

    Examples
    --------
    >>> import torch
    >>> layercam = change(model, proposer="layercam").proposer
    >>> layercam.weights(torch.tensor([[[-1.0, 2.0]]]), torch.ones(1, 2))
    tensor([[[0., 2.]]])
    """

    def weights(
        self, gradients: Float[Tensor, "v n c"], tokens: Float[Tensor, "n c"]
    ) -> Float[Tensor, "v n c"]:
        """Return the positive part of the gradient."""
        return gradients.clamp(min=0)
