"""Decode images: the only place where bytes become pixels (formats, EXIF, 16-bit, alpha, size limits).

All other code may rely on RGB uint8, rows x columns x 3.

>>> import numpy as np
>>> load_image(np.array([[0, 128], [128, 255]], dtype=np.uint8))[0]
array([[  0,   0,   0],
       [128, 128, 128]], dtype=uint8)
"""

import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from carlab.errors import ImageError, as_list, quoted, reason
from carlab.files.opening import open_file

Loaded = TypeVar("Loaded")

MAX_PIXELS = 50_000_000
"""Largest image, rows times columns; a larger one is refused before it is decoded."""

MAX_BYTES = 2**30
"""Largest file of an image: 50 megapixels of 16-bit RGBA are 400 MB."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""Pillow's decoders that a file may reach; a JPEG with previews is handed on to MPO by Pillow itself."""

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".bmp", ".dib"),
    *(".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm", ".pnm"),
)
"""File name endings that `list_images` looks for in a folder, lower case."""

OTHER_MEDIA = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".ogv"),
    *(".heic", ".heif", ".avif", ".jxl", ".jp2", ".svg", ".psd", ".raw", ".dng", ".cr2", ".nef", ".arw"),
)
"""Endings of videos and of images that cannot be decoded here: `skipped_media` names them."""

LABEL_MODES = ("1", "L", "P", "I;16", "I;16B", "I;16L", "I")
"""Pillow's modes of one whole number per pixel."""
BITS, PHOTOMETRIC = 258, 262
"""TIFF's tags: bits of a number, and whether 0 is black or white."""
MOST_FRAMES = 10
"""Frames that are counted."""

DTYPE_ADVICE = {
    "f": "pass `(a * 255).round().astype(np.uint8)` if its values run from 0 to 1",
    "b": "pass `a.astype(np.uint8) * 255`",
    "u2": "pass `((a.astype(np.uint32) + 128) // 257).astype(np.uint8)` if its values run to 65535",
}
"""What to do about an array by its dtype's kind, or kind and item size."""
CLIP_ADVICE = "pass `a.clip(0, 255).astype(np.uint8)` if its values run from 0 to 255"


def load_image(source: Any) -> UInt8[np.ndarray, "h w 3"]:
    """Decode a path, bytes, PIL image or NumPy array into RGB, 0 to 255, a writable copy.

    EXIF orientation is applied, alpha is composited on white, 16-bit grey is scaled by 1/257; ICC profiles
    are ignored, as in CLIP's own preprocessing.

    Raises ImageError if it cannot be read, holds several frames, has more than `MAX_PIXELS` pixels, or has
    values whose brightness would be a guess.

    Parameters
    ----------
    source
        Path (str or PathLike) or content (bytes, bytearray, memoryview) of a PNG, JPEG, WEBP, BMP, TIFF, GIF
        or PPM file with one frame; a `PIL.Image.Image`; or a uint8 array, (h, w), (h, w, 1), (h, w, 3) or
        (h, w, 4), 0 to 255.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _from_pil(source, "the PIL image")
    if isinstance(source, bytes | bytearray | memoryview):
        content = bytes(source)
        return _from_stream(io.BytesIO(content), f"the {len(content)} bytes given", _from_pil)
    if isinstance(source, str | os.PathLike):
        with _opened(source) as stream:
            return _from_stream(stream, quoted(source), _from_pil)
    raise ImageError(
        f"expected a path, bytes, a PIL image or a NumPy array, got {type(source).__name__}; "
        f"{_type_advice(source)}"
    )


def load_labels(path: str | os.PathLike[str]) -> Shaped[np.ndarray, "h w"]:
    """Decode a label map, palette or grey of 1 to 32 bits: the numbers that the file holds.

    Raises ImageError if it cannot be read, holds several frames or more than `MAX_PIXELS` pixels, or is no
    label map: colours, fractions, alpha, or a TIFF whose numbers are to be inverted.
    """
    with _opened(path) as stream:
        return _from_stream(stream, "a file", _labels_from_pil)


def list_images(paths: Iterable[str | os.PathLike[str]] | Any) -> list[Path]:
    """Expand folders into the images directly inside; files stay as they are.

    A folder is expanded to its files with a suffix in `SUFFIXES`, sorted by name; hidden files
    (`._image.jpg`, written by macOS) are left out.

    Raises ImageError if a path is missing, a folder holds no image, or `paths` is empty or no list.
    """
    if isinstance(paths, str | bytes | os.PathLike):
        raise ImageError(f"expected a list of paths, got one path; write [{quoted(paths)}]")
    paths = as_list(paths, "paths", ImageError)
    found = [image for path in paths for image in _expanded(path)]
    if not found:
        raise ImageError("expected at least one path, got an empty list; name a file or a folder")
    return found


def skipped_media(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return the videos and images of other formats in the folders given, which `list_images` leaves out."""
    folders = [Path(path) for path in paths if os.path.isdir(path)]
    files = [file for folder in folders for file in sorted(folder.iterdir())]
    return [file for file in files if file.suffix.lower() in OTHER_MEDIA and not file.name.startswith(".")]


def _expanded(path: Any) -> list[Path]:
    if not isinstance(path, str | os.PathLike):
        raise ImageError(f"expected a path, got {type(path).__name__}; write it as a text in quotes")
    with _readable(path):
        name = os.fsdecode(path)
        os.stat(name)
        if not os.path.isdir(name):
            return [Path(name)]
        files = sorted(entry for entry in Path(name).iterdir() if entry.is_file())
    images = [file for file in files if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")]
    if not images:
        raise ImageError(
            f"expected a folder with images ({' '.join(SUFFIXES)}), got {quoted(path)} with none; "
            "name the files, or the folder that holds them"
        )
    return images


def _opened(path: str | os.PathLike[str]) -> io.BufferedReader:
    with _readable(path):
        try:
            return open_file(path, MAX_BYTES)
        except IsADirectoryError as error:
            raise ImageError(
                f"expected an image file, got the folder {quoted(path)}; list_images gives the images inside"
            ) from error


@contextmanager
def _readable(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except ImageError:
        raise
    except Exception as error:  # a NUL in the name, or what a path-like of one's own raises
        raise ImageError(
            f"expected a readable file, got {quoted(path)} ({reason(error)}); check the name and its rights"
        ) from error


def _from_stream(
    stream: io.BytesIO | io.BufferedReader, name: str, convert: Callable[[Image.Image, str], Loaded]
) -> Loaded:
    with _decoding(name):
        if not stream.read(1):
            raise ImageError(f"expected an image, got {name} without content; save or download it again")
        with Image.open(stream, formats=FORMATS) as image:
            return convert(image, name)


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turn every exception of Pillow's into an ImageError, and drop its warnings."""
    try:
        with warnings.catch_warnings():
            # Odd metadata and Pillow's own size limit: either the pixels come out or an error does.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(
            f"expected one of {', '.join(FORMATS)}, got {name}, which is another format or damaged; "
            "save it again as PNG or JPEG"
        ) from error
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(name, "more") from error
    except Exception as error:  # a damaged file can raise anything inside a decoder
        raise ImageError(
            f"expected a whole image, got {name}, which cannot be decoded "
            f"({type(error).__name__}: {reason(error)}); save or download it again"
        ) from error


def _from_pil(image: Image.Image, name: str) -> UInt8[np.ndarray, "h w 3"]:
    with _decoding(name):
        _check_size(image.height, image.width, name)
        _check_single(image, name)
        depth = _depth(image)
        image.load()  # before the orientation is read: Pillow turns a TIFF upright while loading
        return np.array(_upright(_to_rgb(image, name, depth), image))


def _labels_from_pil(image: Image.Image, name: str) -> Shaped[np.ndarray, "h w"]:
    _check_size(image.height, image.width, name)
    _check_single(image, name)
    if image.mode not in LABEL_MODES or _white_is_zero(image):
        raise ImageError(
            f"expected one whole number per pixel, got {name} of mode {image.mode}; "
            "save the label map as a PNG, grey or with a palette"
        )
    return np.array(image)


def _depth(image: Image.Image) -> str:
    """Return how a file holds its pixels, by Pillow's name, such as "RGB;16B"; "" if that is not known."""
    tile = next(iter(getattr(image, "tile", ())), None)
    arguments = tile[3] if tile else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _white_is_zero(image: Image.Image) -> bool:
    """Whether a TIFF holds 0 for white. Pillow inverts one of up to 8 bits while it decodes."""
    tags = getattr(image, "tag_v2", {})
    return bool(image.format == "TIFF" and tags.get(PHOTOMETRIC) == 0)


def _upright(rgb: Image.Image, source: Image.Image) -> Image.Image:
    """Apply the EXIF orientation of `source`; a damaged EXIF block is ignored, as viewers do."""
    try:
        rgb.getexif()[0x0112] = source.getexif().get(0x0112, 1)
        return ImageOps.exif_transpose(rgb)
    except Exception:
        return rgb


def _check_size(height: int, width: int, name: str) -> None:
    if height * width == 0:
        raise ImageError(f"expected at least one pixel, got {name} with {height} x {width}; check its source")
    if height * width > MAX_PIXELS:
        raise _too_many_pixels(name, f"{height} x {width} = {height * width / 1e6:.1f}")


def _too_many_pixels(name: str, amount: str) -> ImageError:
    return ImageError(
        f"expected at most {MAX_PIXELS / 1e6:g} megapixels, got {name} with {amount}; make it smaller first"
    )


def _check_single(image: Image.Image, name: str) -> None:
    # Further frames of an MPO are previews or a second eye.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise ImageError(
            f"expected one still image, got {name} with {_frames(image)} frames; "
            "pick one: `with PIL.Image.open(path) as image: image.seek(0); rgb = load_image(image.copy())`"
        )


def _frames(image: Image.Image) -> str:
    """Return the number of frames, counted up to `MOST_FRAMES`: each page of a TIFF has to be looked for."""
    place = image.tell()
    try:
        for number in range(MOST_FRAMES):
            image.seek(number)
    except EOFError:
        return str(number)
    finally:
        image.seek(place)
    return f"{MOST_FRAMES} or more"


def _to_rgb(image: Image.Image, name: str, depth: str) -> Image.Image:
    if image.mode == "F":
        raise ImageError(
            f"expected whole-number pixels, got {name} of floats (mode F), whose white is unknown; "
            "scale them to 0..255 and pass a uint8 array"
        )
    clear = image.info.get("transparency") if image.mode == "RGB" else None
    if clear and (depth.startswith("RGB;16") or max(clear) > 255):
        raise ImageError(
            f"expected 8 bits a channel beside a transparent colour, got {name} of 16, which is matched at "
            "full depth; save it with an alpha channel"
        )
    if image.mode.startswith("I"):
        image = _from_deep_grey(image, name)
    if image.mode == "PA":
        image = _from_palette_and_alpha(image)
    if image.has_transparency_data:
        image = _on_white(_transparent_as_scaled(image, depth))
    return image.convert("RGB")


def _from_deep_grey(image: Image.Image, name: str) -> Image.Image:
    """Scale 12 or 16 bits to 0..255; Pillow's own `convert` would clip all above 255 to white."""
    values = np.asarray(image).astype(np.int64)
    white = 4095 if getattr(image, "tag_v2", {}).get(BITS) == (12,) else 65535
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > white:
        raise ImageError(
            f"expected grey values from 0 to {white}, got {name} with {low} to {high}; "
            "scale them to 0..255 and pass a uint8 array"
        )
    levels = white - values if _white_is_zero(image) else values
    grey = ((levels * 255 + white // 2) // white).astype(np.uint8)  # rounded; both are odd: there are no ties
    # A PNG may name one grey as transparent, at full depth: it must be matched before scaling.
    grey[values == image.info.get("transparency", -1)] = 255
    return Image.fromarray(grey)


def _from_palette_and_alpha(image: Image.Image) -> Image.Image:
    """Return RGBA; Pillow's own conversion may take the alpha from the palette."""
    index, alpha = image.getchannel("P"), image.getchannel("A")
    colours = Image.frombytes("P", image.size, index.tobytes())
    colours.putpalette(image.getpalette("RGB") or [])
    rgba = colours.convert("RGB")
    rgba.putalpha(alpha)
    return rgba


def _transparent_as_scaled(image: Image.Image, depth: str) -> Image.Image:
    """Return the image with its transparent grey scaled to 8 bits, as Pillow scales the pixels."""
    step, value = {"L;2": 85, "L;4": 17}.get(depth, 1), image.info.get("transparency")
    if isinstance(value, int) and step > 1:
        image = image.copy()
        image.info["transparency"] = min(255, value * step)
    return image


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _from_array(array: Shaped[np.ndarray, "..."]) -> UInt8[np.ndarray, "h w 3"]:
    _check_array(array)
    height, width = array.shape[:2]
    pixels = np.asarray(array).reshape(height, width, -1)
    if pixels.shape[2] == 4:
        return np.array(_on_white(Image.fromarray(pixels)))
    # A copy: a later write to the caller's array must not change a trace.
    return np.array(np.broadcast_to(pixels, (height, width, 3)), order="C")


def _check_array(array: Shaped[np.ndarray, "..."]) -> None:
    name = f"an array of shape {array.shape}"
    if array.ndim not in (2, 3):
        advice = "pass one image at a time, `a[0]`" if array.ndim == 4 else "reshape it to rows x columns x 3"
        raise ImageError(f"expected a (h, w, 3) array, got {name}; {advice}")
    if array.size == 0:
        raise ImageError(f"expected at least one pixel, got {name}; check where it was cut out")
    if array.dtype != np.uint8:
        kind = array.dtype.kind if array.dtype.kind in DTYPE_ADVICE else array.dtype.str[1:]
        advice = DTYPE_ADVICE.get(kind, CLIP_ADVICE)
        raise ImageError(f"expected uint8, 0 to 255, got {array.dtype}; {advice}")
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4):
        channels_first = array.shape[0] in (1, 3, 4)
        advice = "pass `a.transpose(1, 2, 0)`" if channels_first else "keep 1, 3 or 4 of its channels"
        raise ImageError(f"expected rows x columns x 3, got {name}; {advice}")
    _check_size(array.shape[0], array.shape[1], name)


def _type_advice(source: object) -> str:
    if hasattr(source, "read"):
        return "pass `file.read()`"
    if hasattr(source, "detach"):  # a torch tensor, known by its methods: torch is not imported here
        return "pass `t.detach().cpu().numpy()`, uint8 and rows x columns x 3"
    return "pass the path of the image file, or `np.asarray(image, dtype=np.uint8)`"
