"""Region matching: final masks put together from regions of the image, as the paper does with SAM."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer, UInt8

from carlab.cache import Cache, stage_key
from carlab.errors import SettingError, check_share
from carlab.files.pictures import resize
from carlab.files.shapes import Image, Maps, Mask, Masks
from carlab.hooks import count, probe, timed

LONGEST_SIDE = 1024
"""Side in pixels, SAM's own, at which the regions of larger images are sought and matched."""
REGION_BYTES = 2**28
"""Limit of the cache of regions, as bits: a few images, since SAM takes minutes on a CPU."""

SUPERPIXELS, SAM_HQ = "superpixels", "syscv-community/sam-hq-vit-huge"
"""Region makers by name: the one that needs no weights; and the paper's, HQ-SAM ViT-H."""

RegionMaker = Callable[[Image], Bool[np.ndarray, "m h w"]]
"""An image to its regions, which may overlap and need not cover it; hashable."""


@dataclass(frozen=True)
class Superpixels:
    """Regions of similar colour at several scales (Felzenszwalb and Huttenlocher 2004), by scikit-image.

    They stand in for SAM where its weights are not at hand, and know nothing of objects.

    Raises SettingError if there is no scale, one is not positive, or the share is not in [0, 1].

    Parameters
    ----------
    scales
        Preference for larger regions; each scale gives a partition of the image.
    sigma, smallest
        Smoothing before, in pixels; the smallest region, as a share of the image.

    Examples
    --------
    >>> halves = np.zeros((8, 8, 3), np.uint8)
    >>> halves[:, 4:] = 255
    >>> Superpixels(scales=(1.0,), sigma=0.0)(halves).sum(axis=(1, 2))
    array([32, 32])
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

    def __call__(self, image: Image) -> Bool[np.ndarray, "m h w"]:
        """Return every region of every scale."""
        from skimage.segmentation import felzenszwalb

        least = round(self.smallest * image.shape[0] * image.shape[1])
        maps = [felzenszwalb(image, scale, self.sigma, min_size=least) for scale in self.scales]
        return np.concatenate([labels == np.arange(labels.max() + 1)[:, None, None] for labels in maps])


@dataclass(frozen=True)
class RegionMatch:
    """Replace each mask of another refiner by the union of the regions that match it.

    A region matches when its intersection with the mask over the smaller of the two (IoM) exceeds `iom`; the
    union of those that match replaces the mask when its IoU with it exceeds `iou` (docs/method.md, section
    7). Masks may overlap then.

    Raises SettingError if a threshold is not in [0, 1].

    Parameters
    ----------
    base
        The refiner that makes the masks, e.g. `DenseCrf()`.
    regions
        `carlab.backbones.sam.load_sam(...)`, as in the paper, or `Superpixels()`.
    iom, iou
        In [0, 1]; the paper's IoM depends on the data set (0.5 to 0.7), its IoU is 0.7, the release's 0.9.
    least_common
        In [0, 1]: the intersection's share of a region counts only where it is at least this share of the
        mask. As released 0.05 for VOC and 0.2 elsewhere (`min_pred_threshold`); 0: not asked.
    keep_best
        As released, the one region with the highest IoM is taken where none matches.

    Examples
    --------
    >>> from carlab.stages.refiner import NoRefiner
    >>> halves = np.zeros((8, 8, 3), np.uint8)
    >>> halves[:, 4:] = 255
    >>> mask = np.zeros((1, 8, 8), np.float32)
    >>> mask[0, 1:, 4:] = 1
    >>> match = RegionMatch(NoRefiner(0.5), Superpixels(scales=(1.0,), sigma=0.0))
    >>> int(mask.sum()), int(match(halves, mask).sum())
    (28, 32)
    """

    base: Any
    regions: Any
    iom: float = 0.6
    iou: float = 0.7
    least_common: float = 0.0
    keep_best: bool = False

    def __post_init__(self) -> None:
        check_share("an IoM", self.iom, "the paper uses 0.5 to 0.7")
        check_share("an IoU", self.iou, "0.7 is the paper's")
        check_share("a least common share", self.least_common, "the release uses 0.05 and 0.2")

    def __call__(self, image: Image, masks: Maps) -> Masks:
        """Return one final mask per soft mask."""
        final = self.base(image, masks)
        if not final.any():
            return final
        with timed("regions"):
            regions = probe("refine.regions", self._regions(_at_longest(image)))
        with timed("match"):
            sizes = np.count_nonzero(regions, axis=(1, 2))
            for mask in final:
                self._replace(mask, regions, sizes)
        return final

    def _regions(self, image: Image) -> Bool[np.ndarray, "m h w"]:
        """Return the image's regions, sought once however often its masks change."""

        def make() -> tuple[tuple[int, ...], UInt8[np.ndarray, " b"]]:
            count("regions")
            found = self.regions(image)
            return found.shape, np.packbits(found)

        # By the digest of a SAM, not the SAM: its weights would stay in memory as long as its regions do.
        by = stage_key(self.regions, "model", "processor")
        shape, bits = _cache.get((by, image.shape, blake2b(image.tobytes()).digest()), make)
        return np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(bool)

    def _replace(
        self, mask: Mask, regions: Bool[np.ndarray, "m i j"], sizes: Integer[np.ndarray, " m"]
    ) -> None:
        small = _resized(mask, *regions.shape[1:])
        area = np.count_nonzero(small)
        # One region at a time: all of them at once would be as large as the regions again.
        common = np.array([np.count_nonzero(region & small) for region in regions])
        if not common.any():
            return
        of_region = np.where(common >= self.least_common * area, common / np.maximum(sizes, 1), 0)
        shares = np.maximum(of_region, common / area)
        fits = shares > self.iom
        if self.keep_best and not fits.any():
            fits[shares.argmax()] = True
        union = np.logical_or.reduce(regions, axis=0, where=fits[:, None, None])
        if np.count_nonzero(union & small) > self.iou * np.count_nonzero(union | small):
            mask[:] = _resized(union, *mask.shape)


_cache = Cache(REGION_BYTES)


def _at_longest(image: Image) -> UInt8[np.ndarray, "i j 3"]:
    scale = LONGEST_SIDE / max(image.shape[:2])
    if scale >= 1:
        return image
    rows, columns = (max(1, round(side * scale)) for side in image.shape[:2])
    return resize(image, rows, columns, "box")


def _resized(mask: Mask, rows: int, columns: int) -> Bool[np.ndarray, "i j"]:
    return mask if mask.shape == (rows, columns) else resize(mask.astype(np.float32), rows, columns) > 0.5
