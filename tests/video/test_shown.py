"""What shows a video: curves, the strip for print, and the player, whose frames are read one by one."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import carlab.figures.front
from carlab.cli.app import app
from carlab.errors import SettingError, TraceError
from carlab.figures import STYLES, save_figure, time_curves, video_strip
from carlab.figures.front import module
from carlab.trace import Trace
from carlab.video.archive import VideoTraces, member, pack
from carlab.widgets import RecurrencePlayer, ScorePlot, VideoPlayer, linked
from tests.figures.test_print import words
from tests.hostile.strings import HOSTILE
from tests.traces import make_trace

KEPT = [(0, 1), (0,), (0, 1), (), (1,), (0, 1), (0,)]


def film(
    folder: Path, queries: tuple[str, ...] = ("cat", "dog", "sofa"), failed: tuple[int, ...] = ()
) -> VideoTraces:
    """Seven frames at odd times, the kept queries of which change."""
    records: list[dict[str, Any]] = []
    for k, kept in enumerate(KEPT):
        trace = make_trace(queries, kept=[kept])
        trace.save(folder / member(k))
        known = {"index": k, "time": k * 0.5 + (k > 3)}
        scores = [0.8 if query in kept else 0.12 for query in range(len(queries))]
        records.append(known | ({"error": "no"} if k in failed else {"scores": scores, "kept": list(kept)}))
    about = {"queries": list(queries), "settings": make_trace().settings}
    return pack(folder / "traces.zip", about, records, folder)


def test_curves_say_what_is_kept(tmp_path: Path) -> None:
    traces = film(tmp_path, failed=(2,))
    figure = time_curves(
        traces.times.tolist(), traces.scores, traces.queries, kept=traces.kept, threshold=traces.threshold
    )
    thin, bold, *_ = figure.axes[0].lines
    np.testing.assert_allclose(thin.get_xdata(), [0, 0.5, 1, 1.5, 3, 3.5, 4])
    np.testing.assert_allclose(thin.get_ydata(), [0.8, 0.8, np.nan, 0.12, 0.12, 0.8, 0.8])
    np.testing.assert_allclose(bold.get_ydata(), [0.8, 0.8, np.nan, np.nan, np.nan, 0.8, 0.8])
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["cat", "dog", "sofa"]


@pytest.mark.parametrize("width", ["column", "page"])
@pytest.mark.parametrize("venue", STYLES)
def test_the_strip_is_as_wide_as_the_venue_asks(venue: str, width: str, tmp_path: Path) -> None:
    figure = video_strip(film(tmp_path), style=STYLES[venue], width=width)
    assert figure.get_size_inches()[0] == pytest.approx(getattr(STYLES[venue], width) / 25.4)


def test_the_strip_shows_evenly_spaced_frames(tmp_path: Path) -> None:
    figure = video_strip(film(tmp_path, failed=(0,)), most=3)
    assert len(figure.axes) == 4
    assert [text.get_text() for text in figure.texts[:3]] == ["0.50 s", "1.50 s", "4.00 s"]
    assert len(video_strip(film(tmp_path), most=50, curves=False).axes) == 7
    with pytest.raises(SettingError):
        video_strip(film(tmp_path), most=0)
    with pytest.raises(SettingError):
        video_strip(film(tmp_path, failed=tuple(range(7))))


@pytest.mark.parametrize("dark", [False, True])
def test_no_text_leaves_the_page(dark: bool, tmp_path: Path) -> None:
    names = ("W" * 40, "a cat on a red sofa by the window", "猫")
    figure = video_strip(film(tmp_path, names), style=replace(STYLES["cvpr"], dark=dark))
    for text in words(figure):
        box = text.get_window_extent()
        assert box.x0 >= -1 and box.y0 >= -1, text
        assert box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1, text


@pytest.mark.parametrize("suffix", [".pdf", ".svg", ".png"])
def test_the_same_bytes(suffix: str, tmp_path: Path) -> None:
    traces = film(tmp_path)
    first, second = (
        save_figure(video_strip(traces), tmp_path / f"{n}{suffix}", 60).read_bytes() for n in "ab"
    )
    assert first == second


def test_any_text_is_drawn_as_text(tmp_path: Path) -> None:
    for start in range(0, len(HOSTILE), 3):
        names = tuple(HOSTILE[start : start + 3])
        if len(names) == 3:
            save_figure(video_strip(film(tmp_path, names)), tmp_path / "f.pdf", 40)


def test_the_command_that_draws_it(tmp_path: Path) -> None:
    path = film(tmp_path).path
    result = CliRunner().invoke(app, ["figure", "video", str(path), "-o", str(tmp_path / "strip.pdf")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "strip.pdf").read_bytes()[:5] == b"%PDF-"
    assert "Frames of a video" in (tmp_path / "strip.caption.tex").read_text()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Places of the traces that were read."""
    seen: list[int] = []
    original = VideoTraces.__getitem__

    def get(self: VideoTraces, place: int) -> Trace:
        seen.append(place)
        return original(self, place)

    monkeypatch.setattr(VideoTraces, "__getitem__", get)
    return seen


def test_the_player_reads_what_it_shows(tmp_path: Path, read: list[int]) -> None:
    player = VideoPlayer(film(tmp_path))
    assert read == [0] and player.trace.found == ("cat", "dog")
    player.query = 1
    player.front.frame = 4  # a click on a curve, or the slider
    assert read == [0, 4] and player.trace.found == ("dog",)
    assert player.query == player.front.query == 1
    assert player.front.content["steps"][0]["active"] == [0, 1, 2]
    player.frame = 99
    assert player.frame == player.front.frame == 6 and read[-1] == 6


def test_the_player_shows_a_frame_that_failed(tmp_path: Path, read: list[int]) -> None:
    player = VideoPlayer(str(film(tmp_path, failed=(0, 3)).path))
    assert player.frame == 1 and player.front.frames["failed"] == {"0": "no", "3": "no"}
    shown = player.trace
    player.frame = 3
    assert player.trace is shown and read == [1]
    with pytest.raises(TraceError, match="expected a video with a trace"):
        VideoPlayer(film(tmp_path, failed=tuple(range(7))))


def test_the_player_is_linked_like_any_view(tmp_path: Path) -> None:
    player, plot = VideoPlayer(film(tmp_path)), ScorePlot(make_trace())
    linked(player, plot)
    player.query = 2
    assert plot.query == 2
    assert issubclass(VideoPlayer, RecurrencePlayer.__mro__[1])


def test_the_curves_of_the_player(tmp_path: Path) -> None:
    frames = VideoPlayer(film(tmp_path, failed=(2,))).front.frames
    assert frames["times"] == [0, 0.5, 1, 1.5, 3, 3.5, 4]
    assert frames["scores"][2] == [None] * 3 and frames["kept"][4] == [1]
    assert "class Frames" in module("frames")


def test_a_click_on_a_curve_jumps_to_its_frame(tmp_path: Path) -> None:
    """The module itself, in Node, on stand-ins of nodes: where lines lie, what clicks and the slider do."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node here")
    frames = VideoPlayer(film(tmp_path, failed=(2,))).front.frames
    script, front = Path(__file__).with_name("curves.mjs"), Path(carlab.figures.front.__file__).parent
    done = subprocess.run(
        [node, str(script), str(front), json.dumps(frames)], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    (thin, bold), *_ = found["points"]
    times = [0, 0.5, 1.5, 3, 3.5, 4]  # the third frame failed: no point there
    assert [round(x) for _, x, _ in thin] == [round(30 + time / 4 * 600) for time in times]
    assert [move for move, *_ in thin] == ["M", "L", "M", "L", "L", "L"]
    assert [round(x) for _, x, _ in bold] == [round(30 + time / 4 * 600) for time in (0, 0.5, 3.5, 4)]
    assert found["seen"] == [[6, -1], [0, 1], [2, 1]]
    assert found["where"] == "3 of 7 · 1.00 s · no" and found["most"] == 6
