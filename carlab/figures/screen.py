"""Figures for the screen: plotly, pure functions of a Trace, and patches that bring one up to date.

Every text of a user goes through `label`: plotly would read tags and TeX in it.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from carlab.files.pictures import colour_hex, data_uri
from carlab.files.shapes import Image
from carlab.trace import Trace
from carlab.trace.show import most_telling, shorten

MOST_LINES = 12
"""Queries drawn by name; the others share one grey look."""
NEUTRAL = "#8a8a8a"
"""Text and lines: readable on white and on black."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MARKS = ("circle", "square", "diamond", "triangle-up", "pentagon", "star")


def label(text: str, width: int = 28) -> str:
    """A user's text as plotly shows it literally: no tag, no entity, no TeX."""
    # MathJax starts at a dollar sign; the zero-width space cannot be seen and ends the formula.
    return escape(shorten(text, width), quote=False).replace("$", "&#36;\u200b")


def chosen(trace: Trace, query: int, top: int = MOST_LINES) -> list[int]:
    """Queries to name: the most telling ones, and the one selected (-1: none)."""
    named = most_telling(trace, top)
    return sorted({*named, query}) if query >= 0 else named


def blank(height: int = 320, **layout: Any) -> go.Figure:
    """An empty figure without a background of its own, for light and dark pages."""
    axis = {"gridcolor": "rgba(128,128,128,0.25)", "zeroline": False, "linecolor": NEUTRAL}
    return go.Figure(
        layout={
            "height": height,
            "margin": {"l": 48, "r": 12, "t": 28, "b": 40},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"color": NEUTRAL, "size": 12},
            "dragmode": False,
            "hoverlabel": {"namelength": -1},
            "xaxis": axis,
            "yaxis": axis,
            **layout,
        }
    )


def parts(figure: Any) -> tuple[str | int, ...]:
    """What a figure holds: the types of its traces, and how many shapes, annotations and images."""
    layout = figure.layout
    held = (len(layout[name]) for name in ("shapes", "annotations", "images"))
    return (*(trace.type for trace in figure.data), *held)


def bring(figure: Any, chart: go.Figure) -> None:
    """Make a figure that is on the screen look like a chart of the same kind and parts, in place.

    This takes the browser a fraction of the time of a new figure.
    """
    old, new = figure.layout.to_plotly_json(), chart.layout.to_plotly_json()
    with figure.batch_update():
        figure.layout.update({name: value for name, value in new.items() if old.get(name) != value})
        for shown, wanted in zip(figure.data, chart.data, strict=True):
            shown.update(wanted.to_plotly_json())


def picture_figure(picture: Image, height: int = 420) -> go.Figure:
    """One picture in its own shape, to zoom into; `redraw` puts another in its place."""
    figure = blank(height)
    figure.update_layout(margin={"l": 0, "r": 0, "t": 4, "b": 0}, dragmode="pan")
    figure.add_layout_image(xref="x", yref="y", layer="below", sizing="stretch", x=0, y=0)
    figure.update_xaxes(visible=False, constrain="domain")
    figure.update_yaxes(visible=False, constrain="domain", scaleanchor="x")
    redraw(figure, picture)
    return figure


def redraw(figure: Any, picture: Image) -> None:
    """Put a picture into a `picture_figure`; the axes follow only when its shape is another."""
    height, width = picture.shape[:2]
    image = figure.layout.images[0]
    image.source = data_uri(picture)
    if (image.sizex, image.sizey) != (width, height):
        image.sizex, image.sizey = width, height
        figure.update_xaxes(range=[0, width])
        figure.update_yaxes(range=[height, 0])


def scores_chart(trace: Trace, query: int = -1, step: int = 0, top: int = MOST_LINES) -> go.Figure:
    """Score of each query over the steps, the threshold, and where each one fell.

    Traces: a line for each named query (`customdata` is its index), one of all others, and the marks of
    the drops last.
    """
    figure = blank(340, showlegend=True)
    steps = np.arange(1, len(trace.steps) + 1)
    named = chosen(trace, query, top)
    for index in named:
        figure.add_scatter(
            x=steps, y=trace.scores[:, index], mode="lines+markers", name=label(trace.queries[index]),
            customdata=np.full(len(steps), index), line=_line(index, query), marker=_marker(index, query),
            opacity=_opacity(index, query),
            hovertemplate="step %{x}: %{y:.3f}<extra>" + label(trace.queries[index]) + "</extra>",
        )  # fmt: skip
    figure.add_scatter(**_others(trace, named, steps))
    figure.add_scatter(**_drops(trace, named))
    if not np.isnan(trace.threshold):
        figure.add_hline(y=trace.threshold, line={"color": NEUTRAL, "dash": "dash", "width": 1})
    figure.add_vline(x=step + 1, line={"color": NEUTRAL, "width": 1, "dash": "dot"})
    figure.update_xaxes(title="step", range=[0.7, len(steps) + 0.3], dtick=max(1, len(steps) // 10))
    figure.update_yaxes(title="score", range=[-0.03, 1.03])
    figure.update_layout(legend={"font": {"size": 11}}, hovermode="closest")
    return figure


def emphasise(figure: Any, trace: Trace, query: int, step: int) -> None:
    """Bring a `scores_chart` up to date with the query and the step selected."""
    with figure.batch_update():
        for line in figure.data[:-2]:
            index = int(line.customdata[0])
            line.opacity = _opacity(index, query)
            line.line.width = _line(index, query)["width"]
    # On its own and by its path: the browser then moves one line, and draws nothing else anew.
    last = f"shapes[{len(figure.layout.shapes) - 1}]"
    figure.plotly_relayout({f"{last}.x0": step + 1, f"{last}.x1": step + 1})


def _line(index: int, query: int) -> dict[str, Any]:
    return {
        "color": colour_hex(index),
        "width": 4 if index == query else 2,
        "dash": DASHES[index // 7 % len(DASHES)],
    }


def _marker(index: int, query: int) -> dict[str, Any]:
    return {"size": 8, "symbol": MARKS[index % len(MARKS)], "line": {"color": NEUTRAL, "width": 1}}


def _opacity(index: int, query: int) -> float:
    return 1.0 if query in (-1, index) else 0.3


def _others(trace: Trace, named: Sequence[int], steps: np.ndarray) -> dict[str, Any]:
    """All lines that are not named, as one trace with gaps."""
    rest = [index for index in range(len(trace.queries)) if index not in named]
    gap = np.full((1, len(rest)), np.nan, dtype=np.float32)
    return {
        "x": np.tile([*steps, np.nan], len(rest)),
        "y": np.concatenate([trace.scores[:, rest], gap]).T.ravel(),
        "customdata": np.repeat(rest, len(steps) + 1),
        "mode": "lines+markers",
        "line": {"color": "rgba(138,138,138,0.35)", "width": 1},
        "marker": {"size": 4},
        "name": f"{len(rest)} more",
        "showlegend": bool(rest),
        "text": np.repeat([label(trace.queries[index]) for index in rest], len(steps) + 1),
        "hovertemplate": "step %{x}: %{y:.3f}<extra>%{text}</extra>",
    }


def _drops(trace: Trace, named: Sequence[int]) -> dict[str, Any]:
    fell = [drop for drop in trace.drops if drop.query in named]
    return {
        "x": [drop.step + 1 for drop in fell],
        "y": [drop.score for drop in fell],
        "customdata": [drop.query for drop in fell],
        "mode": "markers",
        "marker": {"symbol": "x", "size": 11, "color": NEUTRAL},
        "name": "dropped",
        "showlegend": bool(fell),
        "text": [f"{label(trace.queries[drop.query])}, {drop.margin:.3f} below" for drop in fell],
        "hovertemplate": "dropped at step %{x}: %{y:.3f}<extra>%{text}</extra>",
    }


def matrix_chart(trace: Trace, t: int = 0, query: int = -1, top: int = MOST_LINES) -> go.Figure:
    """P of step `t`, row = prompted image, column = query: who stole a score is bright off the diagonal."""
    figure = blank(380)
    figure.add_heatmap(**matrix(trace, t, query, top))
    figure.update_yaxes(autorange="reversed", title="prompted image of", showgrid=False)
    figure.update_xaxes(title="read as", side="bottom", showgrid=False, tickangle=-40)
    return figure


def matrix(trace: Trace, t: int, query: int = -1, top: int = MOST_LINES) -> dict[str, Any]:
    """Data of a `matrix_chart`: the queries active in the step, the most telling if they are many."""
    step = trace.steps[t]
    named = chosen(trace, query, top)
    places = [place for place, index in enumerate(step.active) if index in named]
    names = [label(trace.queries[step.active[place]], 18) for place in places]
    axis = [f"{number}. {name}" for number, name in enumerate(names, 1)]  # two names may be cut to one
    values = step.probs[np.ix_(places, places)]
    return {
        "z": values,
        "x": axis,
        "y": axis,
        "zmin": 0,
        "zmax": 1,
        "colorscale": "Viridis",
        "texttemplate": "%{z:.2f}" if len(places) <= MOST_LINES else "",
        "hovertemplate": "image of %{y}<br>read as %{x}: %{z:.3f}<extra></extra>",
        "colorbar": {"thickness": 12},
    }
