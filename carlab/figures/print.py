"""Figures of one trace for papers: matplotlib, no display, no global state.

The same trace gives the same bytes, as long as matplotlib and the installed fonts are the same.
"""

import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from carlab.errors import SettingError
from carlab.figures.layers import MOST_NAMED, mask_threshold
from carlab.figures.print_style import (
    GREY,
    PALE,
    PRINT_SIDE,
    PrintFigure,
    fit_text,
    heat,
    print_style,
    width_of,
)
from carlab.files.archive import write_file
from carlab.files.pictures import colour_hex, edge, paint_maps, resize, shrink
from carlab.files.shapes import Image
from carlab.trace import Trace
from carlab.trace.show import most_telling, painted, shorten

STAMPS: Any = {".png": {}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
"""Suffixes of figure files, and the metadata that keeps the time of writing out of each."""
OVERLAY_SIDE = 1000
"""Longest side of the one image of a figure, in pixels: 200 an inch."""
MOST_PIXELS = 2**16
"""A side that matplotlib refuses to draw."""
CELL, GAP, MARGIN = 1.35, 0.1, 1.12
"""Width of a cell, space between cells, and the margin of row names, in inches."""
HEADER, TITLE, VERDICT, PAGE_EDGE = 0.34, 0.24, 0.46, 0.08
"""Heights of the line that names a step, of the queries' names, and of the scores, in inches."""
LABEL_PAD = 14
"""Space between a prompted image and its verdict, for the bar, in points."""
MOST_BANDS = 10
"""Steps drawn; a loop that drops one query at a time would fill metres of paper."""
WHOLE, BROKEN = {"linewidth": 2}, {"linewidth": 1, "linestyle": (0, (3, 2))}
"""Frames of prompted images: kept, dropped."""
MARKERS = "osD^vph<>"
ROWS = ("activation map", "mask", "prompted image")


def overlay_figure(trace: Trace) -> Figure:
    """Draw the image with the final masks painted on it, and a legend with final scores.

    Parameters
    ----------
    trace
        At most 30 of its survivors are in the legend; the others are counted.

    Examples
    --------
    >>> [text.get_text() for text in overlay_figure(trace).texts]
    ['0.80', 'cat']
    """
    found = [query for query in most_telling(trace) if query in trace.survivors]
    names = [shorten(trace.queries[query], 20) for query in found]
    left_out = len(trace.survivors) - len(found)
    height, width = (5.0 * side / max(trace.image.shape[:2]) for side in trace.image.shape[:2])
    page = max(width, 3.0)
    with print_style():
        scratch = PrintFigure()
        entry = min(page, 0.78 + max((width_of(scratch.text(0, 0, name)) for name in names), default=0.0))
        across = max(1, min(len(found), int(page / entry)))
        below = 0.14 + 0.2 * (max(1, -(-len(found) // across)) + (left_out > 0))
        figure = PrintFigure(figsize=(page, height + below))
        figure.add_picture(painted(trace, OVERLAY_SIDE), (page - width) / 2, below, width, height)
        for number, (query, name) in enumerate(zip(found, names, strict=True)):
            row, column = divmod(number, across)
            x, y = page / 2 + (column - across / 2) * entry + 0.1, below - 0.16 - 0.2 * row
            patch: Any = {"facecolor": colour_hex(query), "edgecolor": "black", "linewidth": 0.5}
            figure.add_box(x, y - 0.05, 0.17, 0.1, **patch)
            # Two texts: in one, a name in Arabic would swallow the score.
            figure.add_text(x + 0.24, y, f"{trace.scores[-1, query]:.2f}", weight="bold")
            figure.add_text(x + 0.55, y, name)
        if not found:
            figure.add_text(page / 2, below / 2, "nothing present", ha="center", fontsize=9)
        if left_out:
            figure.add_text(page / 2, 0.12, f"... and {left_out} more", ha="center", color=GREY)
    return figure


def recurrence_figure(trace: Trace, max_queries: int = 8) -> Figure:
    """Draw every step as a band and every query as a column; a dropped query leaves a gap.

    Each cell shows the class activation map, the mask over the image with an outline at eta, the prompted
    image as the classifier saw it, and the score beside the threshold with its verdict.

    Raises SettingError if `max_queries` is less than 1.

    Parameters
    ----------
    trace
        Of a loop of more than `MOST_BANDS` steps, the first ones and the last are drawn.
    max_queries
        Columns, 1 or more; with more queries, the survivors and those that lasted longest are drawn.

    Examples
    --------
    >>> [axes.get_title() for axes in recurrence_figure(trace).axes[::3]]
    ['cat', 'dog', 'sofa', 'cat', 'dog', 'cat']
    """
    if max_queries < 1:
        raise SettingError(f"expected max_queries of 1 or more, got {max_queries}; 8 fit on a page")
    queries, steps = most_telling(trace, max_queries), list(range(len(trace.steps)))
    if len(steps) > MOST_BANDS:
        steps = [*steps[: MOST_BANDS - 1], steps[-1]]
    # A panorama is drawn smaller inside its cell, and no cell is a thread.
    flat = CELL * min(1.6, max(0.4, trace.image.shape[0] / trace.image.shape[1]))
    heights = np.array([flat, flat, CELL * np.divide(*trace.steps[0].prompted.shape[1:3])])
    offsets = np.cumsum(heights) + GAP * np.arange(len(heights))
    band = HEADER + TITLE + offsets[-1] + VERDICT
    # Never narrower than the line that names a step.
    page = max(4.2, MARGIN + len(queries) * (CELL + GAP)), len(steps) * band + PAGE_EDGE
    image = shrink(trace.image, PRINT_SIDE)
    with print_style():
        figure = PrintFigure(figsize=page)
        for number, t in enumerate(steps):
            top = page[1] - number * band - HEADER - TITLE
            line, rows = top + TITLE + 0.12, list(zip(top - offsets, heights, strict=True))
            figure.add_text(0.1, line, f"step {t + 1}", fontsize=12, weight="bold", va="baseline")
            figure.add_text(MARGIN, line, _facts(trace, t, queries), color=GREY, va="baseline")
            for name, (bottom, height) in zip(ROWS, rows, strict=True):
                figure.add_text(MARGIN - 0.1, bottom + height / 2, name, ha="right")
            figure.add_text(MARGIN - 0.1, rows[-1][0] - 0.11, "score", ha="right")
            if not np.isnan(trace.threshold):
                note = f"threshold {trace.threshold:.2f}"
                figure.add_text(MARGIN - 0.1, rows[-1][0] - LABEL_PAD / 72, note, ha="right", va="top")
            for place, query in enumerate(trace.steps[t].active):
                if query in queries:
                    left = MARGIN + queries.index(query) * (CELL + GAP)
                    _draw_cells(figure, trace, t, place, image, [(left, *row) for row in rows])
    return figure


def _facts(trace: Trace, t: int, queries: Sequence[int]) -> str:
    """Return how many queries are active and kept, what is not drawn, and why the loop ended."""
    step, last = trace.steps[t], len(trace.steps) - 1
    hidden = len(set(step.active.tolist()) - set(queries))
    facts = f"{len(step.active)} active" + (f" ({hidden} not drawn)" if hidden else "")
    facts += f", {step.kept.sum()} kept" + (f": {trace.stop}" if t == last else "")
    if t == MOST_BANDS - 2 and t < last - 1:
        facts += f"; steps {t + 2} to {last} not drawn"
    return facts


def _draw_cells(
    figure: PrintFigure, trace: Trace, t: int, place: int, image: Image, cells: list[tuple[float, ...]]
) -> None:
    """Draw activation map, mask and prompted image of one query in step `t`, with its verdict below."""
    step = trace.steps[t]
    query, kept, score = int(step.active[place]), bool(step.kept[place]), float(step.scores[place])
    mask = resize(step.masks[place], *image.shape[:2])
    masked = paint_maps((0.8 * image).astype(np.uint8), mask[None], [query], 0.75)
    masked[edge(mask > mask_threshold(trace))] = 255  # white shows on any ground and any colour
    pictures = heat(image, step.cams[place]), masked, step.prompted[place]
    axes = [
        figure.add_picture(picture, left, bottom, CELL, height)
        for picture, (left, bottom, height) in zip(pictures, cells, strict=True)
    ]
    look: Any = {"fontsize": 8, "weight": "bold" if kept else "normal"}
    fit_text(axes[0].set_title("", pad=4, **look), trace.queries[query], CELL)
    # Three decimals where two would look like the threshold.
    digits = 3 if f"{score:.2f}" == f"{trace.threshold:.2f}" else 2
    verdict = f"{score:.{digits}f}  {'kept' if kept else 'dropped'}"
    axes[2].set_xlabel(verdict, labelpad=LABEL_PAD, color="black" if kept else GREY, **look)
    # Told apart without colour: a whole line or a broken one, black text or grey.
    tint, frame = (colour_hex(query), WHOLE) if kept else (GREY, BROKEN)
    left, bottom, height = cells[2]
    box = left - 0.025, bottom - 0.025, CELL + 0.05, height + 0.05
    figure.add_box(*box, fill=False, edgecolor=tint, **frame)
    # The score as a bar, the threshold as a tick across it.
    figure.add_box(left, bottom - 0.145, CELL, 0.07, facecolor=PALE)
    if score > 0:
        filling = colour_hex(query) if kept else "#9a9a9a"
        figure.add_box(left, bottom - 0.145, CELL * min(1.0, score), 0.07, facecolor=filling)
    if 0 <= trace.threshold <= 1:
        figure.add_box(left + CELL * trace.threshold - 0.008, bottom - 0.17, 0.016, 0.12, facecolor="black")


def scores_figure(trace: Trace) -> Figure:
    """Draw the score of each query over the steps, the threshold, and a cross where a query is dropped.

    Parameters
    ----------
    trace
        Its most telling queries are named, at most `MOST_NAMED`; all others share one grey look.

    Examples
    --------
    >>> [line.get_label() for line in scores_figure(trace).axes[0].lines]
    ['cat', 'dog', 'sofa', 'dropped', 'threshold 0.30']
    """
    named = most_telling(trace, MOST_NAMED)
    others = [query for query in range(len(trace.queries)) if query not in named]
    dropped = [(drop.step + 1, drop.score) for drop in trace.drops if drop.query in named]
    scores, steps = trace.scores, np.arange(1, len(trace.steps) + 1)
    rim: Any = {"markeredgecolor": "black", "markeredgewidth": 0.6, "clip_on": False, "zorder": 2.5}
    grey: Any = {"color": "#bbbbbb", "linewidth": 0.6, "markersize": 3, "zorder": 1}
    dashes: Any = {"color": "black", "linestyle": (0, (4, 3)), "linewidth": 0.9, "zorder": 0}
    with print_style():
        figure = PrintFigure(figsize=(5.2, max(2.8, 0.8 + 0.17 * (len(named) + 3))), layout="constrained")
        axes = figure.add_subplot(xlabel="step", ylabel="score", ylim=(-0.02, 1.02))
        for query in named:
            name, marker = shorten(trace.queries[query], 24), MARKERS[query % len(MARKERS)]
            axes.plot(steps, scores[:, query], label=name, color=colour_hex(query), marker=marker, **rim)
        for line in axes.plot(steps, scores[:, others], ".-", **grey)[:1]:
            line.set_label(f"{len(others)} more")
        if dropped:
            axes.plot(*zip(*dropped, strict=True), "kx", markersize=10, label="dropped", zorder=3)
        if not np.isnan(trace.threshold):
            axes.axhline(trace.threshold, label=f"threshold {trace.threshold:.2f}", **dashes)
        axes.set(xlim=(0.75, len(steps) + 0.25), xticks=steps[:: -(-len(steps) // 20)])
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside right upper", frameon=False)
    return figure


def figure_bytes(figure: Figure, name: str | os.PathLike[str], dpi: int | float = 150) -> bytes:
    """Return a figure as `save_figure` writes it; the suffix of the name selects the format.

    Raises SettingError if the suffix is another, or `dpi` makes a picture too large to draw.

    Parameters
    ----------
    figure, name, dpi
        As `save_figure` takes them.

    Examples
    --------
    >>> figure_bytes(overlay_figure(trace), "overlay.pdf")[:5]
    b'%PDF-'
    """
    suffix = Path(name).suffix.lower()
    if suffix not in STAMPS:
        raise SettingError(
            f"expected a figure file ending in {', '.join(STAMPS)}, got {os.fspath(name)!r}; rename it"
        )
    most = int(MOST_PIXELS / max(figure.get_size_inches()))
    if not 1 <= dpi < most:
        raise SettingError(
            f"expected 1 to {most - 1} dots an inch for this figure, got {dpi}; print needs 300"
        )
    stream = BytesIO()
    with print_style():
        figure.savefig(stream, format=suffix[1:], dpi=dpi, metadata=STAMPS[suffix])
    return stream.getvalue()


def save_figure(figure: Figure, path: str | os.PathLike[str], dpi: int | float = 150) -> Path:
    """Write a PNG, PDF or SVG atomically, with the same bytes for the same figure, and return its path.

    Raises SettingError if the suffix is another, or `dpi` makes a picture too large to draw; TraceError if
    the place cannot be written.

    Parameters
    ----------
    figure, path
        Any matplotlib figure; the suffix selects the format.
    dpi
        Dots an inch of pixels, 1 or more; print needs 300.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     save_figure(overlay_figure(trace), f"{folder}/overlay.pdf").name
    'overlay.pdf'
    """
    return write_file(path, figure_bytes(figure, path, dpi))


FIGURES = {"overlay": overlay_figure, "recurrence": recurrence_figure, "scores": scores_figure}
"""Figures of one trace by name; add your own."""


def save_figures(
    trace: Trace, folder: str | os.PathLike[str], stem: str = "", names: Sequence[str] = ()
) -> list[Path]:
    """Write figures of a trace as `STEM.NAME.png`, or `NAME.png`, and return their paths.

    Raises TraceError if the folder cannot be written.

    Parameters
    ----------
    trace, folder, stem
        An existing folder, and the first part of the file names; empty for none.
    names
        Out of `FIGURES`; all of them by default.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     [path.name for path in save_figures(trace, folder, "cats", ["overlay", "scores"])]
    ['cats.overlay.png', 'cats.scores.png']
    """
    paths = {name: Path(folder) / f"{stem}{'.' if stem else ''}{name}.png" for name in names or FIGURES}
    return [save_figure(FIGURES[name](trace), path) for name, path in paths.items()]
