"""The refiner: soft masks of the survivors to final masks, once, after the last step."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from math import sqrt
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from jaxtyping import Float32

from carlab.errors import SettingError, check_choice, check_share
from carlab.files.pictures import resize, resize_maps
from carlab.files.shapes import Image, Maps, Masks
from carlab.hooks import as_numpy, timed

CrfEngine = Literal["auto", "pydensecrf", "torch"]
RELEASE_MEAN_BGR = (104.008, 116.669, 122.675)

Inference = Callable[[Maps, int, int], Any]
"""From soft masks, rows and columns to the marginals (l, h, w) on one image, where the engine has them."""


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

    Raises SettingError if the power or a deviation is not positive, there is no iteration, or the engine or
    device cannot be used here.

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
    engine
        "pydensecrf" (extra `crf`), the reference, in C++ on one core; "torch", the same lattice and the same
        updates on `device`; "auto": pydensecrf where it is installed and the device is a CPU, else torch.
    device
        Where torch computes, e.g. "cuda"; pydensecrf always computes on the CPU.

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
    engine: CrfEngine = "auto"
    device: str = "cpu"

    LEAST: ClassVar[float] = 1e-5
    """Probability below which both engines cut, so that no unary energy is infinite."""

    def __post_init__(self) -> None:
        deviations = self.smooth_deviation, self.bilateral_deviation, self.colour_deviation
        if not min(self.background_power, *deviations) > 0 or self.iterations < 1:
            raise SettingError(
                f"expected a positive background power, positive deviations and 1 or more iterations, got "
                f"{self.background_power}, {deviations} and {self.iterations}; the defaults are the paper's"
            )
        check_choice("an engine of the CRF", self.engine, get_args(CrfEngine))
        if self.device != "cpu":
            from carlab.backbones.registry import check_device

            check_device(self.device)
        if self.engine == "pydensecrf" and not find_spec("pydensecrf"):
            raise SettingError(
                'expected pydensecrf to be installed, found none; pip install "clip-as-rnn-lab[crf]", or use '
                'engine="torch"'
            )

    @classmethod
    def beside(cls, backbone: Any, **values: Any) -> "DenseCrf":
        """Return a CRF on the GPU of a backbone; on the CPU if that has none, or a device not tried yet."""
        device = getattr(backbone, "device", None)
        return cls(device=str(device) if getattr(device, "type", "cpu") == "cuda" else "cpu", **values)

    @property
    def chosen_engine(self) -> str:
        """Return the engine that runs here, "pydensecrf" or "torch"."""
        if self.engine != "auto":
            return self.engine
        on_cpu = self.device.partition(":")[0] == "cpu"
        return "pydensecrf" if on_cpu and find_spec("pydensecrf") else "torch"

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
        with timed("crf"):
            infer = self._inference(image if shrink >= 1 else resize(image, rows, columns, "box"))
            for group in groups:
                labels = as_numpy(infer(masks[group], rows, columns).argmax(0)).astype(np.int32)
                labels = labels if shrink >= 1 else resize(labels, height, width, "nearest")
                for label, row in enumerate(group, start=1):
                    np.equal(labels, label, out=final[row])
        return final

    def marginals(self, image: Image, masks: Float32[np.ndarray, "k h w"]) -> Float32[np.ndarray, "l h w"]:
        """Return the mean-field marginals of the background and of each mask, which sum to 1 in every pixel.

        Parameters
        ----------
        masks
            Soft masks in pixels.
        """
        return as_numpy(self._inference(image)(masks, *image.shape[:2]))

    def _inference(self, image: Image) -> Inference:
        """Return the chosen engine, with what it computes for an image alone."""
        seen = released(image) if self.released_image else image
        if self.chosen_engine == "pydensecrf":
            return partial(self._pydensecrf, seen)
        from carlab.stages.crf_torch import inference

        return inference(self, seen)

    def probabilities(self, masks: Maps, rows: int, columns: int) -> Float32[np.ndarray, "l h w"]:
        """Return the probability of each label in each pixel, background first."""
        soft = resize_maps(masks, rows, columns)
        background = (1 - soft.max(axis=0)) ** self.background_power
        return np.concatenate([background[None], soft]).astype(np.float32)

    def _pydensecrf(self, image: Image, masks: Maps, rows: int, columns: int) -> Float32[np.ndarray, "l h w"]:
        from pydensecrf.densecrf import DenseCRF2D
        from pydensecrf.utils import unary_from_softmax

        probs = self.probabilities(masks, rows, columns)
        crf = DenseCRF2D(columns, rows, len(probs))
        crf.setUnaryEnergy(unary_from_softmax(probs, clip=self.LEAST))
        crf.addPairwiseGaussian(sxy=self.smooth_deviation, compat=self.smooth_weight)
        crf.addPairwiseBilateral(
            sxy=self.bilateral_deviation,
            srgb=self.colour_deviation,
            rgbim=np.array(image, order="C"),  # writable
            compat=self.bilateral_weight,
        )
        return np.array(crf.inference(self.iterations)).reshape(probs.shape)


def released(image: Image) -> Image:
    """Return the image as the release passes it to the CRF: BGR, less the mean, wrapped around (quirk 5)."""
    shifted = image[..., ::-1] - np.array(RELEASE_MEAN_BGR)
    return shifted.astype(np.int64).astype(np.uint8)
