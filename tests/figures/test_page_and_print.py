"""What people see: tables, notebook output, figures."""

import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carlab.figures import overlay_figure, recurrence_figure, save_figure, scores_figure
from carlab.files.pictures import OKABE_ITO, colour, colour_hex
from carlab.trace.show import columns, most_telling, shorten, trace_html, trace_text, verdict
from tests.traces import make_trace

FIGURES = [overlay_figure, recurrence_figure, scores_figure]
TRACES = {
    "usual": make_trace(),
    "nothing": make_trace(kept=[()]),
    "one query": make_trace(["cat"], kept=[(0,)]),
    "many": make_trace([f"thing {k}" for k in range(200)], kept=[range(0, 200, 3), range(0, 200, 6)]),
    "wide": make_trace(size=(20, 300)),
    "tall": make_trace(size=(300, 20)),
}


def test_text_is_a_table() -> None:
    assert trace_text(make_trace()).splitlines() == [
        "70 x 48 image · synthetic · toy, not CLIP",
        "",
        "  query   step 1   step 2   step 3",
        "  cat      0.800    0.800    0.800   kept",
        "  dog      0.800    0.120            dropped at step 2, 0.180 below 0.300",
        "  sofa     0.120                     dropped at step 1, 0.180 below 0.300",
        "",
        "  found: cat · 3 steps, fixed point, 1 trunk, 4 vjps",
    ]


def test_verdicts() -> None:
    assert [verdict(make_trace(), k) for k in range(2)] == ["kept", "dropped at step 2, 0.180 below 0.300"]
    assert verdict(make_trace(theta=float("nan")), 1) == "dropped at step 2"


def test_many_queries_are_counted_not_listed() -> None:
    assert "... and 170 more, dropped" in trace_text(TRACES["many"])
    assert len(most_telling(TRACES["many"])) == 30
    assert "found: nothing" in trace_text(TRACES["nothing"])


def test_columns_line_up_in_any_script() -> None:
    lines = trace_text(make_trace(["猫と犬", "e\u0301te\u0301", "cat"])).splitlines()[3:6]
    assert len({columns(line[: line.index("0.")]) for line in lines}) == 1


def test_shorten_cuts_at_columns() -> None:
    assert shorten("x" * 50) == "x" * 39 + "…"
    assert columns(shorten("猫" * 50)) <= 40
    assert shorten("cat") == "cat"


@pytest.mark.parametrize("name", TRACES)
def test_html_shows_a_picture_and_every_row(name: str) -> None:
    trace = TRACES[name]
    html = trace_html(trace)
    picture = Image.open(BytesIO(b64decode(re.search(r"base64,([^']+)", html)[1])))
    assert max(picture.size) <= 640
    assert html.count("<tr") == 1 + min(len(trace.queries), 30) + (len(trace.queries) > 30)
    for query in trace.survivors[:10]:
        assert colour_hex(int(query)) in html


def test_colours_differ() -> None:
    assert [colour(k) for k in range(7)] == list(OKABE_ITO)
    assert len({colour(k) for k in range(80)}) == 80
    assert colour_hex(0) == "#e69f00"


@pytest.mark.parametrize("draw", FIGURES)
@pytest.mark.parametrize("name", TRACES)
def test_every_figure_of_every_trace(draw: object, name: str, tmp_path: Path) -> None:
    path = save_figure(draw(TRACES[name]), tmp_path / "f.png", dpi=50)
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert picture.std() > 1, "an empty page"


def test_dropped_queries_leave_a_gap() -> None:
    figure = recurrence_figure(make_trace())
    assert [axes.get_title() for axes in figure.axes[::3]] == ["cat", "dog", "sofa", "cat", "dog", "cat"]
    notes = [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()]
    assert notes == ["0.80  kept", "0.80  kept", "0.12  dropped", "0.80  kept", "0.12  dropped", "0.80  kept"]
