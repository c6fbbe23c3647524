"""Recorded probes on the screen: maps, vectors, where a patch looks, and anything else as an image."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Float32, Shaped

from carlab.errors import ProbeError
from carlab.figures.layers import SCREEN_SIDE, mosaic
from carlab.figures.screen import blank, chosen, label, picture_figure
from carlab.files.pictures import colour_hex, paint, shrink, stacked
from carlab.files.shapes import Image
from carlab.hooks import PROBES
from carlab.trace import Trace

MOST_MAPS = 12
ROW = 230
"""Most pixels that a row of maps is high."""
PLACE = "row %{y}, column %{x}: %{z:.3g}<extra></extra>"


def probe_figure(trace: Trace, t: int, name: str, token: int = 0) -> go.Figure:
    """A recorded probe: maps as small multiples, vectors as bars, square matrices by row, others as an image.

    Parameters
    ----------
    token
        Which patch to look from, where the probe relates patches to patches ("n n").

    Raises
    ------
    ProbeError
        If the probe was not recorded in this step or for this image.
    """
    value = recorded(trace, t, name)
    if not value.size:
        return empty_chart(value.shape)
    axes = PROBES[name].axes if name in PROBES else ""
    grid = trace.steps[t].cams.shape[1:]
    if axes == "n n" and value.shape[0] == grid[0] * grid[1]:
        return attention_chart(value[token].reshape(grid), token)
    if axes.endswith("i j") and value.ndim == 3:
        of_queries = axes == "q i j" and len(value) == len(trace.steps[t].active)
        names = row_names(trace, t, name, len(value))
        return maps_chart(*(in_place(trace, t, value) if of_queries else (value, names)))
    if value.ndim == 1:
        return bars_chart(value, row_names(trace, t, name, len(value)))
    picture = pictured(trace, t, axes, value)
    return table_chart(value) if picture is None else picture_figure(picture)


def pictured(trace: Trace, t: int, axes: str, value: Shaped[np.ndarray, "..."]) -> Image | None:
    """Prompted pictures side by side, or regions over the photo; None if the value is neither."""
    if axes == "m h w" and value.ndim == 3:
        return paint(shrink(trace.image, SCREEN_SIDE), stacked(value), 0.5)
    if value.ndim == 4 and value.shape[-1] == 3:
        active = trace.steps[t].active
        queries = active if len(active) == len(value) else np.arange(len(value))  # an edit may drop some
        return mosaic(value[:MOST_MAPS], queries[:MOST_MAPS], SCREEN_SIDE)
    return None


def in_place(
    trace: Trace, t: int, maps: Shaped[np.ndarray, "q i j"]
) -> tuple[Float[np.ndarray, "k i j"], list[str]]:
    """Maps of the most telling queries, each in its place in every step, and their names.

    A map is all NaN once its query is gone.
    """
    queries = chosen(trace, -1, MOST_MAPS)
    placed = np.full((len(queries), *maps.shape[1:]), np.nan, dtype=np.float32)
    for place, index in enumerate(trace.steps[t].active):
        if index in queries:
            placed[queries.index(index)] = maps[place]
    return placed, [label(trace.queries[index], 18) for index in queries]


def recorded(trace: Trace, t: int, name: str) -> Shaped[np.ndarray, "..."]:
    """The value of a probe in step `t`, or for the image.

    Raises
    ------
    ProbeError
        If it was not recorded.
    """
    for values in (trace.steps[t].probes, trace.probes):
        if name in values:
            return values[name]
    known = sorted({*trace.probes, *trace.steps[t].probes})
    raise ProbeError(
        f"expected a probe that was recorded in step {t + 1} ({', '.join(known) or 'none was'}), got "
        f"{name!r}; run with record=[{name!r}]"
    )


def row_names(trace: Trace, t: int, name: str, rows: int) -> list[str]:
    """What each row of a probe is about: a query where the numbers fit, otherwise its place."""
    first = PROBES[name].axes.split()[0] if name in PROBES else ""
    rows_of: dict[str, Sequence[int]] = {
        "q": trace.steps[t].active.tolist(),
        "Q": range(len(trace.queries)),
        "k": trace.survivors.tolist(),
    }
    known = rows_of.get(first, ())
    if len(known) == rows:
        return [label(trace.queries[index], 18) for index in known]
    if first == "B" and len(trace.background) == rows:
        return [label(word, 18) for word in trace.background]
    return [str(number) for number in range(rows)]


def maps_chart(maps: Shaped[np.ndarray, "k i j"], names: Sequence[str]) -> go.Figure:
    """Small multiples, each in its own range, as one heat map: a browser takes long to draw many.

    `z` is in [0, 1], None between the maps; the range of a map stands above it.
    """
    shown = min(len(maps), MOST_MAPS)
    i, j = maps.shape[1:]
    across, gap, head = min(4, shown), 1 + max(i, j) // 6, 1 + max(i, j) // 3
    sheet = np.full((-(-shown // across) * (i + head), across * (j + gap) - gap), np.nan)
    titles = []
    for place in range(shown):
        top, left = place // across * (i + head) + head, place % across * (j + gap)
        sheet[top : top + i, left : left + j], told = stretched(maps[place])
        where = {"x": left + (j - 1) / 2, "y": top - 0.5, "yanchor": "bottom", "showarrow": False}
        titles.append({"text": f"{names[place]}<br>{told}", "font": {"size": 11}, **where})
    cell = min(SCREEN_SIDE / sheet.shape[1], ROW / (i + head))
    figure = blank(
        round(40 + cell * len(sheet)), annotations=titles, margin={"l": 0, "r": 0, "t": 4, "b": 36}
    )
    gapped = sheet.round(3).astype(object)
    gapped[np.isnan(sheet)] = None  # NaN is no JSON
    figure.add_heatmap(
        z=gapped, zmin=0, zmax=1, colorscale="Inferno",
        showscale=False, hoverongaps=False, hovertemplate="%{z:.2f} of the range<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(visible=False, constrain="domain")
    figure.update_yaxes(visible=False, constrain="domain", scaleanchor="x", autorange="reversed")
    return figure


def stretched(values: Shaped[np.ndarray, "i j"]) -> tuple[Float[np.ndarray, "i j"], str]:
    """Brought to [0, 1], NaN where not finite; and its range in words."""
    numbers = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    if np.isnan(numbers).all():
        return numbers, "no values"
    low, high = np.nanmin(numbers), np.nanmax(numbers)
    return (numbers - low) / ((high - low) or 1), f"{low:.3g} to {high:.3g}"


def empty_chart(shape: tuple[int, ...]) -> go.Figure:
    """Says that there is nothing: masks of survivors, when nobody survived."""
    text = f"no values: {' x '.join(map(str, shape))}"
    figure = blank(120, annotations=[{"text": text, "showarrow": False}])
    return figure.update_xaxes(visible=False).update_yaxes(visible=False)


def bars_chart(values: Shaped[np.ndarray, " n"], names: Sequence[str]) -> go.Figure:
    """A bar for each number."""
    figure = blank(300)
    axis = [f"{number}. {name}" for number, name in enumerate(names, 1)]
    figure.add_bar(
        x=axis, y=values, marker={"color": colour_hex(4)}, hovertemplate="%{x}: %{y:.4g}<extra></extra>"
    )
    figure.update_xaxes(tickangle=-40)
    return figure


def attention_chart(row: Float32[np.ndarray, "i j"], token: int) -> go.Figure:
    """Where a patch looks: the weight of every other patch, and a mark on the patch itself."""
    figure = blank(360)
    figure.add_heatmap(z=row, colorscale="Inferno", colorbar={"thickness": 12},
                       hovertemplate=PLACE)  # fmt: skip
    across = row.shape[1]
    figure.add_scatter(
        x=[token % across], y=[token // across], mode="markers", showlegend=False, hoverinfo="skip",
        marker={"symbol": "circle-open", "size": 14, "color": colour_hex(1), "line": {"width": 3}},
    )  # fmt: skip
    figure.update_xaxes(visible=False, constrain="domain")
    figure.update_yaxes(visible=False, constrain="domain", scaleanchor="x", autorange="reversed")
    return figure


def table_chart(value: Shaped[np.ndarray, "..."], most: int = 400) -> go.Figure:
    """Anything else as one image of numbers; rows and columns are thinned out to `most`."""
    flat = (
        np.asarray(value, dtype=np.float64).reshape(-1, value.shape[-1])
        if value.ndim
        else value.reshape(1, 1)
    )
    thin = flat[:: -(-len(flat) // most), :: -(-flat.shape[1] // most)]
    figure = blank(320)
    figure.add_heatmap(z=thin, colorscale="Viridis", colorbar={"thickness": 12})
    figure.update_yaxes(autorange="reversed")
    return figure
