"""Resize arrays, paint label maps and soft masks over an image, encode the result. NumPy and Pillow only."""

import colorsys
from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Integer, Shaped, UInt8
from PIL import Image

OKABE_ITO = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
"""Seven colours that colour-blind readers tell apart (Okabe and Ito 2008), RGB, 0 to 255."""
RIM = 0.6
"""Brightness of an outline, as a share of its query's colour."""


def colour(index: int) -> tuple[int, int, int]:
    """Return the RGB colour of query `index`, the same everywhere in carlab.

    The first seven are Okabe and Ito's; later ones step round the hue circle by the golden ratio, so that
    neighbours differ.

    >>> colour(1)
    (86, 180, 233)
    """
    if index < len(OKABE_ITO):
        return OKABE_ITO[index]
    hue = (index * 0.61803398875) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.65 + 0.3 * (index % 2), 0.95 - 0.3 * (index % 3) / 2)
    return round(255 * red), round(255 * green), round(255 * blue)


def colour_hex(index: int) -> str:
    """Return `colour(index)` as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*colour(index))


def resize(
    pixels: Shaped[np.ndarray, "h w *rgb"], rows: int, columns: int, method: str = "bilinear"
) -> Shaped[np.ndarray, "rows columns *rgb"]:
    """Resize an RGB image, a label map or a soft mask by Pillow ("bilinear", "bicubic", "nearest", "box")."""
    resampling = Image.Resampling[method.upper()]
    return np.asarray(Image.fromarray(pixels).resize((columns, rows), resampling))


def resize_maps(maps: Float32[np.ndarray, "q i j"], height: int, width: int) -> Float32[np.ndarray, "q h w"]:
    """Resize soft masks from patches to pixels, bilinearly (half-pixel centres)."""
    resized = np.empty((len(maps), height, width), dtype=np.float32)
    for target, one in zip(resized, maps, strict=True):
        target[:] = resize(one, height, width)
    return resized


def shrink(image: UInt8[np.ndarray, "h w 3"], side: int) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Return the image with its longest side at most `side` pixels."""
    shrunk = Image.fromarray(image)
    shrunk.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(shrunk)


def edge(labels: Shaped[np.ndarray, "h w"], mode: str = "inner") -> Bool[np.ndarray, "h w"]:
    """Return the labelled pixels that touch another label or none (4-neighbours); "thick": those outside too.

    >>> edge(np.array([[0, 1, 1, 1]])).tolist()
    [[False, True, False, False]]
    """
    from skimage.segmentation import find_boundaries  # here, because reading a trace should not wait for it

    return np.asarray(find_boundaries(labels, connectivity=1, mode=mode))


def paint(
    image: UInt8[np.ndarray, "h w 3"], labels: Integer[np.ndarray, "h2 w2"], opacity: float = 0.55
) -> UInt8[np.ndarray, "h w 3"]:
    """Paint a label map of any size over an image, with darker outlines.

    Parameters
    ----------
    labels
        0: unpainted; i + 1: in `colour(i)`.
    opacity
        Of the paint, 0 to 1.
    """
    height, width = image.shape[:2]
    labels = resize(labels.astype(np.int32), height, width, "nearest")
    tints = np.array([(0, 0, 0), *map(colour, range(int(labels.max(initial=0))))], dtype=np.float32)[labels]
    painted = image + opacity * (labels > 0)[..., None] * (tints - image)
    rim = edge(labels)
    painted[rim] = RIM * tints[rim]
    return painted.round().astype(np.uint8)


def paint_maps(
    image: UInt8[np.ndarray, "h w 3"],
    maps: Float32[np.ndarray, "q i j"],
    queries: Sequence[int] | Integer[np.ndarray, " q"],
    opacity: float,
    threshold: float | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Paint each pixel in the colour of the query whose map is highest there, as strongly as the map says.

    Parameters
    ----------
    maps
        Soft masks or activation maps in [0, 1], at patches or pixels.
    queries
        Index of the query of each map; it gives the colour.
    opacity
        Of the paint where a map is 1, 0 to 1.
    threshold
        Outline each map, in its colour, where it exceeds this; None: no outlines.
    """
    full = resize_maps(maps, *image.shape[:2])
    tints = np.array([colour(int(query)) for query in queries], dtype=np.float32)
    strength = (opacity * full.max(axis=0))[..., None]
    painted = image + strength * (tints[full.argmax(axis=0)] - image)
    if threshold is not None:
        for one, tint in zip(full, tints, strict=True):
            painted[edge(one > threshold, "thick")] = tint
    return painted.round().clip(0, 255).astype(np.uint8)


def stacked(regions: Shaped[np.ndarray, "m i j"]) -> Integer[np.ndarray, "i j"]:
    """Return overlapping regions as one label map; small ones lie over large ones."""
    labels = np.zeros(regions.shape[1:], dtype=np.int32)
    largest_first = np.argsort(-np.count_nonzero(regions, axis=(1, 2)), kind="stable")
    for label, index in enumerate(largest_first, 1):
        labels[regions[index] > 0] = label
    return labels


def encoded(picture: Shaped[np.ndarray, "h w *rgb"], kind: str = "PNG", **options: Any) -> bytes:
    """Return the bytes of an image file; `kind` and `options` are those of Pillow's `save`."""
    stream = BytesIO()
    Image.fromarray(picture).save(stream, format=kind, **options)
    return stream.getvalue()


def label_png(labels: Integer[np.ndarray, "h w"], most: int) -> bytes:
    """Return a label map as a PNG that reads back as it is: with a palette up to label 255, else 16-bit grey.

    Parameters
    ----------
    labels
        0: background, black in the palette; i + 1: in `colour(i)`.
    most
        The highest label that there may be, 65,535 or less: it decides the format.

    Examples
    --------
    >>> with Image.open(BytesIO(label_png(np.array([[0, 2]]), 2))) as image:
    ...     image.mode, np.asarray(image).tolist(), image.getpalette()[6:9] == list(colour(1))
    ('P', [[0, 2]], True)
    """
    if most > 255:
        return encoded(labels.astype(np.uint16))
    image = Image.fromarray(labels.astype(np.uint8))
    image.putpalette([level for tint in ((0, 0, 0), *map(colour, range(most))) for level in tint])
    stream = BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


def data_uri(picture: UInt8[np.ndarray, "h w 3"], kind: str = "JPEG", quality: int = 88) -> str:
    """Return the picture as a data URI, for an `img` element or a plotly layout image."""
    content = b64encode(encoded(picture, kind, quality=quality)).decode()
    return f"data:image/{kind.lower()};base64,{content}"
