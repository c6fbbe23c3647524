"""Score of each query over the steps."""

from typing import Any

import plotly.graph_objects as go
import traitlets

from carlab.figures.screen import MOST_LINES, bring, chosen, emphasise, scores_chart
from carlab.widgets.base import NONE, TraceWidget


class ScorePlot(TraceWidget):
    """Lines of scores, the threshold, and where each query fell; click a line to select its query.

    Traits: `step` (the dotted line), `query`, and `top`, how many queries are drawn by name.
    """

    top = traitlets.Int(MOST_LINES, min=1)

    def build(self) -> None:
        """The chart."""
        self._draw(self.chart())
        self.observe(lambda _: self.renew(), names="top")

    def chart(self) -> go.Figure:
        """What is to be seen now."""
        chart = scores_chart(self.trace, self.query, self.step, self.top)
        return chart.update_layout(width=580)

    def refresh(self) -> None:
        """Emphasise the query and move the line of the step."""
        if chosen(self.trace, self.query, self.top) != self.named():
            self.renew()
            return
        emphasise(self.figure, self.trace, self.query, self.step)

    def renew(self) -> None:
        """Draw another trace."""
        chart = self.chart()
        if not bring(self.figure, chart):
            self.figure.close()
            self._draw(chart)

    def _draw(self, chart: go.Figure) -> None:
        self.figure = go.FigureWidget(chart)
        for line in self.figure.data:
            line.on_click(self._clicked)
        self.children = [self.figure]

    def named(self) -> list[int]:
        """Queries drawn by name."""
        return [int(line.customdata[0]) for line in self.figure.data[:-2]]

    def _clicked(self, line: Any, points: Any, _: Any) -> None:
        if points.point_inds:
            picked = int(line.customdata[points.point_inds[0]])
            self.query = NONE if picked == self.query else picked
