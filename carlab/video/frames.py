"""Read videos frame by frame: files by PyAV (extra `video`), or folders of images. The rest sees RGB frames.

Files are decoded upright (rotation metadata), with transparency on white, and with the times that they have:
of a variable frame rate, too. The sample aspect ratio is left out: masks belong to pixels.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from carlab.errors import ImageError, SettingError, VideoError, quoted, reason
from carlab.files.images import MAX_PIXELS, list_images, load_image
from carlab.files.opening import MOST_VIDEO, open_file
from carlab.files.shapes import Image

FOLDER_RATE = 24.0
"""Frames a second of a folder of images, unless said otherwise."""
DEMUXERS = "mov,matroska,avi,gif,mpegts,mpeg,mpegvideo,ogg,flv,asf,h264,hevc,ivf,apng,mp3,wav,flac,aac"
"""What a file may be to FFmpeg. Playlists, which name other files and addresses, are not among them; those of
sound are, for a clear error."""
ENDS = 2**20
"""Bytes at each end of a file that its digest covers: a film has gigabytes."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a video.

    Parameters
    ----------
    index
        In the video, from 0.
    time
        When it is shown, in seconds from the first frame.
    image
        RGB; or the error of one that cannot be read.
    """

    index: int
    time: float
    image: Any


@dataclass(frozen=True)
class Clip:
    """A video that can be read: `frames()` decodes it from the beginning, every time.

    Parameters
    ----------
    path
        The file, or the folder.
    files
        The images of a folder, in order; () of a file.
    count
        Frames that there are; of a file what it says, or follows from its duration; None: unknown.
    rate
        Frames a second, on average.
    every
        Only each `every`-th frame is read, 1 or more.
    """

    path: Path
    files: tuple[Path, ...] = ()
    count: int | None = None
    rate: float = FOLDER_RATE
    every: int = 1

    @property
    def length(self) -> int | None:
        """Frames that are read, as far as is known."""
        return None if self.count is None else -(-self.count // self.every)

    def frames(self) -> Iterator[Frame]:
        """Decode the frames in order, one at a time.

        Raises VideoError if the file is damaged: the frames before the damage are yielded.
        """
        frames = self._of_folder() if self.files else _decoded_frames(self.path, self.rate)
        return (frame for frame in frames if frame.index % self.every == 0)

    def identity(self) -> dict[str, Any]:
        """Return what tells this video from another of the same name, as JSON values: sizes and a digest."""
        facts: dict[str, Any] = {"name": self.path.name, "every": self.every, "rate": self.rate}
        if self.files:
            sizes = "\n".join(f"{file.name} {file.stat().st_size}" for file in self.files)
            return facts | {"images": len(self.files), "sha256": sha256(sizes.encode()).hexdigest()}
        size = self.path.stat().st_size
        with open_file(self.path, MOST_VIDEO) as stream:
            ends = stream.read(ENDS)
            stream.seek(max(0, size - ENDS))
            ends += stream.read(ENDS)
        return facts | {"bytes": size, "sha256": sha256(ends).hexdigest()}

    def _of_folder(self) -> Iterator[Frame]:
        shape: tuple[int, ...] | None = None
        for index, file in enumerate(self.files):
            image = _loaded_image(file, shape)
            shape = shape or getattr(image, "shape", None)
            yield Frame(index, index / self.rate, image)


def open_clip(path: str | os.PathLike[str], *, rate: int | float = FOLDER_RATE, every: int = 1) -> Clip:
    """Open a video file, or a folder of images as the frames of one, sorted by name.

    Raises VideoError if it is no video, damaged, or holds sound alone; SettingError if PyAV is missing, or a
    number is out of range.

    Parameters
    ----------
    path
        MP4, MOV, MKV, WebM, AVI, GIF and the like; or a folder.
    rate
        Frames a second of a folder; a file knows its own.
    every
        Read each `every`-th frame only, 1 or more.
    """
    if every < 1 or not 0 < rate < float("inf"):
        raise SettingError(f"expected every >= 1 and a rate above 0, got {every} and {rate}; leave them out")
    place = Path(path)
    with _as_video_error(path):
        if place.is_dir():
            files = tuple(list_images([place]))
            return Clip(place, files, len(files), float(rate), every)
        if not stat.S_ISREG(place.stat().st_mode):  # reading a pipe may never end
            raise VideoError(
                f"expected a file or a folder, got the special file {quoted(path)}; copy it first"
            )
    with _opened_video(place) as (container, stream):
        known = float(stream.average_rate or stream.guessed_rate or 0) or FOLDER_RATE
        return Clip(place, (), _count(container, stream, known), known, every)


def load_av() -> ModuleType:
    """Import PyAV; SettingError if it is not installed."""
    try:
        import av
    except ImportError as error:
        raise SettingError(
            "expected PyAV to read or write a video, got none installed; run: "
            'pip install "clip-as-rnn-lab[video]"'
        ) from error
    return av


def _loaded_image(file: Path, shape: tuple[int, ...] | None) -> Image | ImageError:
    """Return an image of a folder, or why it cannot be a frame."""
    try:
        image = load_image(file)
    except ImageError as error:
        return error.with_traceback(None)
    if shape is not None and image.shape != shape:
        return ImageError(
            f"expected frames of one size, {shape[:2]}, got {image.shape[:2]} in {quoted(file)}; resize it"
        )
    return image


def _decoded_frames(path: Path, rate: float) -> Iterator[Frame]:
    index, last, shape = 0, -1.0, None
    with _opened_video(path) as (container, stream):
        start = None
        decoded = container.decode(stream)
        while True:
            with _as_video_error(path, f"cannot be decoded after {index} frames"):
                raw = next(decoded, None)
                image = None if raw is None else _turned(raw)
            if raw is None or image is None:
                break
            shape = shape or image.shape
            if image.shape != shape:
                raise VideoError(
                    f"expected frames of one size, got {image.shape[:2]} after {shape[:2]} in {quoted(path)} "
                    f"at frame {index}; cut the video there"
                )
            start = raw.time if start is None else start
            time = index / rate if raw.time is None or start is None else raw.time - start
            last = time if time > last else last + 1 / rate  # a damaged clock runs on
            yield Frame(index, last, image)
            index += 1
    if index == 0:
        raise VideoError(f"expected a video, got {quoted(path)} without a frame; save or download it again")


def _turned(raw: Any) -> Image:
    """Return the pixels of a decoded frame, turned as its metadata says; transparency lies on white."""
    clear = "a" in raw.format.name and any(part.is_alpha for part in raw.format.components)
    pixels = load_image(raw.to_ndarray(format="rgba" if clear else "rgb24"))
    # Both count anticlockwise.
    return np.ascontiguousarray(np.rot90(pixels, round(raw.rotation / 90) % 4))


def _lenient(av: Any) -> dict[str, str]:
    """Return the argument by which titles in another encoding are no error; PyAV 19 needs none."""
    return {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}


@contextmanager
def _opened_video(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a file, and find its video stream; the picture of an album is none."""
    av = load_av()
    with _as_video_error(path), open_file(path, MOST_VIDEO) as file:
        if not file.read(1):
            raise VideoError(f"expected a video, got {quoted(path)} without content; download it again")
        file.seek(0)
        options = {"format_whitelist": DEMUXERS}
        with av.open(file, options=options, **_lenient(av)) as container:
            cover = av.stream.Disposition.attached_pic
            streams = [one for one in container.streams.video if not one.disposition & cover]
            if not streams:
                what = "sound alone" if container.streams.audio else "no pictures"
                raise VideoError(f"expected a video, got {quoted(path)} with {what}; give another file")
            (stream, *_) = streams
            pixels = stream.codec_context.width * stream.codec_context.height
            if pixels > MAX_PIXELS:
                raise VideoError(
                    f"expected at most {MAX_PIXELS / 1e6:g} megapixels a frame, got {pixels / 1e6:.1f} in "
                    f"{quoted(path)}; make it smaller first"
                )
            yield container, stream


def _count(container: Any, stream: Any, rate: float) -> int | None:
    """Return how many frames there should be: what the file says, or what its duration makes likely."""
    if stream.frames:
        return int(stream.frames)
    if stream.duration and stream.time_base:
        return max(1, round(float(Fraction(stream.duration) * stream.time_base) * rate))
    return max(1, round(container.duration / 1e6 * rate)) if container.duration else None


@contextmanager
def _as_video_error(path: str | os.PathLike[str], what: str = "cannot be read as a video") -> Iterator[None]:
    """Turn every exception of the system's, of PyAV's and of Pillow's into a VideoError."""
    try:
        yield
    except (VideoError, SettingError):
        raise
    except ImageError as error:
        raise VideoError(str(error)) from error
    except Exception as error:  # a damaged file can raise anything inside a decoder
        raise VideoError(
            f"expected a video file or a folder of images, got {quoted(path)}, which {what} "
            f"({reason(error)}); check the name, or save or download it again"
        ) from error
