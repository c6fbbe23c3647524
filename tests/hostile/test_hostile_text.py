"""Whatever a query says, it is shown as text: terminal, notebook, figure, file."""

import unicodedata
import warnings
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from carlab.errors import QueryError
from carlab.figures import overlay_figure, recurrence_figure, save_figure, scores_figure
from carlab.queries import check_queries
from carlab.recurrence import ClipAsRnn
from carlab.trace import Trace
from carlab.trace.show import columns, printable, shorten
from tests.hostile.strings import CONTROL, HOSTILE
from tests.traces import make_trace

TAGS = {"div", "img", "table", "thead", "tbody", "tr", "th", "td", "span"}


class Reader(HTMLParser):
    """Collects tags, attributes and text as a browser would see them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.names: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_there_are_forty() -> None:
    assert len(set(HOSTILE)) == 40
    assert check_queries(HOSTILE) == tuple(text.strip() for text in HOSTILE)


@pytest.mark.parametrize("text", CONTROL, ids=repr)
def test_control_characters_are_refused(text: str) -> None:
    with pytest.raises(QueryError):
        check_queries([text])


@pytest.mark.parametrize("text", HOSTILE + CONTROL, ids=lambda text: repr(text)[:30])
def test_html_holds_only_our_tags(text: str) -> None:
    reader = Reader()
    reader.feed(make_trace([text, "dog"], kept=[(0,), (0,)])._repr_html_())
    assert reader.tags <= TAGS
    assert reader.names <= {"style", "class", "src", "alt", "dir", "colspan"}
    assert any(data.strip() == shorten(text).strip() for data in reader.text)


def test_html_switches_tex_off() -> None:
    assert "mathjax_ignore" in make_trace(["$x^2$"], kept=[(0,)])._repr_html_()


@pytest.mark.parametrize("text", HOSTILE + CONTROL, ids=lambda text: repr(text)[:30])
def test_terminal_lines_stay_lines(text: str) -> None:
    shown = str(make_trace([text, "dog"], kept=[(0,), (0,)]))
    plain = str(make_trace(["cat", "dog"], kept=[(0,), (0,)]))
    assert len(shown.splitlines()) == len(plain.splitlines())
    assert not {letter for letter in shown if unicodedata.category(letter) == "Cc"} - {"\n"}
    assert columns(shorten(text)) <= 40


@pytest.mark.parametrize("draw", [overlay_figure, recurrence_figure, scores_figure])
@pytest.mark.parametrize("texts", [HOSTILE[:20], HOSTILE[20:], CONTROL], ids=["first", "second", "control"])
def test_figures_draw_any_text(draw: object, texts: tuple[str, ...], tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for start in range(0, len(texts), 8):
            some = texts[start : start + 8]
            figure = draw(make_trace(some, kept=[range(len(some))]))
            assert save_figure(figure, tmp_path / "figure.png", dpi=40).stat().st_size > 1000


def test_a_trace_keeps_them_exactly(tmp_path: Path) -> None:
    trace = make_trace(HOSTILE + CONTROL, kept=[range(len(HOSTILE + CONTROL))])
    assert Trace.load(trace.save(tmp_path / "t.safetensors")).queries == HOSTILE + CONTROL


def test_a_model_runs_on_them(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    short = [text for text in HOSTILE if len(text.encode()) < 60]
    trace = tiny(photo, short)
    assert trace.queries == tuple(text.strip() for text in short)


def test_printable_keeps_what_can_be_read() -> None:
    assert printable("naïve 猫 👩‍🚀") == "naïve 猫 👩‍🚀"
    assert "\u202e" not in printable("abc\u202edef")
