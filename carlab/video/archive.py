"""The traces of a video in one file: a zip without compression, and an index. Needs no model and no torch.

    index.json                    what was run; for each frame its time, scores, kept queries and areas
    000000.trace.safetensors ...  the trace of a frame, as `Trace.save` writes it

Opening reads the index alone; a trace is read when it is asked for.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.numpy import load as arrays_of

from carlab.errors import TraceError, quoted, reason
from carlab.files.archive import KEY
from carlab.files.opening import MOST_VIDEO, open_file
from carlab.trace import Trace

INDEX = "index.json"
VIDEO_FORMAT = 1
"""Version of the index; other versions are refused."""


@dataclass(frozen=True)
class VideoTraces:
    """The traces of a video, opened without loading them.

    Parameters
    ----------
    path
        The file.
    about
        What was run: `queries`, `settings`, `provenance`, `video`, `smoothing`.
    frames
        A record of each frame: `index` in the video, `time` in seconds, `scores` (the last one of each query,
        null if it has none), `kept` and `areas` (share of the image), or `error`.
    """

    path: Path
    about: Mapping[str, Any]
    frames: Sequence[Mapping[str, Any]]

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "VideoTraces":
        """Read the index; TraceError if the file is missing, damaged, or of another kind or version."""
        try:
            with open_file(path, MOST_VIDEO) as stream, ZipFile(stream) as archive:
                index = json.loads(archive.read(INDEX))
            version, about, frames = index["format"], index["about"], index["frames"]
        except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
            raise TraceError(
                f"expected the traces of a video, got {quoted(path)} ({reason(error)}); give the "
                ".traces.zip that carlab video wrote"
            ) from error
        if version != VIDEO_FORMAT:
            raise TraceError(
                f"expected format {VIDEO_FORMAT} of a video's traces, got {version!r} in {quoted(path)}; "
                "install the carlab version that wrote it"
            )
        return cls(Path(path), about, frames)

    @property
    def queries(self) -> tuple[str, ...]:
        """Names that were looked for."""
        return tuple(self.about["queries"])

    @property
    def times(self) -> Float[np.ndarray, " f"]:
        """When each frame is shown, in seconds."""
        return np.array([frame["time"] for frame in self.frames], dtype=np.float64)

    @property
    def scores(self) -> Float[np.ndarray, "f Q"]:
        """The last score of each query in each frame, in [0, 1]; NaN of a frame that failed."""
        rows = [frame.get("scores") or [None] * len(self.queries) for frame in self.frames]
        return np.array(rows, dtype=np.float64).reshape(len(self.frames), len(self.queries))

    @property
    def kept(self) -> list[frozenset[int]]:
        """Which queries each frame keeps, by index."""
        return [frozenset(frame.get("kept", ())) for frame in self.frames]

    @property
    def threshold(self) -> float:
        """theta; NaN when the filter has none."""
        return float(self.about["settings"].get("filter", {}).get("theta", np.nan))

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, place: int) -> Trace:
        """Return the trace of the frame at a place in `frames`; TraceError if that frame failed."""
        record = self.frames[place]
        if "error" in record:
            raise TraceError(
                f"expected a frame with a trace, got frame {record['index']}, which failed "
                f"({record['error']}); choose another"
            )
        try:
            with open_file(self.path, MOST_VIDEO) as stream, ZipFile(stream) as archive:
                return parse_trace(archive.read(member(record["index"])))
        except (OSError, KeyError, ValueError, BadZipFile, SafetensorError, TypeError, IndexError) as error:
            raise TraceError(
                f"expected a whole trace of frame {record['index']}, got {quoted(self.path)} "
                f"({reason(error)}); run the video again"
            ) from error

    def __iter__(self) -> Iterator[Trace]:
        """Read the traces of the frames that did not fail, one at a time."""
        return (self[place] for place, record in enumerate(self.frames) if "error" not in record)


def open_traces(out: str | os.PathLike[str]) -> VideoTraces:
    """Open the traces in a folder of results, or in the file itself; TraceError if there are none."""
    path = Path(out)
    return VideoTraces.open(path / "traces.zip" if path.is_dir() else path)


def member(index: int) -> str:
    """Return the name of a frame's trace."""
    return f"{index:06d}.trace.safetensors"


def parse_trace(content: bytes) -> Trace:
    """Return the trace whose file has this content; ValueError and the like if it is none."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    return Trace.from_arrays(arrays_of(content), json.loads(header["__metadata__"][KEY]))


def pack(
    path: Path, about: Mapping[str, Any], frames: Sequence[Mapping[str, Any]], folder: Path
) -> VideoTraces:
    """Write the traces of a folder into one file, whole or not at all, and open it.

    Raises TraceError if the place cannot be written.

    Parameters
    ----------
    path, about, frames
        As in `VideoTraces`.
    folder
        Holds the trace of each frame that did not fail, under its `member` name.
    """
    temporary = path.with_name(f".carlab.{uuid4().hex}")
    index = {"format": VIDEO_FORMAT, "about": dict(about), "frames": list(frames)}
    try:
        with ZipFile(temporary, "x", ZIP_STORED, allowZip64=True) as archive:
            archive.writestr(INDEX, json.dumps(index, allow_nan=False))
            for record in frames:
                if "error" not in record:
                    archive.write(folder / member(record["index"]), member(record["index"]))
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise TraceError(
            f"expected a place that can be written, got {quoted(path)} ({reason(error)}); make room, or "
            "choose another output"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return VideoTraces.open(path)
