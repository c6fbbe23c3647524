"""PAMR: labels spread to neighbours of like colour, a few times over."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from carlab.errors import SettingError
from carlab.files.shapes import Image, Maps
from carlab.hooks import as_numpy
from carlab.stages.refiner.base import Inference, LabelRefiner

AROUND = tuple((row, column) for row in (-1, 0, 1) for column in (-1, 0, 1))
"""Steps to the eight neighbours, and the pixel itself."""
WIDTH = 0.1
"""Share of the local deviation within which colours count as alike; in the paper and its released code."""


@dataclass(frozen=True)
class Pamr(LabelRefiner):
    """Pixel-adaptive mask refinement (Araslanov and Roth, "Single-Stage Semantic Segmentation", CVPR 2020).

    Each iteration replaces the probabilities of a pixel by a mean over its neighbours, eight at each
    dilation, with weights ``softmax(-mean over channels of |difference| / (0.1 * local deviation))``.
    Defaults as SCLIP and NACLIP report it: 10 iterations, dilations 8 and 16. Masks are enlarged as
    everywhere in carlab.

    Raises SettingError if there is no iteration or dilation, one is not positive, or the device cannot be
    used here.

    Parameters
    ----------
    iterations
        1 or more.
    dilations
        Distances to neighbours in pixels.
    device
        Such as "cuda". The other fields are those of every `LabelRefiner`.

    Examples
    --------
    >>> halves = np.zeros((4, 8, 3), np.uint8)
    >>> halves[:, 5:] = 255
    >>> Pamr(dilations=(1,))(halves, np.array([[[0.2, 0.9]]], np.float32))[0, 0].astype(int)
    array([0, 0, 0, 0, 0, 1, 1, 1])
    """

    iterations: int = 10
    dilations: tuple[int, ...] = (8, 16)
    device: str = "cpu"

    CLOCK: ClassVar[str] = "pamr"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.iterations < 1 or not self.dilations or min(self.dilations) < 1:
            raise SettingError(
                f"expected 1 or more iterations and positive dilations, got {self.iterations} and "
                f"{self.dilations}; 10 and (8, 16) are the default"
            )
        if self.device != "cpu":
            from carlab.backbones.registry import check_device

            check_device(self.device)

    def inference(self, image: Image) -> Inference:
        """Return a function of soft masks, with the weights of the image's neighbours."""
        weights = self.weights(torch.tensor(image, device=self.device).permute(2, 0, 1).float() / 255)

        def infer(masks: Maps, rows: int, columns: int) -> np.ndarray:
            soft = torch.from_numpy(self.probabilities(masks, rows, columns)).to(weights)
            for _ in range(self.iterations):
                places = zip(weights, self._shifted(soft, own=False), strict=True)
                soft = sum(weight * there for weight, there in places)
            return as_numpy(soft)

        return infer

    @torch.no_grad()
    def weights(self, image: Float[Tensor, "3 h w"]) -> Float[Tensor, "m h w"]:
        """Return the weight of each of the m neighbours of every pixel; they sum to 1."""
        deviation = torch.stack(list(self._shifted(image, own=True))).std(0)
        apart = [(there - image).abs() for there in self._shifted(image, own=False)]
        alike = [-(one / (1e-8 + WIDTH * deviation)).mean(0) for one in apart]
        return torch.stack(alike).softmax(0)

    def _shifted(self, maps: Float[Tensor, "l h w"], *, own: bool) -> Iterator[Float[Tensor, "l h w"]]:
        """Yield the maps as seen at every neighbour, and at the pixel itself; the border goes on outside."""
        height, width = maps.shape[1:]
        for d in self.dilations:
            padded = functional.pad(maps[None], [d] * 4, mode="replicate")[0]
            for row, column in AROUND:
                if own or (row, column) != (0, 0):
                    top, left = d + d * row, d + d * column
                    yield padded[:, top : top + height, left : left + width]
