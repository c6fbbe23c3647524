"""Figures for papers: matplotlib, no display, no global state.

The same trace gives the same bytes, as long as matplotlib and the installed
fonts are the same.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from carlab.errors import SettingError
from carlab.figures.layers import mask_threshold
from carlab.figures.style import (
    GREY,
    PALE,
    QuietFigure,
    axes_at,
    box_at,
    boxes_for_missing_letters,
    fit_text,
    heat,
    plain,
    show_picture,
    style,
    text_at,
    text_width,
)
from carlab.files.archive import write_file
from carlab.files.pictures import colour_hex, paint_maps, shrink
from carlab.files.shapes import Image
from carlab.trace import Step, Trace
from carlab.trace.show import most_telling, painted, shorten

SUFFIXES = (".png", ".pdf", ".svg")
CELL_SIDE = 320
"""Longest side of an image inside a figure of many, in pixels."""
OVERLAY_SIDE = 1000
"""Longest side of the one photo of a figure, in pixels: 200 an inch."""
MOST_PIXELS = 2**16
"""A side that matplotlib refuses to draw."""
CELL, GAP, MARGIN = 1.35, 0.1, 1.12
"""Width of a cell, space between cells, and the margin of row names, in inches."""
HEADER, TITLE, VERDICT, PAGE_EDGE = 0.34, 0.24, 0.46, 0.08
"""Heights of the line that names a step, of the queries' names, and of the scores, in inches."""
LABEL_PAD = 14
"""Space between a prompted image and its verdict, where the bar stands, in points."""
MOST_BANDS = 10
"""Steps drawn; a loop that drops one query at a time would fill metres of paper."""
MOST_LINES = 12
MARKERS = "osD^vph<>"
ROWS = ("activation map", "mask", "prompted image")


def overlay_figure(trace: Trace) -> Figure:
    """The photo with the final masks painted on it, and a legend with final scores."""
    found = [query for query in most_telling(trace) if query in trace.survivors]
    height, width = (5.0 * side / max(trace.image.shape[:2]) for side in trace.image.shape[:2])
    page = max(width, 3.0)
    with rc_context(style()):
        figure = QuietFigure(figsize=(page, height))
        lines, place = _legend_places(figure, trace, found, page)
        left_out = len(trace.survivors) - len(found)
        below = 0.14 + 0.2 * (lines + (left_out > 0))
        figure.set_size_inches(page, height + below)
        show_picture(axes_at(figure, (page - width) / 2, below, width, height), painted(trace, OVERLAY_SIDE))
        if not found:
            text_at(figure, page / 2, below / 2, "nothing present", ha="center", fontsize=9)
        for number, query in enumerate(found):
            _legend_entry(figure, trace, query, *place(number, below - 0.16))
        if left_out:
            text_at(figure, page / 2, 0.12, f"... and {left_out} more", ha="center", color=GREY)
    return figure


def recurrence_figure(trace: Trace, max_queries: int = 8) -> Figure:
    """The method at a glance: a band per step, a column per query; who is dropped leaves a gap.

    Each cell shows the class activation map, the mask over the photo, the
    prompted image as the classifier saw it, and the score beside the
    threshold with its verdict. With more queries than `max_queries`, the
    survivors and those that lasted longest are shown.

    Raises
    ------
    SettingError
        If `max_queries` is less than 1.
    """
    if max_queries < 1:
        raise SettingError(f"expected max_queries of 1 or more, got {max_queries}; 8 fit on a page")
    queries, steps = most_telling(trace, max_queries), list(range(len(trace.steps)))
    if len(steps) > MOST_BANDS:
        steps = [*steps[: MOST_BANDS - 1], steps[-1]]
    grid = _Grid.of(trace, len(queries), len(steps))
    image = shrink(trace.image, CELL_SIDE)
    with rc_context(style()):
        figure = QuietFigure(figsize=grid.page)
        for band, t in enumerate(steps):
            step = trace.steps[t]
            _margin(figure, grid, band, trace, t, queries)
            places = {int(query): place for place, query in enumerate(step.active)}
            for column, query in enumerate(queries):
                if query in places:
                    _fill(figure, grid, band, column, trace, step, places[query], image)
    return figure


def scores_figure(trace: Trace) -> Figure:
    """Score of each query over the steps, the threshold, and where each one fell."""
    named = most_telling(trace, MOST_LINES)
    with rc_context(style()):
        figure = QuietFigure(figsize=(5.2, max(2.8, 0.8 + 0.17 * (len(named) + 3))), layout="constrained")
        axes = figure.add_subplot()
        _curves(axes, trace, named)
        fell = [(drop.step + 1, drop.score) for drop in trace.drops if drop.query in named]
        if fell:
            axes.plot(*zip(*fell, strict=True), "x", color="black", markersize=10, label="dropped", zorder=3)
        if not np.isnan(trace.threshold):
            look: Any = {"color": "black", "linestyle": (0, (4, 3)), "linewidth": 0.9, "zorder": 0}
            axes.axhline(trace.threshold, label=f"threshold {trace.threshold:.2f}", **look)
        steps = len(trace.steps)
        axes.set(xlabel="step", xlim=(0.75, steps + 0.25), xticks=range(1, steps + 1, -(-steps // 20)))
        axes.set(ylabel="score", ylim=(-0.02, 1.02))
        axes.spines[["top", "right"]].set_visible(False)
        legend = figure.legend(loc="outside right upper", frameon=False)
        plain(*legend.get_texts())
    return figure


def _curves(axes: Axes, trace: Trace, named: list[int]) -> None:
    """A line for each named query, of its own colour and mark; one grey look for all others."""
    scores, steps = trace.scores, np.arange(1, len(trace.steps) + 1)
    for query in named:
        name, mark = shorten(trace.queries[query], 24), MARKERS[query % len(MARKERS)]
        rim: Any = {"markersize": 6, "markeredgecolor": "black", "markeredgewidth": 0.6, "clip_on": False}
        axes.plot(
            steps, scores[:, query], color=colour_hex(query), marker=mark, label=name, zorder=2.5, **rim
        )
    others = [query for query in range(len(trace.queries)) if query not in named]
    lines = axes.plot(steps, scores[:, others], ".-", color="#bbbbbb", linewidth=0.6, markersize=3, zorder=1)
    if lines:
        lines[0].set_label(f"{len(lines)} more")


def save_figure(figure: Figure, path: str | os.PathLike[str], dpi: int | float = 150) -> Path:
    """Write a PNG, PDF or SVG, by the suffix; atomically, and the same bytes for the same figure.

    Raises
    ------
    SettingError
        If the suffix is another, or `dpi` makes a picture too large to draw.
    TraceError
        If the place cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise SettingError(
            f"expected a figure file ending in {', '.join(SUFFIXES)}, got {os.fspath(path)!r}; rename it"
        )
    most = int(MOST_PIXELS / max(figure.get_size_inches()))
    if not 1 <= dpi < most:
        raise SettingError(
            f"expected 1 to {most - 1} dots an inch for this figure, got {dpi}; print needs 300"
        )
    stamp: dict[str, Any] = {} if suffix == ".png" else {"CreationDate" if suffix == ".pdf" else "Date": None}
    stream = BytesIO()
    with rc_context(style()), boxes_for_missing_letters():
        figure.savefig(stream, format=suffix[1:], dpi=dpi, metadata=stamp)
    return write_file(path, stream.getvalue())


FIGURES = {"overlay": overlay_figure, "recurrence": recurrence_figure, "scores": scores_figure}
"""Figures of one trace by name."""


def save_figures(
    trace: Trace, folder: str | os.PathLike[str], stem: str = "", names: Iterable[str] = tuple(FIGURES)
) -> list[Path]:
    """Write figures of a trace as `STEM.NAME.png`, or `NAME.png`, and return their paths.

    Parameters
    ----------
    names
        Out of `FIGURES`.

    Raises
    ------
    TraceError
        If the folder cannot be written.
    """
    files = {name: f"{stem}.{name}.png" if stem else f"{name}.png" for name in names}
    return [save_figure(FIGURES[name](trace), Path(folder) / file) for name, file in files.items()]


@dataclass(frozen=True)
class _Grid:
    """Where things stand in the recurrence figure, in inches from the lower left corner."""

    columns: int
    bands: int
    heights: tuple[float, ...]
    """Of the pictures of a cell, from the top."""

    @classmethod
    def of(cls, trace: Trace, columns: int, bands: int) -> "_Grid":
        # Panoramas are shown smaller inside their cell, and no cell is a thread.
        flat = CELL * min(1.6, max(0.4, trace.image.shape[0] / trace.image.shape[1]))
        rows, across = trace.steps[0].prompted.shape[1:3]
        return cls(columns, bands, (flat, flat, CELL * rows / across))

    @property
    def band(self) -> float:
        return HEADER + TITLE + sum(self.heights) + GAP * (len(self.heights) - 1) + VERDICT

    @property
    def page(self) -> tuple[float, float]:
        # Never narrower than the line that names a step.
        return max(4.2, MARGIN + self.columns * (CELL + GAP)), self.bands * self.band + PAGE_EDGE

    def left(self, column: int) -> float:
        return MARGIN + column * (CELL + GAP)

    def top(self, band: int) -> float:
        """Upper edge of the uppermost picture."""
        return PAGE_EDGE + (self.bands - band) * self.band - HEADER - TITLE

    def bottoms(self, band: int) -> list[float]:
        """Lower edge of each picture."""
        return [self.top(band) - sum(self.heights[: row + 1]) - row * GAP for row in range(len(self.heights))]


def _margin(figure: Figure, grid: _Grid, band: int, trace: Trace, t: int, queries: list[int]) -> None:
    """What happens in the step, above the pictures; names of the rows, left of them."""
    top, bottoms = grid.top(band), grid.bottoms(band)
    line = top + TITLE + 0.12
    text_at(figure, 0.1, line, f"step {t + 1}", fontsize=12, weight="bold", va="baseline")
    text_at(figure, MARGIN, line, _facts(trace, t, queries), fontsize=8, color=GREY, va="baseline")
    look: Any = {"ha": "right", "fontsize": 8}
    for name, bottom, height in zip(ROWS, bottoms, grid.heights, strict=True):
        text_at(figure, MARGIN - 0.1, bottom + height / 2, name, **look)
    text_at(figure, MARGIN - 0.1, bottoms[-1] - 0.11, "score", **look)
    if not np.isnan(trace.threshold):
        note = f"threshold {trace.threshold:.2f}"
        text_at(figure, MARGIN - 0.1, bottoms[-1] - LABEL_PAD / 72, note, va="top", **look)


def _facts(trace: Trace, t: int, queries: list[int]) -> str:
    """How many queries enter the step and stay, what is not drawn, and why the loop ended."""
    step, last = trace.steps[t], len(trace.steps) - 1
    hidden = len(set(step.active.tolist()) - set(queries))
    facts = f"{len(step.active)} active" + (f" ({hidden} not drawn)" if hidden else "")
    facts += f", {step.kept.sum()} kept" + (f": {trace.stop}" if t == last else "")
    if t == MOST_BANDS - 2 and t < last - 1:
        facts += f"; steps {t + 2} to {last} not drawn"
    return facts


def _fill(
    figure: Figure, grid: _Grid, band: int, column: int, trace: Trace, step: Step, place: int,
    image: Image,
) -> None:  # fmt: skip
    """CAM, mask and prompted image of one query in one step, its name above, its verdict below."""
    query, kept = int(step.active[place]), bool(step.kept[place])
    left, bottoms = grid.left(column), grid.bottoms(band)
    cells = [axes_at(figure, left, b, CELL, h) for b, h in zip(bottoms, grid.heights, strict=True)]
    show_picture(cells[0], heat(image, step.cams[place]))
    mask = step.masks[[place]]
    show_picture(cells[1], paint_maps(image, mask, [query], 0.75, mask_threshold(trace)))
    show_picture(cells[2], step.prompted[place])
    look: dict[str, Any] = {"fontsize": 8, "weight": "bold" if kept else "normal"}
    fit_text(cells[0].set_title("", pad=4, **look), trace.queries[query], CELL)
    score = float(step.scores[place])
    verdict = f"{_number(score, trace.threshold)}  {'kept' if kept else 'dropped'}"
    cells[2].set_xlabel(verdict, labelpad=LABEL_PAD, color="black" if kept else GREY, **look)
    # Told apart without colour: a whole line or a broken one, black text or grey.
    frame: Any = {"edgecolor": colour_hex(query), "linewidth": 2} if kept else {
        "edgecolor": GREY, "linewidth": 1, "linestyle": (0, (3, 2))
    }  # fmt: skip
    box_at(figure, left - 0.025, bottoms[2] - 0.025, CELL + 0.05, grid.heights[2] + 0.05, fill=False, **frame)
    _bar(figure, left, bottoms[2] - 0.145, score, trace.threshold, query if kept else None)


def _bar(
    figure: Figure, left: float, bottom: float, score: float, threshold: float, query: int | None
) -> None:
    """A score from 0 to 1 as a bar the width of a cell, the threshold as a tick across it."""
    box_at(figure, left, bottom, CELL, 0.07, facecolor=PALE)
    length, filling = CELL * min(1.0, max(0.0, score)), "#9a9a9a" if query is None else colour_hex(query)
    if length > 0:
        box_at(figure, left, bottom, length, 0.07, facecolor=filling)
    if 0 <= threshold <= 1:
        box_at(figure, left + CELL * threshold - 0.008, bottom - 0.025, 0.016, 0.12, facecolor="black")


def _number(score: float, threshold: float) -> str:
    """A score with two decimals, or three where two would look like the threshold."""
    return f"{score:.3f}" if f"{score:.2f}" == f"{threshold:.2f}" else f"{score:.2f}"


def _legend_places(figure: Figure, trace: Trace, found: list[int], page: float) -> Any:
    """How many lines a legend of these queries takes, and where its entries start, in inches."""
    widest = max((text_width(figure, shorten(trace.queries[query], 20)) for query in found), default=0.0)
    entry = min(page, 0.24 + 0.34 + widest + 0.2)
    across = max(1, min(len(found), int(page / entry)))
    margin = (page - across * entry) / 2

    def place(number: int, top: float) -> tuple[float, float]:
        return margin + number % across * entry + 0.1, top - 0.2 * (number // across)

    return max(1, -(-len(found) // across)), place


def _legend_entry(figure: Figure, trace: Trace, query: int, x: float, y: float) -> None:
    """Patch, score and name side by side: as one text a name in Arabic would swallow the score."""
    box_at(figure, x, y - 0.05, 0.17, 0.1, facecolor=colour_hex(query), edgecolor="black", linewidth=0.5)
    text_at(figure, x + 0.24, y, f"{trace.scores[-1, query]:.2f}", weight="bold")
    plain(text_at(figure, x + 0.55, y, shorten(trace.queries[query], 20)))
