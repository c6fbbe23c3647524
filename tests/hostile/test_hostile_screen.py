"""Hostile words in every view and page: they are text there, and nothing else."""

from collections import Counter
from html.parser import HTMLParser

import ipywidgets as widgets
import numpy as np
import pytest

from carlab.figures.page import page
from carlab.figures.screen import label
from carlab.trace import Trace
from carlab.widgets import Compare, ProbeInspector, RecurrencePlayer, ScoreMatrix, ScorePlot
from tests.hostile.strings import HOSTILE
from tests.traces import make_trace

PLAIN = {"div", "span", "b", "br", "table", "tr", "td", "th", "p", "h4"}


class Elements(HTMLParser):
    """Counts elements and handlers of events."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()
        self.handlers: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names[tag] += 1
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def hostile_trace(start: int) -> Trace:
    words = list(dict.fromkeys(HOSTILE[start : start + 10]))
    kept = tuple(range(len(words)))
    vector = np.linspace(0, 1, len(words), dtype=np.float32)
    return make_trace(words, kept=(kept, kept[::2], kept[::2]), probes={"filter.scores": vector})


def html_of(widget: widgets.Widget) -> list[str]:
    """Every piece of HTML inside a widget."""
    inside = [text for child in getattr(widget, "children", ()) for text in html_of(child)]
    return [*inside, widget.value] if isinstance(widget, widgets.HTML) else inside


@pytest.mark.parametrize("start", range(0, len(HOSTILE), 10))
def test_views_hold_no_markup_of_a_word(start: int) -> None:
    trace = hostile_trace(start)
    views = [RecurrencePlayer(trace), ScorePlot(trace), ScoreMatrix(trace), ProbeInspector(trace)]
    views.append(Compare(trace, make_trace(["cat"], kept=((0,),)), tuple(trace.queries[:2])))
    for view in views:
        for text in html_of(view):
            found = Elements(text)
            assert set(found.names) <= PLAIN
            assert not found.handlers


@pytest.mark.parametrize("start", range(0, len(HOSTILE), 10))
def test_plotly_gets_neither_tags_nor_formulas(start: int) -> None:
    trace = hostile_trace(start)
    for text in ProbeInspector(trace).figure.data[0].x:
        assert "<" not in text
        assert "$" not in text


@pytest.mark.parametrize("start", range(0, len(HOSTILE), 10))
def test_the_page_has_the_elements_of_its_template(start: int) -> None:
    harmless = Elements(page(make_trace(["cat"], kept=((0,),))))
    hostile = Elements(page(hostile_trace(start)))
    assert hostile.names == harmless.names
    assert hostile.handlers == harmless.handlers == []


def test_a_label_is_what_was_written() -> None:
    assert label("<b>bold</b>") == "&lt;b&gt;bold&lt;/b&gt;"
    assert label("plain words") == "plain words"
    assert len(label("x" * 10_000)) < 100
