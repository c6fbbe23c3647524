"""Affinity refinement: patches that look alike share their activation (CLIP-ES, section 3.3)."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from carlab.errors import check_share
from carlab.files.shapes import Maps
from carlab.hooks import probe


@dataclass(frozen=True)
class Affinity:
    """Box-limited random walk over the patch affinity.

    Parameters
    ----------
    box_threshold
        lambda, in [0, 1]: each connected part of a CAM above this share of its maximum gets a bounding box,
        and only patches in a box pass their activation on.
    rounds
        How often rows and columns are normalised.
    cut_border
        As released: a box that ends at the last row or column loses it (quirk 6).

    Examples
    --------
    >>> cam = np.array([[[0, 0, 0], [0, 1, 0.9], [0.1, 0, 0]]], dtype=np.float32)
    >>> Affinity(0.5).boxes(cam[0]).astype(int)
    array([[0, 0, 0],
           [0, 1, 1],
           [0, 0, 0]])
    """

    box_threshold: float = 0.4
    rounds: int = 3
    cut_border: bool = False

    def __post_init__(self) -> None:
        check_share("a box threshold (lambda)", self.box_threshold, "the paper uses 0.3 to 0.7")

    def transition(self, relations: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
        """Return D: `relations` made doubly stochastic, symmetric, squared (docs/method.md, section 3)."""
        walk = relations
        for _ in range(self.rounds):
            walk = walk / walk.sum(dim=0, keepdim=True)
            walk = walk / walk.sum(dim=1, keepdim=True)
        walk = (walk + walk.T) / 2
        return walk @ walk

    def refine(self, cams: Maps, transition: Float[Tensor, "n n"]) -> Maps:
        """Return (D * M) @ cam for every query, before min-max.

        Parameters
        ----------
        cams
            In [0, 1].
        transition
            D, from `transition`.
        """
        boxes = probe("affinity.boxes", np.stack([self.boxes(cam) for cam in cams]))
        inside = torch.from_numpy(np.where(boxes, cams, 0).reshape(len(cams), -1)).to(transition)
        if transition.device.type == "cpu":
            # Query by query, as released: where D is nearly flat, min-max magnifies the last bits,
            # and one product of all queries would add them up in another order.
            refined = torch.stack([transition @ cam for cam in inside])
        else:
            refined = inside @ transition.mT
        return probe("affinity.refined", refined.float().cpu().numpy().reshape(cams.shape))

    def boxes(self, cam: Float[np.ndarray, "i j"]) -> Bool[np.ndarray, "i j"]:
        """Return M, the union of the bounding boxes of a CAM in [0, 1]."""
        levels = (cam * 255).astype(np.uint8)
        inside = np.zeros(cam.shape, dtype=bool)
        parts, _ = ndimage.label(levels > int(self.box_threshold * levels.max()), np.ones((3, 3)))
        fill = inside[:-1, :-1] if self.cut_border else inside
        for box in ndimage.find_objects(parts):
            fill[box] = True
        return inside
