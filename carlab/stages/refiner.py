"""The refiner: soft masks of the survivors to final masks, once, after the last step."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from jaxtyping import Float32, Int32

from carlab.errors import SettingError, check_share
from carlab.files.pictures import resize, resize_maps
from carlab.files.shapes import Image, Maps, Masks
from carlab.hooks import timed

RELEASE_MEAN_BGR = (104.008, 116.669, 122.675)


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
class DenseCrf:
    """Fully connected CRF over the image (Kraehenbuehl and Koltun 2011; docs/method.md, section 7).

    Labels are the background and the survivors; the background's probability is
    (1 - max_k mask_k) ** background_power.

    Raises SettingError if the power is not positive or there is no iteration.

    Parameters
    ----------
    background_power
        Above 0; larger gives more background.
    compete
        True: one CRF over all survivors, masks do not overlap (semantic use). False: a CRF of two labels for
        each query (referring use).
    released_image
        As released, the CRF reads the image as BGR minus a mean colour, cast to uint8 with wrap-around
        (quirk 5).
    iterations
        Of mean field, 1 or more.
    smooth_deviation, smooth_weight
        Width in pixels and weight of the smoothness kernel.
    bilateral_deviation, colour_deviation, bilateral_weight
        Width in pixels, width in grey levels, and weight of the appearance kernel.
    max_volume
        Labels times pixels that are refined at full size; beyond it the CRF works on a smaller image and its
        labels are enlarged, because its memory grows with that product.

    Examples
    --------
    >>> flat = np.full((4, 6, 3), 128, np.uint8)
    >>> int(DenseCrf()(flat, np.array([[[0.9, 0.9], [0.9, 0.9]]], np.float32)).sum())
    24
    """

    background_power: float = 1.0
    compete: bool = True
    released_image: bool = False
    iterations: int = 10
    smooth_deviation: float = 1.0
    smooth_weight: float = 3.0
    bilateral_deviation: float = 67.0
    colour_deviation: float = 3.0
    bilateral_weight: float = 4.0
    max_volume: int = 32_000_000

    def __post_init__(self) -> None:
        if not self.background_power > 0 or self.iterations < 1:
            raise SettingError(
                f"expected a positive background power and 1 or more iterations, got "
                f"{self.background_power} and {self.iterations}; 1.0 and 10 are the paper's"
            )

    def __call__(self, image: Image, masks: Maps) -> Masks:
        """Return one final mask per soft mask; an empty soft mask stays empty."""
        final = np.zeros((len(masks), *image.shape[:2]), dtype=bool)
        present = np.flatnonzero(masks.any(axis=(1, 2)))
        groups = [present] if self.compete else list(present[:, None])
        with timed("crf"):
            for group in groups:
                if len(group):
                    labels = self._labels(image, masks[group])
                    for label, row in enumerate(group, start=1):
                        np.equal(labels, label, out=final[row])
        return final

    def _labels(self, image: Image, masks: Maps) -> Int32[np.ndarray, "h w"]:
        height, width = image.shape[:2]
        shrink = sqrt(self.max_volume / (height * width * (len(masks) + 1)))
        rows, columns = (max(1, round(min(1.0, shrink) * side)) for side in (height, width))
        small = image if shrink >= 1 else resize(image, rows, columns, "box")
        labels = self.marginals(small, resize_maps(masks, rows, columns)).argmax(axis=0).astype(np.int32)
        return labels if shrink >= 1 else resize(labels, height, width, "nearest")

    def marginals(self, image: Image, masks: Float32[np.ndarray, "k h w"]) -> Float32[np.ndarray, "l h w"]:
        """Return the mean-field marginals of the background and of each mask, which sum to 1 in every pixel.

        Parameters
        ----------
        masks
            Soft masks in pixels.
        """
        from pydensecrf.densecrf import DenseCRF2D
        from pydensecrf.utils import unary_from_softmax

        height, width = image.shape[:2]
        background = (1 - masks.max(axis=0)) ** self.background_power
        probs = np.concatenate([background[None], masks]).astype(np.float32)
        crf = DenseCRF2D(width, height, len(probs))
        crf.setUnaryEnergy(unary_from_softmax(probs))
        crf.addPairwiseGaussian(sxy=self.smooth_deviation, compat=self.smooth_weight)
        crf.addPairwiseBilateral(
            sxy=self.bilateral_deviation,
            srgb=self.colour_deviation,
            rgbim=np.array(released(image) if self.released_image else image, order="C"),  # writable
            compat=self.bilateral_weight,
        )
        return np.asarray(crf.inference(self.iterations)).reshape(-1, height, width)


def released(image: Image) -> Image:
    """Return the image as the release passes it to the CRF: BGR, less the mean, wrapped around (quirk 5)."""
    shifted = image[..., ::-1] - np.array(RELEASE_MEAN_BGR)
    return shifted.astype(np.int64).astype(np.uint8)
