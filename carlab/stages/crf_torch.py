"""The CRF's torch engine, apart from `refiner` so that torch is imported only where it computes."""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor
from torch.nn import functional

from carlab.cache import Cache
from carlab.files.shapes import Image, Maps
from carlab.stages.lattice import Lattice, mean_field

if TYPE_CHECKING:
    from carlab.stages.refiner import DenseCrf, Inference

SMOOTHNESS_BYTES = 2**27
"""Limit of the cache of smoothness kernels, which depend on the size of the image alone: two or three."""

_smoothness = Cache(SMOOTHNESS_BYTES)


def inference(crf: "DenseCrf", image: Image) -> "Inference":
    """Build the lattices, and return a function from soft masks to marginals on the device of the CRF."""
    lattices = kernels(crf, torch.tensor(image, device=crf.device))

    def infer(masks: Maps, rows: int, columns: int) -> Float32[Tensor, "l h w"]:
        if crf.device == "cpu":
            likely = torch.from_numpy(crf.probabilities(masks, rows, columns))
        else:
            small = torch.from_numpy(masks).to(crf.device)  # fewer bytes travel
            soft = interpolated(small, rows, columns)
            likely = torch.cat([(1 - soft.amax(dim=0, keepdim=True)) ** crf.background_power, soft])
        unary = -likely.clamp(min=crf.LEAST, max=1).log()
        return mean_field(unary.flatten(1), lattices, crf.iterations).view_as(likely)

    return infer


def kernels(crf: "DenseCrf", image: UInt8[Tensor, "h w 3"]) -> list[Lattice]:
    """Return the smoothness and the appearance kernel."""
    sides = (torch.arange(side, dtype=torch.float32, device=image.device) for side in image.shape[:2])
    rows, columns = torch.meshgrid(*sides, indexing="ij")
    both = torch.cat([torch.stack([columns, rows]), image.permute(2, 0, 1)]).flatten(1)

    def kernel(weight: float, *deviations: float) -> Lattice:
        # By a tensor: a GPU multiplies by the inverse of a number, and rounds otherwise.
        scale = torch.tensor(deviations, device=image.device)[:, None]
        return Lattice.of(both[: len(deviations)] / scale).normalised(weight)

    smooth = crf.smooth_weight, crf.smooth_deviation, crf.smooth_deviation
    width, colour = crf.bilateral_deviation, crf.colour_deviation
    appearance = kernel(crf.bilateral_weight, width, width, colour, colour, colour)
    key = (*smooth, *image.shape, image.device)
    return [_smoothness.get(key, lambda: kernel(*smooth)), appearance]


def interpolated(maps: Float32[Tensor, "q i j"], rows: int, columns: int) -> Float32[Tensor, "q h w"]:
    """Resize soft masks on their device, as `resize_maps` does on the CPU but for rounding.

    >>> interpolated(torch.tensor([[[0.0, 1.0]]]), 1, 4)
    tensor([[[0.0000, 0.2500, 0.7500, 1.0000]]])
    """
    grown = functional.interpolate(maps[None], (rows, columns), mode="bilinear", antialias=True)[0]
    return grown.clamp(0, 1)
