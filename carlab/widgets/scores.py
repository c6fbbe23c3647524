"""The scores of each query over the steps, and those of every pair in one step."""

from typing import Any

import plotly.graph_objects as go
import traitlets

from carlab.figures.layers import MOST_NAMED
from carlab.figures.screen import chosen, emphasise, matrix, matrix_chart, scores_chart
from carlab.widgets.base import ChartBox, TraceWidget


class ScorePlot(TraceWidget):
    """Plot the score of each query over the steps, the threshold, and where each query was dropped.

    A click on a line selects its query. Trait, beside those of `TraceWidget`: `top`, how many queries are
    drawn by name. The dotted line marks the `step`.

    Examples
    --------
    >>> plot = ScorePlot(trace, top=2)
    >>> plot.query = 0
    >>> [(line.name, line.opacity) for line in plot.figure.data[:2]]
    [('cat', 1.0), ('dog', 0.3)]
    """

    top = traitlets.Int(MOST_NAMED, min=1)

    def build(self) -> None:
        """Create the chart."""
        self.place = ChartBox(self._clicked)
        self.children = [self.place]
        self.renew()
        self.observe(lambda _: self._draw(self.renew), names="top")

    def refresh(self) -> None:
        """Emphasise the query and move the line of the step."""
        named = [int(line.customdata[0]) for line in self.figure.data[:-2]]
        if chosen(self.trace, self.query, self.top) == named:
            emphasise(self.figure, self.query, self.step)
        else:
            self.renew()

    def renew(self) -> None:
        """Draw the chart of the trace."""
        chart = scores_chart(self.trace, self.query, self.step, self.top)
        self.figure = self.place.show(chart.update_layout(width=580))

    def _clicked(self, line: Any, points: Any, _: Any) -> None:
        if points.point_inds:
            self.toggle(int(line.customdata[points.point_inds[0]]))


class ScoreMatrix(TraceWidget):
    """Show the scores of a step as a heat map: a row a prompted image, a column a query.

    A click on a row selects its query.

    Examples
    --------
    >>> view = ScoreMatrix(trace)
    >>> view.step = 1
    >>> view.figure.data[0].z.round(2)
    array([[0.8 , 0.1 ],
           [0.1 , 0.12]], dtype=float32)
    """

    def build(self) -> None:
        """Create the heat map."""
        self.figure = go.FigureWidget(matrix_chart(self.trace, self.step, self.query))
        self.figure.layout.width = 500
        self.figure.data[0].on_click(self._clicked)
        self.children = [self.figure]

    def refresh(self) -> None:
        """Draw the step."""
        with self.figure.batch_update():
            self.figure.data[0].update(matrix(self.trace, self.step, self.query))

    def _clicked(self, _: Any, points: Any, __: Any) -> None:
        if points.ys:
            named = chosen(self.trace, self.query)
            shown = [index for index in self.trace.steps[self.step].active if index in named]
            self.toggle(int(shown[list(self.figure.data[0].y).index(points.ys[0])]))
