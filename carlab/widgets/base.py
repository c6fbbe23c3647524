"""What all widgets share: the trace they show, the step and the query selected, and links between them."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from html import escape
from itertools import pairwise
from typing import Any, ParamSpec, TypeVar

import ipywidgets as widgets
import traitlets

from carlab.files.pictures import colour_hex
from carlab.trace import Trace
from carlab.trace.show import most_telling, shorten, verdict

NONE = -1
"""Value of `query` when none is selected."""
TOP = 12
"""Queries offered before a search."""
_ALONE = threading.RLock()
P = ParamSpec("P")
R = TypeVar("R")


def alone(method: Callable[P, R]) -> Callable[P, R]:
    """A method that changes views, and waits while another thread does so.

    Jupyter tells of clicks in one thread and of values in another, and the Lab shows results from a third.
    """

    @wraps(method)
    def waiting(*args: P.args, **options: P.kwargs) -> R:
        with _ALONE:
            return method(*args, **options)

    return waiting


class TraceWidget(widgets.VBox):
    """A view of one trace; `step` (from 0) and `query` (an index, -1 for none) can be linked to others'.

    Setting `trace` shows another one in place; `step` and `query` are then brought into its range.
    While `visible` is False nothing is drawn: a view behind a closed tab costs nothing, and is brought up
    to date when it is seen again.
    """

    step = traitlets.Int(0, min=0)
    query = traitlets.Int(NONE, min=NONE)
    trace = traitlets.Instance(Trace)
    visible = traitlets.Bool(True)

    def __init__(self, trace: Trace, **options: Any) -> None:
        self._replacing = self._stale = False
        super().__init__(trace=trace, **options)
        self.build()
        self.observe(self._moved, names=["step", "query"])
        self.observe(self._replaced, names="trace")
        self.observe(self._seen, names="visible")

    def build(self) -> None:
        """Make the children; called once."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Bring the children up to date with the traits."""
        raise NotImplementedError

    def renew(self) -> None:
        """Another trace is shown."""
        self.refresh()

    @traitlets.validate("step")
    def _valid_step(self, proposal: Any) -> int:
        return max(0, min(proposal["value"], len(self.trace.steps) - 1))

    @traitlets.validate("query")
    def _valid_query(self, proposal: Any) -> int:
        return proposal["value"] if proposal["value"] < len(self.trace.queries) else NONE

    def _moved(self, _: Any) -> None:
        if not self._replacing:
            self._draw(self.refresh)

    @alone
    def _replaced(self, _: Any) -> None:
        with quietly(self, "_replacing"):
            self.step, self.query = min(self.step, len(self.trace.steps) - 1), NONE
        self._draw(self.renew)

    def _seen(self, _: Any) -> None:
        if self._stale:
            self._draw(self.renew)

    @alone
    def _draw(self, draw: Callable[[], None]) -> None:
        self._stale = not self.visible
        if self.visible:
            draw()


class QueryPicker(widgets.VBox):
    """A list of queries to choose from, with a search; 80 queries stay usable."""

    query = traitlets.Int(NONE)

    def __init__(self, trace: Trace, **options: Any) -> None:
        self.trace = trace
        self.search = widgets.Text(
            placeholder="search queries", continuous_update=True, layout={"width": "auto"}
        )
        self.search.layout.display = None if len(trace.queries) > TOP else "none"
        self.list = widgets.Select(rows=8, layout={"width": "auto"})
        super().__init__([self.search, self.list], **options)
        self._quiet = False
        self.fill()
        self.search.observe(lambda _: self.fill(), names="value")
        self.list.observe(self._chosen, names="value")
        self.observe(lambda _: self.fill(), names="query")

    def show(self, trace: Trace) -> None:
        """Offer the queries of another trace."""
        self.trace = trace
        self.search.layout.display = None if len(trace.queries) > TOP else "none"
        self.fill()

    def matches(self) -> list[int]:
        """Queries offered: those that hold the search, or the most telling ones; and the one selected."""
        wanted = self.search.value.casefold().strip()
        if wanted:
            found = [index for index, name in enumerate(self.trace.queries) if wanted in name.casefold()][:50]
        else:
            found = most_telling(self.trace, TOP)
        return sorted({*found, self.query}) if self.query >= 0 else found

    @alone
    def fill(self) -> None:
        """Write the list anew."""
        options = [("all queries", NONE)]
        options += [
            (f"{index + 1}. {shorten(self.trace.queries[index], 30)}", index) for index in self.matches()
        ]
        self._quiet = True
        try:
            self.list.options = options
            self.list.value = self.query if self.query < len(self.trace.queries) else NONE
        finally:
            self._quiet = False

    def _chosen(self, change: Any) -> None:
        if not self._quiet and change["new"] is not None:
            self.query = change["new"]


def status(trace: Trace, t: int, queries: Sequence[int]) -> str:
    """HTML of what became of each query by step `t`: dropped ones grey, with step and margin."""
    scores, fell = trace.scores, {drop.query: drop.step for drop in trace.drops}
    return "".join(_line(trace, t, index, scores[: t + 1, index], fell.get(index)) for index in queries)


def _line(trace: Trace, t: int, index: int, scores: Any, fell: int | None) -> str:
    gone = fell is not None and fell <= t
    reached = scores[t] if fell is None or fell >= t else scores[fell]
    note = verdict(trace, index) if gone or t == len(trace.steps) - 1 else ""
    return (
        f"<div style='opacity:{0.5 if gone else 1};line-height:1.5'>"
        f"<span style='display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.5em;"
        f"border:1px solid {colour_hex(index)};background:{'transparent' if gone else colour_hex(index)}'>"
        "</span>"
        f"<b dir='auto'>{escape(shorten(trace.queries[index], 30))}</b> "
        f"<span style='font-variant-numeric:tabular-nums'>{reached:.3f}</span> "
        f"<span style='opacity:.75'>{escape(note)}</span></div>"
    )


def html(text: str = "") -> widgets.HTML:
    """A piece of HTML in which TeX stays text."""
    piece = widgets.HTML(text)
    piece.add_class("tex2jax_ignore")
    piece.add_class("mathjax_ignore")
    return piece


def rows(*children: widgets.Widget, **layout: Any) -> widgets.Box:
    """Children side by side, wrapping where the page is narrow."""
    return widgets.Box(
        list(children), layout={"display": "flex", "flex_flow": "row wrap", "grid_gap": "8px 16px", **layout}
    )


@contextmanager
def quietly(widget: Any, flag: str = "_quiet") -> Iterator[None]:
    """While the widget itself writes a control, what the control tells is not a user's wish."""
    setattr(widget, flag, True)
    try:
        yield
    finally:
        setattr(widget, flag, False)


def linked(*views: TraceWidget) -> widgets.VBox:
    """One dashboard of several views: they share the step and the query selected.

    Views of different traces share what both have.
    """
    for first, second in pairwise(views):
        for name in ("step", "query"):
            traitlets.link((first, name), (second, name))
    return widgets.VBox([rows(*views, align_items="flex-start")])
