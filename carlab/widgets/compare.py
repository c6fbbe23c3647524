"""Two traces of one photo, side by side."""

from html import escape
from typing import Any

import ipywidgets as widgets
import traitlets

from carlab.trace import Trace
from carlab.trace.compare import Comparison, compare
from carlab.trace.show import shorten
from carlab.widgets.base import html, rows
from carlab.widgets.player import RecurrencePlayer


class Compare(widgets.VBox):
    """Two linked players, and what differs: settings, words kept, masks.

    Traits: `step` and `layer` of both; `query` is an index into the queries of `a`.

    Raises
    ------
    TraceError
        If the photos differ in size.
    """

    step = traitlets.Int(0, min=0)

    def __init__(self, a: Trace, b: Trace, names: tuple[str, str] = ("a", "b"), **options: Any) -> None:
        self.a, self.b = RecurrencePlayer(a), RecurrencePlayer(b)
        self.comparison = compare(a, b)
        self.names = names
        for player in (self.a, self.b):
            player.figure.layout.width = 440
        super().__init__(**options)
        for name in ("layer", "opacity"):
            traitlets.link((self.a, name), (self.b, name))
        self.a.observe(self._step_of_a, names="step")
        self.a.observe(self._query_of_a, names="query")
        self.observe(self._stepped, names="step")
        self.table = html(differences_html(self.comparison, names))
        heads = [html(f"<h4 style='margin:.2em 0'>{escape(shorten(name))}</h4>") for name in names]
        self.children = [
            self.table,
            rows(
                *(widgets.VBox([head, player]) for head, player in zip(heads, (self.a, self.b), strict=True)),
                align_items="flex-start",
            ),
        ]

    def show(self, a: Trace, b: Trace) -> None:
        """Compare two others in place, under the same names.

        Raises
        ------
        TraceError
            If the photos differ in size; what is shown stays.
        """
        self.comparison = compare(a, b)
        self.a.trace, self.b.trace = a, b
        self.table.value = differences_html(self.comparison, self.names)

    def _step_of_a(self, change: Any) -> None:
        self.step = change["new"]

    def _stepped(self, change: Any) -> None:
        """A trace that ended earlier stays at its last step."""
        self.a.step = self.b.step = change["new"]

    def _query_of_a(self, change: Any) -> None:
        """The same word, wherever it stands in b."""
        queries = self.b.trace.queries
        word = self.a.trace.queries[change["new"]] if change["new"] >= 0 else None
        self.b.query = queries.index(word) if word in queries else -1


def differences_html(found: Comparison, names: tuple[str, str]) -> str:
    """A table of settings, of words kept in one only, and of the overlap of each word's masks."""
    a, b = (escape(shorten(name)) for name in names)
    lines = [_row(escape(name), _value(was), _value(now)) for name, was, now in found.settings] or [
        _row("settings", "the same", "")
    ]
    for t, (mine, theirs) in enumerate(found.kept):
        if mine or theirs:
            lines.append(_row(f"kept only here, step {t + 1}", _words(mine), _words(theirs)))
    changed = {word: iou for word, iou in found.iou.items() if iou < 1}
    for word, iou in sorted(changed.items(), key=lambda pair: pair[1])[:12]:
        lines.append(_row(f"overlap of {_words((word,))}", f"IoU {iou:.3f}", ""))
    lines.append(_row("pixels with the same word", f"{100 * found.agreement:.2f} %", ""))
    head = f"<tr><th></th><th style='text-align:left'>{a}</th><th style='text-align:left'>{b}</th></tr>"
    return f"<table>{head}{''.join(lines)}</table>"


def _row(*cells: str) -> str:
    return "<tr>" + "".join(f"<td style='padding:0 1.2em 0 0'>{cell}</td>" for cell in cells) + "</tr>"


def _value(value: Any) -> str:
    if isinstance(value, list):
        text = ", ".join(str(item) for item in value[:8]) + (f", … ({len(value)})" if len(value) > 8 else "")
    else:
        text = "" if value is None else str(value)
    return f"<span dir='auto'>{escape(shorten(text, 60))}</span>"


def _words(words: tuple[str, ...]) -> str:
    return ", ".join(f"<span dir='auto'>{escape(shorten(word, 24))}</span>" for word in words)
