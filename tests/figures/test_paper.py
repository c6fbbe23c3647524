"""Figures for papers: widths of the venues, one colour a query, nothing cut off, the same bytes, LaTeX."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

from carlab.cli.app import app
from carlab.errors import SettingError
from carlab.figures import (
    STYLES,
    Style,
    ablation_plot,
    class_bars,
    pipeline,
    postprocessor_grid,
    prompt_gallery,
    qualitative_grid,
    recurrence_strip,
    save_figure,
    score_curves,
)
from carlab.figures.caption import caption, digest, latex
from carlab.figures.paper import cut_labels, draw
from carlab.files.pictures import colour, colour_hex
from carlab.trace import Trace
from tests.figures.test_print import words
from tests.hostile.strings import CONTROL, HOSTILE
from tests.traces import make_trace

SNAPSHOT = Path(__file__).with_name("paper_figures.json")
VALUES = {"with recurrence": (0.42, 0.32, 0.48), "without recurrence": (0.19, 0.15, 0.21)}
CLASSES = {"on": {"cat": 0.65, "dog": 0.15, "bird": float("nan")}, "off": {"cat": 0.39, "sofa": 0.1}}


def methods(trace: Trace) -> dict[str, list[Trace]]:
    return {"ours": [trace, trace], "theirs": [trace, trace]}


DRAW: dict[str, Callable[..., Figure]] = {
    "strip": recurrence_strip,
    "prompts": lambda trace, **options: prompt_gallery(trace, query=trace.queries[0], **options),
    "pipeline": pipeline,
    "grid": lambda trace, **options: qualitative_grid(methods(trace), **options),
    "postprocessors": lambda trace, **options: postprocessor_grid(methods(trace), **options),
    "scores": score_curves,
    "ablation": lambda _, **options: ablation_plot(VALUES, paper={"with recurrence": 0.676}, **options),
    "classes": lambda _, **options: class_bars(CLASSES, **options),
}
TRACES = {
    "usual": make_trace(),
    "nothing": make_trace(kept=[()]),
    "one query": make_trace(["cat"], kept=[(0,)]),
    "long names": make_trace(["W" * 40, "a cat on a red sofa by the window", "猫"], kept=[(0, 1, 2)]),
    "many": make_trace([f"thing {k}" for k in range(60)], kept=[range(0, 60, 2), range(0, 60, 4)]),
    "a panorama": make_trace(size=(30, 200)),
}


@pytest.mark.parametrize("kind", DRAW)
@pytest.mark.parametrize("name", TRACES)
def test_no_text_leaves_the_page(kind: str, name: str) -> None:
    figure = DRAW[kind](TRACES[name])
    for text in words(figure):
        box = text.get_window_extent()
        assert box.x0 >= -1, text
        assert box.x1 <= figure.bbox.x1 + 1, text
        assert box.y0 >= -1, text
        assert box.y1 <= figure.bbox.y1 + 1, text


@pytest.mark.parametrize("kind", DRAW)
@pytest.mark.parametrize("venue", STYLES)
@pytest.mark.parametrize("width", ["column", "page"])
def test_as_wide_as_the_venue_asks(kind: str, venue: str, width: str) -> None:
    figure = DRAW[kind](make_trace(), style=STYLES[venue], width=width)
    assert figure.get_size_inches()[0] == pytest.approx(getattr(STYLES[venue], width) / 25.4)


def test_the_widths_of_the_venues() -> None:
    """Typed from the author kits: CVPR 3.25 and 6.875 inches, NeurIPS 5.5, LNCS 122 mm, IEEE 3.5 and 7.16."""
    inches = {name: (style.column / 25.4, style.page / 25.4) for name, style in STYLES.items()}
    expected = {"cvpr": (3.25, 6.875), "neurips": (5.5, 5.5), "springer": (4.803, 4.803), "ieee": (3.5, 7.16)}
    for name, widths in expected.items():
        assert inches[name] == pytest.approx(widths, abs=0.003)


@pytest.mark.parametrize("kind", DRAW)
@pytest.mark.parametrize("suffix", [".pdf", ".svg", ".png"])
def test_the_same_bytes(kind: str, suffix: str, tmp_path: Path) -> None:
    first, second = (
        save_figure(DRAW[kind](make_trace()), tmp_path / f"{n}{suffix}", 60).read_bytes() for n in "ab"
    )
    assert first == second


@pytest.mark.parametrize("style", [Style(serif=True), Style(dark=True)])
@pytest.mark.parametrize("kind", DRAW)
def test_serif_and_dark(kind: str, style: Style, tmp_path: Path) -> None:
    path = save_figure(DRAW[kind](make_trace(), style=style), tmp_path / "f.png", 40)
    from carlab.files.images import load_image

    corner = load_image(path.read_bytes())[-1, -1].tolist()
    assert corner == ([17, 17, 17] if style.dark else [255, 255, 255])


@pytest.mark.parametrize("kind", ["strip", "pipeline", "grid", "scores"])
def test_any_text_is_drawn_as_text(kind: str, tmp_path: Path) -> None:
    everything = HOSTILE + CONTROL
    for start in range(0, len(everything), 12):
        some = everything[start : start + 12]
        save_figure(DRAW[kind](make_trace(some, kept=[range(len(some))])), tmp_path / "f.pdf", 40)


def test_a_query_has_one_colour_in_every_image() -> None:
    """Whatever its place in the queries of each."""
    first = make_trace(["cat", "dog"], kept=[(0, 1)])
    second = make_trace(["bird", "dog"], kept=[(0, 1)])
    figure = qualitative_grid({"ours": [first, second]})
    pictures = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    legend = [text.get_text() for text in figure.texts if text.get_text() in {"cat", "dog", "bird"}]
    assert legend == ["dog", "cat", "bird"]  # the first colours are for what is found most
    rims = [{tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()} for picture in pictures[2:]]
    dog = tuple(round(0.6 * level) for level in colour(0))
    assert all(dog in seen for seen in rims)
    assert tuple(round(0.6 * level) for level in colour(1)) not in rims[1]


def test_the_cut_is_the_masks_without_a_post_processor() -> None:
    trace = make_trace(kept=[(0, 2), (0, 2)])
    np.testing.assert_array_equal(cut_labels(trace), trace.labels)  # these were made so
    trace.refined[:] = False
    assert cut_labels(trace).any()


def test_axes_of_ones_own() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert score_curves(make_trace(), ax=left) is figure
    assert ablation_plot(VALUES, ax=right) is figure
    assert len(left.lines) > 3
    np.testing.assert_allclose(right.lines[0].get_xdata(), [42, 19])


def test_the_interval_is_the_line() -> None:
    (lines,) = ablation_plot(VALUES).axes[0].collections
    ends = [segment[:, 0].tolist() for segment in lines.get_segments()]
    np.testing.assert_allclose(ends, [[32, 48], [15, 21]])


def test_bars_are_the_classes_sorted_by_the_first() -> None:
    axes = class_bars(CLASSES).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["cat", "dog", "bird", "sofa"]
    heights = [bar.get_height() for bar in axes.patches]
    np.testing.assert_allclose(heights, [65, 15, np.nan, np.nan, 39, np.nan, np.nan, 10])


def test_what_cannot_be_drawn_is_said() -> None:
    trace = make_trace()
    for call in (
        lambda: qualitative_grid({"a": [trace], "b": [trace, trace]}),
        lambda: qualitative_grid({}),
        lambda: draw("no such", [trace]),
        lambda: draw("strip", [trace, trace]),
        lambda: prompt_gallery(trace, query="bus"),
        lambda: recurrence_strip(trace, width="poster"),
        lambda: ablation_plot({}),
        lambda: class_bars({}),
    ):
        with pytest.raises(SettingError, match=r"^expected "):
            call()


def test_latex_reads_user_text_as_text() -> None:
    hostile = r"\input{x} $y$ #1 50% a_b ^ ~ {z} &"
    safe = latex(hostile)
    left = safe
    for command in (r"\textbackslash{}", r"\textasciicircum{}", r"\textasciitilde{}"):
        left = left.replace(command, "")
    for letter in "&%$#_{}":
        left = left.replace(f"\\{letter}", "")
    assert not set(left) & set("\\&%$#_{}^~")


def test_the_caption_has_settings_and_digests() -> None:
    trace = make_trace()
    text = caption("strip", [trace])
    assert "backbones toy, not CLIP" in text
    assert r"$\theta$ = 0.3" in text
    assert digest(trace) in text
    assert digest(trace) != digest(make_trace(theta=0.31))
    assert digest(trace) == digest(replace(trace, passes={}))


def test_the_command(tmp_path: Path) -> None:
    path = make_trace().save(tmp_path / "a.trace.safetensors")
    out = tmp_path / "fig.pdf"
    words = ["figure", "strip", str(path), "-o", str(out), "--style", "ieee", "--width", "column"]
    made = CliRunner().invoke(app, words)
    assert made.exit_code == 0, made.output
    assert out.read_bytes().startswith(b"%PDF")
    expected = caption("strip", [Trace.load(path)])
    assert (tmp_path / "fig.caption.tex").read_text() == expected
    assert make_trace().figure("strip", width="column").get_size_inches()[0] < 4
    wrong = CliRunner().invoke(app, ["figure", "no-such", str(path), "-o", str(out)])
    assert isinstance(wrong.exception, SettingError)


def data_of(figure: Figure) -> dict[str, Any]:
    """What a figure shows, as numbers and texts: not how its fonts are rendered."""
    figure.draw_without_rendering()
    return {
        "size": np.round(figure.get_size_inches(), 3).tolist(),
        "texts": [text.get_text() for text in figure.texts],
        "axes": [
            {
                "title": axes.get_title(),
                "place": np.round(axes.get_position().bounds, 2).tolist() if axes.images else None,
                "mean": [round(float(image.get_array().mean()), 1) for image in axes.images],
                "lines": [[line.get_label(), np.round(line.get_ydata(), 3).tolist()] for line in axes.lines],
                "bars": [round(float(bar.get_height()), 3) for bar in axes.patches],
            }
            for axes in figure.axes
        ],
    }


@pytest.mark.parametrize("kind", DRAW)
def test_the_data_of_each_figure_is_as_it_was(kind: str) -> None:
    """`CARLAB_SNAPSHOTS=write` writes them anew: look at the figures before."""
    made = json.loads(json.dumps(data_of(DRAW[kind](make_trace()))))
    kept = json.loads(SNAPSHOT.read_text()) if SNAPSHOT.exists() else {}
    if os.environ.get("CARLAB_SNAPSHOTS") == "write":
        SNAPSHOT.write_text(json.dumps({**kept, kind: made}, indent=1, sort_keys=True))
        return
    as_text = (json.dumps(one, sort_keys=True) for one in (made, kept[kind]))  # NaN equals itself
    assert len(set(as_text)) == 1


def test_colours_are_those_of_the_whole_project() -> None:
    lines = score_curves(make_trace()).axes[0].lines[:3]
    assert [line.get_color() for line in lines] == [colour_hex(query) for query in range(3)]
