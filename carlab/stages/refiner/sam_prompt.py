"""Prompts to SAM: the box and the peaks of each mask, and SAM's own mask in its place."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from carlab.errors import SettingError, check_share
from carlab.files.pictures import resize
from carlab.files.shapes import Image, Maps, Mask, Masks
from carlab.hooks import timed


@dataclass(frozen=True)
class SamPrompt:
    """Ask a SAM for the object in the box and at the peaks of each soft mask; masks may overlap.

    Of the three masks that SAM returns for a prompt, the one with the best estimate of its own IoU is taken.
    The image is encoded once. Unlike `RegionMatch`, which matches masks to every region of the image, this
    takes one small forward pass for each query.

    Source: Kirillov et al., "Segment Anything", ICCV 2023; Ravi et al., "SAM 2", ICLR 2025.

    Raises SettingError if the threshold is not in [0, 1], or neither box nor point is asked for.

    Parameters
    ----------
    sam
        `carlab.backbones.sam.load_sam(...)`: a SAM, HQ-SAM or SAM 2.
    threshold
        In [0, 1]: where the soft mask exceeds it lies the box; a mask that nowhere does stays empty.
    points
        Most peaks of the soft mask that are given as points of the object, 0 or more.
    box
        Whether the box is given.

    Examples
    --------
    >>> class Boxes:
    ...     def prompted(self, image, prompts):
    ...         right = [[[box[0] == 4]] for box, points in prompts]
    ...         return np.zeros((len(prompts), *image.shape[:2]), bool) | right
    >>> soft = np.array([[[0.1, 0.9]], [[0.9, 0.1]]], np.float32)
    >>> SamPrompt(Boxes())(np.zeros((4, 8, 3), np.uint8), soft).all(axis=(1, 2))
    array([ True, False])
    """

    sam: Any
    threshold: float = 0.4
    points: int = 1
    box: bool = True

    def __post_init__(self) -> None:
        check_share("a threshold", self.threshold, "the paper uses 0.2 to 0.6")
        if self.points < 0 or not (self.points or self.box):
            raise SettingError(
                f"expected a box or 1 point or more, got box={self.box} and {self.points} points; "
                "a box and 1 point are the default"
            )

    def __call__(self, image: Image, masks: Maps) -> Masks:
        """Return SAM's mask for every soft mask."""
        final = np.zeros((len(masks), *image.shape[:2]), dtype=bool)
        prompts = {}
        for row, soft in enumerate(masks):
            region = resize(soft, *image.shape[:2]) > self.threshold
            if region.any():
                prompts[row] = (box_of(region) if self.box else None, self.peaks(soft, region))
        if prompts:
            with timed("sam"):
                final[list(prompts)] = self.sam.prompted(image, list(prompts.values()))
        return final

    def peaks(self, soft: Float32[np.ndarray, "i j"], region: Mask) -> Float[np.ndarray, "p 2"]:
        """Return the highest peaks of a soft mask, x and y in pixels of the image, the best first."""
        from skimage.feature import peak_local_max

        rows, columns = region.shape[0] / soft.shape[0], region.shape[1] / soft.shape[1]
        found = peak_local_max(
            soft, threshold_abs=self.threshold, exclude_border=False, num_peaks=max(self.points, 1)
        )[: self.points]
        return np.stack([(found[:, 1] + 0.5) * columns, (found[:, 0] + 0.5) * rows], axis=1)


def box_of(region: Mask) -> Float[np.ndarray, " 4"]:
    """Return the bounding box of a region: left, top, right, bottom in pixels, the last two exclusive.

    Parameters
    ----------
    region
        With at least one pixel.

    Examples
    --------
    >>> box_of(np.array([[False, False], [False, True]]))
    array([1., 1., 2., 2.])
    """
    rows, columns = (np.flatnonzero(region.any(axis=axis)) for axis in (1, 0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)
