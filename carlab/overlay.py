"""Colours, and painting regions onto a photo. NumPy and Pillow only."""

import colorsys

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


def colour(index: int) -> tuple[int, int, int]:
    """RGB of query `index`, the same everywhere in carlab.

    The first seven come from Okabe and Ito; later ones step round the hue
    circle by the golden ratio, so that neighbours differ.
    """
    if index < len(OKABE_ITO):
        return OKABE_ITO[index]
    hue = (index * 0.61803398875) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.65 + 0.3 * (index % 2), 0.95 - 0.3 * (index % 3) / 2)
    return round(255 * red), round(255 * green), round(255 * blue)


def colour_hex(index: int) -> str:
    """`colour(index)` as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*colour(index))


def resize_maps(maps: Float32[np.ndarray, "q i j"], height: int, width: int) -> Float32[np.ndarray, "q h w"]:
    """Bilinear resize of soft masks from patches to pixels (half-pixel centres)."""
    pixels = np.empty((len(maps), height, width), dtype=np.float32)
    for target, patch_map in zip(pixels, maps, strict=True):
        target[:] = np.asarray(Image.fromarray(patch_map).resize((width, height), Image.Resampling.BILINEAR))
    return pixels


def paint(
    image: UInt8[np.ndarray, "h w 3"], labels: Integer[np.ndarray, "h w"], opacity: float = 0.55
) -> UInt8[np.ndarray, "h w 3"]:
    """Paint label i + 1 in `colour(i)` over the photo, with a darker edge; label 0 stays as it is."""
    painted = image.astype(np.float32)
    for label in np.unique(labels[labels > 0]):
        region = labels == label
        tint = np.array(colour(int(label) - 1), dtype=np.float32)
        painted[region] += opacity * (tint - painted[region])
        painted[edge(region)] = 0.6 * tint
    return painted.round().astype(np.uint8)


def paint_regions(
    image: UInt8[np.ndarray, "h w 3"], regions: Shaped[np.ndarray, "m i j"], opacity: float = 0.5
) -> UInt8[np.ndarray, "h w 3"]:
    """Paint every region in a colour of its own, with its border; small ones lie over large ones."""
    labels = np.zeros(regions.shape[1:], dtype=np.int32)
    largest_first = np.argsort(-np.count_nonzero(regions, axis=(1, 2)), kind="stable")
    for label, index in enumerate(largest_first, 1):
        labels[regions[index] > 0] = label
    labels = np.asarray(Image.fromarray(labels).resize(image.shape[1::-1], Image.Resampling.NEAREST))
    colours = np.array([(0, 0, 0), *map(colour, range(len(regions)))], dtype=np.float32)
    painted = image + opacity * (labels > 0)[..., None] * (colours[labels] - image)
    border = np.zeros(labels.shape, dtype=bool)
    border[1:] |= labels[1:] != labels[:-1]
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    painted[border] *= 0.5
    return painted.round().astype(np.uint8)


def edge(region: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Pixels of the region that touch something outside it (4-neighbours)."""
    padded = np.pad(region, 1, mode="edge")
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(region & ~inside)
