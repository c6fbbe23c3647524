"""A study of `carlab.studies` in a notebook: its chart, its table, and the runs behind what is clicked."""

from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets as widgets
import plotly.graph_objects as go
import traitlets

from carlab.studies.forced import Counterfactual
from carlab.studies.phases import PhaseDiagram
from carlab.studies.removal import LeaveOneOut
from carlab.studies.screen import leave_one_out_chart, phase_chart, vocabulary_chart
from carlab.studies.wording import Vocabulary
from carlab.trace.show import printable, shorten
from carlab.widgets.base import ALONE, html
from carlab.widgets.chart import Chart
from carlab.widgets.compare import Compare

Study = LeaveOneOut | PhaseDiagram | Vocabulary | Counterfactual
CHARTS: dict[type, Callable[[Any], go.Figure]] = {
    LeaveOneOut: leave_one_out_chart,
    PhaseDiagram: phase_chart,
    Vocabulary: vocabulary_chart,
}


class StudyView(widgets.VBox):
    """Show a study.

    A click on a row of `leave_one_out` compares the run without that word with the run of all; a click on a
    `phase_diagram` says what is kept at that theta; a `counterfactual` is both runs in one picture.

    Traits: `chosen`, the index of what was taken away, -1 for none; `theta` and `row`, the point of a phase
    diagram, theta -1 for none.

    Parameters
    ----------
    study
        Of `carlab.studies`.

    Examples
    --------
    >>> from carlab.studies import PhaseDiagram, Phase
    >>> phases = (Phase(0.0, 0.4, (0, 1), 1), Phase(0.4, 1.0, (0,), 2))
    >>> view = StudyView(PhaseDiagram(("cat", "dog"), 0.3, 0.5, (0.5,), (phases,)))
    >>> view.theta = 0.6
    >>> view.words.value
    '<p>theta 0.6000, eta 0.50: kept cat after step 2. The same from 0.400000 up to 1.000000</p>'
    """

    chosen = traitlets.Int(-1, min=-1)
    theta = traitlets.Float(-1.0, min=-1, max=1)
    row = traitlets.Int(0, min=0)

    def __init__(self, study: Study, **options: Any) -> None:
        super().__init__(**options)
        self.study = study
        self.words, self.below = html(), widgets.VBox(layout={"width": "100%"})
        if isinstance(study, Counterfactual):
            self.words.value = f"<p>{escape(printable(study.title))}</p>"
            names = ("as it was", study.title)
            self.children = [self.words, Compare(study.before, study.after, names)]
            return
        self.chart = Chart(CHARTS[type(study)](study), layout={"width": "100%"})
        self.chart.observe(self._clicked, names="clicked")
        self.observe(self._shown, names=["chosen", "theta", "row"])
        table = html(f"<pre>{escape(printable_lines(str(study)))}</pre>")
        self.children = [self.chart, self.words, self.below, table]

    def _clicked(self, _: Any) -> None:
        point = self.chart.clicked
        if isinstance(self.study, LeaveOneOut) and "y" in point:
            self.chosen = int(point["y"])
        elif isinstance(self.study, PhaseDiagram) and "x" in point:
            etas = self.study.etas
            if len(etas) > 1:
                self.row = min(range(len(etas)), key=lambda k: abs(etas[k] - point["y"]))
            self.theta = min(max(float(point["x"]), 0.0), 1.0)

    def _shown(self, _: Any) -> None:
        with ALONE:
            if isinstance(self.study, LeaveOneOut):
                self._open_pair(self.study)
            elif isinstance(self.study, PhaseDiagram) and self.theta >= 0:
                self._describe(self.study)

    def _open_pair(self, study: LeaveOneOut) -> None:
        """Compare the run without a word with that of all."""
        if not 0 <= self.chosen < len(study.removed):
            self.below.children = ()
            return
        name = f"without {shorten(study.removed[self.chosen], 24)}"
        self.below.children = [Compare(study.base, study.traces[self.chosen], ("all", name))]

    def _describe(self, diagram: PhaseDiagram) -> None:
        """Say what is kept at a point."""
        row = min(self.row, len(diagram.etas) - 1)
        phase = diagram.at(self.theta, row)
        kept = ", ".join(shorten(diagram.queries[query], 24) for query in phase.kept) or "nothing"
        text = (
            f"theta {self.theta:.4f}, eta {diagram.etas[row]:.2f}: kept {kept} after step {phase.steps}. "
            f"The same from {phase.low:.6f} up to {phase.high:.6f}"
        )
        self.words.value = f"<p>{escape(text)}</p>"


def printable_lines(text: str) -> str:
    """Return a text with its line ends, each line `printable`.

    Parameters
    ----------
    text
        Of a table.
    """
    return "\n".join(printable(line) for line in text.split("\n"))
