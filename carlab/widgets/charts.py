"""A place for charts, which are changed in place as long as they are of one kind."""

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
import plotly.graph_objects as go

from carlab.figures.screen import bring, parts


class ChartBox(widgets.Box):
    """A place for one chart at a time. Of each kind the figure is kept, and changed in place.

    The others are hidden: a figure that is taken out of the page, or closed, still listens there, and
    complains of the next change.
    """

    def __init__(self, clicked: Callable[[Any, Any, Any], None]) -> None:
        super().__init__()
        self._clicked = clicked
        self._boxes: dict[tuple[Any, ...], widgets.Box] = {}

    def show(self, chart: go.Figure, kind: str = "") -> go.FigureWidget:
        """Show a chart; charts of one kind differ in nothing but data, text and `parts`."""
        key = (kind, *parts(chart))
        known = key in self._boxes
        if not known:
            self._boxes[key] = widgets.Box([go.FigureWidget(chart)])
            self.children = tuple(self._boxes.values())
        self.hide(but=key)
        (figure,) = self._boxes[key].children
        if known:
            bring(figure, chart)
        else:
            for trace in figure.data:
                trace.on_click(self._clicked)
        return figure

    def hide(self, but: tuple[Any, ...] | None = None) -> None:
        """Show nothing, or one."""
        for key, box in self._boxes.items():
            box.layout.display = None if key == but else "none"
