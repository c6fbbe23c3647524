"""NACLIP: the last block's attention alone, keys with keys, and more to the neighbourhood."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from carlab.errors import SettingError
from carlab.stages.proposer.patches import Reattended


@dataclass(frozen=True)
class NaClip(Reattended):
    """NACLIP: softmax(k k + a Gaussian of the distance of the patches), without residual connection and MLP.

    The Gaussian is 1 at the patch itself, and is not added where a class token attends or is attended to.
    Every subset of the queries is free.

    Source: Hajimiri, Ben Ayed and Dolz, "Pay Attention to Your Neighbours: Training-Free Open-Vocabulary
    Semantic Segmentation", WACV 2025, equations 7 to 10.

    Raises SettingError if the deviation is not positive.

    Parameters
    ----------
    deviation
        Of the Gaussian, in patches; the paper's is 5. The other fields are those of every `Proposer`; the
        backbone is a vision transformer.

    Examples
    --------
    >>> neighbourhood((1, 3), 1.0)
    tensor([[1.0000, 0.6065, 0.1353],
            [0.6065, 1.0000, 0.6065],
            [0.1353, 0.6065, 1.0000]])
    """

    deviation: float = 5.0

    RESIDUAL: ClassVar[bool] = False
    MLP: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.deviation > 0:
            raise SettingError(
                f"expected a positive deviation in patches, got {self.deviation}; 5 is the paper's"
            )

    def weigh(
        self,
        query: Float[Tensor, "a k e"],
        key: Float[Tensor, "a k e"],
        scale: float,
        grid: tuple[int, int],
    ) -> Float[Tensor, "a k k"]:
        """Return the self-correlation of the keys with the prior added; rows sum to 1."""
        products = (key * scale @ key.mT).to(torch.promote_types(key.dtype, torch.float32))
        near = neighbourhood(grid, self.deviation).to(products)
        products[:, -len(near) :, -len(near) :] += near
        return products.softmax(-1)


def neighbourhood(grid: tuple[int, int], deviation: float) -> Float[Tensor, "n n"]:
    """Return exp(-distance^2 / (2 deviation^2)) of every pair of patches.

    Parameters
    ----------
    grid
        Rows and columns of patches.
    deviation
        In patches.

    Examples
    --------
    >>> neighbourhood((2, 1), 1.0)[0]
    tensor([1.0000, 0.6065])
    """
    places = torch.cartesian_prod(*(torch.arange(side, dtype=torch.float32) for side in grid))
    return torch.exp(-torch.cdist(places, places).square() / (2 * deviation**2))
