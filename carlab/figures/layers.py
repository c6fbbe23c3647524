"""Pictures of one step, ready for a screen: activation maps, soft masks, prompted images, final masks."""

from collections.abc import Sequence
from functools import lru_cache
from math import ceil

import numpy as np
from jaxtyping import Integer, UInt8

from carlab.errors import SettingError
from carlab.files.pictures import colour, paint, paint_maps, resize, shrink
from carlab.files.shapes import Image
from carlab.trace import Trace

LAYERS = ("CAM", "mask", "prompted image", "final")
"""CAMs before the affinity, soft masks after it, the classifier's input, and the final masks."""
SCREEN_SIDE = 640
"""Longest side of a picture on the screen, in pixels."""
MOSAIC_COLUMNS = 4


def layer_picture(
    trace: Trace, t: int, layer: str, queries: Sequence[int], *, opacity: float = 0.6, side: int = SCREEN_SIDE
) -> Image:
    """Paint one layer of step `t` over the image, each query in its own colour.

    Parameters
    ----------
    trace, t
        The step, from 0.
    layer
        One of `LAYERS`. "final" does not depend on the step.
    queries
        Indices of the queries to paint; those that are not active in the step are left out.
    opacity
        Of the paint, 0 to 1.
    side
        Longest side of the picture, in pixels.

    Returns
    -------
    Image
        RGB, of the image's proportions; prompted images stand in rows.

    Raises
    ------
    SettingError
        If there is no such layer.

    Examples
    --------
    >>> layer_picture(trace, 0, "mask", [0, 1], side=35).shape
    (24, 35, 3)
    """
    if layer not in LAYERS:
        raise SettingError(f"expected a layer out of {', '.join(LAYERS)}, got {layer!r}; choose one of them")
    image = _shrunk(_Held(trace.image), side)
    if layer == "final":
        labels = trace.labels
        return paint(image, np.where(np.isin(labels - 1, queries), labels, 0), opacity)
    step = trace.steps[t]
    places = [place for place, query in enumerate(step.active) if query in queries]
    if not places:
        return image
    shown = step.active[places]
    if layer == "prompted image":
        return mosaic(step.prompted[places], shown, side)
    if layer == "CAM":
        return paint_maps(image, step.cams[places], shown, opacity)
    return paint_maps(image, step.masks[places], shown, opacity, mask_threshold(trace))


def mask_threshold(trace: Trace) -> float:
    """Return eta of a trace; 0.5 where its settings lack it."""
    return float(trace.settings.get("mask_threshold", 0.5))


def mosaic(images: UInt8[np.ndarray, "q s1 s2 3"], queries: Integer[np.ndarray, " q"], side: int) -> Image:
    """Put prompted images in rows, each in a frame of its query's colour.

    Parameters
    ----------
    images, queries
        Prompted images, and the index of the query of each.
    side
        Width of the picture in pixels.
    """
    across = min(MOSAIC_COLUMNS, len(images))
    cell = side // across
    sheet = np.full((cell * ceil(len(images) / across), cell * across, 3), 128, dtype=np.uint8)
    rim = max(2, cell // 50)
    for place, (image, query) in enumerate(zip(images, queries, strict=True)):
        top, left = cell * (place // across), cell * (place % across)
        frame = sheet[top : top + cell, left : left + cell]
        frame[:] = colour(int(query))
        frame[rim:-rim, rim:-rim] = resize(image, cell - 2 * rim, cell - 2 * rim)
    return sheet


class _Held:
    """An array as a key of a cache, compared by identity and kept alive by it."""

    def __init__(self, array: Image) -> None:
        self.array = array

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and other.array is self.array

    def __hash__(self) -> int:
        return id(self.array)


@lru_cache(maxsize=8)
def _shrunk(image: _Held, side: int) -> Image:
    return shrink(image.array, side)  # shrinking 12 megapixels at every key would be felt
