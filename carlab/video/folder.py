"""The folder of a video's results while they are made: it goes on after any end, kill -9 included.

    OUT/manifest.json      what is run: video, queries, settings, versions
        frames.jsonl       a line for each frame that is done
        masks/000000.png   the label map of each frame
        traces/            the trace of each frame, until all of them are in one file
        past-0, past-1     what the next frames take over, after the last blocks

Frames are written in blocks. Their files come first, then what the next block takes over, then the lines: a
block counts once its lines are whole, and a run goes on with a whole block: the same frames share batches.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from carlab.errors import TraceError, VideoError, quoted, reason
from carlab.files.archive import make_folder, read_archive, write_archive, write_file
from carlab.files.opening import MOST_JSON, read_file
from carlab.trace import Trace
from carlab.trace.comparison import differences
from carlab.video.archive import member
from carlab.video.carry import Memory, View
from carlab.video.hysteresis import Track
from carlab.video.segment import Past, Result

RECORDS = "frames.jsonl"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class VideoFolder:
    """Results on disk, open for writing by one process.

    Parameters
    ----------
    path
        The folder.
    block
        Frames that are written at once.
    keep_traces
        Whether the trace of each frame is kept.
    """

    path: Path
    block: int
    keep_traces: bool = True

    @property
    def masks(self) -> Path:
        """Folder of the label maps."""
        return self.path / "masks"

    @property
    def traces(self) -> Path:
        """Folder of the traces, until they are packed."""
        return self.path / "traces"

    def records(self) -> list[dict[str, Any]]:
        """Return what is known of each frame that is done: whole lines only."""
        try:
            content = read_file(self.path / RECORDS, MOST_JSON)
        except FileNotFoundError:
            return []
        return list(_parsed_records(content))

    def put(self, results: Sequence[Result], number: int) -> list[dict[str, Any]]:
        """Write block `number` of the video, and return its records; TraceError if that cannot be done."""
        for result in results:
            self._put_files(result)
        last = results[-1]
        write_archive(self.path / f"past-{number % 2}", *_past_to_arrays(last.past, last.frame.index))
        records = [record_of(one) for one in results]
        lines = "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)
        with (self.path / RECORDS).open("ab") as stream:
            stream.write(lines.encode())
            stream.flush()
            os.fsync(stream.fileno())
        return records

    def resume(self) -> tuple[list[dict[str, Any]], Past | None]:
        """Drop what is no whole block; return the other records, and what the next frame takes over."""
        records = self.records()
        done = len(records) // self.block * self.block
        past = self._past(records[done - 1]["index"]) if done else None
        if past is None:  # none yet; or both were lost, and nothing is taken over from a wrong frame
            done = 0
        lines = "".join(json.dumps(record) + "\n" for record in records[:done])
        write_file(self.path / RECORDS, lines.encode())
        return records[:done], past

    def _put_files(self, result: Result) -> None:
        trace = result.trace
        if isinstance(trace, Trace):
            write_file(self.masks / f"{result.frame.index:06d}.png", trace.label_png())
            if self.keep_traces:
                trace.save(self.traces / member(result.frame.index))

    def _past(self, index: int) -> Past | None:
        for parity in (0, 1):
            try:
                arrays, metadata = read_archive(self.path / f"past-{parity}")
            except TraceError:  # not there, or damaged
                continue
            if metadata["index"] == index:
                return _past_of_arrays(arrays, metadata)
        return None


def record_of(result: Result) -> dict[str, Any]:
    """Return what is known of a frame, as JSON values.

    Parameters
    ----------
    result
        Of `segment_frames`.

    Examples
    --------
    >>> from carlab.video.frames import Frame
    >>> record_of(Result(Frame(3, 0.125, None), trace, Past(Track(), None)))["scores"]
    [0.8, 0.12, 0.12]
    """
    frame, trace = result.frame, result.trace
    known: dict[str, Any] = {"index": frame.index, "time": round(frame.time, 6)}
    if not isinstance(trace, Trace):
        return {**known, "error": str(trace)}
    last = trace.steps[-1].scores[trace.steps[-1].kept]
    scores = dict(zip(trace.survivors.tolist(), last.tolist(), strict=True))
    scores |= {drop.query: drop.score for drop in trace.drops}
    shown = [scores.get(query, np.nan) for query in range(len(trace.queries))]
    return {
        **known,
        "scores": [round(float(score), 5) if np.isfinite(score) else None for score in shown],
        "kept": trace.survivors.tolist(),
        "areas": [round(float(mask.mean()), 5) for mask in trace.refined],
        "steps": len(trace.steps),
        "stop": trace.stop,
    }


@contextmanager
def claimed_folder(
    path: str | os.PathLike[str], manifest: Mapping[str, Any], block: int, keep_traces: bool
) -> Iterator[VideoFolder]:
    """Create the folder, or open it to go on, locked against other processes.

    Raises TraceError if it cannot be written; VideoError if it is locked, or holds results of another video
    or of other settings.
    """
    folder = VideoFolder(make_folder(path), block, keep_traces)
    for place in (folder.masks, folder.traces):
        place.mkdir(exist_ok=True)
    lock = FileLock(folder.path / ".lock", blocking=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise VideoError(
            f"expected a folder without a writer, got {quoted(path)}, which another process writes; wait for "
            "it, or choose another --out"
        ) from error
    try:
        _check_manifest(folder.path / MANIFEST, json.loads(json.dumps(dict(manifest), allow_nan=False)))
        yield folder
    finally:
        lock.release()


def _check_manifest(file: Path, manifest: Mapping[str, Any]) -> None:
    if not file.exists():
        write_file(file, json.dumps(manifest, indent=1).encode())
        return
    try:
        there = json.loads(read_file(file))
    except (OSError, ValueError) as error:
        raise VideoError(
            f"expected the manifest of a video, got {quoted(file)} ({reason(error)}); choose another --out"
        ) from error
    if differ := differences(there, manifest):
        shown = "; ".join(f"{name}: {was!r} there, {now!r} now" for name, was, now in differ[:4])
        raise VideoError(
            f"expected the video and settings of {quoted(file.parent)}, got others ({shown}); give the same, "
            "or another --out"
        )


def _parsed_records(content: bytes) -> Iterator[dict[str, Any]]:
    """Yield the whole lines; the last one may have been cut off."""
    for line in content.splitlines(keepends=True):
        try:
            record = json.loads(line)
        except ValueError:
            return
        if not line.endswith(b"\n"):
            return
        yield record


def _past_to_arrays(past: Past, index: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    arrays = {f"kept{t}": kept for t, kept in enumerate(past.track.kept)}
    memory = past.memory
    if memory is not None:
        arrays |= {"image": memory.view.image, "tokens": memory.view.tokens}
        arrays |= {"grid": np.array(memory.view.grid), "queries": memory.queries, "levels": memory.levels}
    return arrays, {"index": index, "steps": len(past.track.kept), "memory": memory is not None}


def _past_of_arrays(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> Past:
    track = Track([arrays[f"kept{t}"] for t in range(metadata["steps"])])
    if not metadata["memory"]:
        return Past(track, None)
    rows, columns = arrays["grid"].tolist()
    view = View(arrays["image"], arrays["tokens"], (rows, columns))
    return Past(track, Memory(view, arrays["queries"], arrays["levels"]))
