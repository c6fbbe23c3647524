"""What is seen of one step: pictures of maps, masks and prompted images, ready for a screen."""

from base64 import b64encode
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from math import ceil

import numpy as np
from jaxtyping import Float32, Integer, UInt8
from PIL import Image

from carlab.display import thumbnail
from carlab.errors import SettingError
from carlab.overlay import colour, edge, resize_maps
from carlab.trace import Trace

LAYERS = ("CAM", "mask", "prompted image", "final")
"""Class activation maps before the affinity, soft masks after it, what the classifier saw, and the end."""
SIDE = 640
"""Longest side of a picture on the screen, in pixels."""
QUALITY = 88
"""Of JPEG: a picture of the screen is drawn anew at every key, and takes a millisecond this way."""
ACROSS = 4


def layer_picture(
    trace: Trace, t: int, layer: str, queries: Sequence[int], *, opacity: float = 0.6, side: int = SIDE
) -> UInt8[np.ndarray, "h w 3"]:
    """One layer of step `t` (from 0) over the photo, each query in its own colour.

    Parameters
    ----------
    layer
        One of `LAYERS`. "final" does not depend on the step.
    queries
        Which queries to paint, by index; those that are not active in the step are left out.
    opacity
        Of the paint, 0 to 1.
    side
        Longest side of the picture, in pixels.

    Raises
    ------
    SettingError
        If there is no such layer.
    """
    if layer not in LAYERS:
        raise SettingError(f"expected a layer out of {', '.join(LAYERS)}, got {layer!r}; choose one of them")
    step = trace.steps[t]
    places = [place for place, query in enumerate(step.active) if query in queries]
    photo = _photo(trace, side)
    if layer == "final":
        return _final(trace, photo, queries, opacity)
    if not places:
        return photo
    shown = step.active[places]
    if layer == "prompted image":
        return mosaic(step.prompted[places], shown, side)
    cut = None if layer == "CAM" else float(trace.settings.get("mask_threshold", 0.5))
    return tint(photo, (step.cams if layer == "CAM" else step.masks)[places], shown, opacity, cut)


def tint(
    photo: UInt8[np.ndarray, "h w 3"],
    maps: Float32[np.ndarray, "q i j"],
    queries: Integer[np.ndarray, " q"],
    opacity: float,
    cut: float | None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Paint every pixel with the query whose map is highest there, as strongly as the map says.

    Where `cut` is given the border of each map above it is drawn too: the region that the prompter gets.
    """
    full = resize_maps(maps, *photo.shape[:2])
    colours = np.array([colour(int(query)) for query in queries], dtype=np.float32)
    strength = (opacity * full.max(axis=0))[..., None]
    painted = photo + strength * (colours[full.argmax(axis=0)] - photo)
    if cut is not None:
        for one, rim in zip(full, colours, strict=True):
            painted[edge(one > cut)] = 0.75 * rim
    return painted.round().clip(0, 255).astype(np.uint8)


def mosaic(
    pictures: UInt8[np.ndarray, "q s1 s2 3"], queries: Integer[np.ndarray, " q"], side: int
) -> UInt8[np.ndarray, "h w 3"]:
    """Prompted images in rows, each in a frame of its query's colour."""
    across = min(ACROSS, len(pictures))
    cell = side // across
    sheet = np.full((cell * ceil(len(pictures) / across), cell * across, 3), 128, dtype=np.uint8)
    rim = max(2, cell // 50)
    for place, (picture, query) in enumerate(zip(pictures, queries, strict=True)):
        top, left = cell * (place // across), cell * (place % across)
        sheet[top : top + cell, left : left + cell] = colour(int(query))
        inside = Image.fromarray(picture).resize((cell - 2 * rim, cell - 2 * rim), Image.Resampling.BILINEAR)
        sheet[top + rim : top + cell - rim, left + rim : left + cell - rim] = np.asarray(inside)
    return sheet


def data_uri(picture: UInt8[np.ndarray, "h w 3"]) -> str:
    """The picture as a JPEG inside an address, for an `img` or a plotly layout image."""
    stream = BytesIO()
    Image.fromarray(picture).save(stream, format="JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + b64encode(stream.getvalue()).decode()


def _final(
    trace: Trace, photo: UInt8[np.ndarray, "h w 3"], queries: Sequence[int], opacity: float
) -> UInt8[np.ndarray, "h w 3"]:
    size = photo.shape[1::-1]
    labels = np.asarray(Image.fromarray(trace.labels.astype(np.int32)).resize(size, Image.Resampling.NEAREST))
    painted = photo.astype(np.float32)
    for query in trace.survivors:
        if query in queries:
            region, tone = labels == query + 1, np.array(colour(int(query)), dtype=np.float32)
            painted[region] += opacity * (tone - painted[region])
            painted[edge(region)] = 0.75 * tone
    return painted.round().astype(np.uint8)


def _photo(trace: Trace, side: int) -> UInt8[np.ndarray, "h w 3"]:
    """The photo at the size of the screen; shrinking 12 megapixels at every key would be felt."""
    return _shrunk(_Held(trace.image), side)


class _Held:
    """Keeps an array alive beside its id, and stands for it in a cache."""

    def __init__(self, array: UInt8[np.ndarray, "h w 3"]) -> None:
        self.array = array

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and other.array is self.array

    def __hash__(self) -> int:
        return id(self.array)


@lru_cache(maxsize=8)
def _shrunk(photo: _Held, side: int) -> UInt8[np.ndarray, "h w 3"]:
    return thumbnail(photo.array, side)
