"""Figures for the screen: plotly, pure functions of a Trace, and patches that update one in place.

Every text of a user passes through `label`: plotly would interpret tags and TeX in it.
"""

from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from carlab.figures.layers import MOST_NAMED
from carlab.files.pictures import colour_hex, data_uri
from carlab.files.shapes import Image
from carlab.trace import Trace
from carlab.trace.show import most_telling, shorten

NEUTRAL = "#8a8a8a"
"""Text and lines: readable on white and on black."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MARKS = ("circle", "square", "diamond", "triangle-up", "pentagon", "star")


def label(text: str, width: int = 28) -> str:
    """Return text of a user as plotly shows it literally: no tag, no entity, no TeX.

    Parameters
    ----------
    text, width
        It is cut to so many columns of a terminal.

    Examples
    --------
    >>> label("<b>bold</b>")
    '&lt;b&gt;bold&lt;/b&gt;'
    """
    # MathJax starts at a dollar sign; the zero-width space cannot be seen and ends the formula.
    return escape(shorten(text, width), quote=False).replace("$", "&#36;\u200b")


def chosen(trace: Trace, query: int, top: int = MOST_NAMED) -> list[int]:
    """Return the queries that a chart shows: the most telling ones, and the one selected.

    Parameters
    ----------
    trace, query, top
        The query selected (-1: none), and how many others.

    Examples
    --------
    >>> chosen(trace, 2, top=1)
    [0, 2]
    """
    named = most_telling(trace, top)
    return sorted({*named, query}) if query >= 0 else named


def blank(height: int = 320, **layout: Any) -> go.Figure:
    """Return an empty figure without a background: for light and dark pages.

    Parameters
    ----------
    height, layout
        In pixels, and further properties of plotly's layout.

    Examples
    --------
    >>> blank(200, showlegend=True).layout.height
    200
    """
    clear, margin = "rgba(0,0,0,0)", {"l": 48, "r": 12, "t": 28, "b": 40}
    axis = {"gridcolor": "rgba(128,128,128,0.25)", "zeroline": False, "linecolor": NEUTRAL}
    figure = go.Figure().update_xaxes(axis).update_yaxes(axis)
    figure.update_layout(
        height=height, margin=margin, paper_bgcolor=clear, plot_bgcolor=clear, dragmode=False
    )
    figure.update_layout(font={"color": NEUTRAL, "size": 12}, hoverlabel={"namelength": -1})
    return figure.update_layout(layout)


def square_pixels(figure: go.Figure, **yaxis: Any) -> go.Figure:
    """Hide the axes of a figure and give both one scale."""
    figure.update_xaxes(visible=False, constrain="domain")
    return figure.update_yaxes(visible=False, constrain="domain", scaleanchor="x", **yaxis)


def parts(figure: Any) -> tuple[str | int, ...]:
    """Return the types of a figure's traces, and how many shapes, annotations and images it has.

    Parameters
    ----------
    figure
        Of plotly.

    Examples
    --------
    >>> parts(matrix_chart(trace))
    ('heatmap', 0, 0, 0)
    """
    layout = figure.layout
    counts = map(len, (layout.shapes, layout.annotations, layout.images))
    return (*(trace.type for trace in figure.data), *counts)


def bring(figure: Any, chart: go.Figure) -> None:
    """Update a figure to equal a chart: a fraction of the time of a new one.

    Parameters
    ----------
    figure, chart
        On the screen, and as it is to be; their `parts` are equal.

    Examples
    --------
    >>> figure = scores_chart(trace)
    >>> bring(figure, scores_chart(trace, query=1))
    >>> [line.opacity for line in figure.data[:3]]
    [0.3, 1.0, 0.3]
    """
    old, new = figure.layout.to_plotly_json(), chart.layout.to_plotly_json()
    with figure.batch_update():
        figure.layout.update({name: value for name, value in new.items() if old.get(name) != value})
        for shown, wanted in zip(figure.data, chart.data, strict=True):
            shown.update(wanted.to_plotly_json())


def picture_figure(picture: Image, height: int = 420) -> go.Figure:
    """Return a figure of one picture in its own proportions, to zoom into.

    Parameters
    ----------
    picture, height
        RGB, and the height of the figure in pixels.

    Examples
    --------
    >>> figure = picture_figure(image)
    >>> redraw(figure, image[:10])
    >>> figure.layout.xaxis.range, figure.layout.yaxis.range
    ((0, 90), (10, 0))
    """
    figure = square_pixels(blank(height, margin={"l": 0, "r": 0, "t": 4, "b": 0}, dragmode="pan"))
    figure.add_layout_image(xref="x", yref="y", layer="below", sizing="stretch", x=0, y=0)
    redraw(figure, picture)
    return figure


def redraw(figure: Any, picture: Image) -> None:
    """Replace the picture of a `picture_figure`; the axes change only if its size does.

    Parameters
    ----------
    figure, picture
        Changed in place, and the new picture, RGB.
    """
    height, width = picture.shape[:2]
    image = figure.layout.images[0]
    image.source = data_uri(picture)
    if (image.sizex, image.sizey) != (width, height):
        image.sizex, image.sizey = width, height
        figure.update_xaxes(range=[0, width])
        figure.update_yaxes(range=[height, 0])


def scores_chart(trace: Trace, query: int = -1, step: int = 0, top: int = MOST_NAMED) -> go.Figure:
    """Draw the score of each query over the steps, the threshold, and a cross where a query is dropped.

    Traces: a line for each named query (`customdata` is its index), one of all others, and the crosses last.

    Parameters
    ----------
    trace, query, step
        The query (-1: none) and the step selected, from 0.
    top
        How many queries are named.

    Examples
    --------
    >>> [line.name for line in scores_chart(trace).data]
    ['cat', 'dog', 'sofa', '0 more', 'dropped']
    """
    figure = blank(340, showlegend=True, legend={"font": {"size": 11}}, hovermode="closest")
    steps, scores = np.arange(1, len(trace.steps) + 1), trace.scores
    labels = [label(name) for name in trace.queries]
    named = chosen(trace, query, top)
    for index in named:
        figure.add_scatter(
            x=steps, y=scores[:, index], mode="lines+markers", name=labels[index],
            customdata=np.full(len(steps), index), **_emphasis(index, query),
            marker={"size": 8, "symbol": MARKS[index % len(MARKS)], "line": {"color": NEUTRAL, "width": 1}},
            hovertemplate="step %{x}: %{y:.3f}<extra>" + labels[index] + "</extra>",
        )  # fmt: skip
    # All others as one line with gaps.
    rest = [index for index in range(len(labels)) if index not in named]
    gap = np.full((1, len(rest)), np.nan, dtype=np.float32)
    figure.add_scatter(
        x=np.tile([*steps, np.nan], len(rest)), y=np.concatenate([scores[:, rest], gap]).T.ravel(),
        mode="lines+markers", line={"color": "rgba(138,138,138,0.35)", "width": 1}, marker={"size": 4},
        name=f"{len(rest)} more", showlegend=bool(rest), customdata=np.repeat(rest, len(steps) + 1),
        text=np.repeat([labels[index] for index in rest], len(steps) + 1),
        hovertemplate="step %{x}: %{y:.3f}<extra>%{text}</extra>",
    )  # fmt: skip
    drops = [drop for drop in trace.drops if drop.query in named]
    figure.add_scatter(
        x=[drop.step + 1 for drop in drops], y=[drop.score for drop in drops], mode="markers",
        marker={"symbol": "x", "size": 11, "color": NEUTRAL}, name="dropped", showlegend=bool(drops),
        customdata=[drop.query for drop in drops],
        text=[f"{labels[drop.query]}, {drop.margin:.3f} below" for drop in drops],
        hovertemplate="dropped at step %{x}: %{y:.3f}<extra>%{text}</extra>",
    )  # fmt: skip
    if not np.isnan(trace.threshold):
        figure.add_hline(y=trace.threshold, line={"color": NEUTRAL, "dash": "dash", "width": 1})
    figure.add_vline(x=step + 1, line={"color": NEUTRAL, "width": 1, "dash": "dot"})
    figure.update_xaxes(title="step", range=[0.7, len(steps) + 0.3], dtick=max(1, len(steps) // 10))
    return figure.update_yaxes(title="score", range=[-0.03, 1.03])


def emphasise(figure: Any, query: int, step: int) -> None:
    """Update a `scores_chart` to another selection.

    Parameters
    ----------
    figure, query, step
        Changed in place; the query (-1: none) and the step selected, from 0.

    Examples
    --------
    >>> figure = scores_chart(trace)
    >>> emphasise(figure, 0, 2)
    >>> figure.data[0].line.width, figure.layout.shapes[-1].x0
    (4, 3)
    """
    with figure.batch_update():
        for line in figure.data[:-2]:
            line.update(_emphasis(int(line.customdata[0]), query))
    # On its own and by its path: the browser then moves one line, and redraws nothing else.
    last = f"shapes[{len(figure.layout.shapes) - 1}]"
    figure.plotly_relayout({f"{last}.x0": step + 1, f"{last}.x1": step + 1})


def _emphasis(index: int, query: int) -> dict[str, Any]:
    width, dash = 4 if index == query else 2, DASHES[index // 7 % len(DASHES)]
    line = {"color": colour_hex(index), "width": width, "dash": dash}
    return {"line": line, "opacity": 1.0 if query in (-1, index) else 0.3}


def matrix_chart(trace: Trace, t: int = 0, query: int = -1, top: int = MOST_NAMED) -> go.Figure:
    """Draw P_t: the score of each query (column) in each prompted image (row).

    Parameters
    ----------
    trace, t, query
        The step, and the query selected, which is among those drawn if it is active; from 0, -1: none.
    top
        How many active queries are drawn, the most telling ones.

    Examples
    --------
    >>> matrix_chart(trace, 1).data[0].x
    ('1. cat', '2. dog')
    """
    figure = blank(380)
    figure.add_heatmap(**matrix(trace, t, query, top))
    figure.update_yaxes(autorange="reversed", title="prompted image of", showgrid=False)
    return figure.update_xaxes(title="query", side="bottom", showgrid=False, tickangle=-40)


def matrix(trace: Trace, t: int, query: int = -1, top: int = MOST_NAMED) -> dict[str, Any]:
    """Return the properties of the heat map of a `matrix_chart`.

    Parameters
    ----------
    trace, t, query, top
        As `matrix_chart` takes them.

    Examples
    --------
    >>> matrix(trace, 1)["z"].round(2)
    array([[0.8 , 0.1 ],
           [0.1 , 0.12]], dtype=float32)
    """
    step = trace.steps[t]
    shown = np.isin(step.active, chosen(trace, query, top))
    names = [label(trace.queries[index], 18) for index in step.active[shown]]
    axis = [f"{number}. {name}" for number, name in enumerate(names, 1)]  # two names may be cut to one
    look = {"colorscale": "Viridis", "colorbar": {"thickness": 12}, "zmin": 0, "zmax": 1}
    look["hovertemplate"] = "prompted image of %{y}<br>query %{x}: %{z:.3f}<extra></extra>"
    look["texttemplate"] = "%{z:.2f}" if len(names) <= MOST_NAMED else ""
    return {"z": step.probs[shown][:, shown], "x": axis, "y": axis, **look}
