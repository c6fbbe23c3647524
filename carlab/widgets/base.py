"""The base of the widgets: the trace shown, the step and the query selected, and links between views."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import ipywidgets as widgets
import traitlets

from carlab.trace import Trace

NO_QUERY = -1
"""Value of `query` when none is selected."""
ALONE = threading.RLock()
"""Held while views change: Jupyter delivers clicks in one thread and values in another, and the Lab shows
results from a third."""


@contextmanager
def unobserved(handler: Callable[[Any], None], *controls: Any, names: Any = "value") -> Iterator[None]:
    """Write to controls without calling the handler that observes them.

    Parameters
    ----------
    handler, controls, names
        The handler, the widgets that it observes, and the trait or traits of theirs.

    Examples
    --------
    >>> box, seen = widgets.IntText(), []
    >>> box.observe(seen.append, names="value")
    >>> with unobserved(seen.append, box):
    ...     box.value = 3
    >>> seen
    []
    """
    for one in controls:
        one.unobserve(handler, names=names)
    try:
        yield
    finally:
        for one in controls:
            one.observe(handler, names=names)


class TraceWidget(widgets.VBox):
    """A view of one trace; a subclass defines `build` and `refresh`.

    Traits: `trace`, which is replaced in place; `step`, from 0; `query`, the index of the one selected, -1
    for none; `visible`: a view that is not visible (behind a closed tab) is not drawn until it is.

    Parameters
    ----------
    trace
        The trace to show.
    options
        Initial values of the traits, and what `ipywidgets.VBox` takes.

    Examples
    --------
    >>> class StopReason(TraceWidget):
    ...     def build(self):
    ...         self.children = [html()]
    ...
    ...     def refresh(self):
    ...         self.children[0].value = f"step {self.step + 1}: {self.trace.stop}"
    >>> view = StopReason(trace)
    >>> view.step = 9  # out of range
    >>> view.children[0].value
    'step 3: fixed point'
    """

    step = traitlets.Int(0, min=0)
    query = traitlets.Int(NO_QUERY, min=NO_QUERY)
    trace = traitlets.Instance(Trace)
    visible = traitlets.Bool(True)

    def __init__(self, trace: Trace, **options: Any) -> None:
        super().__init__(trace=trace, **options)
        self.build()
        self.observe(self._moved, names=["step", "query"])
        self.observe(self._replaced, names="trace")
        self.observe(lambda _: self._draw(self.renew), names="visible")

    def build(self) -> None:
        """Create the children; called once."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Draw the step and the query selected."""
        raise NotImplementedError

    def renew(self) -> None:
        """Draw another trace."""
        self.refresh()

    def toggle(self, query: int) -> None:
        """Select a query, or none if it is selected already."""
        self.query = NO_QUERY if query == self.query else query

    @traitlets.validate("step", "query")
    def _in_range(self, proposal: Any) -> int:
        if proposal["trait"].name == "step":
            return min(proposal["value"], len(self.trace.steps) - 1)
        return proposal["value"] if proposal["value"] < len(self.trace.queries) else NO_QUERY

    def _moved(self, _: Any) -> None:
        self._draw(self.refresh)

    def _replaced(self, _: Any) -> None:
        with ALONE:
            with unobserved(self._moved, self, names=["step", "query"]):
                self.step, self.query = self.step, NO_QUERY  # validated: in the range of the trace
            self._draw(self.renew)

    def _draw(self, draw: Callable[[], None]) -> None:
        with ALONE:
            if self.visible:
                draw()


def html(text: str = "") -> widgets.HTML:
    """Return a piece of HTML in which TeX stays text.

    Parameters
    ----------
    text
        HTML, in which all text of the user is escaped.
    """
    return widgets.HTML(text).add_class("tex2jax_ignore").add_class("mathjax_ignore")


def rows(*children: widgets.Widget, **layout: Any) -> widgets.Box:
    """Return a box of children side by side, wrapped where the page is narrow.

    Parameters
    ----------
    children, layout
        Widgets, and further properties of the box's layout.
    """
    return widgets.Box(
        list(children), layout={"display": "flex", "flex_flow": "row wrap", "grid_gap": "8px 16px", **layout}
    )


def linked(*views: TraceWidget) -> widgets.VBox:
    """Show several views as one dashboard; they share `step` and `query`, in the browser too.

    Parameters
    ----------
    views
        Views of one trace, or of several; a step that one of them lacks is its last.

    Examples
    --------
    >>> from carlab.widgets import RecurrencePlayer, ScorePlot
    >>> player, scores = RecurrencePlayer(trace), ScorePlot(trace)
    >>> dashboard = linked(player, scores)
    >>> player.step = 2
    >>> scores.step
    2
    """
    link(*views)
    for view in views:
        view.layout.flex, view.layout.min_width = "1 1 420px", "0"
    return widgets.VBox([rows(*views, align_items="flex-start")])


def link(*views: TraceWidget) -> None:
    """Let several views share `step` and `query`, in the browser too, wherever they are shown.

    Parameters
    ----------
    views
        As `linked` takes them.
    """
    for first, second in pairwise(views):
        for name in ("step", "query"):
            traitlets.link((first, name), (second, name))
    fronts = [view.front for view in views if hasattr(view, "front")]
    for first, second in pairwise(fronts):  # without the way through the kernel
        for name in ("step", "query"):
            widgets.jslink((first, name), (second, name))
