"""The refiner: soft masks of the survivors to final masks, once, after the last step."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8
from PIL import Image

from carlab.errors import SettingError
from carlab.ledger import timed
from carlab.overlay import resize_maps

RELEASE_MEAN_BGR = (104.008, 116.669, 122.675)


@dataclass(frozen=True)
class NoRefiner:
    """Final masks are the soft masks above `threshold`, in [0, 1]."""

    threshold: float = 0.4

    def __call__(
        self, image: UInt8[np.ndarray, "h w 3"], masks: Float32[np.ndarray, "k i j"]
    ) -> Bool[np.ndarray, "k h w"]:
        """Resize to the photo and cut at the threshold."""
        final = np.empty((len(masks), *image.shape[:2]), dtype=bool)
        for region, mask in zip(final, masks, strict=True):  # one full-size float mask at a time
            region[:] = resize_maps(mask[None], *image.shape[:2])[0] > self.threshold
        return final


@dataclass(frozen=True)
class DenseCrf:
    """Fully connected CRF over the photo (Kraehenbuehl and Koltun 2011; METHOD section 7).

    Labels are the background and the survivors; the background's probability
    is (1 - max_k mask_k) ** background_power.

    Attributes
    ----------
    compete
        True: one CRF over all survivors, masks do not overlap (semantic use).
        False: a CRF of two labels for each query (referring use).
    released_image
        As released, the photo goes in as BGR minus a mean colour, cast to
        uint8 with wrap-around (quirk 5).
    max_volume
        Labels times pixels that are refined at full size; beyond it the CRF
        works on a smaller photo and its labels are brought back, because its
        memory grows with that product.
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

    def __call__(
        self, image: UInt8[np.ndarray, "h w 3"], masks: Float32[np.ndarray, "k i j"]
    ) -> Bool[np.ndarray, "k h w"]:
        """Final masks, one per soft mask; an empty soft mask stays empty."""
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

    def _labels(
        self, image: UInt8[np.ndarray, "h w 3"], masks: Float32[np.ndarray, "k i j"]
    ) -> Int32[np.ndarray, "h w"]:
        height, width = image.shape[:2]
        shrink = sqrt(self.max_volume / (height * width * (len(masks) + 1)))
        if shrink >= 1:
            return self._infer(image, resize_maps(masks, height, width))
        rows, columns = max(1, round(height * shrink)), max(1, round(width * shrink))
        small = np.asarray(Image.fromarray(image).resize((columns, rows), Image.Resampling.BOX))
        labels = Image.fromarray(self._infer(small, resize_maps(masks, rows, columns)))
        return np.asarray(labels.resize((width, height), Image.Resampling.NEAREST))

    def _infer(
        self, image: UInt8[np.ndarray, "h w 3"], masks: Float32[np.ndarray, "k h w"]
    ) -> Int32[np.ndarray, "h w"]:
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
        marginals = np.asarray(crf.inference(self.iterations))
        return marginals.argmax(axis=0).reshape(height, width).astype(np.int32)


def released(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """The photo as the release hands it to the CRF: BGR, mean subtracted, wrapped around (quirk 5)."""
    shifted = image[..., ::-1] - np.array(RELEASE_MEAN_BGR)
    return shifted.astype(np.int64).astype(np.uint8)
