"""Figures for papers: matplotlib, no display, no global state."""

import os
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from carlab.archive import write_file
from carlab.display import most_telling, shorten, thumbnail
from carlab.errors import SettingError
from carlab.overlay import colour, colour_hex, edge, paint, resize_maps
from carlab.trace import Step, Trace

SUFFIXES = (".png", ".pdf", ".svg")
PHOTO_SIDE = 320
"""Longest side of a photo inside a figure of many, in pixels."""
CELL, GAP, MARGIN, TITLE, VERDICT = 1.35, 0.06, 0.62, 0.3, 0.32
"""Width of a cell, space between cells, left margin, and space above and below a band, in inches."""
GREY = "#767676"
STYLE: Any = {
    "font.size": 8,
    "svg.fonttype": "none",  # text stays text, to be edited and searched
    "svg.hashsalt": "carlab",  # the same figure gives the same file
    "pdf.fonttype": 42,
}
ROWS = ("activation map", "mask", "prompted")


def overlay_figure(trace: Trace) -> Figure:
    """The photo with the final masks painted on it, and a legend with final scores."""
    found = [query for query in most_telling(trace) if query in trace.survivors]
    height, width = (5.0 * side / max(trace.image.shape[:2]) for side in trace.image.shape[:2])
    page = max(width, 3.0)
    columns = max(1, int(page / 1.6))
    below = 0.12 + 0.2 * max(1, -(-len(found) // columns))
    with rc_context(STYLE):
        figure = Figure(figsize=(page, height + below))
        axes = _axes(figure, (page - width) / 2, below, width, height)
        _picture(axes, paint(trace.image, trace.labels))
        final = trace.scores[-1]
        handles = [Patch(facecolor=colour_hex(query), edgecolor="black", linewidth=0.5) for query in found]
        labels = [f"{shorten(trace.queries[query], 20)}  {final[query]:.2f}" for query in found]
        if found:
            anchor = {"bbox_to_anchor": (0.5, below / (height + below)), "borderaxespad": 0.3}
            legend = figure.legend(
                handles, labels, loc="upper center", ncols=min(columns, len(found)), frameon=False, **anchor
            )
            _plain(*legend.get_texts())
        else:
            figure.text(0.5, 0.06 / (height + below), "nothing present", ha="center", va="bottom", fontsize=9)
    return figure


def recurrence_figure(trace: Trace, max_queries: int = 8) -> Figure:
    """The method at a glance: a band per step, a column per query; who is dropped leaves a gap.

    Each cell shows the class activation map, the mask over the photo, the
    prompted image as the classifier saw it, and the score with its verdict.
    With more queries than `max_queries`, the survivors and the best are shown.
    """
    queries = _columns(trace, max_queries)
    height, width = trace.image.shape[:2]
    cell = CELL, CELL * min(1.6, max(0.5, height / width))
    band = TITLE + len(ROWS) * (cell[1] + GAP) + VERDICT
    with rc_context(STYLE):
        figure = Figure(figsize=(MARGIN + len(queries) * (cell[0] + GAP), len(trace.steps) * band))
        photo = thumbnail(trace.image, PHOTO_SIDE)
        for t, step in enumerate(trace.steps):
            top = (len(trace.steps) - t) * band
            active = f"{len(step.active)} active quer{'y' if len(step.active) == 1 else 'ies'}"
            _text(figure, 0.06, top - band / 2, f"step {t + 1}", fontsize=11, weight="bold")
            _text(figure, 0.25, top - band / 2, active, fontsize=7, color=GREY)
            places = {int(query): place for place, query in enumerate(step.active)}
            for row, name in enumerate(ROWS):
                bottom = top - TITLE - (row + 1) * (cell[1] + GAP)
                _text(figure, 0.44, bottom + cell[1] / 2, name, fontsize=7, color=GREY)
            for column, query in enumerate(queries):
                if query in places:
                    left = MARGIN + column * (cell[0] + GAP)
                    bottoms = [top - TITLE - (row + 1) * (cell[1] + GAP) for row in range(len(ROWS))]
                    cells = [_axes(figure, left, bottom, *cell) for bottom in bottoms]
                    _fill(cells, trace, step, places[query], photo)
    return figure


def scores_figure(trace: Trace) -> Figure:
    """Score of each query over the steps, the threshold, and where each one fell."""
    with rc_context(STYLE):
        figure = Figure(figsize=(4.2, 2.8), layout="constrained")
        axes = figure.add_subplot()
        steps = np.arange(1, len(trace.steps) + 1)
        for query in most_telling(trace):
            line = trace.scores[:, query]
            name = shorten(trace.queries[query], 24)
            axes.plot(steps, line, marker="o", markersize=4, color=colour_hex(query), label=name)
        for drop in trace.drops:
            axes.plot(drop.step + 1, drop.score, marker="x", markersize=8, color="black", zorder=3)
        if not np.isnan(trace.threshold):
            axes.axhline(trace.threshold, color=GREY, linestyle="--", linewidth=1, zorder=0)
            axes.annotate(
                f"threshold {trace.threshold:.2f}", (1, trace.threshold), xycoords=("axes fraction", "data"),
                ha="right", va="bottom", color=GREY,
            )  # fmt: skip
        axes.set(xlabel="step", ylabel="score", ylim=(-0.03, 1.03), xticks=steps)
        axes.spines[["top", "right"]].set_visible(False)
        legend = figure.legend(loc="outside right upper", frameon=False)
        _plain(*legend.get_texts())
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str], dpi: int = 150) -> Path:
    """Write a PNG, PDF or SVG, by the suffix; atomically, and the same bytes for the same figure.

    Raises
    ------
    SettingError
        If the suffix is another.
    TraceError
        If the place cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise SettingError(
            f"expected a figure file ending in {', '.join(SUFFIXES)}, got {os.fspath(path)!r}; rename it"
        )
    stamp: dict[str, Any] = {} if suffix == ".png" else {"CreationDate" if suffix == ".pdf" else "Date": None}
    stream = BytesIO()
    with rc_context(STYLE), warnings.catch_warnings():
        # A query may be in a script that no installed font has: a box is then drawn in its place.
        warnings.filterwarnings("ignore", message=".*Glyph .* missing from")
        figure.savefig(stream, format=suffix[1:], dpi=dpi, metadata=stamp)
    return write_file(path, stream.getvalue())


def _fill(cells: list[Axes], trace: Trace, step: Step, place: int, photo: UInt8[np.ndarray, "h w 3"]) -> None:
    """CAM, mask and prompted image of one query in one step, its name above, its verdict below."""
    query, kept = int(step.active[place]), bool(step.kept[place])
    cam, mask = (
        resize_maps(maps[place : place + 1], *photo.shape[:2])[0] for maps in (step.cams, step.masks)
    )
    _picture(cells[0], heat(photo, cam))
    _picture(cells[1], shade(photo, mask, query, float(trace.settings.get("mask_threshold", 0.5))))
    _picture(cells[2], step.prompted[place])
    look: dict[str, Any] = {"fontsize": 8, "weight": "bold" if kept else "normal"}
    title = cells[0].set_title(shorten(trace.queries[query], 20), pad=3, **look)
    _plain(title)
    verdict = f"{step.scores[place]:.2f}  {'kept' if kept else 'dropped'}"
    cells[2].set_xlabel(verdict, labelpad=4, color="black" if kept else GREY, **look)
    cells[2].spines[:].set_visible(True)
    line: Any = "-" if kept else (0, (3, 2))
    cells[2].spines[:].set(color=colour_hex(query) if kept else GREY, linestyle=line, linewidth=1.5)


def heat(photo: UInt8[np.ndarray, "h w 3"], cam: Float32[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """A map in [0, 1] over a grey photo, in a colour scale that colour-blind readers can follow."""
    grey = np.repeat(photo.mean(axis=2, keepdims=True), 3, axis=2)
    colours = colormaps["inferno"](cam)[..., :3] * 255
    return (0.35 * grey + 0.65 * colours).round().astype(np.uint8)


def shade(
    photo: UInt8[np.ndarray, "h w 3"], mask: Float32[np.ndarray, "h w"], query: int, threshold: float
) -> UInt8[np.ndarray, "h w 3"]:
    """The soft mask in the query's colour, and the line where it passes the threshold."""
    tint = np.array(colour(query), dtype=np.float32)
    weight = 0.75 * mask[..., None]
    shaded = photo * (1 - weight) * 0.8 + tint * weight
    shaded[edge(mask > threshold)] = 255
    return shaded.round().clip(0, 255).astype(np.uint8)


def _columns(trace: Trace, most: int) -> list[int]:
    best = np.nanmax(trace.scores, axis=0)
    survivors = set(trace.survivors.tolist())
    ranked = sorted(range(len(best)), key=lambda query: (query not in survivors, -best[query]))
    return sorted(ranked[:most])


def _axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes placed in inches from the lower left corner: nothing moves when a text is long."""
    page = figure.get_size_inches()
    return figure.add_axes((left / page[0], bottom / page[1], width / page[0], height / page[1]))


def _text(figure: Figure, x: float, y: float, text: str, **look: Any) -> None:
    """Upright text on the left margin, in inches."""
    page = figure.get_size_inches()
    figure.text(x / page[0], y / page[1], text, rotation=90, ha="left", va="center", **look)


def _picture(axes: Axes, picture: UInt8[np.ndarray, "h w 3"]) -> None:
    axes.imshow(picture, interpolation="lanczos", aspect="auto")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _plain(*texts: Any) -> None:
    """Show user text as it is: a dollar sign starts no formula."""
    for text in texts:
        text.set_parse_math(False)
