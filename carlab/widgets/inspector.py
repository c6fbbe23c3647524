"""Any recorded probe by name: maps, vectors, where a patch looks; shape and statistics beside it."""

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
from carlab.widgets.base import TraceWidget, html, quietly, rows
from carlab.widgets.charts import ChartBox


class ProbeInspector(TraceWidget):
    """Look at what a run recorded: `carlab.segment(..., record=["cam.*"])`.

    Traits: `step`, `probe` (a name, "" if nothing was recorded), `token` (the patch to look from, where
    a probe relates patches to patches: click the photo or the map to choose it).
    """

    probe = traitlets.Unicode("")
    token = traitlets.Int(0, min=0)

    def build(self) -> None:
        """A menu of probes, the figure, and the numbers."""
        self._quiet = False
        self.menu = widgets.Dropdown(description="probe")
        self.place = ChartBox(self._clicked)
        self.photo = go.FigureWidget(picture_figure(layer_picture(self.trace, 0, "mask", []), 260))
        self.photo.layout.width = 320
        self.dots = self.photo.add_scatter(mode="markers", showlegend=False, hoverinfo="none").data[0]
        self.dots.on_click(self._pointed)
        self.facts = html()
        self.children = [
            self.menu,
            rows(self.place, widgets.VBox([self.facts, self.photo], layout={"min_width": "300px"})),
        ]
        self.menu.observe(self._picked, names="value")
        self.observe(self._moved, names=["probe", "token"])
        self.renew()

    def names(self) -> list[str]:
        """Probes recorded for the image or in this step, in the order of the published table."""
        held = {*self.trace.probes, *self.trace.steps[self.step].probes}
        return [name for name in PROBES if name in held] + sorted(held - PROBES.keys())

    def relates(self) -> bool:
        """Whether the probe relates patches to patches, so that one is to be chosen."""
        return self.probe in PROBES and PROBES[self.probe].axes == "n n"

    def renew(self) -> None:
        """Offer the probes of another trace."""
        self._quiet = False
        names = self.names()
        if self.probe not in names:
            self.probe = names[0] if names else ""
        self.refresh()

    def refresh(self) -> None:
        """Draw the probe in this step."""
        names = self.names()
        with quietly(self):
            if self.menu.options != tuple(names):
                self.menu.options = tuple(names)
            self.menu.value = self.probe if self.probe in names else None
        if self.probe not in names:
            self._nothing(names)
            return
        value = recorded(self.trace, self.step, self.probe)
        relates = self.relates()
        token = min(self.token, len(value) - 1) if relates else 0
        chart = probe_figure(self.trace, self.step, self.probe, token)
        self.figure = self.place.show(chart.update_layout(width=600), self.probe)
        self._mark(relates, token)
        self.facts.value = facts(self.probe, value)

    def _nothing(self, names: list[str]) -> None:
        told = f"not recorded in this step; there are {', '.join(names)}" if names else (
            "this trace holds no probes; record some: carlab.segment(photo, queries, record=['cam.*'])"
        )  # fmt: skip
        self.place.hide()
        self.facts.value = f"<p>{escape(told)}</p>"
        self._mark(False, 0)

    def _mark(self, relates: bool, token: int) -> None:
        """Patches to click on the photo; one is marked."""
        i, j = self.trace.steps[0].cams.shape[1:]
        image = self.photo.layout.images[0]
        rows_, columns = np.divmod(np.arange(i * j), j)
        with self.photo.batch_update():
            self.dots.visible = relates
            self.dots.x = (columns + 0.5) * image.sizex / j
            self.dots.y = (rows_ + 0.5) * image.sizey / i
            self.dots.marker = {
                "size": 9,
                "symbol": "square",
                "opacity": np.where(np.arange(i * j) == token, 1.0, 0.12),
                "color": "#56b4e9",
            }

    def _pointed(self, _: Any, points: Any, __: Any) -> None:
        if points.point_inds:
            self.token = int(points.point_inds[0])

    def _clicked(self, _: Any, points: Any, __: Any) -> None:
        if points.xs and self.relates():
            self.token = int(points.ys[0]) * self.trace.steps[0].cams.shape[2] + int(points.xs[0])

    def _picked(self, change: Any) -> None:
        if not self._quiet and change["new"]:
            self.probe = change["new"]


def facts(name: str, value: Any) -> str:
    """HTML of a probe's meaning, axes, shape, type, range, mean, spread, and what is not a number."""
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
