"""What refiners share: how soft masks become labels of pixels, and no refiner at all."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32

from carlab.errors import SettingError, check_share
from carlab.files.pictures import resize, resize_maps
from carlab.files.shapes import Image, Maps, Masks
from carlab.hooks import as_numpy, timed

Inference = Callable[[Maps, int, int], Any]
"""From soft masks, rows and columns to a score of each label, background first, (l, h, w) on one image."""


@dataclass(frozen=True)
class NoRefiner:
    """Cut the soft masks at a threshold.

    Parameters
    ----------
    threshold
        In [0, 1].

    Examples
    --------
    >>> NoRefiner(0.5)(np.zeros((2, 4, 3), np.uint8), np.array([[[0.2, 0.7]]], np.float32)).astype(int)
    array([[[0, 0, 1, 1],
            [0, 0, 1, 1]]])
    """

    threshold: float = 0.4

    def __post_init__(self) -> None:
        check_share("a threshold", self.threshold, "the paper uses 0.2 to 0.6")

    def __call__(self, image: Image, masks: Maps) -> Masks:
        """Resize each soft mask to the image and cut it."""
        final = np.empty((len(masks), *image.shape[:2]), dtype=bool)
        for region, mask in zip(final, masks, strict=True):  # one full-size float mask at a time
            np.greater(resize(mask, *image.shape[:2]), self.threshold, out=region)
        return final


@dataclass(frozen=True)
class LabelRefiner:
    """A refiner that gives each pixel one label, the background or a query; a subclass overrides `inference`.

    The background's probability is (1 - max_k mask_k) ** background_power.

    Raises SettingError if the power or the volume is not positive.

    Parameters
    ----------
    background_power
        Above 0; larger gives more background.
    compete
        True: all survivors share the pixels, masks do not overlap (semantic use). False: each query against
        the background alone (referring use).
    max_volume
        Labels times pixels that are refined at full size; beyond it a smaller image is refined and its labels
        are enlarged, because memory grows with that product.
    """

    background_power: float = 1.0
    compete: bool = True
    max_volume: int = 32_000_000

    CLOCK: ClassVar[str] = "labels"
    """Under which name its seconds are counted."""

    def __post_init__(self) -> None:
        if not min(self.background_power, self.max_volume) > 0:
            raise SettingError(
                f"expected a positive background power and volume, got {self.background_power} and "
                f"{self.max_volume}; 1 and {LabelRefiner.max_volume} are the defaults"
            )

    def __call__(self, image: Image, masks: Maps) -> Masks:
        """Return one final mask per soft mask; an empty soft mask stays empty."""
        height, width = image.shape[:2]
        final = np.zeros((len(masks), height, width), dtype=bool)
        present = np.flatnonzero(masks.any(axis=(1, 2)))
        if not len(present):
            return final
        groups = [present] if self.compete else list(present[:, None])
        shrink = sqrt(self.max_volume / (height * width * (len(groups[0]) + 1)))
        rows, columns = (max(1, round(min(1.0, shrink) * side)) for side in (height, width))
        with timed(self.CLOCK):
            infer = self.inference(image if shrink >= 1 else resize(image, rows, columns, "box"))
            for group in groups:
                labels = as_numpy(infer(masks[group], rows, columns).argmax(0)).astype(np.int32)
                labels = labels if shrink >= 1 else resize(labels, height, width, "nearest")
                for label, row in enumerate(group, start=1):
                    np.equal(labels, label, out=final[row])
        return final

    def inference(self, image: Image) -> Inference:
        """Return a function of soft masks, with what is computed for an image alone."""
        raise NotImplementedError

    def probabilities(self, masks: Maps, rows: int, columns: int) -> Float32[np.ndarray, "l h w"]:
        """Return the probability of each label in each pixel, background first."""
        soft = resize_maps(masks, rows, columns)
        background = (1 - soft.max(axis=0)) ** self.background_power
        return np.concatenate([background[None], soft]).astype(np.float32)


def device_of(backbone: Any) -> str:
    """Return the GPU of a backbone; "cpu" if it has none, or a device not tried yet.

    Parameters
    ----------
    backbone
        Anything, or None.

    Examples
    --------
    >>> device_of(None)
    'cpu'
    """
    device = getattr(backbone, "device", None)
    return str(device) if getattr(device, "type", "cpu") == "cuda" else "cpu"
