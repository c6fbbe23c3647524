"""Random walker, a classical baseline: each pixel takes the label whose seeds a walk reaches first."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int32

from carlab.errors import SettingError, check_share
from carlab.files.shapes import Image, Maps
from carlab.stages.refiner.base import Inference, LabelRefiner


@dataclass(frozen=True)
class RandomWalker(LabelRefiner):
    """Random walker segmentation by scikit-image (Grady, "Random Walks for Image Segmentation", PAMI 2006).

    Pixels whose best label is more probable than `certain` are its seeds; a label without any has its most
    probable pixel. All others are solved for.

    Raises SettingError if beta is not positive, or `certain` is not in [0, 1].

    Parameters
    ----------
    certain
        In [0, 1].
    beta
        How hard edges of the image are to cross; scikit-image's default is 130. The other fields are those of
        every `LabelRefiner`; the volume is smaller, since a linear system is solved for each label.

    Examples
    --------
    >>> halves = np.zeros((4, 8, 3), np.uint8)
    >>> halves[:, 5:] = 255
    >>> soft = np.array([[[0.1, 0.3, 0.4, 0.6, 0.5, 0.9, 0.9, 0.9]]], np.float32)
    >>> RandomWalker()(halves, soft)[0, 0].astype(int)
    array([0, 0, 0, 0, 0, 1, 1, 1])
    """

    max_volume: int = 1_000_000
    certain: float = 0.8
    beta: float = 130.0

    CLOCK: ClassVar[str] = "random walker"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("a certain probability", self.certain, "0.8 is the default")
        if not self.beta > 0:
            raise SettingError(f"expected a positive beta, got {self.beta}; 130 is scikit-image's")

    def inference(self, image: Image) -> Inference:
        """Return a function of soft masks on this image."""
        return partial(self._walk, image)

    def _walk(self, image: Image, masks: Maps, rows: int, columns: int) -> Float[np.ndarray, "l h w"]:
        from skimage.segmentation import random_walker

        probs = self.probabilities(masks, rows, columns)
        seeds = self.seeds(probs)
        if seeds.all():
            return (seeds == np.arange(1, len(probs) + 1)[:, None, None]).astype(np.float32)
        # Probabilities a little outside [0, 1], of which it would warn, decide no label.
        options = {"mode": "cg_j", "channel_axis": -1, "return_full_prob": True, "prob_tol": 1.0}
        return np.asarray(random_walker(image, seeds, beta=self.beta, **options))

    def seeds(self, probs: Float[np.ndarray, "l h w"]) -> Int32[np.ndarray, "h w"]:
        """Return 1 + the label of every seed, 0 where there is none; every label has one."""
        seeds = np.where(probs.max(0) > self.certain, probs.argmax(0) + 1, 0).astype(np.int32)
        for label, prob in enumerate(probs, start=1):
            if not (seeds == label).any():
                seeds.flat[prob.argmax()] = label
        return seeds
