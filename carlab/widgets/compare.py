"""Two traces of one image, side by side."""

from html import escape
from typing import Any

import ipywidgets as widgets
import traitlets

from carlab.trace import Trace
from carlab.trace.compare import Comparison, compare
from carlab.trace.show import shorten
from carlab.widgets.base import NO_QUERY, html, rows
from carlab.widgets.player import RecurrencePlayer


class Compare(widgets.VBox):
    """Show two traces in linked players, and their differences in settings, kept queries and masks.

    Trait: `step` of both. The players are `a` and `b`; `a.query`, `a.layer` and `a.opacity` lead those of
    `b`.

    Raises TraceError if the images differ in size.

    Parameters
    ----------
    a, b
        Traces of one image; their queries may differ.
    names
        Headings of the two.

    Examples
    --------
    >>> strict = replace(trace, settings={**trace.settings, "filter": {"stage": "Threshold", "theta": 0.5}})
    >>> view = Compare(trace, strict)
    >>> view.comparison.settings
    (('filter.theta', 0.3, 0.5),)
    """

    step = traitlets.Int(0, min=0)

    def __init__(self, a: Trace, b: Trace, names: tuple[str, str] = ("a", "b"), **options: Any) -> None:
        self.comparison = compare(a, b)
        self.names = names
        self.a, self.b = RecurrencePlayer(a), RecurrencePlayer(b)
        super().__init__(**options)
        # Not the other way: of two traces, the one that ended earlier stays at its last step.
        for source, target in ((self, self.a), (self, self.b), (self.a, self)):
            traitlets.dlink((source, "step"), (target, "step"))
        traitlets.dlink((self.a, "query"), (self.b, "query"), self._query_of_b)
        for name in ("layer", "opacity"):
            traitlets.link((self.a, name), (self.b, name))
        self.table = html(_differences_html(self.comparison, names))
        self.a.figure.layout.width = self.b.figure.layout.width = 440
        heads = (html(f"<h4 style='margin:.2em 0'>{escape(shorten(name))}</h4>") for name in names)
        columns = [widgets.VBox(column) for column in zip(heads, (self.a, self.b), strict=True)]
        self.children = [self.table, rows(*columns, align_items="flex-start")]

    def show(self, a: Trace, b: Trace) -> None:
        """Compare two other traces in place; if their images differ in size, TraceError, and no change."""
        self.comparison = compare(a, b)
        self.a.trace, self.b.trace = a, b
        self.table.value = _differences_html(self.comparison, self.names)

    def _query_of_b(self, index: int) -> int:
        """Return the index in `b` of query `index` of `a`, -1 if it has none."""
        queries = self.b.trace.queries
        query = self.a.trace.queries[index] if index >= 0 else None
        return queries.index(query) if query in queries else NO_QUERY


def _differences_html(found: Comparison, names: tuple[str, str]) -> str:
    """Return a table of the settings, the kept queries and the masks that differ."""
    settings = [(escape(name), _value(was), _value(now)) for name, was, now in found.settings]
    kept = [
        (f"kept only here, step {t}", _queries(*only_a), _queries(*only_b))
        for t, (only_a, only_b) in enumerate(found.kept, 1)
        if only_a or only_b
    ]
    worst = sorted((pair for pair in found.iou.items() if pair[1] < 1), key=lambda pair: pair[1])[:12]
    ious = [(f"overlap of {_queries(query)}", f"IoU {iou:.3f}", "") for query, iou in worst]
    same = ("pixels with the same query", f"{100 * found.agreement:.2f} %", "")
    lines = [*(settings or [("settings", "the same", "")]), *kept, *ious, same]
    heads = "".join(f"<th style='text-align:left'>{escape(shorten(name))}</th>" for name in names)
    cells = ("".join(f"<td style='padding:0 1.2em 0 0'>{cell}</td>" for cell in line) for line in lines)
    return f"<table><tr><th></th>{heads}</tr>{''.join(f'<tr>{line}</tr>' for line in cells)}</table>"


def _value(value: Any) -> str:
    if isinstance(value, list):
        value = ", ".join(map(str, value[:8])) + (f", … ({len(value)})" if len(value) > 8 else "")
    return f"<span dir='auto'>{escape(shorten('' if value is None else str(value), 60))}</span>"


def _queries(*names: str) -> str:
    return ", ".join(f"<span dir='auto'>{escape(shorten(name, 24))}</span>" for name in names)
