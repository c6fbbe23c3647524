"""`carlab.files.images`: the decoded pixels are the right ones."""

import io
import os
import re
import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageCms

from carlab.errors import ImageError
from carlab.files import images
from carlab.files.images import SUFFIXES, list_images, load_image

PHOTO = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY16 = np.array([[0, 16384, 32768, 65535]], dtype=np.uint16)
GREY8 = [0, 64, 128, 255]  # rounded; convert("RGB") would give 0, 255, 255, 255


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def complaint(source: object) -> str:
    """Message of the ImageError that `source` gives: one printable line, not too long."""
    with pytest.raises(ImageError) as caught:
        load_image(source)
    message = str(caught.value)
    assert message.isprintable() and 30 < len(message) < 500, message
    return message


def advised(message: str) -> str:
    """The code that a message recommends."""
    (code,) = re.findall(r"`([^`]+)`", message)
    return code


def assert_grey(rgb: np.ndarray, expected: object) -> None:
    assert rgb.dtype == np.uint8 and rgb.shape[2] == 3
    assert rgb.tolist() == np.repeat(np.atleast_2d(expected)[:, :, None], 3, axis=2).tolist()


class Named:
    """A PathLike that is no `Path`."""

    def __init__(self, name: str | bytes) -> None:
        self.name = name

    def __fspath__(self) -> str | bytes:
        return self.name


# Files and bytes


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_file_comes_back_exactly(tmp_path: Path, file_format: str) -> None:
    path = tmp_path / "photo"
    Image.fromarray(PHOTO).save(path, file_format)
    rgb = load_image(path)
    assert np.array_equal(rgb, PHOTO)
    assert rgb.dtype == np.uint8 and rgb.flags.c_contiguous and rgb.flags.writeable


def test_lossless_webp_and_palette_gif_come_back_exactly() -> None:
    assert np.array_equal(load_image(encode(Image.fromarray(PHOTO), "WEBP", lossless=True)), PHOTO)
    assert np.array_equal(load_image(encode(Image.fromarray(PHOTO).quantize(64), "GIF")), PHOTO)


def test_jpeg_is_close_and_its_name_does_not_matter(tmp_path: Path) -> None:
    smooth = np.indices((32, 32)).sum(0)[:, :, None].astype(np.uint8) * np.array([1, 2, 3], np.uint8)
    path = tmp_path / "photo.png"
    path.write_bytes(encode(Image.fromarray(smooth), "JPEG", quality=95, subsampling=0))
    assert np.abs(load_image(path).astype(int) - smooth).max() < 12


def test_every_way_to_name_a_file_gives_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a photo\nof عربي 🦊.png"
    Image.fromarray(PHOTO).save(path, "PNG")
    content = path.read_bytes()
    for source in (
        *(str(path), path, Named(str(path)), Named(os.fsencode(path))),
        *(content, bytearray(content), memoryview(content), Image.open(path), Image.fromarray(PHOTO), PHOTO),
    ):
        assert np.array_equal(load_image(source), PHOTO)


# EXIF orientation

UNTURN = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}
"""How a camera that writes each orientation stores an upright picture: slices, not Pillow."""


@pytest.mark.parametrize("orientation", UNTURN)
@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_orientation_is_applied(orientation: int, file_format: str) -> None:
    quarters = np.zeros((32, 64, 3), dtype=np.uint8)  # flat 16 x 16 blocks survive JPEG
    quarters[:16, :32], quarters[:16, 32:], quarters[16:, :32] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(UNTURN[orientation](quarters)))
    options = {"WEBP": {"lossless": True}, "JPEG": {"subsampling": 0}}.get(file_format, {})
    content = encode(stored, file_format, exif=exif, **options)
    tolerance = 6 if file_format == "JPEG" else 0
    for source in (content, Image.open(io.BytesIO(content))):
        rgb = load_image(source)
        assert rgb.shape == quarters.shape
        assert np.abs(rgb.astype(int) - quarters).max() <= tolerance


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_unknown_orientation_leaves_the_picture(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(load_image(encode(Image.fromarray(PHOTO), "PNG", exif=exif)), PHOTO)


def test_orientation_of_16_bit_grey() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise makes the row a column
    rgb = load_image(encode(Image.fromarray(GREY16), "PNG", exif=exif))
    assert_grey(rgb, [[value] for value in GREY8])


# Depth and colour


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM"])
@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i4"])
def test_16_bit_grey_is_scaled_not_clipped(file_format: str, dtype: str) -> None:
    image = Image.fromarray(GREY16.astype(dtype))
    assert image.mode == {"<u2": "I;16", ">u2": "I;16B", "<i4": "I"}[dtype]
    assert_grey(load_image(image), GREY8)
    if dtype == "<u2" or file_format == "TIFF":  # Pillow writes the others as TIFF only
        assert_grey(load_image(encode(image, file_format)), GREY8)


def test_each_16_bit_grey_is_rounded_to_nearest() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert_grey(load_image(Image.fromarray(values)), np.rint(values / 257))


@pytest.mark.parametrize("values", [[-1, 3], [0, 65536], [-(2**31), 2**31 - 1]])
def test_32_bit_grey_out_of_range_is_refused(values: list[int]) -> None:
    message = complaint(Image.fromarray(np.array([values], dtype=np.int32)))
    assert f"with {values[0]} to {values[1]}" in message


def test_float_picture_is_refused() -> None:
    image = Image.fromarray(np.zeros((2, 2), dtype=np.float32))
    assert "floats" in complaint(image)
    assert "floats" in complaint(encode(image, "TIFF"))


def test_cmyk_is_converted() -> None:
    inks = np.array(
        [[[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 0, 0], [0, 0, 255, 0], [0, 0, 0, 255]]], np.uint8
    )
    expected = np.array([[[255] * 3, [0, 255, 255], [255, 0, 255], [255, 255, 0], [0] * 3]])
    assert np.array_equal(load_image(encode(Image.fromarray(inks, "CMYK"), "TIFF")), expected)
    wide = Image.fromarray(inks.repeat(16, axis=0).repeat(16, axis=1), "CMYK")
    rgb = load_image(encode(wide, "JPEG", quality=95))
    assert np.abs(rgb[8, 8::16].astype(int) - expected[0]).max() < 6


def test_grey_bilevel_and_palette() -> None:
    assert_grey(load_image(encode(Image.fromarray(np.array([[0, 7, 255]], np.uint8)), "PNG")), [0, 7, 255])
    assert_grey(load_image(encode(Image.fromarray(np.array([[True, False]])), "PNG")), [255, 0])
    palette = Image.new("P", (2, 1))
    palette.putpalette([1, 2, 3, 4, 5, 6])
    palette.putpixel((1, 0), 1)
    assert load_image(encode(palette, "PNG")).tolist() == [[[1, 2, 3], [4, 5, 6]]]


def test_ycbcr_and_lab() -> None:
    ycbcr = Image.fromarray(np.array([[[128, 128, 128], [76, 85, 255]]], np.uint8), "YCbCr")
    assert np.abs(load_image(ycbcr).astype(int) - [[[128] * 3, [254, 0, 0]]]).max() <= 1
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    colours = np.array([[[128, 128, 128], [200, 60, 30], [20, 90, 160]]], np.uint8)
    lab = ImageCms.applyTransform(Image.fromarray(colours), to_lab)
    for source in (lab, encode(lab, "TIFF")):
        assert np.abs(load_image(source).astype(int) - colours).max() <= 4  # LAB is stored in 8 bits


# Alpha


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return colour * (alpha / 255) + 255 * (1 - alpha / 255)


@given(arrays(np.uint8, (2, 3, 4)))
def test_alpha_is_composited_on_white(rgba: np.ndarray) -> None:
    expected = over_white(rgba[:, :, :3], rgba[:, :, 3:])
    opaque, clear = rgba[:, :, 3] == 255, rgba[:, :, 3] == 0
    for source in (rgba, Image.fromarray(rgba), encode(Image.fromarray(rgba), "PNG")):
        rgb = load_image(source)
        assert np.abs(rgb - expected).max() <= 1
        assert np.array_equal(rgb[opaque], rgba[opaque][:, :3]) and np.all(rgb[clear] == 255)


def test_grey_with_alpha() -> None:
    image = Image.fromarray(np.array([[[0, 0], [0, 255], [100, 255]]], np.uint8), "LA")
    assert_grey(load_image(encode(image, "PNG")), [255, 0, 100])


@pytest.mark.parametrize("transparency", [1, b"\xff\x00"])
def test_transparent_palette_entry_is_white(transparency: int | bytes) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([1, 2, 3, 4, 5, 6])
    palette.putpixel((1, 0), 1)
    content = encode(palette, "PNG", transparency=transparency)
    assert load_image(content).tolist() == [[[1, 2, 3], [255, 255, 255]]]
    assert load_image(Image.open(io.BytesIO(content)).convert("PA")).tolist() == [[[1, 2, 3], [255] * 3]]


@pytest.mark.parametrize(
    ("values", "transparency", "expected"),
    [
        (np.array([[5, 6]], np.uint8), 5, [[[255] * 3, [6] * 3]]),
        (np.array([[[5, 6, 7], [5, 6, 8]]], np.uint8), (5, 6, 7), [[[255] * 3, [5, 6, 8]]]),
        (np.array([[16384, 16385]], np.uint16), 16384, [[[255] * 3, [64] * 3]]),
    ],
)
def test_transparent_colour_is_white(values: np.ndarray, transparency: object, expected: list) -> None:
    assert load_image(encode(Image.fromarray(values), "PNG", transparency=transparency)).tolist() == expected


# Frames


def animated(frames: int = 3) -> list[Image.Image]:
    return [Image.new("RGB", (8, 6), (40 * index, 0, 90)) for index in range(frames)]


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_many_frames_are_refused_and_the_advice_works(tmp_path: Path, file_format: str) -> None:
    first, *others = animated()
    options = {"lossless": True} if file_format == "WEBP" else {}
    path = tmp_path / "moving"
    path.write_bytes(encode(first, file_format, save_all=True, append_images=others, **options))
    message = complaint(path)
    assert "3 frames" in message
    with Image.open(path) as image:
        assert "3 frames" in complaint(image)
    place = {"PIL": PIL, "path": path, "load_image": load_image}
    exec(advised(message).replace("seek(0)", "seek(2)"), place)  # noqa: S102  what we tell people to write runs
    assert np.all(place["rgb"] == [80, 0, 90])


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_one_frame_is_a_picture(file_format: str) -> None:
    (only,) = animated(1)
    options = {"lossless": True} if file_format == "WEBP" else {}
    assert np.all(load_image(encode(only, file_format, save_all=True, **options)) == [0, 0, 90])


def test_first_frame_of_a_phone_jpeg_is_the_photo() -> None:
    photo, preview = Image.new("RGB", (16, 16), (200, 10, 10)), Image.new("RGB", (8, 8))
    content = encode(photo, "MPO", save_all=True, append_images=[preview])
    assert Image.open(io.BytesIO(content)).format == "MPO"
    rgb = load_image(content)
    assert rgb.shape == (16, 16, 3) and np.abs(rgb.astype(int) - [200, 10, 10]).max() <= 3


# Size


def test_pixel_limit_is_inclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 12)
    for shape in ((3, 4), (12, 1)):
        assert load_image(np.zeros(shape, np.uint8)).shape == (*shape, 3)
        assert load_image(encode(Image.fromarray(np.zeros(shape, np.uint8)), "PNG")).shape == (*shape, 3)
    for source in (
        np.zeros((13, 1), np.uint8),
        Image.new("L", (1, 13)),
        encode(Image.new("L", (1, 13)), "PNG"),
    ):
        assert "13 x 1" in complaint(source)


# PIL images


def test_the_callers_pil_image_is_left_as_it_was() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(io.BytesIO(encode(Image.fromarray(PHOTO).convert("RGBA"), "PNG", exif=exif)))
    assert load_image(image).shape == (7, 5, 3)
    assert (image.mode, image.size, image.getexif()[0x0112]) == ("RGBA", (7, 5), 6)
    assert np.array_equal(np.asarray(image)[:, :, :3], PHOTO)


def test_closed_or_empty_pil_image_is_refused() -> None:
    image = Image.open(io.BytesIO(encode(Image.fromarray(PHOTO), "PNG")))
    image.close()
    assert "cannot be decoded" in complaint(image)
    assert "0 x 3" in complaint(Image.new("RGB", (3, 0)))


# Arrays


def test_array_is_copied() -> None:
    array = PHOTO.copy()
    rgb = load_image(array)
    array[:] = 0
    assert np.array_equal(rgb, PHOTO) and not np.shares_memory(rgb, array)


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::-1, ::-1],
        lambda a: a[:, :, ::-1],
        lambda a: np.asfortranarray(a),
        lambda a: a[::2, 1::3],
        lambda a: np.broadcast_to(a[:1], a.shape),
        lambda a: np.ma.masked_array(a),
    ],
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_odd_memory_layouts(view: object, channels: int) -> None:
    rgba = np.concatenate([PHOTO, np.full((5, 7, 1), 255, np.uint8)], axis=2)
    array = view(rgba[:, :, :channels])
    array.flags.writeable = False
    rgb = load_image(array)
    # Reversing the channels of RGBA moves alpha to the front; that is the caller's doing.
    expected = over_white(array[:, :, :3], array[:, :, 3:]) if channels == 4 else np.asarray(array)
    assert np.abs(rgb - np.broadcast_to(expected, rgb.shape)).max() <= (channels == 4)
    assert rgb.flags.c_contiguous and rgb.flags.writeable and type(rgb) is np.ndarray


def test_grey_array_is_replicated() -> None:
    assert_grey(load_image(PHOTO[:, :, 0]), PHOTO[:, :, 0])
    assert_grey(load_image(PHOTO[:, :, :1]), PHOTO[:, :, 0])


@pytest.mark.parametrize("height", [1, 2, 3, 4])
def test_small_pictures_are_not_taken_for_channels_first(height: int) -> None:
    assert np.array_equal(load_image(PHOTO[:height]), PHOTO[:height])


@pytest.mark.parametrize(
    ("array", "rgb"),
    [
        (PHOTO.transpose(2, 0, 1), PHOTO),
        (PHOTO[:, :, :1].transpose(2, 0, 1), PHOTO[:, :, :1].repeat(3, axis=2)),
        (PHOTO[None], PHOTO),
        (PHOTO / 255, PHOTO),
        ((PHOTO / 255).astype(np.float32), PHOTO),
        ((PHOTO / 255).astype(np.float16), PHOTO),
        (PHOTO > 127, np.where(PHOTO > 127, 255, 0)),
        (PHOTO.astype(np.uint16) * 257, PHOTO),
        (PHOTO.astype(np.int64) - 20, np.clip(PHOTO.astype(int) - 20, 0, 255)),
        (PHOTO.astype(np.uint32), PHOTO),
        (PHOTO.astype(object), PHOTO),
    ],
)
def test_unfit_array_is_refused_and_the_advice_works(array: np.ndarray, rgb: np.ndarray) -> None:
    fixed = eval(advised(complaint(array)), {"a": array, "np": np})
    assert np.array_equal(load_image(fixed), rgb)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((), "shape ()"),
        ((5,), "shape (5,)"),
        ((2, 1, 4, 4, 3), "shape (2, 1, 4, 4, 3)"),
        ((1,) * 60, "shape (1, 1,"),
        ((0, 5, 3), "at least one pixel"),
        ((5, 0), "at least one pixel"),
        ((5, 5, 0), "at least one pixel"),
        ((5, 5, 2), "keep 1, 3 or 4"),
        ((5, 5, 5), "keep 1, 3 or 4"),
    ],
)
def test_unfit_shape_is_refused(shape: tuple[int, ...], said: str) -> None:
    assert said in complaint(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("dtype", ["complex64", "U3", "datetime64[s]", [("r", "u1"), ("g", "u1")]])
def test_array_of_no_numbers_is_refused(dtype: object) -> None:
    assert "expected uint8" in complaint(np.zeros((2, 2, 3), dtype))


# list_images


def touch(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return [folder / name for name in names]


def test_folder_gives_its_images_by_name(tmp_path: Path) -> None:
    b, a, c = touch(tmp_path, "b.JPG", "a.png", "c.TiFf")
    touch(tmp_path, "notes.txt", "png", "._a.png", "photo.png.part", "a.heic")
    touch(tmp_path / "deeper.png", "d.png")
    assert list_images([tmp_path]) == [a, b, c]


def test_every_suffix_is_found(tmp_path: Path) -> None:
    files = touch(tmp_path, *(f"x{suffix}" for suffix in SUFFIXES))
    assert list_images([tmp_path]) == sorted(files)


def test_files_stay_as_they_are_and_in_order(tmp_path: Path) -> None:
    z, odd = touch(tmp_path / "files", "z.png", "odd.xyz")
    a, b = touch(tmp_path / "folder", "a.png", "b.png")
    assert list_images(iter([str(odd), tmp_path / "folder", z, z])) == [odd, a, b, z, z]
    assert list_images([Named(os.fsencode(odd)), Named(os.fsencode(tmp_path / "folder"))]) == [odd, a, b]


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        ([], "empty list"),
        (["missing"], "'missing'"),
        ([""], "''"),
        (["empty"], "'empty' with none"),
        ("empty", "write ['empty']"),
        (Path("empty"), "write ['empty']"),
        (b"empty", "write ['empty']"),
        (["a\0b"], r"'a\x00b'"),
        (["x" * 5000], "xxx..."),
        ([3], "got int"),
        ([b"empty"], "got bytes"),
        (None, "got None"),
    ],
)
def test_what_cannot_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: object, said: str
) -> None:
    touch(tmp_path / "empty", "notes.txt")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImageError) as caught:
        list_images(paths)
    assert said in str(caught.value) and str(caught.value).isprintable() and len(str(caught.value)) < 500


def test_warnings_are_as_before() -> None:
    before = list(warnings.filters)
    load_image(encode(Image.fromarray(PHOTO), "PNG"))
    assert list(warnings.filters) == before
