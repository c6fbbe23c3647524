"""From a clip to its results on disk; the same call goes on where one was stopped."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from shutil import rmtree
from typing import Any

from carlab.datasets.layout import read_index
from carlab.errors import VideoError
from carlab.figures.print import save_figure
from carlab.figures.video import time_curves
from carlab.files.archive import write_file
from carlab.queries import check_background, check_queries
from carlab.recurrence import ClipAsRnn
from carlab.trace.provenance import provenance, settings
from carlab.video.archive import pack
from carlab.video.folder import VideoFolder, claimed_folder
from carlab.video.frames import Clip, Frame
from carlab.video.overlay import DrawnFrame, names_of, overlay, write_video
from carlab.video.segment import Smoothing, segment_frames

MANIFEST_FORMAT = 1
DONE = "done"
"""File that says that every frame is done."""

Progress = Callable[[str, int, int | None], None]
"""Called with what is done ("frames" or "overlay"), how many of them are, and of how many, if known."""


@dataclass(frozen=True)
class VideoResults:
    """What a run wrote.

    Parameters
    ----------
    folder
        Of everything; label maps are in its folder `masks`.
    frames
        The record of each frame, see `VideoTraces.frames`.
    video, plot
        The MP4 with overlays, and the scores over time.
    traces
        All traces in one file; None where they were not wanted.
    """

    folder: Path
    frames: Sequence[dict[str, Any]]
    video: Path
    plot: Path
    traces: Path | None

    @property
    def failed(self) -> int:
        """Number of frames that failed."""
        return sum("error" in frame for frame in self.frames)


def segment_video(
    model: ClipAsRnn,
    clip: Clip,
    queries: Sequence[str],
    out: str | os.PathLike[str],
    *,
    background: Sequence[str] | None = None,
    smoothing: Smoothing | None = None,
    traces: bool = True,
    together: int = 4,
    workers: int = 1,
    progress: Progress | None = None,
) -> VideoResults:
    """Segment a video, and write its masks, traces, scores and an MP4 into a folder.

    The same call goes on where one was stopped, kill -9 included. Memory holds a few frames, however many
    there are. A frame that fails is recorded, and the others are run.

    Raises CarlabError if the video, the queries or the model cannot be used, or the folder cannot be written
    or holds something else.

    Parameters
    ----------
    model, queries, background
        As `ClipAsRnn` takes them.
    clip
        See `open_clip`.
    out
        The folder.
    smoothing
        None: each frame by itself, as in the paper.
    traces
        Whether all traces are kept, in one file: about as large as the frames and the prompted images are
        without compression.
    together, workers
        See `segment_frames`.
    progress
        See `Progress`.
    """
    smoothing, say = smoothing or Smoothing(), progress or (lambda *_: None)
    queries = check_queries(queries)
    own = model.background if background is None else background
    about = {
        "video": clip.identity(),
        "queries": list(queries),
        "background": list(check_background(own, queries)),
        "settings": settings(model),
        "smoothing": smoothing.described,
        "provenance": provenance(model),
    }
    manifest = {"format": MANIFEST_FORMAT, **about, "together": together, "traces": traces}
    with claimed_folder(out, manifest, together, traces) as folder:
        if not (folder.path / DONE).exists():
            options = {"background": background, "smoothing": smoothing, "workers": workers}
            _run_blocks(folder, model, clip, queries, say, **options)
        return _finish(folder, clip, about, say)


def _run_blocks(
    folder: VideoFolder, model: ClipAsRnn, clip: Clip, queries: Sequence[str], say: Progress, **options: Any
) -> None:
    """Run the frames that are not done yet, and write them block by block."""
    records, past = folder.resume()
    say("frames", len(records), clip.length)
    damage: list[VideoError] = []
    frames = islice(_before(clip.frames(), damage), len(records), None)
    results = segment_frames(model, frames, queries, past=past, together=folder.block, **options)
    done = len(records)
    while block := list(islice(results, folder.block)):
        folder.put(block, done // folder.block)
        done += len(block)
        say("frames", done, clip.length)
        del block  # before the next one is computed
    if damage:
        raise damage[0]
    write_file(folder.path / DONE, str(done).encode())


def _before(frames: Iterator[Frame], damage: list[VideoError]) -> Iterator[Frame]:
    """Yield the frames before the damage of a file: they are run and written before it is reported."""
    try:
        yield from frames
    except VideoError as error:
        damage.append(error)


def _finish(folder: VideoFolder, clip: Clip, about: dict[str, Any], say: Progress) -> VideoResults:
    """Write what is made of all frames together, unless it is there."""
    records, queries, place = folder.records(), about["queries"], folder.path
    video, plot, packed = place / "overlay.mp4", place / "scores.png", place / "traces.zip"
    if not video.exists():
        write_video(video, _overlay_frames(folder, clip, queries, records, say), clip.rate / clip.every)
    if folder.keep_traces and not packed.exists():
        pack(packed, about, records, folder.traces)
    if not plot.exists():
        theta = float(about["settings"].get("filter", {}).get("theta", float("nan")))
        scores = [record.get("scores") or [None] * len(queries) for record in records]
        kept = [record.get("kept", ()) for record in records]
        times = [record["time"] for record in records]
        save_figure(time_curves(times, scores, queries, kept=kept, threshold=theta), plot)
    rmtree(folder.traces, ignore_errors=True)
    for parity in (0, 1):
        (place / f"past-{parity}").unlink(missing_ok=True)
    return VideoResults(place, records, video, plot, packed if folder.keep_traces else None)


def _overlay_frames(
    folder: VideoFolder, clip: Clip, queries: Sequence[str], records: Sequence[dict[str, Any]], say: Progress
) -> Iterator[DrawnFrame]:
    """Yield the frames with their masks, read again from the video and from the folder."""
    for done, (frame, record) in enumerate(zip(clip.frames(), records, strict=True)):
        say("overlay", done, len(records))
        if "error" in record:
            continue  # left out of the film
        labels = read_index(folder.masks / f"{frame.index:06d}.png", "a label map")
        yield DrawnFrame(frame.time, overlay(frame.image, labels, names_of(queries, record["kept"])))
