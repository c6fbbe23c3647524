"""Any recorded probe by name: maps, vectors, the attention of a patch, with shape and statistics."""

from html import escape
from typing import Any

import ipywidgets as widgets
import numpy as np
import traitlets

from carlab.figures.content import trace_content
from carlab.figures.inspection import axes_of, probe_figure, recorded
from carlab.hooks import PROBES
from carlab.widgets.base import TraceWidget, html, rows, unobserved
from carlab.widgets.chart import Chart
from carlab.widgets.front import Front

HOW_TO_RECORD = "no probes in this trace; record some: carlab.segment(image, queries, record=['cam.*'])"
PHOTO_SIDE = 480
"""Longest side of the image beside a chart, in pixels."""


class ProbeInspector(TraceWidget):
    """Show the probes that a run recorded: `carlab.segment(..., record=["cam.*"])`.

    Traits, beside those of `TraceWidget`: `probe`, a name, "" if none was recorded; `token`, the patch whose
    row is shown where a probe relates patches to patches: a click on the image or the map selects it.

    Examples
    --------
    >>> probed = replace(trace, probes={"filter.scores": np.array([0.8, 0.8, 0.12])})
    >>> inspector = ProbeInspector(probed)
    >>> inspector.probe, inspector.figure.data[0].y.tolist()
    ('filter.scores', [0.8, 0.8, 0.12])
    """

    probe = traitlets.Unicode("")
    token = traitlets.Int(0, min=0)

    def build(self) -> None:
        """Create the menu of probes, the figure, the statistics, and the image with its patches."""
        self.menu = widgets.Dropdown(description="probe")
        self.slider = widgets.IntSlider(1, min=1, description="step", layout={"width": "280px"})
        self.chart = Chart(layout={"flex": "1 1 420px", "min_width": "0"})
        self.front = Front("picture", opacity=0, layout={"width": "100%"})
        self.facts = html()
        side = widgets.VBox([self.facts, self.front], layout={"flex": "1 1 260px", "max_width": "380px"})
        self.children = [rows(self.menu, self.slider), rows(self.chart, side)]
        self.menu.observe(self._picked, names="value")
        self.slider.observe(self._slid, names="value")
        self.chart.observe(self._clicked, names="clicked")
        self.front.observe(self._pointed, names="pick")
        self.renew()
        self.observe(self._moved, names=["probe", "token"])

    def renew(self) -> None:
        """Offer the probes of the trace, and draw one."""
        names = self._names()
        self.probe = self.probe if self.probe in names else next(iter(names), "")
        self.front.content = trace_content(self.trace, side=PHOTO_SIDE, top=1)
        with unobserved(self._slid, self.slider):
            self.slider.max = len(self.trace.steps)
        self.refresh()

    def refresh(self) -> None:
        """Draw the probe in this step."""
        names = self._names()
        with unobserved(self._slid, self.slider):
            self.slider.value = self.step + 1
        with unobserved(self._picked, self.menu):
            self.menu.options = names
            self.menu.value = self.probe if self.probe in names else None
        if self.probe not in names:
            missing = f"not recorded in this step; there are {', '.join(names)}" if names else HOW_TO_RECORD
            self.facts.value = f"<p>{escape(missing)}</p>"
            self.figure = None
            self.chart.layout.display = "none"
            self._mark(None)
            return
        value = recorded(self.trace, self.step, self.probe)
        relates = axes_of(self.trace, self.step, self.probe) == "n n"
        token = min(self.token, len(value) - 1) if relates else None
        self.figure = probe_figure(self.trace, self.step, self.probe, token or 0)
        self.chart.layout.display = None
        self.chart.show(self.figure)
        self._mark(token)
        self.facts.value = _facts_html(self.probe, value)

    def _names(self) -> list[str]:
        """Return the probes recorded for the image or in this step, in the order of `PROBES`."""
        held = {*self.trace.probes, *self.trace.steps[self.step].probes}
        return [name for name in PROBES if name in held] + sorted(held - PROBES.keys())

    def _mark(self, token: int | None) -> None:
        """Mark a patch on the image, where the probe relates patches; None for no mark."""
        with unobserved(self._pointed, self.front, names="pick"):
            columns = self.trace.steps[0].cams.shape[2]
            self.front.change(
                pickable=token is not None, pick=[] if token is None else list(divmod(token, columns))
            )

    def _pointed(self, _: Any) -> None:
        if self.front.pick:
            row, column = self.front.pick
            self.token = row * self.trace.steps[0].cams.shape[2] + column

    def _clicked(self, _: Any) -> None:
        if self.front.pickable and {"x", "y"} <= self.chart.clicked.keys():
            self.token = int(self.chart.clicked["y"]) * self.trace.steps[0].cams.shape[2] + int(
                self.chart.clicked["x"]
            )

    def _slid(self, change: Any) -> None:
        self.step = change["new"] - 1

    def _picked(self, change: Any) -> None:
        if change["new"]:
            self.probe = change["new"]


def _facts_html(name: str, value: Any) -> str:
    """Return the meaning, axes, shape, type and statistics of a probe as HTML."""
    info = PROBES.get(name)
    numbers = np.asarray(value, dtype=np.float64)
    good = numbers[np.isfinite(numbers)]
    lines = {
        "axes": info.axes if info else "",
        "shape": " x ".join(map(str, value.shape)),
        "type": str(value.dtype),
        "range": f"{good.min():.4g} to {good.max():.4g}" if good.size else "nothing finite",
        "mean": f"{good.mean():.4g}, standard deviation {good.std():.4g}" if good.size else "",
        "not finite": str(numbers.size - good.size),
    }
    table = "".join(
        f"<tr><td style='padding-right:1em;opacity:.7'>{escape(key)}</td><td>{escape(text)}</td></tr>"
        for key, text in lines.items()
    )
    return f"<div><b>{escape(name)}</b><br>{escape(info.meaning if info else '')}<table>{table}</table></div>"
