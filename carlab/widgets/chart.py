"""A plotly chart in a widget; the library is sent once a page, not once a chart as with `FigureWidget`."""

import json
from importlib.resources import files
from typing import Any

import anywidget
import plotly.graph_objects as go
import traitlets


class Chart(anywidget.AnyWidget):
    """Show a plotly figure; whatever it is set to, and whenever, is drawn.

    Traits: `figure`, of plotly as JSON; `clicked`, the last click: `curve`, `point`, `x`, `y`, and `count`.

    Parameters
    ----------
    figure
        The first figure; None for none.

    Examples
    --------
    >>> chart = Chart(go.Figure().add_bar(y=[1, 2]))
    >>> chart.figure["data"][0]["type"]
    'bar'
    """

    _esm = files(__name__.rpartition(".")[0]).joinpath("chart.js").read_text(encoding="utf-8")
    figure = traitlets.Dict().tag(sync=True)
    clicked = traitlets.Dict().tag(sync=True)

    def __init__(self, figure: go.Figure | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.on_msg(self._asked)
        if figure is not None:
            self.show(figure)

    def show(self, figure: go.Figure) -> None:
        """Show another figure in its place."""
        self.figure = json.loads(figure.to_json())

    def _asked(self, _: Any, content: Any, __: Any) -> None:
        if content == {"ask": "plotly"}:
            self.send({"plotly": True}, buffers=[library()])


def library() -> bytes:
    """Return plotly's own JavaScript, from its package."""
    return files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()
