"""A video to its results on disk: what is written, what goes on after kill -9, and what memory holds."""

import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from weakref import WeakSet
from zipfile import ZIP_STORED, ZipFile

import av
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from carlab.cli.app import app
from carlab.errors import QueryError, TraceError, VideoError
from carlab.files.shapes import Image as Pixels
from carlab.photo import Photo
from carlab.recurrence import ClipAsRnn
from carlab.settings import change
from carlab.trace import Trace
from carlab.video.archive import VideoTraces, open_traces
from carlab.video.carry import FeatureMatch, MaskSmoothing
from carlab.video.folder import RECORDS
from carlab.video.frames import Clip, Frame, open_clip
from carlab.video.hysteresis import Hysteresis
from carlab.video.run import segment_video
from carlab.video.segment import Smoothing, segment_frames
from tests.tiny_clip import tiny_options
from tests.video.clips import moving, write_clip

WORDS = ["cat", "dog", "red car"]
SMOOTH = Smoothing(Hysteresis(), MaskSmoothing(FeatureMatch()))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Ten frames of an odd size and a variable rate."""
    times = [0, 0.1, 0.15, 0.3, 0.4, 0.5, 0.9, 1.0, 1.1, 1.15]
    folder = tmp_path_factory.mktemp("clip")
    return open_clip(write_clip(folder / "a.mov", moving(10, (33, 47)), times=times))


def contents(folder: Path) -> dict[str, Any]:
    """Everything that a run wrote, but what it cost."""
    packed = VideoTraces.open(folder / "traces.zip")
    masks = {path.name: path.read_bytes() for path in sorted((folder / "masks").iterdir())}
    with av.open(str(folder / "overlay.mp4")) as container:
        film = [
            (frame.pts, frame.to_ndarray(format="rgb24").tobytes()) for frame in container.decode(video=0)
        ]
    lines = (folder / RECORDS).read_text()
    return {"masks": masks, "film": film, "lines": lines, "traces": list(packed), "frames": packed.frames}


def test_what_is_written(tiny: ClipAsRnn, clip: Clip, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    done = segment_video(
        tiny, clip, WORDS, tmp_path / "out", workers=0, progress=lambda *report: seen.append(report)
    )
    pictures = [frame.image for frame in clip.frames()]
    assert len(done.frames) == 10 and done.failed == 0
    for k, (picture, trace) in enumerate(zip(pictures, open_traces(tmp_path / "out"), strict=True)):
        alone = tiny(picture, WORDS)
        np.testing.assert_array_equal(trace.image, picture)
        assert trace.found == alone.found
        with Image.open(tmp_path / "out" / "masks" / f"{k:06d}.png") as mask:
            np.testing.assert_array_equal(np.asarray(mask), trace.labels)
        record = done.frames[k]
        assert record["kept"] == trace.survivors.tolist()
        assert record["areas"] == pytest.approx([mask.mean() for mask in trace.refined], abs=1e-4)
        last = np.nanmin(np.where(np.isnan(trace.scores), np.inf, trace.scores), axis=0)
        assert len(record["scores"]) == len(last) == 3
    assert seen[0] == ("frames", 0, 10) and ("frames", 10, 10) in seen and ("overlay", 9, 10) in seen
    assert done.plot.read_bytes()[:4] == b"\x89PNG"
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")) == [
        *("done", "frames.jsonl", "manifest.json", "masks", "overlay.mp4", "scores.png", "traces.zip")
    ]


def test_the_last_score_of_a_query(tiny: ClipAsRnn, clip: Clip, tmp_path: Path) -> None:
    done = segment_video(tiny, clip, WORDS, tmp_path, workers=0)
    for record, trace in zip(done.frames, open_traces(tmp_path), strict=True):
        for query in range(3):
            seen = [score for score in trace.scores[:, query] if not np.isnan(score)]
            assert record["scores"][query] == pytest.approx(float(seen[-1]), abs=1e-5)


def test_the_film_has_the_times_of_the_video(tiny: ClipAsRnn, clip: Clip, tmp_path: Path) -> None:
    done = segment_video(tiny, clip, WORDS, tmp_path, workers=0, traces=False)
    assert done.traces is None and not (tmp_path / "traces.zip").exists()
    with av.open(str(done.video)) as container:
        frames = list(container.decode(video=0))
    times = [float(frame.pts * frame.time_base) for frame in frames]
    np.testing.assert_allclose(times, [frame.time for frame in clip.frames()], atol=1e-3)
    assert {(frame.height, frame.width) for frame in frames} == {(34, 48)}, "sides are even"
    shown = frames[0].to_ndarray(format="rgb24")[:33, :47].astype(int)
    unpainted = (np.asarray(Image.open(tmp_path / "masks" / "000000.png")) == 0)[20:]
    original = next(clip.frames()).image[20:].astype(int)
    if unpainted.any():
        assert abs(shown[20:] - original)[unpainted].mean() < 25


def test_traces_open_without_being_read(tiny: ClipAsRnn, clip: Clip, tmp_path: Path) -> None:
    """Only the index is read at first, and then the trace that is asked for: the others may be damaged."""
    done = segment_video(tiny, clip, WORDS, tmp_path, workers=0)
    assert done.traces is not None
    with ZipFile(done.traces) as archive:
        assert {info.compress_type for info in archive.infolist()} == {ZIP_STORED}
        wanted, other = (archive.getinfo(f"00000{k}.trace.safetensors") for k in (7, 3))
    content = bytearray(done.traces.read_bytes())
    content[other.header_offset + 200 : other.header_offset + 400] = bytes(200)
    done.traces.write_bytes(bytes(content))
    traces = open_traces(tmp_path)
    assert len(traces) == 10 and traces.scores.shape == (10, 3) and traces.queries == tuple(WORDS)
    assert traces[7].queries == tuple(WORDS) and wanted.file_size > 1000
    with pytest.raises(TraceError, match="expected a whole trace of frame 3"):
        traces[3]


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """End a run in the middle of a block, once its files are there but not its lines."""
    from carlab.video.folder import VideoFolder

    original = VideoFolder._put_files

    def stop_at(index: int) -> None:
        def put(self: VideoFolder, result: Any) -> None:
            if result.frame.index == index:
                raise KeyboardInterrupt
            original(self, result)

        monkeypatch.setattr(VideoFolder, "_put_files", put)
        if index < 0:
            monkeypatch.setattr(VideoFolder, "_put_files", original)

    return stop_at


@pytest.mark.parametrize("at", [1, 6, 9])
def test_a_run_goes_on_with_the_same_bits(
    at: int, tiny: ClipAsRnn, clip: Clip, tmp_path: Path, interrupted: Callable[[int], None]
) -> None:
    options: dict[str, Any] = {"smoothing": SMOOTH, "together": 3, "workers": 0}
    segment_video(tiny, clip, WORDS, tmp_path / "whole", **options)
    interrupted(at)
    with pytest.raises(KeyboardInterrupt):
        segment_video(tiny, clip, WORDS, tmp_path / "parts", **options)
    interrupted(-1)
    with (tmp_path / "parts" / RECORDS).open("ab") as stream:
        stream.write(b'{"index": 99, "ti')  # a line that was cut off
    segment_video(tiny, clip, WORDS, tmp_path / "parts", **options)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_what_is_missing_at_the_end_is_made_again(tiny: ClipAsRnn, clip: Clip, tmp_path: Path) -> None:
    segment_video(tiny, clip, WORDS, tmp_path, workers=0)
    before = contents(tmp_path)
    (tmp_path / "overlay.mp4").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("carlab.video.run.segment_frames", lambda *_, **__: pytest.fail("run again"))
        segment_video(tiny, clip, WORDS, tmp_path, workers=0)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("other", ["queries", "settings", "smoothing", "video"])
def test_a_folder_of_something_else_is_not_gone_on_with(
    other: str, tiny: ClipAsRnn, clip: Clip, tmp_path: Path
) -> None:
    segment_video(tiny, clip, WORDS, tmp_path, workers=0)
    model = change(tiny, theta=0.5) if other == "settings" else tiny
    film = replace(clip, every=2) if other == "video" else clip
    words = WORDS[:2] if other == "queries" else WORDS
    smoothing = Smoothing(Hysteresis()) if other == "smoothing" else None
    with pytest.raises(VideoError, match="expected the video and settings of .*, got others"):
        segment_video(model, film, words, tmp_path, smoothing=smoothing, workers=0)


def test_a_damaged_file_is_reported_after_what_is_before(tiny: ClipAsRnn, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mov", moving(9))
    content = path.read_bytes()
    starts = [k for k in range(len(content)) if content.startswith(b"\x89PNG", k)]
    path.write_bytes(content[: starts[6]] + bytes(80) + content[starts[6] + 80 :])
    with pytest.raises(VideoError, match="cannot be decoded after 6 frames"):
        segment_video(tiny, open_clip(path), WORDS, tmp_path / "out", workers=0)
    assert len((tmp_path / "out" / RECORDS).read_text().splitlines()) == 6
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 6


def test_a_folder_with_a_bad_image(tiny: ClipAsRnn, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for k, picture in enumerate(moving(4)):
        Image.fromarray(picture).save(tmp_path / "images" / f"{k}.png")
    (tmp_path / "images" / "1.png").write_bytes(b"no image")
    done = segment_video(tiny, open_clip(tmp_path / "images"), WORDS, tmp_path / "out", workers=0)
    assert done.failed == 1 and "error" in done.frames[1]
    traces = open_traces(tmp_path / "out")
    assert len(traces) == 4 and len(list(traces)) == 3 and np.isnan(traces.scores[1]).all()
    with pytest.raises(TraceError, match="frame 1, which failed"):
        traces[1]


def test_queries_that_cannot_be_used(tiny: ClipAsRnn, clip: Clip, tmp_path: Path) -> None:
    for words in ([], ["cat", "Cat"], ["x" * 500]):
        with pytest.raises(QueryError):
            segment_video(tiny, clip, words, tmp_path / str(len(words)), workers=0)


def test_no_archive_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "traces.zip").write_bytes(b"no zip")
    with ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("index.json", json.dumps({"format": 99, "about": {}, "frames": []}))
    for wrong in (tmp_path, tmp_path / "missing", tmp_path / "other.zip"):
        with pytest.raises(TraceError, match="expected .*, got .*; "):
            open_traces(wrong)


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> WeakSet[Photo]:
    """Every photo that is made from now on, as long as something holds it."""
    made: WeakSet[Photo] = WeakSet()
    original = Photo.__init__

    def create(self: Photo, *args: Any, **options: Any) -> None:
        original(self, *args, **options)
        made.add(self)

    monkeypatch.setattr(Photo, "__init__", create)
    return made


MANY = 300
MOST = 20
"""Frames that may be alive at once: two groups of four, and those decoded ahead."""


@pytest.mark.parametrize("smoothing", [None, SMOOTH])
def test_memory_stays_flat(
    smoothing: Smoothing | None, tiny: ClipAsRnn, alive: WeakSet[Photo], tmp_path: Path
) -> None:
    model = change(tiny, max_steps=1)
    pictures: WeakSet[np.ndarray] = WeakSet()
    most = {"photos": 0, "pictures": 0}

    def frames() -> Iterator[Frame]:
        for k in range(MANY):
            picture = Tracked.of(np.full((16 + k % 2, 16, 3), k % 250, np.uint8))
            pictures.add(picture)
            yield Frame(k, k / 24, picture)

    for one in segment_frames(model, frames(), ["cat"], smoothing=smoothing, workers=0):
        if one.frame.index % 25 == 0:
            gc.collect()
        most = {"photos": max(most["photos"], len(alive)), "pictures": max(most["pictures"], len(pictures))}
    assert one.frame.index == MANY - 1
    assert 4 <= most["photos"] <= MOST and 4 <= most["pictures"] <= MOST, most


class Tracked(np.ndarray):
    """An array that can be a member of a set."""

    @classmethod
    def of(cls, pixels: Pixels) -> "Tracked":
        return pixels.view(cls)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:  # type: ignore[override]
        return self is other


def test_killed_and_gone_on_with(clip_folders: tuple[Path, Path], tmp_path: Path) -> None:
    """A real process, SIGKILL in the middle; the second one ends with what an undisturbed one writes."""
    path = write_clip(tmp_path / "a.mov", moving(150, (40, 48)))
    tiny = [*tiny_options(clip_folders), "--refiner", "none"]
    words = ["-q", "cat", "-q", "dog", "--hold", "0.5", "--carry", "features", "--theta", "0.45", *tiny]
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "carlab.cli", "video", str(path), *words, "-o", str(out)]
    with subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE
    ) as process:
        deadline = monotonic() + 240
        while not (out / RECORDS).exists() or (out / RECORDS).stat().st_size < 1500:
            assert process.poll() is None, process.communicate()
            assert monotonic() < deadline
            sleep(0.002)
        process.send_signal(signal.SIGKILL)
    lines = (out / RECORDS).read_bytes()
    assert 0 < lines.count(b"\n") < 150, "it was done before it could be killed"
    for folder in (out, tmp_path / "whole"):
        result = CliRunner().invoke(app, ["video", str(path), *words, "-o", str(folder)])
        assert result.exit_code == 0, result.output
    assert contents(out) == contents(tmp_path / "whole")
    assert (out / RECORDS).read_bytes().startswith(lines[: lines.rindex(b"\n") // 2])
    assert not [left for left in out.iterdir() if left.name.startswith(".carlab")]


def test_the_command_reports_a_frame_that_failed(clip_folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for k, picture in enumerate(moving(3)):
        Image.fromarray(picture).save(tmp_path / "images" / f"{k}.png")
    (tmp_path / "images" / "1.png").write_bytes(b"no image")
    tiny = [*tiny_options(clip_folders), "--refiner", "none"]
    result = CliRunner().invoke(
        app, ["video", str(tmp_path / "images"), "-q", "cat", *tiny, "-o", str(tmp_path / "out")]
    )
    assert result.exit_code == 1, result.output
    assert "3 frames done, 1 failed" in result.stderr and "frame 1: expected" in result.stderr
    assert isinstance(next(iter(open_traces(tmp_path / "out"))), Trace)


@pytest.mark.parametrize(
    "words",
    [["-q", "cat", "--carry", "magic"], ["-q", "cat", "--hold", "2"], [], ["-q", "cat", "--every", "0"]],
)
def test_bad_options(words: list[str], clip: Clip, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["video", str(clip.path), *words, "-o", str(tmp_path / "out")])
    assert result.exit_code != 0
    assert not (tmp_path / "out").exists()
