"""Small clips of every kind, written by PyAV or by Pillow: a red square that moves over a grey ground."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from carlab.video.frames import Frame

TICKS = 1000


def moving(count: int, size: tuple[int, int] = (32, 48), side: int = 12) -> list[np.ndarray]:
    """Frames in which a square moves two pixels to the right each time, (h, w, 3)."""
    height, width = size
    frames = []
    for k in range(count):
        picture = np.full((height, width, 3), 90, np.uint8)
        picture[:, :, 1] += (np.arange(width) * 60 // width).astype(np.uint8)
        left = (4 + 2 * k) % max(1, width - side)
        picture[4 : 4 + side, left : left + side] = (220, 30, 20)
        frames.append(picture)
    return frames


def frames_of(pictures: Sequence[np.ndarray]) -> list[Frame]:
    return [Frame(k, k / 24, picture) for k, picture in enumerate(pictures)]


def write_clip(
    path: Path,
    pictures: Sequence[np.ndarray],
    *,
    times: Sequence[float] | None = None,
    codec: str = "png",
    pixels: str = "rgb24",
    rotation: float | None = None,
) -> Path:
    """Write a clip; PNG in MOV or MKV is without loss. Times are rounded to milliseconds."""
    times = [k / 25 for k in range(len(pictures))] if times is None else times
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.time_base = Fraction(1, TICKS)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for time, picture in zip(times, pictures, strict=True):
            kind = "rgba" if picture.shape[2] == 4 else "rgb24"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=kind)
            frame.pts, frame.time_base = round(time * TICKS), Fraction(1, TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
