"""What figures for papers are made of: justified grids of pictures, and one legend with a colour a query."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int
from matplotlib.axes import Axes

from carlab.figures.print_style import MM, PrintFigure, Style, fit_text, print_style, width_of
from carlab.files.pictures import colour_hex, paint, shrink
from carlab.files.shapes import Image
from carlab.trace import Trace
from carlab.trace.show import shorten

SIDE = 480
"""Longest side of a picture, in pixels: 300 dots an inch at 40 mm."""
CELL_GAP = 0.8 * MM
LINE = 1.25
"""Height of a line of text, as a multiple of its size."""
POINT = 1 / 72


class Cell(NamedTuple):
    """A picture with what is written below it; `dim` for one that was dropped."""

    picture: Image
    below: str = ""
    dim: bool = False


class Grid(NamedTuple):
    """A figure with its axes by row and column, None where there is no picture."""

    figure: PrintFigure
    axes: list[list[Axes | None]]


def picture_grid(
    rows: Sequence[Sequence[Cell | None]],
    *,
    style: Style,
    width: str = "page",
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
    legend: Mapping[str, str] | None = None,
    tallest: float | int = 45,
    footer: float | int = 0.0,
) -> Grid:
    """Draw pictures in rows of one height, as wide as the page: columns are as wide as their pictures.

    Parameters
    ----------
    rows
        All of one length; None for a gap.
    style, width
        Of the figure; "column" or "page".
    row_names, column_names
        Written left, upright, and above.
    legend
        Colours by name, below.
    tallest
        Most height of a row, in mm.
    footer
        Room left below for something else, in inches.

    Examples
    --------
    >>> grey = np.full((20, 30, 3), 128, np.uint8)
    >>> grid = picture_grid([[Cell(grey), None]], style=Style(), column_names=["one", "two"])
    >>> [None if axes is None else axes.get_title() for axes in grid.axes[0]]
    ['one', None]
    """
    page, line = style.inches(width), style.size * LINE * POINT
    left = (line + 1 * MM) if row_names else 0.0
    shapes = [_shape([row[column] for row in rows]) for column in range(len(rows[0]))]
    room = page - left - CELL_GAP * (len(shapes) - 1)
    height = min(room / sum(shapes), tallest * MM)
    below = [line * any(cell is not None and cell.below for cell in row) for row in rows]
    above = line * bool(column_names)
    entries = _legend_rows(legend or {}, page, style)
    whole = footer + above + sum(below) + len(rows) * (height + CELL_GAP) + len(entries) * line * 1.2
    with print_style(style):
        figure = PrintFigure(figsize=(page, whole), style=style)
        top, made = whole - above, []
        # Narrow columns are centred in the page rather than stretched.
        indent = left + (page - left - height * sum(shapes) - CELL_GAP * (len(shapes) - 1)) / 2
        for number, row in enumerate(rows):
            bottom, x, axes_of_row = top - height, indent, []
            for column, (cell, shape) in enumerate(zip(row, shapes, strict=True)):
                axes_of_row.append(_cell(figure, cell, (x, bottom, shape * height, height), style))
                if number == 0 and column_names:
                    _title(figure, axes_of_row[-1], column_names[column], (x, shape * height, top))
                x += shape * height + CELL_GAP
            if row_names:
                name = figure.add_text(
                    indent - left + line / 2, bottom + height / 2, "", ha="center", rotation=90
                )
                _fit_upright(name, row_names[number], height)
            made.append(axes_of_row)
            top = bottom - CELL_GAP - below[number]
        _draw_legend(figure, entries, top + CELL_GAP - line * 0.7, line * 1.2, style)
    return Grid(figure, made)


def _shape(cells: Sequence[Cell | None]) -> float:
    """Return the width over the height of a column's first picture; a panorama is drawn smaller."""
    first = next((cell.picture for cell in cells if cell is not None), None)
    return 1.0 if first is None else float(np.clip(first.shape[1] / first.shape[0], 0.5, 2.5))


def _cell(
    figure: PrintFigure, cell: Cell | None, place: tuple[float, float, float, float], style: Style
) -> Axes | None:
    if cell is None:
        return None
    axes = figure.add_picture(cell.picture, *place)
    if cell.below:
        look: Any = {"color": style.pale if cell.dim else style.ink}
        text = figure.add_text(place[0] + place[2] / 2, place[1] - 1 * MM, "", ha="center", va="top", **look)
        fit_text(text, cell.below, place[2] + CELL_GAP, room=40)
    return axes


def _title(figure: PrintFigure, axes: Axes | None, name: str, place: tuple[float, float, float]) -> None:
    if axes is None:
        return
    fit_text(axes.set_title("", pad=2, fontsize=plain_size(figure)), name, place[1] + CELL_GAP, room=40)


def plain_size(figure: PrintFigure) -> float:
    """Return the size of the figure's text in points."""
    return float(figure.style.size) if figure.style is not None else 8.0


def _fit_upright(target: Any, name: str, inches: float) -> None:
    """Show as much of a name as fits into a height."""
    target.set_rotation(0)
    fit_text(target, name, inches, room=40)
    target.set_rotation(90)


LegendEntry = tuple[str, str, float]
"""Name, colour and place from the left in inches."""


def _legend_rows(legend: Mapping[str, str], page: float, style: Style) -> list[list[LegendEntry]]:
    """Return the entries in lines that are no wider than the page, each line centred."""
    if not legend:
        return []
    box, space = 0.16, 0.1
    with print_style(style):
        scratch = PrintFigure(style=style)
        names = {shorten(name, 30): colour for name, colour in legend.items()}
        widths = {name: box + width_of(scratch.text(0, 0, name)) + space for name in names}
    lines: list[list[str]] = [[]]
    for name in names:
        if lines[-1] and sum(widths[one] for one in (*lines[-1], name)) > page:
            lines.append([])
        lines[-1].append(name)
    placed = []
    for line in lines:
        x, entries = (page - sum(widths[name] for name in line) + space) / 2, []
        for name in line:
            entries.append((name, names[name], x))
            x += widths[name]
        placed.append(entries)
    return placed


def _draw_legend(
    figure: PrintFigure, rows: Sequence[Sequence[LegendEntry]], y: float, line: float, style: Style
) -> None:
    for entries in rows:
        for name, tint, x in entries:
            figure.add_box(x, y - 0.035, 0.11, 0.07, facecolor=tint, edgecolor=style.ink, linewidth=0.4)
            figure.add_text(x + 0.15, y, name)
        y -= line


def palette(traces: Sequence[Trace]) -> dict[str, int]:
    """Return one colour number for each query of several traces: a query has one colour in all of them.

    Parameters
    ----------
    traces
        Their queries may differ.

    Examples
    --------
    >>> palette([trace])
    {'cat': 0, 'dog': 1, 'sofa': 2}
    """
    names = dict.fromkeys(query for trace in traces for query in trace.queries)
    return {name: number for number, name in enumerate(names)}


def found_palette(traces: Sequence[Trace]) -> dict[str, int]:
    """Return colour numbers as `palette` does, but the first ones, which differ most, for what is found most.

    Parameters
    ----------
    traces
        Their queries may differ.

    Examples
    --------
    >>> found_palette([replace(trace, queries=("sofa", "cat", "dog"))])
    {'sofa': 0, 'cat': 1, 'dog': 2}
    """
    found = Counter(query for trace in traces for query in trace.found)
    names = dict.fromkeys([*(name for name, _ in found.most_common()), *palette(traces)])
    return {name: number for number, name in enumerate(names)}


def painted_as(
    trace: Trace, numbers: Mapping[str, int], labels: Int[np.ndarray, "h w"] | None = None
) -> Image:
    """Return the image with its label map painted in the colours of `palette`.

    Parameters
    ----------
    trace, numbers
        Its queries are all in `numbers`.
    labels
        In place of the trace's own.

    Examples
    --------
    >>> painted_as(trace, palette([trace])).shape
    (48, 70, 3)
    """
    table = np.array([0, *(numbers[query] + 1 for query in trace.queries)])
    image = shrink(trace.image, SIDE)
    return paint(image, table[trace.labels if labels is None else labels])


def legend_of(traces: Sequence[Trace], numbers: Mapping[str, int]) -> dict[str, str]:
    """Return the colour of each query that is found in a trace, by name.

    Parameters
    ----------
    traces, numbers
        Of `palette`.

    Examples
    --------
    >>> legend_of([trace], palette([trace]))
    {'cat': '#e69f00'}
    """
    seen = {name for trace in traces for name in trace.found}
    return {name: colour_hex(number) for name, number in numbers.items() if name in seen}
