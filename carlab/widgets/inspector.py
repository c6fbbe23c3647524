"""Any recorded probe by name: maps, vectors, the attention of a patch, with shape and statistics."""

from html import escape
from typing import Any

import ipywidgets as widgets
import numpy as np
import plotly.graph_objects as go
import traitlets

from carlab.figures.inspection import probe_figure, recorded
from carlab.figures.layers import layer_picture
from carlab.figures.screen import picture_figure
from carlab.hooks import PROBES
from carlab.widgets.base import ChartBox, TraceWidget, html, rows, unobserved

HOW_TO_RECORD = "no probes in this trace; record some: carlab.segment(image, queries, record=['cam.*'])"


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
        self.place = ChartBox(self._clicked)
        self.image = go.FigureWidget(picture_figure(layer_picture(self.trace, 0, "mask", []), 260))
        self.image.layout.width = 320
        self.dots = self.image.add_scatter(mode="markers", showlegend=False, hoverinfo="none").data[0]
        self.dots.on_click(self._pointed)
        self.facts = html()
        side = widgets.VBox([self.facts, self.image], layout={"min_width": "300px"})
        self.children = [self.menu, rows(self.place, side)]
        self.menu.observe(self._picked, names="value")
        self.renew()
        self.observe(self._moved, names=["probe", "token"])

    def renew(self) -> None:
        """Offer the probes of the trace, and draw one."""
        names = self._names()
        self.probe = self.probe if self.probe in names else next(iter(names), "")
        self.refresh()

    def refresh(self) -> None:
        """Draw the probe in this step."""
        names = self._names()
        with unobserved(self._picked, self.menu):
            self.menu.options = names
            self.menu.value = self.probe if self.probe in names else None
        if self.probe not in names:
            missing = f"not recorded in this step; there are {', '.join(names)}" if names else HOW_TO_RECORD
            self.facts.value = f"<p>{escape(missing)}</p>"
            self.place.hide()
            self._mark(None)
            return
        value = recorded(self.trace, self.step, self.probe)
        relates = self.probe in PROBES and PROBES[self.probe].axes == "n n"
        token = min(self.token, len(value) - 1) if relates else None
        chart = probe_figure(self.trace, self.step, self.probe, token or 0)
        self.figure = self.place.show(chart.update_layout(width=600), self.probe)
        self._mark(token)
        self.facts.value = _facts_html(self.probe, value)

    def _names(self) -> list[str]:
        """Return the probes recorded for the image or in this step, in the order of `PROBES`."""
        held = {*self.trace.probes, *self.trace.steps[self.step].probes}
        return [name for name in PROBES if name in held] + sorted(held - PROBES.keys())

    def _mark(self, token: int | None) -> None:
        """Show the patches on the image with one marked, or none of them."""
        i, j = self.trace.steps[0].cams.shape[1:]
        size = self.image.layout.images[0]
        patches = np.arange(i * j)
        with self.image.batch_update():
            self.dots.visible = token is not None
            self.dots.x = (patches % j + 0.5) * size.sizex / j
            self.dots.y = (patches // j + 0.5) * size.sizey / i
            opacity = np.where(patches == token, 1.0, 0.12)
            self.dots.marker = {"size": 9, "symbol": "square", "opacity": opacity, "color": "#56b4e9"}

    def _pointed(self, _: Any, points: Any, __: Any) -> None:
        if points.point_inds:
            self.token = int(points.point_inds[0])

    def _clicked(self, _: Any, points: Any, __: Any) -> None:
        if points.xs and self.dots.visible:
            self.token = int(points.ys[0]) * self.trace.steps[0].cams.shape[2] + int(points.xs[0])

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
