"""Figures: what they show, that nothing overlaps, and files that are the same every time."""

import errno
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from io import BytesIO
from itertools import combinations
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.text import Text
from PIL import Image

from carlab.errors import SettingError, TraceError
from carlab.figures import overlay_figure, recurrence_figure, save_figure, scores_figure
from carlab.figures.print import CELL, MOST_BANDS
from carlab.figures.print_style import FONTS
from carlab.files import archive
from carlab.files.pictures import colour_hex
from carlab.trace import Trace
from carlab.trace.show import shorten
from tests.hostile.strings import CONTROL, HOSTILE
from tests.traces import make_trace

DRAW = [overlay_figure, recurrence_figure, scores_figure]
ALL = HOSTILE + CONTROL + ("می‌خواهم", "a\uffffb", "a\ud800b", "e" + "\u0301" * 10_000, "ก็็", "W" * 40)
WIDE = "W" * 40
TRACES = {
    "usual": make_trace(),
    "nothing": make_trace(kept=[()]),
    "one query": make_trace(["cat"], kept=[(0,)]),
    "nine found": make_trace([WIDE] * 3 + ["a cat on a red sofa"] * 6, kept=[range(9)] * 2),
    "hundreds": make_trace([f"thing {k}" for k in range(200)], kept=[range(0, 200, 3), range(0, 200, 6)]),
    "a panorama": make_trace(size=(20, 300)),
    "a tower": make_trace(size=(300, 20)),
    "no threshold": make_trace(theta=float("nan")),
}
Draw = Callable[[Trace], Figure]


def words(figure: Figure) -> list[Text]:
    """All texts that a figure shows."""
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    figure.draw_without_rendering()
    return texts


def said(figure: Figure) -> list[str]:
    """What those texts say."""
    return [text.get_text() for text in words(figure)]


@pytest.mark.parametrize("draw", DRAW)
@pytest.mark.parametrize("name", TRACES)
def test_no_text_leaves_the_page_or_lies_on_another(draw: Draw, name: str) -> None:
    figure = draw(TRACES[name])
    # Tick labels lie on an axis of their own; the rest must keep clear of each other.
    ticks = {label for axes in figure.axes for label in (*axes.get_xticklabels(), *axes.get_yticklabels())}
    boxes = {text: text.get_window_extent() for text in words(figure) if text not in ticks}
    for text, box in boxes.items():
        assert box.x0 >= -0.5, text
        assert box.y0 >= -0.5, text
        assert box.x1 <= figure.bbox.x1 + 0.5, text
        assert box.y1 <= figure.bbox.y1 + 0.5, text
    for (a, one), (b, other) in combinations(boxes.items(), 2):
        across = min(one.x1, other.x1) - max(one.x0, other.x0)
        upright = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert across <= 1 or upright <= 2, (a, b)


@pytest.mark.parametrize("draw", DRAW)
@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_any_text_is_drawn_as_text(draw: Draw, suffix: str, tmp_path: Path) -> None:
    """Forty hostile queries and more, under warnings as errors; an SVG must be XML that holds them."""
    for start in range(0, len(ALL), 8):
        some = ALL[start : start + 8]
        path = save_figure(draw(make_trace(some, kept=[range(len(some))])), tmp_path / f"f{suffix}", dpi=40)
        assert path.stat().st_size > 1000
        if suffix == ".svg":
            texts = {"".join(node.itertext()) for node in ET.parse(path).iter() if node.tag.endswith("}text")}  # noqa: S314
            if draw is scores_figure:
                # XML reads runs of blanks as one.
                assert {re.sub(r"\s+", " ", shorten(text, 24)).strip() for text in some} <= {
                    re.sub(r"\s+", " ", text).strip() for text in texts
                }


@pytest.mark.parametrize("draw", DRAW)
def test_a_formula_is_not_set(draw: Draw) -> None:
    hostile = ["$\\frac{a}{b}$", "$x^2$", "$\\input{x}$", "$unclosed"]
    figure = draw(make_trace(hostile, kept=[range(4)]))
    for text in words(figure):
        if "$" in text.get_text():
            assert not text.get_parse_math()
    assert {text for text in said(figure) if text in hostile} == set(hostile)


@pytest.mark.parametrize("draw", DRAW)
def test_a_notebook_that_draws_by_itself_gets_no_warnings_either(draw: Draw) -> None:
    figure = draw(make_trace(["猫と犬", "🐈", "ก็็"], kept=[range(3)]))
    figure.savefig(BytesIO(), format="png", bbox_inches="tight", dpi=40)


def test_the_legend_names_what_was_found_with_its_score() -> None:
    figure = overlay_figure(make_trace(kept=[(0, 2), (0, 2)]))
    assert said(figure) == ["0.80", "cat", "0.80", "sofa"]
    patches = [patch for patch in figure.artists if patch.get_linewidth() > 0]
    assert [colour_hex(query) for query in (0, 2)] == [
        "#" + "".join(f"{round(255 * part):02x}" for part in patch.get_facecolor()[:3]) for patch in patches
    ]
    assert said(overlay_figure(TRACES["nothing"])) == ["nothing present"]


def test_a_long_legend_says_what_it_leaves_out() -> None:
    names = said(overlay_figure(TRACES["hundreds"]))
    assert len([name for name in names if name.startswith("thing")]) == 30
    assert names[-1] == "... and 4 more"


def test_the_overlay_shows_the_painted_photo_undistorted() -> None:
    for name in ("usual", "a panorama", "a tower"):
        trace = TRACES[name]
        axes = overlay_figure(trace).axes[0]
        box = axes.get_window_extent()
        height, width = trace.image.shape[:2]
        assert box.width / box.height == pytest.approx(width / height, rel=1e-3)
        assert axes.images[0].get_array().shape == trace.image.shape


def test_a_dropped_query_leaves_a_gap_in_its_own_column() -> None:
    figure = recurrence_figure(make_trace())
    lefts = [round(axes.get_position().x0, 6) for axes in figure.axes[::3]]
    assert [axes.get_title() for axes in figure.axes[::3]] == ["cat", "dog", "sofa", "cat", "dog", "cat"]
    assert lefts[3:] == [lefts[0], lefts[1], lefts[0]]
    assert len(figure.axes) == 3 * (3 + 2 + 1)


def test_the_bands_say_what_happened() -> None:
    texts = said(recurrence_figure(make_trace()))
    assert [text for text in texts if "active" in text] == [
        "3 active, 2 kept", "2 active, 1 kept", "1 active, 1 kept: fixed point",
    ]  # fmt: skip
    assert texts.count("threshold 0.30") == 3
    assert [text for text in texts if text.startswith("step")] == ["step 1", "step 2", "step 3"]
    assert not any("threshold" in text for text in said(recurrence_figure(TRACES["no threshold"])))


def test_the_bar_is_as_long_as_the_score_and_the_tick_stands_at_the_threshold() -> None:
    trace = make_trace(["cat", "dog"], kept=[(0,)], theta=0.45)
    figure = recurrence_figure(trace)
    page = figure.get_size_inches()[0]
    widths = [patch.get_width() * page / CELL for patch in figure.artists]
    assert [w for w in widths if 0.1 < w < 0.99] == pytest.approx([0.8, 0.12], abs=1e-6)
    ticks = [patch for patch in figure.artists if patch.get_width() * page < 0.05]
    cells = [axes.get_position() for axes in figure.axes[::3]]
    for tick, cell in zip(ticks, cells, strict=True):
        middle = tick.get_x() + tick.get_width() / 2
        assert (middle - cell.x0) / cell.width == pytest.approx(0.45)


def test_kept_and_dropped_differ_without_colour() -> None:
    figure = recurrence_figure(make_trace(["cat", "dog"], kept=[(0,)]))
    frames = [patch for patch in figure.artists if not patch.get_fill()]
    assert [frame.get_linestyle() == "solid" or frame.get_linestyle() == "-" for frame in frames] == [
        True,
        False,
    ]
    notes = {
        axes.get_xlabel(): axes.xaxis.label.get_fontweight() for axes in figure.axes if axes.get_xlabel()
    }
    assert notes == {"0.80  kept": "bold", "0.12  dropped": "normal"}


def test_a_score_that_looks_like_the_threshold_gets_another_digit() -> None:
    figure = recurrence_figure(make_trace(["cat", "dog"], kept=[(0,)], theta=0.4, scores=(0.404, 0.397)))
    assert [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()] == [
        "0.404  kept",
        "0.397  dropped",
    ]


def test_the_columns_are_the_most_telling_queries() -> None:
    trace = make_trace("abcdef", kept=[(1, 3, 5), (3, 5), (3,), (3,)])
    figure = recurrence_figure(trace, max_queries=2)
    assert [axes.get_title() for axes in figure.axes[::3]] == ["d", "f", "d", "f", "d", "f", "d"]
    assert "6 active (4 not drawn), 3 kept" in said(figure)
    with pytest.raises(SettingError, match="expected max_queries of 1 or more, got 0"):
        recurrence_figure(trace, max_queries=0)


def test_a_very_long_loop_still_fits_a_page(tmp_path: Path) -> None:
    names = [f"w{k}" for k in range(14)]
    figure = recurrence_figure(make_trace(names, kept=[range(13 - k) for k in range(14)]), max_queries=1)
    steps = [text for text in said(figure) if text.startswith("step ")]
    assert steps == [f"step {k}" for k in (*range(1, MOST_BANDS), 14)]
    assert any(text.endswith("; steps 10 to 13 not drawn") for text in said(figure))
    save_figure(figure, tmp_path / "f.png")


def test_pictures_are_seen_in_their_own_shape() -> None:
    for name in ("usual", "a panorama", "a tower"):
        figure = recurrence_figure(TRACES[name])
        figure.draw_without_rendering()
        for axes in figure.axes:
            height, width = axes.images[0].get_array().shape[:2]
            box = axes.get_window_extent()
            assert box.width / box.height == pytest.approx(width / height, rel=0.02)


def test_cells_stand_in_rows_and_columns() -> None:
    figure = recurrence_figure(make_trace(["cat", WIDE, "قطة"], kept=[range(3)] * 2))
    places = np.array([axes.get_position().bounds for axes in figure.axes]).reshape(2, 3, 3, 4)
    assert np.ptp(places[..., 0], axis=(0, 2)).max() < 1e-9, "columns"
    assert np.ptp(places[..., 1], axis=1).max() < 1e-9, "rows"
    assert np.ptp(places[..., 2]) < 1e-9, "widths"


def test_the_scores_are_those_of_the_trace() -> None:
    trace = make_trace()
    figure = scores_figure(trace)
    lines = {line.get_label(): np.asarray(line.get_ydata()) for line in figure.axes[0].lines}
    assert list(lines) == ["cat", "dog", "sofa", "dropped", "threshold 0.30"]
    for query, name in enumerate(trace.queries):
        np.testing.assert_array_equal(lines[name], trace.scores[:, query])
    crosses = next(line for line in figure.axes[0].lines if line.get_label() == "dropped")
    np.testing.assert_allclose(crosses.get_xydata(), [[1, 0.12], [2, 0.12]])
    assert len({line.get_marker() for line in figure.axes[0].lines[:3]}) == 3


def test_many_scores_are_drawn_and_few_named() -> None:
    figure = scores_figure(TRACES["hundreds"])
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[-2:] == ["188 more", "threshold 0.30"]
    assert len([name for name in names if name.startswith("thing")]) == 12
    assert len(figure.axes[0].lines) == 200 + 1
    assert "threshold" not in "".join(said(scores_figure(TRACES["no threshold"])))


@pytest.mark.parametrize("draw", DRAW)
@pytest.mark.parametrize("suffix", [".png", ".PDF", ".svg"])
def test_the_same_trace_is_the_same_file(draw: Draw, suffix: str, tmp_path: Path) -> None:
    files = [
        save_figure(draw(make_trace(["cat", "קפה", "$x$"])), tmp_path / f"{n}{suffix}", 60) for n in "ab"
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_another_process_writes_the_same_svg(tmp_path: Path) -> None:
    here = save_figure(recurrence_figure(make_trace()), tmp_path / "a.svg").read_bytes()
    trace = make_trace().save(tmp_path / "t")
    code = (
        "import sys, carlab, carlab.figures as f\n"
        "f.save_figure(f.recurrence_figure(carlab.Trace.load(sys.argv[1])), sys.argv[2])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(trace), str(tmp_path / "b.svg")]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "7", "MPLBACKEND": "tkagg"})
    assert (tmp_path / "b.svg").read_bytes() == here


def test_vector_files_hold_text_not_outlines(tmp_path: Path) -> None:
    svg = save_figure(recurrence_figure(make_trace()), tmp_path / "f.svg").read_text()
    for text in ("cat", "activation map", "0.12  dropped", "threshold 0.30"):
        assert f">{text}<" in svg
    pdf = save_figure(scores_figure(make_trace()), tmp_path / "f.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"CreationDate" not in pdf


def test_dots_an_inch(tmp_path: Path) -> None:
    figure = overlay_figure(make_trace())
    width, height = figure.get_size_inches()
    with Image.open(save_figure(figure, tmp_path / "f.png", dpi=80)) as picture:
        assert picture.size == (int(width * 80), int(height * 80))
    for dpi in (0, -1, float("nan"), 100_000):
        with pytest.raises(SettingError, match="expected 1 to .* dots an inch for this figure, got"):
            save_figure(figure, tmp_path / "f.png", dpi=dpi)


@pytest.mark.parametrize("name", ["f.jpg", "f", "png", ".png", "f.png.txt", "f.png "])
def test_an_unknown_suffix_writes_nothing(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"expected a figure file ending in .png, .pdf, .svg, got"):
        save_figure(scores_figure(make_trace()), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_figure(scores_figure(make_trace()), tmp_path / "f.png")
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archive.os, "replace", full)
    with pytest.raises(TraceError, match="No space left"):
        save_figure(scores_figure(TRACES["nothing"]), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_drawing_leaves_matplotlib_as_it_was(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    for draw in DRAW:
        save_figure(draw(make_trace()), tmp_path / "f.svg")
    assert dict(matplotlib.rcParams) == before


def test_some_font_is_always_there() -> None:
    shipped = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    assert fontManager.findfont(FONTS[0], fallback_to_default=False).startswith(str(shipped))
