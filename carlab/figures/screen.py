"""Parts of figures for the screen, in plotly: axes, pictures, labels.

Every text of a user passes through `label`: plotly would interpret tags and TeX in it.
"""

from html import escape
from typing import Any

import plotly.graph_objects as go

from carlab.figures.layers import MOST_NAMED
from carlab.files.pictures import data_uri
from carlab.files.shapes import Image
from carlab.trace import Trace
from carlab.trace.show import most_telling, shorten

NEUTRAL = "#8a8a8a"
"""Text and lines: readable on white and on black."""


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


def picture_figure(picture: Image, height: int = 420) -> go.Figure:
    """Return a figure of one picture in its own proportions, to zoom into.

    Parameters
    ----------
    picture, height
        RGB, and the height of the figure in pixels.

    Examples
    --------
    >>> figure = picture_figure(image)
    >>> figure.layout.xaxis.range, figure.layout.yaxis.range
    ((0, 90), (70, 0))
    """
    figure = square_pixels(blank(height, margin={"l": 0, "r": 0, "t": 4, "b": 0}, dragmode="pan"))
    rows, columns = picture.shape[:2]
    where = {"xref": "x", "yref": "y", "layer": "below", "x": 0, "y": 0, "sizex": columns, "sizey": rows}
    figure.add_layout_image(source=data_uri(picture), sizing="stretch", **where)
    return figure.update_xaxes(range=[0, columns]).update_yaxes(range=[rows, 0])
