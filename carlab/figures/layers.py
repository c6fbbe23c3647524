"""Pictures of one step, ready for a screen: activation maps, soft masks, prompted images, final masks."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Integer, Shaped, UInt8
from skimage.util import montage

from carlab.cache import Cache
from carlab.errors import check_choice
from carlab.files.pictures import colour, paint, paint_maps, resize, shrink
from carlab.files.shapes import Image
from carlab.trace import Trace
from carlab.trace.provenance import setting_in

LAYERS = ("CAM", "mask", "prompted image", "final")
"""CAMs before the affinity, soft masks after it, the classifier's input, and the final masks."""
SCREEN_LAYERS = (*LAYERS, "contours", "regions")
"""What the widgets can show; "regions" only where they were recorded."""
ACROSS = 4
"""Pictures in a row, before the next row begins."""
MOST_NAMED = 12
"""Queries that a figure shows by name or one by one."""
SCREEN_SIDE = 640
"""Longest side of a picture on the screen, in pixels."""
_SHRUNK = Cache(2**28)


def shrunk(image: Image, side: int) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Return an image whose longest side is at most `side` pixels, from a cache of all views.

    Parameters
    ----------
    image, side
        RGB, and pixels.
    """
    # Shrinking 12 megapixels at every key would be felt. The cache holds the image too: as long as it does,
    # no other array has its id.
    small: np.ndarray = _SHRUNK.get((id(image), side), lambda: (image, shrink(image, side)))[1]
    return small


def layer_picture(
    trace: Trace, t: int, layer: str, queries: Sequence[int], *, opacity: float = 0.6, side: int = SCREEN_SIDE
) -> Image:
    """Paint one layer of a step over the image, each query in its own colour.

    Raises SettingError if there is no such layer.

    Parameters
    ----------
    trace, t, layer
        The step, from 0, and one of `LAYERS`; "final" does not depend on the step.
    queries
        Indices of the queries to paint; those that are not active in the step are left out.
    opacity
        Of the paint, 0 to 1.
    side
        Longest side of the picture, in pixels. It has the image's proportions, but for prompted images.

    Examples
    --------
    >>> layer_picture(trace, 0, "mask", [0, 1], side=35).shape
    (24, 35, 3)
    """
    check_choice("a layer", layer, LAYERS)
    image = shrunk(trace.image, side)
    if layer == "final":
        labels = trace.labels
        return paint(image, np.where(np.isin(labels - 1, queries), labels, 0), opacity)
    step = trace.steps[t]
    shown = np.isin(step.active, queries)
    active = step.active[shown]
    if not len(active):
        return image
    if layer == "prompted image":
        return mosaic(step.prompted[shown], active, side)
    if layer == "CAM":
        return paint_maps(image, step.cams[shown], active, opacity)
    return paint_maps(image, step.masks[shown], active, opacity, mask_threshold(trace))


def mask_threshold(trace: Trace) -> float:
    """Return eta of a trace; 0.5 where its settings lack it."""
    eta = setting_in(trace.settings, "mask_threshold")
    return float(eta) if isinstance(eta, int | float) else 0.5


def mosaic(images: UInt8[np.ndarray, "q s1 s2 3"], queries: Integer[np.ndarray, " q"], side: int) -> Image:
    """Put prompted images in rows of at most `ACROSS`, each in a frame of its query's colour.

    Parameters
    ----------
    images, queries
        RGB, and the index of the query of each; it gives the colour.
    side
        Width of a row, in pixels.

    Examples
    --------
    >>> mosaic(trace.steps[0].prompted, trace.steps[0].active, 90).shape
    (30, 90, 3)
    """
    across = min(ACROSS, len(images))
    cell = side // across
    rim = max(2, cell // 50)
    framed = np.empty((len(images), cell, cell, 3), dtype=np.uint8)
    for frame, image, query in zip(framed, images, queries, strict=True):
        frame[:] = colour(int(query))
        frame[rim:-rim, rim:-rim] = resize(image, cell - 2 * rim, cell - 2 * rim)
    grid = -(-len(images) // across), across
    return np.asarray(montage(framed, fill=(128, 128, 128), grid_shape=grid, channel_axis=-1))


def stretched(values: Shaped[np.ndarray, "i j"]) -> tuple[Float32[np.ndarray, "i j"], str]:
    """Return a map brought to [0, 1], NaN where it is not finite, and its range as text.

    Parameters
    ----------
    values
        Of any range.

    Examples
    --------
    >>> stretched(np.array([[0.0, 0.5, np.nan]]))
    (array([[ 0.,  1., nan]], dtype=float32), '0 to 0.5')
    """
    numbers = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    if np.isnan(numbers).all():
        return numbers.astype(np.float32), "no values"
    low, high = np.nanmin(numbers), np.nanmax(numbers)
    return ((numbers - low) / ((high - low) or 1)).astype(np.float32), f"{low:.3g} to {high:.3g}"
