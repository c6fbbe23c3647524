"""Score of each query over the steps."""

from typing import Any

import traitlets

from carlab.figures.screen import MOST_LINES, chosen, emphasise, scores_chart
from carlab.widgets.base import NONE, TraceWidget
from carlab.widgets.charts import ChartBox


class ScorePlot(TraceWidget):
    """Lines of scores, the threshold, and where each query fell; click a line to select its query.

    Traits: `step` (the dotted line), `query`, and `top`, how many queries are drawn by name.
    """

    top = traitlets.Int(MOST_LINES, min=1)

    def build(self) -> None:
        """The chart."""
        self.place = ChartBox(self._clicked)
        self.children = [self.place]
        self.renew()
        self.observe(lambda _: self._draw(self.renew), names="top")

    def refresh(self) -> None:
        """Emphasise the query and move the line of the step."""
        if chosen(self.trace, self.query, self.top) != self.named():
            self.renew()
            return
        emphasise(self.figure, self.trace, self.query, self.step)

    def renew(self) -> None:
        """Draw another trace."""
        chart = scores_chart(self.trace, self.query, self.step, self.top)
        self.figure = self.place.show(chart.update_layout(width=580))

    def named(self) -> list[int]:
        """Queries drawn by name."""
        return [int(line.customdata[0]) for line in self.figure.data[:-2]]

    def _clicked(self, line: Any, points: Any, _: Any) -> None:
        if points.point_inds:
            picked = int(line.customdata[points.point_inds[0]])
            self.query = NONE if picked == self.query else picked
