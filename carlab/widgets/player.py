"""The recurrence, step by step: the photo with each query's mask, and who fell."""

from typing import Any

import ipywidgets as widgets
import plotly.graph_objects as go
import traitlets

from carlab.figures.layers import LAYERS, layer_picture
from carlab.figures.screen import picture_figure, redraw
from carlab.trace.show import most_telling
from carlab.widgets.base import NONE, TOP, QueryPicker, TraceWidget, html, quietly, rows, status

PLAY = 900
"""Milliseconds a step while playing."""


class RecurrencePlayer(TraceWidget):
    """Play the steps of a trace: layers over the photo, colours by query, dropped queries greyed.

    Traits: `step`, `query` (only that one is painted), `layer` (one of `carlab.figures.layers.LAYERS`),
    `opacity` in [0, 1].

    >>> RecurrencePlayer(trace)  # doctest: +SKIP
    """

    layer = traitlets.Enum(LAYERS, default_value="mask")
    opacity = traitlets.Float(0.6, min=0, max=1)

    def build(self) -> None:
        """Slider and play, layers, opacity, the photo, the list of queries and what became of them."""
        self._quiet = False
        self.play = widgets.Play(interval=PLAY, min=0, description="play")
        self.slider = widgets.IntSlider(description="step", readout=False, layout={"width": "240px"})
        self.caption = html()
        self.layers = widgets.ToggleButtons(options=LAYERS, value=self.layer, style={"button_width": "auto"})
        self.fader = widgets.FloatSlider(
            self.opacity, min=0, max=1, step=0.05, description="opacity", layout={"width": "240px"}
        )
        self.figure = go.FigureWidget(picture_figure(self.picture()))
        self.figure.layout.width = 560
        self.picker = QueryPicker(self.trace, layout={"width": "230px"})
        self.status = html()
        widgets.jslink((self.play, "value"), (self.slider, "value"))
        self.children = [
            rows(self.play, self.slider, self.caption, align_items="center"),
            rows(self.layers, self.fader, align_items="center"),
            rows(self.figure, widgets.VBox([self.picker, self.status], layout={"min_width": "240px"})),
        ]
        self.slider.observe(self._slid, names="value")
        traitlets.link((self, "layer"), (self.layers, "value"))
        traitlets.link((self, "opacity"), (self.fader, "value"))
        traitlets.link((self, "query"), (self.picker, "query"))
        self.observe(self._moved, names=["layer", "opacity"])
        self._fit()
        self.refresh()

    def shown(self) -> list[int]:
        """Queries painted: the one selected, or the most telling of those active."""
        return [self.query] if self.query != NONE else most_telling(self.trace, TOP)

    def picture(self) -> Any:
        """What the photo shows now, UInt8 (h, w, 3)."""
        return layer_picture(self.trace, self.step, self.layer, self.shown(), opacity=self.opacity)

    def refresh(self) -> None:
        """Draw the step anew."""
        with quietly(self):
            self.slider.value = self.step
        with self.figure.batch_update():
            redraw(self.figure, self.picture())
        step = self.trace.steps[self.step]
        last = self.step == len(self.trace.steps) - 1
        end = f": {self.trace.stop}" if last else ""
        self.caption.value = (
            f"step {self.step + 1} of {len(self.trace.steps)} · {len(step.active)} active, "
            f"{int(step.kept.sum())} kept{end}"
        )
        self.status.value = status(self.trace, self.step, self.picker.matches())

    def renew(self) -> None:
        """Fit the controls to another trace."""
        self.picker.show(self.trace)
        self._fit()
        self.refresh()

    def _fit(self) -> None:
        with quietly(self):
            most = len(self.trace.steps) - 1
            self.slider.value = min(self.slider.value, most)
            self.slider.max = self.play.max = most

    def _slid(self, change: Any) -> None:
        if not self._quiet:
            self.step = change["new"]
