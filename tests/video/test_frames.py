"""Reading videos: pixels, times and rotation as they are in the file; what is no video is one clear error."""

import os
import wave
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carlab.errors import CarlabError, ImageError, SettingError, VideoError
from carlab.video.frames import open_clip
from tests.video.clips import moving, write_clip

FFV1 = {"codec": "ffv1", "pixels": "bgr0"}


def read(path: Path, **options: object) -> list:
    return list(open_clip(path, **options).frames())


@pytest.mark.parametrize("size", [(32, 48), (33, 47)])
@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
def test_pixels_and_times_are_those_of_the_file(size: tuple[int, int], suffix: str, tmp_path: Path) -> None:
    pictures = moving(7, size)
    lossless = FFV1 if suffix == ".mkv" else {}
    path = write_clip(tmp_path / f"a{suffix}", pictures, **lossless)
    frames = read(path)
    assert [frame.index for frame in frames] == list(range(7))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(7) / 25, atol=2e-3)
    for frame, picture in zip(frames, pictures, strict=True):
        np.testing.assert_array_equal(frame.image, picture)
    clip = open_clip(path)
    assert clip.length == 7
    assert clip.rate == pytest.approx(25, rel=0.05)


@pytest.mark.parametrize("size", [(32, 48), (33, 47)])
def test_the_usual_codec(size: tuple[int, int], tmp_path: Path) -> None:
    pictures = moving(5, size)
    frames = read(write_clip(tmp_path / "a.mp4", pictures, codec="libx264", pixels="yuv444p"))
    for frame, picture in zip(frames, pictures, strict=True):
        assert frame.image.shape == (*size, 3)
        assert abs(frame.image.astype(int) - picture).mean() < 6


def test_a_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.2, 0.21, 1.5]
    frames = read(write_clip(tmp_path / "a.mkv", moving(5), times=times, **FFV1))
    np.testing.assert_allclose([frame.time for frame in frames], times, atol=2e-3)


def test_times_begin_at_the_first_frame(tmp_path: Path) -> None:
    frames = read(write_clip(tmp_path / "a.mkv", moving(3), times=[5.0, 5.1, 5.3], **FFV1))
    np.testing.assert_allclose([frame.time for frame in frames], [0, 0.1, 0.3], atol=2e-3)


QUARTERS = {
    0: (0x10000, 0, 0, 0x10000),
    90: (0, 0x10000, -0x10000, 0),
    180: (-0x10000, 0, 0, -0x10000),
    270: (0, -0x10000, 0x10000, 0),
}
"""a, b, c, d of the matrix of QuickTime's track header, by the clockwise rotation in degrees."""


@pytest.mark.parametrize("clockwise", QUARTERS)
def test_rotation_by_the_track_header(clockwise: int, tmp_path: Path) -> None:
    """The matrix is written into the file by hand, as the QuickTime specification has it."""
    (picture,) = moving(1)
    path = write_clip(tmp_path / "a.mov", [picture] * 2)
    content = path.read_bytes()
    start = content.index(b"tkhd") + 4 + 40  # version 0: the matrix is 40 bytes into the box
    a, b, c, d = QUARTERS[clockwise]
    matrix = b"".join(
        number.to_bytes(4, "big", signed=True) for number in (a, b, 0, c, d, 0, 0, 0, 0x40000000)
    )
    path.write_bytes(content[:start] + matrix + content[start + 36 :])
    turned = np.rot90(picture, -clockwise // 90)
    for frame in read(path):
        np.testing.assert_array_equal(frame.image, turned)


def test_rotation_by_the_writer(tmp_path: Path) -> None:
    (picture,) = moving(1)
    (frame,) = read(write_clip(tmp_path / "a.mov", [picture], rotation=90))
    np.testing.assert_array_equal(frame.image, np.rot90(picture))


def test_a_gif_of_pillow(tmp_path: Path) -> None:
    pictures = moving(4, (20, 30))
    flat = [np.where(picture > 150, 200, 40).astype(np.uint8) for picture in pictures]
    first, *others = [Image.fromarray(picture) for picture in flat]
    first.save(tmp_path / "a.gif", save_all=True, append_images=others, duration=[100, 300, 50, 100], loop=0)
    frames = read(tmp_path / "a.gif")
    np.testing.assert_allclose([frame.time for frame in frames], [0, 0.1, 0.4, 0.45], atol=1e-3)
    for frame, picture in zip(frames, flat, strict=True):
        np.testing.assert_array_equal(frame.image, picture)


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    picture = np.zeros((16, 16, 4), np.uint8)
    picture[:, 8:, 3] = 255
    (frame,) = read(write_clip(tmp_path / "a.mov", [picture], pixels="rgba"))
    assert frame.image[0, 0].tolist() == [255, 255, 255]
    assert frame.image[0, -1].tolist() == [0, 0, 0]


def test_each_third_frame(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mov", moving(8))
    assert [frame.index for frame in read(path, every=3)] == [0, 3, 6]
    assert open_clip(path, every=3).length == 3
    assert len({str(open_clip(path, every=k).identity()) for k in (1, 3)}) == 2


def test_metadata_in_another_encoding(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mov", moving(3))
    whole = path.read_bytes()
    assert b"Lavf" in whole  # the name of the encoder
    path.write_bytes(whole.replace(b"Lavf", b"\xff\xfe\xe9\xe8"))
    assert len(read(path)) == 3


def test_a_folder_of_images(tmp_path: Path) -> None:
    pictures = moving(3)
    for name, picture in zip("bca", pictures, strict=True):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    frames = read(tmp_path, rate=10)
    np.testing.assert_allclose([frame.time for frame in frames], [0, 0.1, 0.2])
    for frame, picture in zip(frames, [pictures[2], pictures[0], pictures[1]], strict=True):
        np.testing.assert_array_equal(frame.image, picture)


def test_a_bad_image_in_a_folder_is_its_own_error(tmp_path: Path) -> None:
    Image.fromarray(moving(1)[0]).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    Image.fromarray(moving(1, (16, 16))[0]).save(tmp_path / "c.png")
    first, second, third = read(tmp_path)
    assert isinstance(first.image, np.ndarray)
    assert isinstance(second.image, ImageError)
    assert isinstance(third.image, ImageError)
    assert "expected frames of one size" in str(third.image)


def make(kind: str, folder: Path) -> Path:
    """Something that is no video."""
    path = folder / "a.mp4"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(5000))
    elif kind == "text":
        path.write_text("no video\n" * 50)
    elif kind == "cut off":
        path.write_bytes(
            write_clip(folder / "whole.mp4", moving(9), codec="libx264", pixels="yuv420p").read_bytes()[:400]
        )
    elif kind == "sound":
        path = folder / "a.wav"
        with wave.open(str(path), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(8000)
            sound.writeframes(bytes(16000))
    elif kind == "playlist":
        write_clip(folder / "whole.ts", moving(3), codec="libx264", pixels="yuv420p")
        path = folder / "a.m3u8"
        path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nwhole.ts\n#EXT-X-ENDLIST\n")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "empty folder":
        path = folder / "images"
        path.mkdir()
    return path


WRONG = {
    "missing": "No such file",
    "empty": "without content",
    "noise": "cannot be read as a video",
    "text": "cannot be read as a video",
    "cut off": "cannot be read as a video",
    "sound": "sound alone",
    "playlist": "cannot be read as a video",
    "pipe": "special file",
    "empty folder": "expected a folder with images",
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_video_is_one_clear_error(kind: str, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=WRONG[kind]) as error:
        read(make(kind, tmp_path))
    assert str(error.value).startswith("expected ") and "\n" not in str(error.value)
    assert "; " in str(error.value)


def test_frames_before_the_damage_are_read(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mov", moving(9))
    content = bytearray(path.read_bytes())
    starts = list(_places(bytes(content), b"\x89PNG"))
    content[starts[5] : starts[5] + 60] = bytes(60)
    path.write_bytes(bytes(content))
    seen: list[int] = []
    with pytest.raises(VideoError, match="cannot be decoded after 5 frames"):
        seen.extend(frame.index for frame in open_clip(path).frames())
    assert seen == [0, 1, 2, 3, 4]


def _places(content: bytes, wanted: bytes) -> Iterator[int]:
    start = -1
    for _ in count():
        start = content.find(wanted, start + 1)
        if start < 0:
            return
        yield start


def test_a_picture_that_is_too_large_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / "a.mov", moving(2))
    monkeypatch.setattr("carlab.video.frames.MAX_PIXELS", 1000)
    with pytest.raises(VideoError, match="expected at most"):
        open_clip(path)


@pytest.mark.parametrize("options", [{"every": 0}, {"rate": 0.0}, {"rate": float("inf")}])
def test_numbers_out_of_range(options: dict, tmp_path: Path) -> None:
    with pytest.raises(SettingError):
        open_clip(tmp_path, **options)


def test_without_pyav_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "a.mov", moving(2))
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(SettingError, match=r"clip-as-rnn-lab\[video\]"):
        open_clip(path)
    with pytest.raises(CarlabError):
        list(open_clip(path).frames())
