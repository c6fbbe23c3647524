"""Mask smoothing: masks of the previous frame are carried over to this one, and blended with its own.

They are carried by optical flow, or by the similarity of the proposer's patch tokens. The paper does neither.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8
from scipy import ndimage

from carlab.errors import SettingError, check_share
from carlab.files.pictures import resize, resize_maps, shrink
from carlab.files.shapes import Image, Masks

Levels = Float32[np.ndarray, "q h w"]
"""How much a pixel belongs to a mask, in [0, 1]."""


class View(NamedTuple):
    """What is known of a frame by one that carries masks.

    Parameters
    ----------
    image
        RGB.
    tokens
        Patch tokens of the proposer's backbone, row by row; none where they are not needed.
    grid
        Rows and columns of patches.
    """

    image: Image
    tokens: Float32[np.ndarray, "n c"]
    grid: tuple[int, int]


@runtime_checkable
class Carrier(Protocol):
    """Carry masks from the previous frame to this one.

    `needs` names the probes that it reads: () or ("cam.activations",).
    """

    needs: ClassVar[tuple[str, ...]]

    def __call__(self, before: View, now: View, masks: Levels) -> Levels:
        """Return the masks of `before` as they lie in `now`."""
        ...


@dataclass(frozen=True)
class OpticalFlow:
    """Carry masks along the optical flow of scikit-image (TV-L1; Zach, Pock and Bischof 2007).

    Raises SettingError if the side is less than 16.

    Parameters
    ----------
    side
        Longest side of the grey images whose flow is computed, in pixels; the flow is enlarged.

    Examples
    --------
    >>> moved = np.roll(image, 3, axis=1)
    >>> masks = np.zeros((1, *image.shape[:2]), np.float32)
    >>> masks[0, 10:30, 15:35] = 1
    >>> views = [View(one, np.zeros((0, 1), np.float32), (1, 1)) for one in (image, moved)]
    >>> carried = OpticalFlow()(*views, masks)[0] > 0.5
    >>> bool((carried == np.roll(masks[0] > 0.5, 3, axis=1)).mean() > 0.98)
    True
    """

    side: int = 192
    needs: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.side < 16:
            raise SettingError(f"expected a side of 16 pixels or more, got {self.side}; 192 is the default")

    def __call__(self, before: View, now: View, masks: Levels) -> Levels:
        """Return each pixel's value at the place from which it came; beyond the border that of the border."""
        height, width = now.image.shape[:2]
        flow = self.flow(before.image, now.image)
        places = np.mgrid[:height, :width] + flow
        return np.stack([ndimage.map_coordinates(mask, places, order=1, mode="nearest") for mask in masks])

    def flow(self, before: Image, now: Image) -> Float32[np.ndarray, "2 h w"]:
        """Return, for every pixel of `now`, how far below and right of it it lies in `before`, in pixels."""
        from skimage.registration import optical_flow_tvl1

        height, width = now.shape[:2]
        small = [_grey(shrink(image, self.side)) for image in (now, before)]
        rows, columns = optical_flow_tvl1(*small).astype(np.float32)
        scale = height / small[0].shape[0], width / small[0].shape[1]
        return np.stack([resize(part, height, width) for part in (rows * scale[0], columns * scale[1])])


@dataclass(frozen=True)
class FeatureMatch:
    """Carry masks to the patches whose tokens are most alike, as DINO does (Caron et al. 2021, section 4.2).

    Each patch takes the mean mask of the `nearest` patches of the previous frame within `radius` patches,
    weighted by exp(cosine / temperature). Masks are as coarse as the patches.

    Raises SettingError if a number is not positive.

    Parameters
    ----------
    nearest, radius, temperature
        5, 12 and 0.1 in DINO's own evaluation on DAVIS.

    Examples
    --------
    >>> tokens = np.eye(6, dtype=np.float32)
    >>> views = [View(image, part, (2, 3)) for part in (tokens, tokens[[1, 2, 0, 4, 5, 3]])]
    >>> masks = np.zeros((1, 2, 3), np.float32)
    >>> masks[0, 0, 1] = 1
    >>> FeatureMatch(nearest=1).carried(*views, masks).astype(int).tolist()
    [[[1, 0, 0], [0, 0, 0]]]
    """

    nearest: int = 5
    radius: int = 12
    temperature: float = 0.1
    needs: ClassVar[tuple[str, ...]] = ("cam.activations",)

    def __post_init__(self) -> None:
        if not (self.nearest >= 1 and self.radius >= 0 and self.temperature > 0):
            raise SettingError(
                "expected nearest >= 1, radius >= 0 and a temperature above 0, got "
                f"{self.nearest}, {self.radius} and {self.temperature}; 5, 12 and 0.1 are DINO's"
            )

    def __call__(self, before: View, now: View, masks: Levels) -> Levels:
        """Return the masks at patches, enlarged to pixels."""
        small = np.stack([resize(mask, *before.grid, "box") for mask in masks])
        return resize_maps(self.carried(before, now, small), *now.image.shape[:2])

    def carried(
        self, before: View, now: View, masks: Float32[np.ndarray, "q i j"]
    ) -> Float32[np.ndarray, "q i j"]:
        """Return masks at patches; SettingError if the model recorded no tokens of its patches."""
        if len(now.tokens) != np.prod(now.grid) or len(before.tokens) != np.prod(before.grid):
            raise SettingError(
                "expected a proposer that records a token of each patch (the probe cam.activations), got "
                "none; take optical flow"
            )
        # Of one frame size: one grid, and one mean.
        mean = now.tokens.mean(axis=0, keepdims=True)
        alike = _unit(now.tokens - mean) @ _unit(before.tokens - mean).T
        near = _within(now.grid, self.radius)
        alike = np.where(near, alike, -np.inf)
        most = min(self.nearest, alike.shape[1])
        best = np.argpartition(-alike, most - 1, axis=1)[:, :most]
        weights = np.exp(np.take_along_axis(alike, best, axis=1) / self.temperature)
        weights /= weights.sum(axis=1, keepdims=True)
        flat = masks.reshape(len(masks), -1)[:, best]
        return (flat * weights).sum(axis=-1).reshape(masks.shape).astype(np.float32)


class Memory(NamedTuple):
    """What is remembered of a frame for the next one.

    Parameters
    ----------
    view
        The frame.
    queries
        Those whose masks are remembered.
    levels
        Their smoothed masks, 255 for 1.
    """

    view: View
    queries: Int[np.ndarray, " k"]
    levels: UInt8[np.ndarray, "k h w"]


@dataclass(frozen=True)
class MaskSmoothing:
    """Blend a frame's own final masks with those carried over, and cut the blend at a half.

        level = (1 - weight) * own + weight * carried

    With the default a pixel of a still image changes once two frames in a row say so; a weight of a half or
    less changes nothing. A query that the frame does not keep has no mask, and one that the previous frame
    did not keep has its own.

    Raises SettingError if the weight is not in [0, 1].

    Parameters
    ----------
    carrier
        `OpticalFlow()`, `FeatureMatch()`, or one of your own.
    weight
        Of what was carried; 0 is the paper's.

    Examples
    --------
    >>> smoothing, view = MaskSmoothing(OpticalFlow()), View(image, np.zeros((0, 1), np.float32), (1, 1))
    >>> masks = np.ones((1, *image.shape[:2]), bool)
    >>> first, memory = smoothing(None, view, np.array([0]), masks)
    >>> second, memory = smoothing(memory, view, np.array([0]), ~masks)
    >>> third, _ = smoothing(memory, view, np.array([0]), ~masks)
    >>> [bool(one.all()) for one in (first, second, third)]
    [True, True, False]
    """

    carrier: Carrier
    weight: float = 0.6

    def __post_init__(self) -> None:
        check_share("the weight of carried masks", self.weight, "0.6 is the default, 0 is off")

    def __call__(
        self, before: Memory | None, now: View, queries: Int[np.ndarray, " k"], masks: Masks
    ) -> tuple[Masks, Memory]:
        """Return the smoothed masks, and what to remember.

        Parameters
        ----------
        before
            Of the previous frame; None at the beginning, or after a frame that failed.
        now, queries, masks
            This frame, the queries that it keeps, and their final masks.
        """
        levels = masks.astype(np.float32)
        if before is not None and before.view.image.shape == now.image.shape:
            _, mine, theirs = np.intersect1d(queries, before.queries, return_indices=True)
            if len(mine):
                carried = self.carrier(before.view, now, before.levels[theirs].astype(np.float32) / 255)
                levels[mine] = (1 - self.weight) * levels[mine] + self.weight * carried
        # In whole levels, so that a run that goes on from a file computes the same.
        kept = (levels.clip(0, 1) * 255).round().astype(np.uint8)
        return kept > 127, Memory(now, queries, kept)


CARRIERS: dict[str, type[Carrier]] = {"flow": OpticalFlow, "features": FeatureMatch}
"""Carriers by name; add your own."""


def _grey(image: Image) -> Float[np.ndarray, "h w"]:
    return image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32) / 255


def _unit(rows: Float[np.ndarray, "n c"]) -> Float[np.ndarray, "n c"]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _within(grid: tuple[int, int], radius: int) -> Bool[np.ndarray, "n n"]:
    """Return which patches are at most so many rows and columns apart."""
    rows, columns = np.indices(grid).reshape(2, -1)
    far = np.maximum(abs(rows[:, None] - rows), abs(columns[:, None] - columns))
    return far <= radius
