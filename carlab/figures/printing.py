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
CELL_SIDE = 320
"""Longest side of a photo inside a figure of many, in pixels."""
GREY = "#767676"
STYLE = {
    "font.size": 8,
    "svg.fonttype": "none",  # text stays text, to be edited and searched
    "svg.hashsalt": "carlab",  # the same figure gives the same file
    "pdf.fonttype": 42,
}
ROWS = ("class activation map", "mask", "prompted image")


def overlay_figure(trace: Trace) -> Figure:
    """The photo with the final masks painted on it, and a legend with final scores."""
    height, width = trace.image.shape[:2]
    found = [int(query) for query in trace.survivors]
    with rc_context(STYLE):
        inches = 5.0 * width / max(height, width), 5.0 * height / max(height, width)
        figure = Figure(figsize=(inches[0] + 0.2, inches[1] + 0.45 + 0.2 * ((len(found) + 2) // 3)))
        axes = figure.add_subplot()
        _picture(axes, paint(trace.image, trace.labels))
        final = trace.scores[-1]
        handles = [Patch(facecolor=colour_hex(query), edgecolor="black", linewidth=0.5) for query in found]
        labels = [f"{shorten(trace.queries[query], 24)}  {final[query]:.2f}" for query in found]
        if found:
            legend = axes.legend(
                handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=3, frameon=False
            )
            _plain(*legend.get_texts())
        else:
            axes.set_xlabel("nothing present", fontsize=10)
        figure.tight_layout(pad=0.3)
    return figure


def recurrence_figure(trace: Trace, max_queries: int = 8) -> Figure:
    """The method at a glance: a band per step, a column per query; who is dropped leaves a gap.

    Each cell shows the class activation map, the mask over the photo, the
    prompted image as the classifier saw it, and the score with its verdict.
    With more queries than `max_queries`, the survivors and the best are shown.
    """
    queries = _columns(trace, max_queries)
    height, width = trace.image.shape[:2]
    ratio = min(1.6, max(0.6, height / width))
    with rc_context(STYLE):
        size = 0.9 + 1.35 * len(queries), 0.9 + len(trace.steps) * (0.55 + len(ROWS) * 1.35 * ratio)
        figure = Figure(figsize=size)
        bands = figure.subfigures(len(trace.steps), 1, squeeze=False)[:, 0]
        photo = thumbnail(trace.image, CELL_SIDE)
        for t, (band, step) in enumerate(zip(bands, trace.steps, strict=True)):
            _band(band, trace, step, t, queries, photo)
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


def _band(
    band: Any, trace: Trace, step: Step, t: int, queries: list[int], photo: UInt8[np.ndarray, "h w 3"]
) -> None:
    """One step: a row each for CAM, mask and prompted image, a column per query."""
    grid = band.subplots(len(ROWS), len(queries), squeeze=False)
    band.subplots_adjust(left=0.55 / _inches(band)[0], right=0.995, top=1 - 0.33 / _inches(band)[1],
                         bottom=0.3 / _inches(band)[1], wspace=0.06, hspace=0.06)  # fmt: skip
    count = f"{len(step.active)} active quer{'ies' if len(step.active) > 1 else 'y'}"
    band.text(
        0.08 / _inches(band)[0], 0.5, f"step {t + 1}", rotation=90, va="center", fontsize=11, weight="bold"
    )
    places = {int(query): place for place, query in enumerate(step.active)}
    for column, query in zip(grid.T, queries, strict=True):
        for axes in column:
            axes.set_axis_off()
        if query in places:
            _cells(column, trace, step, places[query], t, photo)
    for axes, name in zip(grid[:, 0], ROWS, strict=True):
        axes.text(-0.04, 0.5, name.replace(" ", "\n", 1), transform=axes.transAxes, rotation=90,
                  ha="right", va="center", color=GREY, fontsize=7, linespacing=1)  # fmt: skip
    band.text(0.999, 0.02 / _inches(band)[1], count, ha="right", va="bottom", fontsize=6.5, color=GREY)


def _cells(
    column: Any, trace: Trace, step: Step, place: int, t: int, photo: UInt8[np.ndarray, "h w 3"]
) -> None:
    """CAM, mask and prompted image of one query in one step, with name above and verdict below."""
    query = int(step.active[place])
    cam, mask = (
        resize_maps(maps[place : place + 1], *photo.shape[:2])[0] for maps in (step.cams, step.masks)
    )
    _picture(column[0], heat(photo, cam))
    _picture(column[1], shade(photo, mask, query, float(trace.settings.get("mask_threshold", 0.5))))
    prompted = step.prompted[place]
    column[2].imshow(
        prompted, interpolation="lanczos", aspect="auto" if prompted.shape[0] == prompted.shape[1] else 1
    )
    column[2].set_axis_on()
    column[2].set(xticks=[], yticks=[])
    kept = bool(step.kept[place])
    title = column[0].set_title(
        shorten(trace.queries[query], 22),
        fontsize=8,
        pad=3,
        color="black",
        weight="bold" if kept else "normal",
    )
    note = f"{step.scores[place]:.2f}  {'kept' if kept else 'dropped'}"
    column[2].set_xlabel(
        note, fontsize=8, labelpad=3, color="black" if kept else GREY, weight="bold" if kept else "normal"
    )
    for spine in column[2].spines.values():
        spine.set(
            color=colour_hex(query) if kept else GREY, linestyle="-" if kept else (0, (3, 2)), linewidth=1.5
        )
    _plain(title)


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


def _picture(axes: Axes, picture: UInt8[np.ndarray, "h w 3"]) -> None:
    axes.imshow(
        picture, interpolation="lanczos", aspect="auto" if axes.get_subplotspec() is None else "equal"
    )
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _plain(*texts: Any) -> None:
    """Show user text as it is: a dollar sign starts no formula."""
    for text in texts:
        text.set_parse_math(False)


def _inches(band: Any) -> tuple[float, float]:
    box = band.bbox
    return box.width / band.figure.dpi, box.height / band.figure.dpi
