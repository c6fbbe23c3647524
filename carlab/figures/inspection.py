"""Recorded probes on the screen: maps, vectors, relations of a patch, and anything else as an image."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Shaped
from skimage.measure import block_reduce

from carlab.errors import ProbeError
from carlab.figures.layers import ACROSS, MOST_NAMED, SCREEN_SIDE, mosaic, stretched
from carlab.figures.screen import blank, chosen, label, picture_figure, square_pixels
from carlab.files.pictures import colour_hex, paint, shrink, stacked
from carlab.hooks import PROBES
from carlab.trace import Trace

MAP_HEIGHT = 230
"""Most pixels that a row of maps is high."""
MOST_CELLS = 400
"""Most rows and columns of a table."""

BELOW = 0.98
"""Share of the patches within the colours of a relation."""


def probe_figure(trace: Trace, t: int, name: str, token: int = 0) -> go.Figure:
    """Draw a recorded probe: maps as small multiples, a vector as bars, patch relations as one map.

    Prompted images are drawn side by side, regions over the image, and any other array as a table.

    Raises ProbeError if the probe was not recorded in this step or for this image.

    Parameters
    ----------
    trace, t, name
        The step, from 0, and the probe.
    token
        The patch whose relations are drawn, from 0, row by row, where the probe has axes "n n".

    Examples
    --------
    >>> probed = replace(trace, probes={"filter.scores": np.array([0.8, 0.8, 0.1])})
    >>> probe_figure(probed, 0, "filter.scores").data[0].x
    ('1. cat', '2. dog', '3. sofa')
    """
    value, active = recorded(trace, t, name), trace.steps[t].active
    axes, grid = axes_of(trace, t, name), trace.steps[t].cams.shape[1:]
    if not value.size:
        text, hidden = f"no values: {' x '.join(map(str, value.shape))}", {"visible": False}
        chart = blank(120, annotations=[{"text": text, "showarrow": False}], xaxis=hidden, yaxis=hidden)
    elif axes == "n n":
        chart = _relations_chart(value[token].reshape(grid).astype(np.float64), token)
    elif axes.endswith("i j"):
        chart = maps_chart(*_rows(trace, t, axes, value))
    elif value.ndim == 1:
        chart = _bars_chart(*_rows(trace, t, axes, value))
    elif axes == "m h w":
        chart = picture_figure(paint(shrink(trace.image, SCREEN_SIDE), stacked(value), 0.5))
    elif axes == "q s s 3" and value.dtype == np.uint8:
        queries = active if len(active) == len(value) else np.arange(len(value))  # an edit may drop some
        chart = picture_figure(mosaic(value[:MOST_NAMED], queries[:MOST_NAMED], SCREEN_SIDE))
    else:
        chart = _table_chart(value)
    return chart


def axes_of(trace: Trace, t: int, name: str) -> str:
    """Return the axes of a recorded probe by `PROBES`; "" where its value has others, as a file may.

    Parameters
    ----------
    trace, t, name
        The step, from 0, and the probe.

    Examples
    --------
    >>> probed = replace(trace, probes={"filter.scores": np.zeros((2, 2)), "cam.background": np.zeros(1)})
    >>> axes_of(probed, 0, "filter.scores"), axes_of(probed, 0, "cam.background")
    ('', 'B')
    """
    axes, shape = PROBES[name].axes if name in PROBES else "", recorded(trace, t, name).shape
    rows, columns = trace.steps[t].cams.shape[1:]
    known = {"3": 3, "n": rows * columns, "i": rows, "j": columns}
    fits = len(axes.split()) == len(shape) and all(
        known.get(letter, length) == length for letter, length in zip(axes.split(), shape, strict=True)
    )
    return axes if fits else ""


def recorded(trace: Trace, t: int, name: str) -> Shaped[np.ndarray, "..."]:
    """Return the value of a recorded probe.

    Raises ProbeError if it was not recorded in this step or for the image.

    Parameters
    ----------
    trace, t, name
        The step, from 0, and the probe.

    Examples
    --------
    >>> recorded(replace(trace, probes={"cam.logits": np.array([25.0, 20.5])}), 0, "cam.logits")
    array([25. , 20.5])
    """
    values = {**trace.probes, **trace.steps[t].probes}
    if name not in values:
        known = ", ".join(sorted(values)) or "none was"
        raise ProbeError(
            f"expected a probe that was recorded in step {t + 1} ({known}), got {name!r}; "
            f"run with record=[{name!r}]"
        )
    return values[name]


def maps_chart(maps: Shaped[np.ndarray, "k i j"], names: Sequence[str]) -> go.Figure:
    """Draw maps as small multiples, each in its own range, in one heat map: browsers draw many slowly.

    `z` is in [0, 1], None between the maps. The range of a map stands below its name.

    Parameters
    ----------
    maps, names
        Maps of any range, of which `MOST_NAMED` are drawn, and a name for each, escaped (see `label`).

    Examples
    --------
    >>> maps_chart(np.array([[[0.0, 2.5]]]), ["cat"]).layout.annotations[0].text
    'cat<br>0 to 2.5'
    """
    shown = min(len(maps), MOST_NAMED)
    i, j = maps.shape[1:]
    across, gap, head = min(ACROSS, shown), 1 + max(i, j) // 6, 1 + max(i, j) // 3
    sheet = np.full((-(-shown // across) * (i + head), across * (j + gap) - gap), np.nan)
    titles = []
    for place in range(shown):
        top, left = place // across * (i + head) + head, place % across * (j + gap)
        sheet[top : top + i, left : left + j], extent = stretched(maps[place])
        where = {"x": left + (j - 1) / 2, "y": top - 0.5, "yanchor": "bottom", "showarrow": False}
        titles.append({"text": f"{names[place]}<br>{extent}", "font": {"size": 11}, **where})
    height = round(40 + len(sheet) * min(SCREEN_SIDE / sheet.shape[1], MAP_HEIGHT / (i + head)))
    figure = blank(height, annotations=titles, margin={"l": 0, "r": 0, "t": 4, "b": 36})
    gapped = sheet.round(3).astype(object)
    gapped[np.isnan(sheet)] = None  # NaN is no JSON
    figure.add_heatmap(
        z=gapped, zmin=0, zmax=1, colorscale="Inferno",
        showscale=False, hoverongaps=False, hovertemplate="%{z:.2f} of the range<extra></extra>",
    )  # fmt: skip
    return square_pixels(figure, autorange="reversed")


def _rows(
    trace: Trace, t: int, axes: str, value: Shaped[np.ndarray, "..."]
) -> tuple[Shaped[np.ndarray, "..."], list[str]]:
    """Return the rows of a probe and their names: the queries if there are as many, otherwise numbers.

    Maps of queries are those of the most telling ones, in the same places in every step.
    """
    step, queries = trace.steps[t], np.array(trace.queries, dtype=object)
    named = {"q": queries[step.active], "Q": queries, "k": queries[trace.survivors], "B": trace.background}
    names = named.get(axes[:1], ())
    if len(names) != len(value):
        names = list(map(str, range(len(value))))
    elif axes == "q i j":
        telling = chosen(trace, -1)
        placed = np.full((len(queries), *value.shape[1:]), np.nan, dtype=np.float32)
        placed[step.active] = value  # all NaN once a query is dropped
        value, names = placed[telling], queries[telling]
    return value, [label(name, 18) for name in names]


def _bars_chart(values: Shaped[np.ndarray, " n"], names: Sequence[str]) -> go.Figure:
    axis = [f"{number}. {name}" for number, name in enumerate(names, 1)]  # two names may be cut to one
    figure = blank(300)
    figure.add_bar(
        x=axis, y=values, marker={"color": colour_hex(4)}, hovertemplate="%{x}: %{y:.4g}<extra></extra>"
    )
    return figure.update_xaxes(tickangle=-40)


def _relations_chart(row: Shaped[np.ndarray, "i j"], token: int) -> go.Figure:
    """Draw the relation of a patch to every other one, with a mark on the patch itself."""
    figure = blank(360)
    place = "row %{y}, column %{x}: %{z:.3g}<extra></extra>"
    # A patch relates most to itself, by far: over the whole range all others would be black.
    good = row[np.isfinite(row)]
    low, high = np.quantile(good, [0, BELOW]).tolist() if good.size else (0.0, 1.0)
    title = {"text": f"{BELOW:.0%} of the patches lie below the top", "side": "right"}
    bar = {"thickness": 12, "title": title}
    figure.add_heatmap(z=row, zmin=low, zmax=high, colorscale="Inferno", colorbar=bar, hovertemplate=place)
    y, x = divmod(token, row.shape[1])
    mark = {"symbol": "circle-open", "size": 14, "color": colour_hex(1), "line": {"width": 3}}
    figure.add_scatter(x=[x], y=[y], mode="markers", showlegend=False, hoverinfo="skip", marker=mark)
    return square_pixels(figure, autorange="reversed")


def _table_chart(value: Shaped[np.ndarray, "..."]) -> go.Figure:
    """Draw any array as one image of numbers; the largest of each block where it is large."""
    flat = np.atleast_2d(value.astype(np.float64)).reshape(-1, value.shape[-1] if value.ndim else 1)
    block = tuple(-(-size // MOST_CELLS) for size in flat.shape)
    figure = blank(320)
    if max(block) > 1:
        flat = block_reduce(flat, block, np.max, cval=-np.inf)
        said = f"each cell is the largest of {block[0]} x {block[1]} values of {value.shape}"
        figure.add_annotation(
            text=said, x=0, y=1, xref="paper", yref="paper", yanchor="bottom", showarrow=False
        )
    figure.add_heatmap(z=flat, colorscale="Viridis", colorbar={"thickness": 12})
    return figure.update_yaxes(autorange="reversed")
