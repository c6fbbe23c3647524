"""Files nobody wants: each gives the picture or one ImageError of one line, never anything else."""

import io
import os
import socket
import stat
import struct
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from carlab.errors import ImageError
from carlab.files.images import MAX_PIXELS, list_images, load_image

PHOTO = np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


FILES = {
    "png": encode(Image.fromarray(PHOTO), "PNG", exif=exif_of(1)),
    "jpeg": encode(Image.fromarray(PHOTO), "JPEG", exif=exif_of(1)),
    "progressive": encode(Image.fromarray(PHOTO), "JPEG", progressive=True),
    "webp": encode(Image.fromarray(PHOTO), "WEBP"),
    "webp lossless": encode(Image.fromarray(PHOTO), "WEBP", lossless=True, exif=exif_of(1)),
    "bmp": encode(Image.fromarray(PHOTO), "BMP"),
    "tiff": encode(Image.fromarray(PHOTO), "TIFF"),
    "tiff lzw": encode(Image.fromarray(PHOTO), "TIFF", compression="tiff_lzw"),
    "gif": encode(Image.fromarray(PHOTO).quantize(16), "GIF"),
    "ppm": encode(Image.fromarray(PHOTO), "PPM"),
    "grey16": encode(Image.fromarray(PHOTO[:, :, 0].astype(np.uint16) * 257), "PNG"),
}


def complaint(source: object) -> str:
    """Message of the ImageError that `source` gives: one printable line, not too long."""
    with pytest.raises(ImageError) as caught:
        load_image(source)
    return checked(caught.value)


def checked(error: ImageError) -> str:
    message = str(error)
    assert message.isprintable() and 30 < len(message) < 500, message
    return message


def picture_or_complaint(content: bytes) -> np.ndarray | None:
    try:
        rgb = load_image(content)
    except ImageError as error:
        checked(error)
        return None
    assert rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3 and 0 < rgb.size <= 3 * MAX_PIXELS
    return rgb


def png(width: int, height: int, *, bits: int = 1, data: bytes | None = None) -> bytes:
    """A grey PNG, all black, compressed row by row so that even a huge one is small."""
    if data is None:
        row = bytes(1 + (width * bits + 7) // 8)
        packer = zlib.compressobj(9)
        data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# Damaged content


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_never_a_different_picture(name: str) -> None:
    content = FILES[name]
    whole = load_image(content)
    refused = 0
    for length in {*range(0, len(content), 41), *range(len(content) - 12, len(content))}:
        rgb = picture_or_complaint(content[:length])
        refused += rgb is None
        # Some formats end in bytes that carry no pixels: then the picture must be all there.
        assert rgb is None or np.array_equal(rgb, whole)
    assert refused >= len(content) // 41


@settings(max_examples=60)
@given(st.data())
@pytest.mark.parametrize("name", FILES)
def test_flipped_bytes_give_a_picture_or_a_complaint(name: str, data: st.DataObject) -> None:
    content = bytearray(FILES[name])
    places = st.integers(0, min(len(content), 400) - 1)  # headers break in more ways than pixels
    for place in data.draw(st.lists(places, min_size=1, max_size=5)):
        content[place] = data.draw(st.integers(0, 255))
    picture_or_complaint(bytes(content))


@settings(max_examples=200)
@given(
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\x10\0\0\0WEBP", b"BM", b"GIF89a"])
    | st.sampled_from([b"II*\0", b"MM\0*", b"II+\0", b"P1\n", b"P5 ", b"P6 ", b"Pf\n", b"Py"]),
    st.binary(max_size=200),
)
def test_noise_after_a_signature_gives_a_picture_or_a_complaint(signature: bytes, noise: bytes) -> None:
    picture_or_complaint(signature + noise)


@pytest.mark.parametrize("name", ["empty.png", "empty.jpg", "empty"])
def test_zero_bytes(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    assert "without content" in complaint(tmp_path / name)
    assert "without content" in complaint(b"")


@pytest.mark.parametrize(
    "content",
    [
        b"just some notes\n",
        b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="4" height="4"/></svg>',
        b"<!DOCTYPE html><title>404</title>",
        b"%PDF-1.4\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n",
        b"PK\x03\x04",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
        encode(Image.fromarray(PHOTO), "ICO"),
        encode(Image.fromarray(PHOTO), "PDF"),
        encode(Image.fromarray(PHOTO), "EPS"),
        encode(Image.fromarray(PHOTO), "TGA"),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".eps", ".svg"])
def test_what_is_no_image_whatever_its_name(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"photo{suffix}"
    path.write_bytes(content)
    assert "another format or damaged" in complaint(path)


def test_damaged_exif_does_not_lose_the_photo() -> None:
    assert np.array_equal(load_image(encode(Image.fromarray(PHOTO), "PNG", exif=b"\xff" * 40)), PHOTO)
    for block in (b"Exif\0\0", b"Exif\0\0MM\0*", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0" + b"\0" * 60):
        assert load_image(encode(Image.fromarray(PHOTO), "JPEG", exif=block)).shape == PHOTO.shape


def test_pages_that_point_at_themselves_end() -> None:
    content = bytearray(FILES["tiff"])
    (start,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, start)
    struct.pack_into("<I", content, start + 2 + 12 * entries, start)  # the next page is this page
    picture_or_complaint(bytes(content))


# Size


def test_51_megapixels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(png(8500, 6000))
    assert path.stat().st_size < 50_000
    assert "at most 50 megapixels" in (message := complaint(path)) and "6000 x 8500 = 51.0" in message
    with Image.open(path) as image:
        assert "51.0" in complaint(image)


@pytest.mark.parametrize(
    ("width", "height"), [(8500, 6000), (10_000, 10_000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)]
)
def test_size_is_refused_before_decoding(width: int, height: int) -> None:
    # No pixel data at all: a decoder would complain about that first. Pillow warns from 89
    # megapixels on and raises its own error from 179 on; neither may come through.
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert "megapixels" in complaint(png(width, height, data=b""))
    assert not seen


def test_large_array_is_refused() -> None:
    assert "megapixels" in complaint(np.broadcast_to(np.uint8(0), (8500, 6000, 3)))


def test_a_text_chunk_that_unpacks_to_gigabytes_is_refused() -> None:
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(65)) + packer.flush()
    content = png(4, 4, bits=8)
    content = content[:33] + chunk(b"zTXt", b"Comment\0\0" + bomb) + content[33:]
    assert "Decompressed data too large" in complaint(content)


# Places


def test_missing_file() -> None:
    assert "'no/such.png' (No such file or directory)" in complaint("no/such.png")
    assert "''" in complaint("")


def test_folder(tmp_path: Path) -> None:
    assert "list_images" in complaint(tmp_path)
    assert "list_images" in complaint(".")


def test_special_files_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        for path in (tmp_path / "pipe.png", tmp_path / "s", "/dev/null", "/dev/zero"):
            assert "special file" in complaint(path)


def test_links(tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(FILES["png"])
    (tmp_path / "good").symlink_to("photo")
    (tmp_path / "dangling").symlink_to("gone")
    (tmp_path / "loop").symlink_to("loop")
    assert np.array_equal(load_image(tmp_path / "good"), PHOTO)
    assert "No such file" in complaint(tmp_path / "dangling")
    assert "symbolic links" in complaint(tmp_path / "loop")


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything, so it steps down for a moment; anyone else stays who they are."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_files_without_rights() -> None:
    with tempfile.TemporaryDirectory() as name:  # not tmp_path, whose parents are closed to others
        folder, inner = Path(name), Path(name) / "inner"
        folder.chmod(0o755)
        inner.mkdir()
        for path in (folder / "photo.png", inner / "photo.png"):
            path.write_bytes(FILES["png"])
        (folder / "photo.png").chmod(0)
        inner.chmod(0)
        try:
            with as_nobody():
                assert "Permission denied" in complaint(folder / "photo.png")
                assert "Permission denied" in complaint(inner / "photo.png")
                with pytest.raises(ImageError, match="Permission denied") as caught:
                    list_images([inner])
                checked(caught.value)
        finally:
            inner.chmod(stat.S_IRWXU)


@pytest.mark.parametrize(
    "name",
    [
        *("a\nb\r\nc.png", "a\x1b[31mred.png", "nul\0byte.png", "\u202egnp.exe", "a\u2028b"),
        *("x" * 100_000, "/" + "y/" * 3000, "\udcff\udcfe.png", "\ud800.png", "{0.__class__}%s{}", "-rf"),
    ],
)
def test_odd_names_stay_on_one_line(name: str) -> None:
    complaint(name)
    with pytest.raises(ImageError) as caught:
        list_images([name])
    checked(caught.value)


def test_odd_name_of_a_real_file_is_quoted(tmp_path: Path) -> None:
    path = tmp_path / "two\nlines \x1b[2J.png"
    path.write_bytes(b"nothing")
    assert r"two\nlines \x1b[2J.png'" in complaint(path)


# Things that are no source


class Tensor:
    """Looks like torch's, without importing it."""

    def detach(self) -> "Tensor":
        return self


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (None, "got NoneType"),
        (3, "got int"),
        (True, "got bool"),
        ([[0, 1], [2, 3]], "np.asarray"),
        ({"path": "x"}, "got dict"),
        (np.uint8(3), "got uint8"),
        (io.BytesIO(FILES["png"]), "file.read()"),
        (Tensor(), ".numpy()"),
        (object, "got type"),
    ],
)
def test_wrong_type(source: object, said: str) -> None:
    assert said in complaint(source)
