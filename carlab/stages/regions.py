"""Region matching: final masks put together from regions of the photo, as the paper does with SAM."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float32, Integer, UInt8
from PIL import Image

from carlab.errors import SettingError
from carlab.ledger import count, timed
from carlab.memory import digest, remember
from carlab.overlay import resize_maps
from carlab.probes import probe

LONGEST = 1024
"""Side in pixels, SAM's own, at which the regions of larger photos are sought and matched."""
MOST_PHOTOS = 4
"""How many photos' regions are kept, as bits; the oldest go first."""

SUPERPIXELS, SAM_HQ = "superpixels", "syscv-community/sam-hq-vit-huge"
"""What to match to, by name: what needs no weights; and the paper's, HQ-SAM ViT-H."""

Regions = Callable[[UInt8[np.ndarray, "h w 3"]], Bool[np.ndarray, "m h w"]]
"""A photo to its regions, which may overlap and need not cover it; hashable, to be remembered by."""


@dataclass(frozen=True)
class Superpixels:
    """Regions of like colour at several scales (Felzenszwalb and Huttenlocher 2004), by scikit-image.

    They stand in for SAM where its weights are not at hand; they know nothing of objects.

    Attributes
    ----------
    scales
        Preference for larger regions; each scale gives a partition of the photo.
    sigma, smallest
        Smoothing before, in pixels; the smallest region, as a share of the photo.
    """

    scales: tuple[float, ...] = (50.0, 200.0, 800.0)
    sigma: float = 0.8
    smallest: float = 0.0005

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0 or not 0 <= self.smallest <= 1:
            raise SettingError(
                f"expected one or more positive scales and a share in [0, 1], got {self.scales} and "
                f"{self.smallest}; (50, 200, 800) and 0.0005 are the default"
            )

    def __call__(self, image: UInt8[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "m h w"]:
        """Every region of every scale."""
        from skimage.segmentation import felzenszwalb

        least = round(self.smallest * image.shape[0] * image.shape[1])
        maps = [felzenszwalb(image, scale, self.sigma, min_size=least) for scale in self.scales]
        return np.concatenate([labels == np.arange(labels.max() + 1)[:, None, None] for labels in maps])


@dataclass(frozen=True)
class RegionMatch:
    """Another refiner's masks, each replaced by the union of the regions that fit it (METHOD section 10).

    A region joins a mask when their intersection over the smaller of the two (IoM) exceeds `iom`;
    the union takes the mask's place when its IoU with it exceeds `iou`. Masks may overlap then.

    Attributes
    ----------
    base
        The refiner that makes the masks, e.g. `DenseCrf()`.
    regions
        `carlab.backbones.sam.load_sam(...)`, as in the paper, or `Superpixels()`.
    iom, iou
        In [0, 1]; the paper's IoM goes by data set (0.5 to 0.7), its IoU is 0.7, the release's 0.9.

    Raises
    ------
    SettingError
        If a threshold is not in [0, 1].
    """

    base: Any
    regions: Any
    iom: float = 0.6
    iou: float = 0.7
    probes: ClassVar[tuple[str, ...]] = ("refine.regions",)

    def __post_init__(self) -> None:
        if not (0 <= self.iom <= 1 and 0 <= self.iou <= 1):
            raise SettingError(
                f"expected IoM and IoU in [0, 1], got {self.iom} and {self.iou}; 0.6 and 0.7 are the paper's"
            )

    def __call__(
        self, image: UInt8[np.ndarray, "h w 3"], masks: Float32[np.ndarray, "k i j"]
    ) -> Bool[np.ndarray, "k h w"]:
        """Final masks, one per soft mask."""
        final = self.base(image, masks)
        if not final.any():
            return final
        with timed("regions"):
            regions = probe("refine.regions", _remembered(self.regions, _shrunk(image)))
        with timed("match"):
            sizes = np.count_nonzero(regions, axis=(1, 2))
            for mask in final:
                self._replace(mask, regions, sizes)
        return final

    def _replace(
        self,
        mask: Bool[np.ndarray, "h w"],
        regions: Bool[np.ndarray, "m i j"],
        sizes: Integer[np.ndarray, " m"],
    ) -> None:
        small = _resized(mask, *regions.shape[1:])
        # One region at a time: all of them at once would be as large as the regions again.
        common = np.array([np.count_nonzero(region & small) for region in regions])
        # Products instead of quotients: an empty mask or region divides nothing by nothing.
        fits = common > self.iom * np.minimum(sizes, np.count_nonzero(small))
        union = np.logical_or.reduce(regions, axis=0, where=fits[:, None, None])
        if np.count_nonzero(union & small) > self.iou * np.count_nonzero(union | small):
            mask[:] = _resized(union, *mask.shape)


def _shrunk(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "i j 3"]:
    scale = LONGEST / max(image.shape[:2])
    if scale >= 1:
        return image
    rows, columns = (max(1, round(side * scale)) for side in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((columns, rows), Image.Resampling.BOX))


def _resized(mask: Bool[np.ndarray, "h w"], rows: int, columns: int) -> Bool[np.ndarray, "i j"]:
    if mask.shape == (rows, columns):
        return mask
    return resize_maps(mask[None].astype(np.float32), rows, columns)[0] > 0.5


_memory: dict[Any, tuple[tuple[int, ...], UInt8[np.ndarray, " b"]]] = {}


def _remembered(regions: Any, image: UInt8[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "m h w"]:
    """The photo's regions, sought once however often its masks change: SAM takes minutes on a CPU."""
    key = regions, image.shape, digest(image)
    if key not in _memory:
        count("regions")
        found = regions(image)
        remember(_memory, {key: (found.shape, np.packbits(found))}, MOST_PHOTOS)
    shape, bits = _memory[key]
    return np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(bool)
