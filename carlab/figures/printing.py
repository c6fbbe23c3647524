"""Figures for papers: matplotlib, no display, no global state.

The same trace gives the same bytes, as long as matplotlib and the installed
fonts are the same.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from carlab.archive import write_file
from carlab.display import columns, most_telling, painted, shorten, thumbnail
from carlab.errors import SettingError
from carlab.overlay import colour, colour_hex, edge, resize_maps
from carlab.trace import Step, Trace

SUFFIXES = (".png", ".pdf", ".svg")
PHOTO_SIDE = 320
"""Longest side of a photo inside a figure of many, in pixels."""
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
GREY, PALE = "#6b6b6b", "#e4e4e4"
MARKERS = "osD^vph<>"
FONTS = (
    "DejaVu Sans",
    "Noto Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Noto Sans Symbols 2",
    "Noto Emoji",
    "Arial Unicode MS",
    "Yu Gothic",
    "Microsoft YaHei",
    "Segoe UI Symbol",
)
"""Tried in this order for every letter, where installed; DejaVu Sans comes with matplotlib."""
STYLE: Any = {
    "font.size": 8,
    "svg.fonttype": "none",  # text stays text, to be edited and searched
    "svg.hashsalt": "carlab",  # the same figure gives the same file
    "pdf.fonttype": 42,
}
ROWS = ("activation map", "mask", "prompted image")


class QuietFigure(Figure):
    """A figure that draws a box for a letter no font has, and leaves it at that."""

    # Renderers are Any: for PDF and SVG matplotlib hands in one of no common class.
    def draw(self, renderer: Any) -> None:
        """Draw everything."""
        with _boxes_for_missing_letters():
            super().draw(renderer)

    def get_tightbbox(self, renderer: Any = None, **options: Any) -> Any:
        """Give the box around everything, in inches; notebooks ask for it before they draw."""
        with _boxes_for_missing_letters():
            return super().get_tightbbox(renderer, **options)


def overlay_figure(trace: Trace) -> Figure:
    """The photo with the final masks painted on it, and a legend with final scores."""
    found = [query for query in most_telling(trace) if query in trace.survivors]
    height, width = (5.0 * side / max(trace.image.shape[:2]) for side in trace.image.shape[:2])
    page = max(width, 3.0)
    with rc_context(_style()):
        figure = QuietFigure(figsize=(page, height))
        lines, place = _legend_places(figure, trace, found, page)
        left_out = len(trace.survivors) - len(found)
        below = 0.14 + 0.2 * (lines + (left_out > 0))
        figure.set_size_inches(page, height + below)
        _picture(_axes(figure, (page - width) / 2, below, width, height), painted(trace, OVERLAY_SIDE))
        if not found:
            _text(figure, page / 2, below / 2, "nothing present", ha="center", fontsize=9)
        for number, query in enumerate(found):
            _legend_entry(figure, trace, query, *place(number, below - 0.16))
        if left_out:
            _text(figure, page / 2, 0.12, f"... and {left_out} more", ha="center", color=GREY)
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
    photo = thumbnail(trace.image, PHOTO_SIDE)
    with rc_context(_style()):
        figure = QuietFigure(figsize=grid.page)
        for band, t in enumerate(steps):
            step = trace.steps[t]
            _margin(figure, grid, band, trace, t, queries)
            places = {int(query): place for place, query in enumerate(step.active)}
            for column, query in enumerate(queries):
                if query in places:
                    _fill(figure, grid, band, column, trace, step, places[query], photo)
    return figure


def scores_figure(trace: Trace) -> Figure:
    """Score of each query over the steps, the threshold, and where each one fell."""
    named = most_telling(trace, MOST_LINES)
    with rc_context(_style()):
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
        _plain(*legend.get_texts())
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
    with rc_context(_style()), _boxes_for_missing_letters():
        figure.savefig(stream, format=suffix[1:], dpi=dpi, metadata=stamp)
    return write_file(path, stream.getvalue())


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
    _text(figure, 0.1, line, f"step {t + 1}", fontsize=12, weight="bold", va="baseline")
    _text(figure, MARGIN, line, _facts(trace, t, queries), fontsize=8, color=GREY, va="baseline")
    look: Any = {"ha": "right", "fontsize": 8}
    for name, bottom, height in zip(ROWS, bottoms, grid.heights, strict=True):
        _text(figure, MARGIN - 0.1, bottom + height / 2, name, **look)
    _text(figure, MARGIN - 0.1, bottoms[-1] - 0.11, "score", **look)
    if not np.isnan(trace.threshold):
        note = f"threshold {trace.threshold:.2f}"
        _text(figure, MARGIN - 0.1, bottoms[-1] - LABEL_PAD / 72, note, va="top", **look)


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
    photo: UInt8[np.ndarray, "h w 3"],
) -> None:  # fmt: skip
    """CAM, mask and prompted image of one query in one step, its name above, its verdict below."""
    query, kept = int(step.active[place]), bool(step.kept[place])
    left, bottoms = grid.left(column), grid.bottoms(band)
    cells = [_axes(figure, left, b, CELL, h) for b, h in zip(bottoms, grid.heights, strict=True)]
    cam, mask = (
        resize_maps(maps[place : place + 1], *photo.shape[:2])[0] for maps in (step.cams, step.masks)
    )
    _picture(cells[0], heat(photo, cam))
    _picture(cells[1], shade(photo, mask, query, float(trace.settings.get("mask_threshold", 0.5))))
    _picture(cells[2], step.prompted[place])
    look: dict[str, Any] = {"fontsize": 8, "weight": "bold" if kept else "normal"}
    _fit(cells[0].set_title("", pad=4, **look), trace.queries[query], CELL)
    score = float(step.scores[place])
    verdict = f"{_number(score, trace.threshold)}  {'kept' if kept else 'dropped'}"
    cells[2].set_xlabel(verdict, labelpad=LABEL_PAD, color="black" if kept else GREY, **look)
    # Told apart without colour: a whole line or a broken one, black text or grey.
    frame: Any = {"edgecolor": colour_hex(query), "linewidth": 2} if kept else {
        "edgecolor": GREY, "linewidth": 1, "linestyle": (0, (3, 2))
    }  # fmt: skip
    _box(figure, left - 0.025, bottoms[2] - 0.025, CELL + 0.05, grid.heights[2] + 0.05, fill=False, **frame)
    _bar(figure, left, bottoms[2] - 0.145, score, trace.threshold, query if kept else None)


def _bar(
    figure: Figure, left: float, bottom: float, score: float, threshold: float, query: int | None
) -> None:
    """A score from 0 to 1 as a bar the width of a cell, the threshold as a tick across it."""
    _box(figure, left, bottom, CELL, 0.07, facecolor=PALE)
    length = CELL * min(1.0, max(0.0, score))
    if length > 0:
        _box(figure, left, bottom, length, 0.07, facecolor="#9a9a9a" if query is None else colour_hex(query))
    if 0 <= threshold <= 1:
        _box(figure, left + CELL * threshold - 0.008, bottom - 0.025, 0.016, 0.12, facecolor="black")


def _number(score: float, threshold: float) -> str:
    """A score with two decimals, or three where two would look like the threshold."""
    return f"{score:.3f}" if f"{score:.2f}" == f"{threshold:.2f}" else f"{score:.2f}"


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


def _legend_places(figure: Figure, trace: Trace, found: list[int], page: float) -> Any:
    """How many lines a legend of these queries takes, and where its entries start, in inches."""
    widest = max((_measure(figure, shorten(trace.queries[query], 20)) for query in found), default=0.0)
    entry = min(page, 0.24 + 0.34 + widest + 0.2)
    across = max(1, min(len(found), int(page / entry)))
    margin = (page - across * entry) / 2

    def place(number: int, top: float) -> tuple[float, float]:
        return margin + number % across * entry + 0.1, top - 0.2 * (number // across)

    return max(1, -(-len(found) // across)), place


def _legend_entry(figure: Figure, trace: Trace, query: int, x: float, y: float) -> None:
    """Patch, score and name side by side: as one text a name in Arabic would swallow the score."""
    _box(figure, x, y - 0.05, 0.17, 0.1, facecolor=colour_hex(query), edgecolor="black", linewidth=0.5)
    _text(figure, x + 0.24, y, f"{trace.scores[-1, query]:.2f}", weight="bold")
    _plain(_text(figure, x + 0.55, y, shorten(trace.queries[query], 20)))


def _measure(figure: Figure, text: str, **look: Any) -> float:
    """Width of a text in inches."""
    trial = figure.text(0, 0, text, **look)
    trial.set_parse_math(False)
    width = _width(trial)
    trial.remove()
    return width


def _width(text: Text) -> float:
    figure = text.get_figure(root=True)
    with _boxes_for_missing_letters():
        return text.get_window_extent().width / (figure.dpi if figure is not None else 1)


def _fit(target: Text, text: str, inches: float) -> None:
    """Show as much of a user's text as is no wider than so many inches."""
    _plain(target)
    room = 20
    target.set_text(shorten(text, room))
    while room > 2 and (width := _width(target)) > inches:
        room = max(2, min(room - 1, int(columns(target.get_text()) * inches / width)))
        target.set_text(shorten(text, room))


@contextmanager
def _boxes_for_missing_letters() -> Iterator[None]:
    """Let nothing be said of a letter that no installed font has; a box is drawn in its place."""
    with warnings.catch_warnings():
        # Queries come in any script, and most machines lack a font for some; the box says it all.
        warnings.filterwarnings("ignore", message=".*Glyph .* missing from")
        # Before 3.11 matplotlib also says so of scripts whose letters it cannot join.
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        yield


def _style() -> Any:
    """`STYLE` with those of `FONTS` that are installed: naming another makes matplotlib complain."""
    installed = set(fontManager.get_font_names())
    return {**STYLE, "font.family": [name for name in FONTS if name in installed]}


def _axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes placed in inches from the lower left corner: nothing moves when a text is long."""
    page = figure.get_size_inches()
    return figure.add_axes((left / page[0], bottom / page[1], width / page[0], height / page[1]))


def _text(figure: Figure, x: float, y: float, text: str, **look: Any) -> Text:
    """Text in inches, by default left of it and at half its height."""
    page = figure.get_size_inches()
    return figure.text(x / page[0], y / page[1], text, **{"ha": "left", "va": "center", **look})


def _box(figure: Figure, left: float, bottom: float, width: float, height: float, **look: Any) -> None:
    """A rectangle in inches, under no axes."""
    page = figure.get_size_inches()
    corner, size = (left / page[0], bottom / page[1]), (width / page[0], height / page[1])
    figure.add_artist(Rectangle(corner, *size, transform=figure.transFigure, **{"linewidth": 0, **look}))


def _picture(axes: Axes, picture: UInt8[np.ndarray, "h w 3"]) -> None:
    axes.imshow(picture, interpolation="lanczos", aspect="equal")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _plain(*texts: Text) -> None:
    """Show user text as it is: a dollar sign starts no formula."""
    for text in texts:
        text.set_parse_math(False)
