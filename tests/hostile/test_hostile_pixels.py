"""Pixels that decoders get wrong without an error: right here, or refused. Files are made byte by byte."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carlab.errors import ImageError
from carlab.files.images import load_image
from tests.hostile.bounded import refused
from tests.hostile.test_hostile_images import chunk

GREY = np.array([[0, 1, 128], [4000, 40_000, 65_535]])
ROWS, COLUMNS = GREY.shape


def tiff(bits: int, photometric: int, data: bytes, *, pages: int = 1) -> bytes:
    """A little-endian TIFF of grey, one strip a page, all pages with the same one."""
    tags = {
        256: COLUMNS,
        257: ROWS,
        258: bits,
        259: 1,
        262: photometric,
        273: 8,
        277: 1,
        278: ROWS,
        279: len(data),
    }
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    first, size = 8 + len(data), 2 + len(entries) + 4
    links = [first + size * (page + 1) if page + 1 < pages else 0 for page in range(pages)]
    directories = b"".join(struct.pack("<H", len(tags)) + entries + struct.pack("<I", link) for link in links)
    return b"II*\0" + struct.pack("<I", first) + data + directories


def packed12(values: np.ndarray) -> bytes:
    """Two numbers in three bytes, each row filled up to whole bytes."""
    rows = []
    for row in values:
        bits = "".join(f"{value:012b}" for value in row)
        rows.append(int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big"))
    return b"".join(rows)


def png(depth: int, colour: int, rows: list[bytes], transparent: bytes) -> bytes:
    """A PNG with a transparent colour."""
    height, width = len(rows), 8 * len(rows[0]) // (depth * (3 if colour == 2 else 1))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = chunk(b"IHDR", header) + chunk(b"tRNS", transparent) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def channel(content: bytes) -> np.ndarray:
    rgb = load_image(content)
    assert (rgb == rgb[..., :1]).all()
    return rgb[..., 0]


def test_sixteen_bits_with_white_as_zero_are_inverted() -> None:
    data = GREY.astype("<u2").tobytes()
    black = channel(tiff(16, 1, data))
    np.testing.assert_array_equal(black, np.rint(GREY / 257))
    np.testing.assert_array_equal(channel(tiff(16, 0, data)), 255 - black)


def test_twelve_bits_run_to_white() -> None:
    values = np.array([[0, 8, 2048], [4000, 4094, 4095]])
    found = channel(tiff(12, 1, packed12(values)))
    np.testing.assert_array_equal(found, np.rint(values * 255 / 4095))
    assert found[-1, -1] == 255


@pytest.mark.parametrize("palette", ["RGB", "RGBA"])
def test_a_palette_with_alpha_is_laid_on_white(palette: str) -> None:
    colours = {"RGB": [200, 10, 0, 0, 100, 250], "RGBA": [200, 10, 0, 7, 0, 100, 250, 7]}[palette]
    image = Image.frombytes("PA", (2, 1), bytes([0, 255, 1, 128]))
    image.putpalette(colours, palette)
    (opaque, half) = load_image(image)[0].astype(int)
    assert opaque.tolist() == [200, 10, 0]
    assert np.abs(half - (np.array([0, 100, 250]) * 128 + 255 * 127) / 255).max() <= 1


def test_a_palette_with_alpha_in_a_file() -> None:
    image = Image.frombytes("PA", (2, 1), bytes([0, 255, 1, 0]))
    image.putpalette([200, 10, 0, 0, 100, 250])
    stream = io.BytesIO()
    image.save(stream, "TIFF")
    assert load_image(stream.getvalue()).tolist() == [[[200, 10, 0], [255, 255, 255]]]


def test_a_transparent_colour_of_16_bits_is_refused() -> None:
    """Pillow keeps the upper 8 bits of a pixel, and all 16 of the transparent colour."""
    row = struct.pack(">6H", 0x0102, 0, 0, 0x0100, 0, 0)
    for colour in ((0x0102, 0, 0), (1, 0, 0)):
        with pytest.raises(ImageError, match="transparent colour"):
            load_image(png(16, 2, [row], struct.pack(">3H", *colour)))
    assert load_image(png(8, 2, [bytes([1, 2, 3, 9, 9, 9])], struct.pack(">3H", 1, 2, 3))).tolist() == [
        [[255, 255, 255], [9, 9, 9]]
    ]


@pytest.mark.parametrize(("depth", "packed"), [(1, 0b01000000), (2, 0b00011011), (4, 0x5F)])
def test_a_transparent_level_of_few_bits(depth: int, packed: int) -> None:
    """Each pixel of the level that is named turns white, and no other."""
    levels = [(packed >> (8 - depth * (k + 1))) % 2**depth for k in range(8 // depth)]
    for clear in sorted(set(levels)):
        found = channel(png(depth, 0, [bytes([packed])], struct.pack(">H", clear)))[0]
        scaled = [255 if level == clear else level * 255 // (2**depth - 1) for level in levels]
        assert found.tolist() == scaled


def test_a_tiff_of_50000_pages_ends_soon(tmp_path: Path) -> None:
    path = tmp_path / "pages.tif"
    path.write_bytes(tiff(8, 1, bytes(ROWS * COLUMNS), pages=50_000))
    message = refused("from carlab.files.images import load_image", f"load_image({str(path)!r})", seconds=60)
    assert "10 or more frames" in message
