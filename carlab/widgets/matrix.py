"""The probabilities of a step: which other query stole the score."""

from typing import Any

import plotly.graph_objects as go

from carlab.figures.screen import matrix, matrix_chart
from carlab.widgets.base import NONE, TraceWidget


class ScoreMatrix(TraceWidget):
    """Rows are prompted images, columns the queries they were read as; click a row to select its query."""

    def build(self) -> None:
        """The heat map."""
        self.figure = go.FigureWidget(matrix_chart(self.trace, self.step, self.query))
        self.figure.layout.width = 500
        self.figure.data[0].on_click(self._clicked)
        self.children = [self.figure]

    def refresh(self) -> None:
        """Show the step selected."""
        with self.figure.batch_update():
            self.figure.data[0].update(matrix(self.trace, self.step, self.query))

    def shown(self) -> list[int]:
        """Queries of the rows, from the top."""
        from carlab.figures.screen import chosen

        named = chosen(self.trace, self.query)
        return [int(index) for index in self.trace.steps[self.step].active if index in named]

    def _clicked(self, _: Any, points: Any, __: Any) -> None:
        if points.ys:
            row = list(self.figure.data[0].y).index(points.ys[0])
            picked = self.shown()[row]
            self.query = NONE if picked == self.query else picked
