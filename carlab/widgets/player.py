"""The recurrence, step by step: the image with the mask of each query, and which were dropped."""

from collections.abc import Sequence
from html import escape
from typing import Any

import ipywidgets as widgets
import plotly.graph_objects as go
import traitlets

from carlab.figures.layers import LAYERS, layer_picture
from carlab.figures.screen import picture_figure, redraw
from carlab.files.pictures import colour_hex
from carlab.files.shapes import Image
from carlab.trace import Trace
from carlab.trace.show import most_telling, shorten, verdict
from carlab.widgets.base import ALONE, NO_QUERY, TraceWidget, html, rows, unobserved

TOP = 12
"""Queries offered before a search."""


class RecurrencePlayer(TraceWidget):
    """Play the steps of a trace: a layer painted over the image, and the status of each query.

    If a `query` is selected only that one is painted; the list has a search. Traits, beside those of
    `TraceWidget`: `layer`, one of `carlab.figures.layers.LAYERS`, and `opacity` of the paint, in [0, 1].

    Examples
    --------
    >>> player = RecurrencePlayer(trace, layer="CAM")
    >>> player.step = 2
    >>> player.caption.value
    'step 3 of 3 · 1 active, 1 kept: fixed point'
    """

    layer = traitlets.Enum(LAYERS, default_value="mask")
    opacity = traitlets.Float(0.6, min=0, max=1)

    def build(self) -> None:
        """Create slider and play, layers, opacity, the image, the list of queries and their status."""
        self.play = widgets.Play(interval=900, min=0, description="play")  # milliseconds a step
        self.slider = widgets.IntSlider(description="step", readout=False)
        self.caption, self.status = html(), html()
        self.layers = widgets.ToggleButtons(options=LAYERS, value=self.layer, style={"button_width": "auto"})
        self.fader = widgets.FloatSlider(self.opacity, min=0, max=1, step=0.05, description="opacity")
        self.slider.layout.width = self.fader.layout.width = "240px"
        self.figure = go.FigureWidget(picture_figure(self._picture()))
        self.figure.layout.width = 560
        self.search = widgets.Text(placeholder="search queries", layout={"width": "auto"})
        self.list = widgets.Select(rows=8, layout={"width": "auto"})
        picker = widgets.VBox([self.search, self.list], layout={"width": "230px"})
        self.children = [
            rows(self.play, self.slider, self.caption, align_items="center"),
            rows(self.layers, self.fader, align_items="center"),
            rows(self.figure, widgets.VBox([picker, self.status], layout={"min_width": "240px"})),
        ]
        self.list.observe(self._listed, names="value")
        self.renew()
        widgets.jslink((self.play, "value"), (self.slider, "value"))
        traitlets.dlink((self.slider, "value"), (self, "step"))
        traitlets.link((self, "layer"), (self.layers, "value"))
        traitlets.link((self, "opacity"), (self.fader, "value"))
        self.search.observe(self._fill, names="value")
        self.observe(self._moved, names=["layer", "opacity"])

    def refresh(self) -> None:
        """Draw the step, the layer and the query selected."""
        self.slider.value = self.step
        with self.figure.batch_update():
            redraw(self.figure, self._picture())
        step, count = self.trace.steps[self.step], len(self.trace.steps)
        end = f": {shorten(self.trace.stop)}" if self.step == count - 1 else ""
        status = f"{len(step.active)} active, {len(step.survivors)} kept{end}"
        self.caption.value = escape(f"step {self.step + 1} of {count} · {status}")
        self.status.value = _status_html(self.trace, self.step, self._fill())

    def renew(self) -> None:
        """Fit the controls to the trace, and draw it."""
        with self.slider.hold_trait_notifications():  # together: the old value may exceed the new maximum
            self.slider.max, self.slider.value = len(self.trace.steps) - 1, self.step
        self.play.max = self.slider.max
        self.search.layout.display = None if len(self.trace.queries) > TOP else "none"
        self.refresh()

    def _picture(self) -> Image:
        queries = [self.query] if self.query != NO_QUERY else most_telling(self.trace, TOP)
        return layer_picture(self.trace, self.step, self.layer, queries, opacity=self.opacity)

    def _fill(self, _: Any = None) -> list[int]:
        """List the queries that hold the search, or the most telling, and the one selected; return them."""
        names, text = self.trace.queries, self.search.value.casefold().strip()
        holding = [index for index, name in enumerate(names) if text in name.casefold()]
        found = sorted({*(holding[:50] if text else most_telling(self.trace, TOP)), self.query} - {NO_QUERY})
        with ALONE, unobserved(self._listed, self.list):
            offered = ((f"{index + 1}. {shorten(names[index], 30)}", index) for index in found)
            self.list.options, self.list.value = [("all queries", NO_QUERY), *offered], self.query
        return found

    def _listed(self, change: Any) -> None:
        if change["new"] is not None:
            self.query = change["new"]


def _status_html(trace: Trace, t: int, queries: Sequence[int]) -> str:
    """Return the score of each query at step `t` as HTML; dropped ones are grey, with step and margin."""
    scores, drops = trace.scores, {drop.query: drop.step for drop in trace.drops}
    lines = []
    for index in queries:
        dropped = drops.get(index, t + 1) <= t
        colour, score = colour_hex(index), scores[min(t, drops.get(index, t)), index]
        note = verdict(trace, index) if dropped or t == len(trace.steps) - 1 else ""
        lines.append(
            f"<div style='opacity:{0.5 if dropped else 1};line-height:1.5'>"
            f"<span style='display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.5em;"
            f"border:1px solid {colour};background:{'transparent' if dropped else colour}'></span>"
            f"<b dir='auto'>{escape(shorten(trace.queries[index], 30))}</b> "
            f"<span style='font-variant-numeric:tabular-nums'>{score:.3f}</span> "
            f"<span style='opacity:.75'>{escape(note)}</span></div>"
        )
    return "".join(lines)
