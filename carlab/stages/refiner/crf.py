"""DenseCRF, the post-processor of the paper."""

from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from jaxtyping import Float32

from carlab.errors import SettingError, check_choice
from carlab.files.shapes import Image, Maps
from carlab.hooks import as_numpy
from carlab.stages.refiner.base import Inference, LabelRefiner, device_of

CrfEngine = Literal["auto", "pydensecrf", "torch"]
RELEASE_MEAN_BGR = (104.008, 116.669, 122.675)


@dataclass(frozen=True)
class DenseCrf(LabelRefiner):
    """Fully connected CRF over the image (Kraehenbuehl and Koltun 2011; docs/method.md, section 7).

    Raises SettingError if the power or a deviation is not positive, there is no iteration, or the engine or
    device cannot be used here.

    Parameters
    ----------
    released_image
        As released, the CRF reads the image as BGR minus a mean colour, cast to uint8 with wrap-around
        (quirk 5).
    iterations
        Of mean field, 1 or more.
    smooth_deviation, smooth_weight
        Width in pixels and weight of the smoothness kernel.
    bilateral_deviation, colour_deviation, bilateral_weight
        Width in pixels, width in grey levels, and weight of the appearance kernel.
    engine
        "pydensecrf" (extra `crf`), the reference, in C++ on one core; "torch", the same lattice and the same
        updates on `device`; "auto": pydensecrf where it is installed and the device is a CPU, else torch.
    device
        Where torch computes, e.g. "cuda"; pydensecrf always computes on the CPU. The other fields are those
        of every `LabelRefiner`.

    Examples
    --------
    >>> flat = np.full((4, 6, 3), 128, np.uint8)
    >>> int(DenseCrf()(flat, np.array([[[0.9, 0.9], [0.9, 0.9]]], np.float32)).sum())
    24
    """

    released_image: bool = False
    iterations: int = 10
    smooth_deviation: float = 1.0
    smooth_weight: float = 3.0
    bilateral_deviation: float = 67.0
    colour_deviation: float = 3.0
    bilateral_weight: float = 4.0
    engine: CrfEngine = "auto"
    device: str = "cpu"

    CLOCK: ClassVar[str] = "crf"
    LEAST: ClassVar[float] = 1e-5
    """Probability below which both engines cut, so that no unary energy is infinite."""

    def __post_init__(self) -> None:
        super().__post_init__()
        deviations = self.smooth_deviation, self.bilateral_deviation, self.colour_deviation
        if not min(deviations) > 0 or self.iterations < 1:
            raise SettingError(
                f"expected positive deviations and 1 or more iterations, got {deviations} and "
                f"{self.iterations}; the defaults are the paper's"
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
        return cls(device=device_of(backbone), **values)

    @property
    def chosen_engine(self) -> str:
        """Return the engine that runs here, "pydensecrf" or "torch"."""
        if self.engine != "auto":
            return self.engine
        on_cpu = self.device.partition(":")[0] == "cpu"
        return "pydensecrf" if on_cpu and find_spec("pydensecrf") else "torch"

    def marginals(self, image: Image, masks: Float32[np.ndarray, "k h w"]) -> Float32[np.ndarray, "l h w"]:
        """Return the mean-field marginals of the background and of each mask, which sum to 1 in every pixel.

        Parameters
        ----------
        masks
            Soft masks in pixels.
        """
        return as_numpy(self.inference(image)(masks, *image.shape[:2]))

    def inference(self, image: Image) -> Inference:
        """Return the chosen engine, with what it computes for an image alone."""
        seen = released(image) if self.released_image else image
        if self.chosen_engine == "pydensecrf":
            return partial(self._pydensecrf, seen)
        from carlab.stages.crf_torch import inference

        return inference(self, seen)

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
