"""Paint label maps and names over frames, and write them as an MP4, with the times that the frames have."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
from jaxtyping import Integer
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from carlab.errors import VideoError, quoted, reason
from carlab.files.pictures import colour, paint
from carlab.files.shapes import Image
from carlab.trace.show import shorten
from carlab.video.frames import load_av

CODECS = ("libx264", "libopenh264", "mpeg4")
"""Tried in this order: not every build of FFmpeg has the first."""
TICKS = 90_000
"""Of the clock of the file, a second; what players expect."""
CODEC_QUALITY = {"libx264": {"crf": "20", "preset": "medium"}, "mpeg4": {"qscale": "3"}}
MOST_IN_LEGEND = 12


class DrawnFrame(NamedTuple):
    """A picture, and when it is shown, in seconds."""

    time: float
    picture: Image


def overlay(image: Image, labels: Integer[np.ndarray, "h w"], names: Mapping[int, str]) -> Image:
    """Return a frame with its label map painted, and the names in their colours in a corner.

    Parameters
    ----------
    image, labels
        RGB; 0 background, i + 1 query i.
    names
        Of the queries to list, by index; at most `MOST_IN_LEGEND` are.

    Examples
    --------
    >>> picture = overlay(image, np.zeros(image.shape[:2], int), {})
    >>> bool((picture == image).all())
    True
    """
    painted = Pillow.fromarray(paint(image, labels))
    size = max(10, min(image.shape[:2]) // 24)
    room = max(1, min(MOST_IN_LEGEND, (image.shape[0] - size) // (size + size // 2)))
    draw = ImageDraw.Draw(painted, "RGBA")
    for line, (index, name) in enumerate([*names.items()][:room]):
        top, left = size // 2 + line * (size + size // 2), size // 2
        text = shorten(name, 40)
        wide = draw.textlength(text, font=_font(size))
        draw.rectangle((left, top, left + 2 * size + wide, top + size + size // 3), fill=(0, 0, 0, 170))
        draw.rectangle((left + size // 4, top + size // 4, left + size, top + size), fill=colour(index))
        draw.text((left + size + size // 2, top), text, font=_font(size), fill=(255, 255, 255, 255))
    return np.asarray(painted)


@cache
def _font(size: int) -> Any:
    """Return the font of the figures, which comes with matplotlib."""
    from matplotlib import get_data_path

    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def write_video(path: Path, pictures: Iterable[DrawnFrame], rate: float) -> Path:
    """Write an MP4 that any browser plays, whole or not at all, and return its path.

    A side of an odd number of pixels gets one more, the last row or column again: the format has none.

    Raises VideoError if there is no picture, or the file cannot be written; SettingError without PyAV.

    Parameters
    ----------
    path
        An existing file is replaced.
    pictures
        RGB of one size, each at its own time; read one at a time.
    rate
        Frames a second: the last one is shown for as long.
    """
    av, pictures = load_av(), iter(pictures)
    first = next(pictures, None)
    if first is None:
        raise VideoError(f"expected pictures to write to {quoted(path)}, got none; give a video with frames")
    temporary = path.with_name(f".carlab.{uuid4().hex}.mp4")
    try:
        with av.open(str(temporary), "w", format="mp4", options={"movflags": "faststart"}) as container:
            stream = _video_stream(av, container, first.picture, rate)
            for frame in _overlaid(av, chain([first], pictures), rate):
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        temporary.replace(path)
    except (OSError, av.FFmpegError) as error:
        raise VideoError(
            f"expected a place that can be written, got {quoted(path)} ({reason(error)}); make room, or "
            "choose another output"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _video_stream(av: Any, container: Any, picture: Image, rate: float) -> Any:
    codec = next(name for name in CODECS if _known(av, name))
    stream = container.add_stream(
        codec, rate=Fraction(rate).limit_denominator(1001), options=CODEC_QUALITY.get(codec)
    )
    height, width = picture.shape[:2]
    stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
    stream.codec_context.time_base = Fraction(1, TICKS)
    return stream


def _known(av: Any, codec: str) -> bool:
    try:
        av.Codec(codec, "w")
    except ValueError:
        return False
    return True


def _overlaid(av: Any, pictures: Iterable[DrawnFrame], rate: float) -> Iterator[Any]:
    last = -1
    for time, picture in pictures:
        height, width = picture.shape[:2]
        even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(even, format="rgb24")
        last = max(last + 1, round(time * TICKS))
        frame.pts, frame.time_base = last, Fraction(1, TICKS)
        frame.duration = round(TICKS / rate)
        yield frame


def names_of(queries: Sequence[str], kept: Iterable[int]) -> dict[int, str]:
    """Return the queries that a frame keeps, by index.

    Parameters
    ----------
    queries, kept
        All, and the indices of those kept.

    Examples
    --------
    >>> names_of(["cat", "dog"], [1])
    {1: 'dog'}
    """
    return {index: queries[index] for index in kept}
