"""GrabCut: colour models of object and background, cut along the edges. A classical baseline, by OpenCV."""

from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float32

from carlab.errors import SettingError, check_share
from carlab.files.shapes import Image, Maps
from carlab.stages.refiner.base import Inference, LabelRefiner

LEVELS = 4
"""Kinds of pixels that GrabCut knows: from certainly background to certainly object."""


@dataclass(frozen=True)
class GrabCut(LabelRefiner):
    """GrabCut by OpenCV (Rother, Kolmogorov and Blake, SIGGRAPH 2004), one query after the other.

    A soft mask says which pixels are certainly background, probably background, probably object and certainly
    object; GrabCut decides on the two in the middle. Where cuts of several queries overlap, and they compete,
    the higher soft mask has the pixel.

    Needs OpenCV (extra `opencv`). Raises SettingError if it is missing, the thresholds do not increase or are
    not in [0, 1], or there is no iteration.

    Parameters
    ----------
    low, middle, high
        In [0, 1]: where the soft mask is above them, a pixel is not certainly background, is probably object,
        is certainly object.
    iterations
        1 or more. The other fields are those of every `LabelRefiner`; the background's power has no effect.

    Examples
    --------
    >>> halves = np.zeros((8, 16, 3), np.uint8)
    >>> halves[:, 10:] = 200
    >>> soft = np.linspace(0, 1, 16, dtype=np.float32)[None, None].repeat(8, axis=1)
    >>> GrabCut()(halves, soft)[0, 0].astype(int)
    array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    """

    low: float = 0.1
    middle: float = 0.4
    high: float = 0.9
    iterations: int = 5

    CLOCK: ClassVar[str] = "grabcut"

    def __post_init__(self) -> None:
        super().__post_init__()
        for value in (self.low, self.middle, self.high):
            check_share("a threshold", value, "0.1, 0.4 and 0.9 are the default")
        if not self.low < self.middle < self.high or self.iterations < 1:
            raise SettingError(
                f"expected low < middle < high and 1 or more iterations, got {self.low}, {self.middle}, "
                f"{self.high} and {self.iterations}; 0.1, 0.4, 0.9 and 5 are the default"
            )
        if not find_spec("cv2"):
            raise SettingError(
                'expected OpenCV for GrabCut, got no module cv2; pip install "clip-as-rnn-lab[opencv]", or '
                "take another refiner"
            )

    def inference(self, image: Image) -> Inference:
        """Return a function of soft masks on this image."""
        return partial(self._cuts, image)

    def _cuts(self, image: Image, masks: Maps, rows: int, columns: int) -> Float32[np.ndarray, "l h w"]:
        """Return 0 for the background, and for each query its soft mask where it was cut, -1 elsewhere."""
        soft = self.probabilities(masks, rows, columns)[1:]
        cuts = [np.where(self._cut(image, one), one, -1) for one in soft]
        return np.stack([np.zeros((rows, columns)), *cuts]).astype(np.float32)

    def _cut(self, image: Image, soft: Float32[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
        import cv2

        level = np.digitize(soft, (self.low, self.middle, self.high), right=True)
        kinds = np.array([cv2.GC_BGD, cv2.GC_PR_BGD, cv2.GC_PR_FGD, cv2.GC_FGD], np.uint8)[level]
        objects = level >= LEVELS // 2
        if objects.all() or not objects.any():  # OpenCV fits a colour model to each side, and fails on none
            return np.asarray(objects)
        cv2.setRNGSeed(0)  # its k-means draws: the same image is to give the same masks
        models, unused = np.zeros((2, 1, 65)), (0, 0, 1, 1)
        seen = np.ascontiguousarray(image[..., ::-1])  # BGR
        cv2.grabCut(seen, kinds, unused, models[0], models[1], self.iterations, cv2.GC_INIT_WITH_MASK)
        return np.isin(kinds, (cv2.GC_FGD, cv2.GC_PR_FGD))
