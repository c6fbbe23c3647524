"""The framework of the method with a run's own pictures in its boxes (figure 2 of the paper)."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from carlab.figures.grid import LINE, POINT, SIDE, painted_as, palette
from carlab.figures.layers import mask_threshold
from carlab.figures.print_style import GREY, MM, STYLES, PrintFigure, Style, fit_text, heat, print_style
from carlab.files.pictures import colour_hex, edge, paint_maps, resize_maps, shrink
from carlab.files.shapes import Image
from carlab.trace import Trace
from carlab.trace.show import most_telling

STAGE_SYMBOLS = ("x", "f", "v", "g", "σ", "")
WIDTHS = (0.9, 1.4, 0.85, 1.3, 0.92, 0.9)
"""Of the boxes, beside each other: two pictures need more room than a name."""
TITLES = ("image", "mask proposer", "visual prompter", "mask classifier", "query filter", "post-processor")

BoxPlace = tuple[float, float]


def pipeline(
    trace: Trace, *, step: int = 0, most: int = 3, style: Style = STYLES["cvpr"], width: str = "page"
) -> Figure:
    """Draw the five stages as boxes with the intermediate pictures of one step, and the loop over them.

    Parameters
    ----------
    trace, step, most
        The step, from 0, and how many of its queries are drawn, the most telling ones.
    style, width
        See `Style`; "column" or "page".

    Examples
    --------
    >>> texts = [text.get_text() for text in pipeline(trace).texts]
    >>> [title for title in TITLES if title in texts] == list(TITLES)
    True
    """
    one = trace.steps[step]
    telling = most_telling(trace, max(most, 1))
    places = [place for place, query in enumerate(one.active) if query in telling][:most]
    page, line = style.inches(width), style.size * LINE * POINT
    gap, pad = 5 * MM, 1.2 * MM
    widths = [(page - 5 * gap) * share / sum(WIDTHS) for share in WIDTHS]
    lefts = [sum(widths[:number]) + number * gap for number in range(6)]
    cells = [wide - 2 * pad for wide in widths]
    aspect = float(np.clip(trace.image.shape[0] / trace.image.shape[1], 0.5, 1.5))
    row = max(cells[2], (cells[1] / 2 - 0.2 * MM) * aspect) + pad
    tall = len(places) * row + pad
    head, loop = 2.2 * line, 3.2 * line
    with print_style(style):
        figure = PrintFigure(figsize=(page, head + tall + loop), style=style)
        for number, (left, box) in enumerate(zip(lefts, widths, strict=True)):
            _draw_box(figure, left, loop, box, tall, style)
            figure.add_text(
                left + box / 2, loop + tall + 1.55 * line, STAGE_SYMBOLS[number], ha="center", style="italic",
                fontsize=style.size * 1.15,
            )  # fmt: skip
            name = figure.add_text(left + box / 2, loop + tall + 0.55 * line, "", ha="center")
            fit_text(name, TITLES[number], box + gap * 0.8, room=40)
            if number:
                _arrow(figure, (left - gap, loop + tall / 2), (left, loop + tall / 2), style)
        image = shrink(trace.image, SIDE)
        for number, shown in ((0, image), (5, painted_as(trace, palette([trace])))):
            high = cells[number] * aspect
            middle = loop + (tall - high) / 2
            figure.add_picture(shown, lefts[number] + pad, middle, cells[number], high)
        inner = [(left + pad, cell) for left, cell in zip(lefts, cells, strict=True)]
        for number, place in enumerate(places):
            _query_row(figure, trace, step, place, image, inner, loop + tall - (number + 1) * row, row - pad)
        _loop(figure, trace, [left + wide / 2 for left, wide in zip(lefts, widths, strict=True)], loop)
    return figure


def _query_row(
    figure: PrintFigure,
    trace: Trace,
    step: int,
    place: int,
    image: Image,
    inner: list[BoxPlace],
    bottom: float,
    height: float,
) -> None:
    """Draw the pictures of one query: activation map and mask, prompted image, scores, verdict."""
    one, style = trace.steps[step], figure.style or STYLES["cvpr"]
    query, kept = int(one.active[place]), bool(one.kept[place])
    (left, cell), (drawn, wide), (bars, room), (name, narrow) = inner[1:5]
    aspect = image.shape[0] / image.shape[1]
    half = min(cell / 2 - 0.2 * MM, height / aspect)
    soft = resize_maps(one.masks[place][None], *image.shape[:2])
    masked = paint_maps((0.8 * image).astype(np.uint8), soft, [query], 0.75)
    masked[edge(soft[0] > mask_threshold(trace))] = 255
    low = bottom + (height - half * aspect) / 2
    figure.add_picture(heat(image, one.cams[place]), left, low, half, half * aspect)
    figure.add_picture(masked, left + cell - half, low, half, half * aspect)
    side = min(wide, height)
    figure.add_picture(
        one.prompted[place], drawn + (wide - side) / 2, bottom + (height - side) / 2, side, side
    )
    _scores(figure, trace, step, place, bars, bottom, room, height)
    line, middle = style.size * LINE * POINT, bottom + height / 2
    text = figure.add_text(name + narrow / 2, middle + 1.1 * line, "", ha="center")
    fit_text(text, trace.queries[query], narrow)
    figure.add_box(name + narrow / 2 - 0.06, middle - 0.03, 0.12, 0.06, facecolor=colour_hex(query))
    verdict = f"{one.scores[place]:.2f} {'kept' if kept else 'dropped'}"
    tint = style.ink if kept else style.pale
    figure.add_text(name + narrow / 2, middle - 1.1 * line, verdict, ha="center", color=tint)


def _scores(
    figure: PrintFigure,
    trace: Trace,
    step: int,
    place: int,
    left: float,
    bottom: float,
    cell: float,
    height: float,
) -> None:
    """Draw the row of P_t of one prompted image as bars, the most telling queries only."""
    one, style = trace.steps[step], figure.style or STYLES["cvpr"]
    others = [p for p, query in enumerate(one.active) if query in most_telling(trace, 5)]
    bar = height / max(len(others), 1)
    for number, other in enumerate(others):
        y = bottom + height - (number + 0.5) * bar
        share = float(np.clip(np.nan_to_num(one.probs[place, other]), 0, 1))
        query = int(one.active[other])
        name = figure.add_text(left + 0.56 * cell, y, "", ha="right", fontsize=style.size * 0.85)
        fit_text(name, trace.queries[query], 0.56 * cell)
        figure.add_box(left + 0.6 * cell, y - bar * 0.28, 0.4 * cell, bar * 0.56, facecolor="#dddddd")
        if share > 0:
            figure.add_box(
                left + 0.6 * cell, y - bar * 0.28, 0.4 * cell * share, bar * 0.56,
                facecolor=colour_hex(query) if other == place else GREY,
            )  # fmt: skip


def _draw_box(
    figure: PrintFigure, left: float, bottom: float, width: float, height: float, style: Style
) -> None:
    x, y, w, h = left * 72, bottom * 72, width * 72, height * 72
    scale: Any = figure.dpi_scale_trans
    patch = FancyBboxPatch(
        (x / 72 + 0.02, y / 72), w / 72 - 0.04, h / 72, boxstyle="round,pad=0.0,rounding_size=0.04",
        facecolor="none", edgecolor=style.pale, linewidth=0.6, transform=scale,
    )  # fmt: skip
    figure.add_artist(patch)


def _arrow(figure: PrintFigure, start: BoxPlace, end: BoxPlace, style: Style, head: str = "-|>") -> None:
    look: Any = {"linewidth": 0.8, "color": style.ink, "transform": figure.dpi_scale_trans}
    figure.add_artist(
        FancyArrowPatch(start, end, arrowstyle=head, mutation_scale=6, shrinkA=0, shrinkB=0, **look)
    )


def _loop(figure: PrintFigure, trace: Trace, middles: list[float], loop: float) -> None:
    """Draw the way back from the filter to the proposer: what makes it recurrent."""
    start, end, y, style = middles[4], middles[1], loop * 0.55, figure.style or STYLES["cvpr"]
    _arrow(figure, (start, loop), (start, y), style, "-")
    _arrow(figure, (start, y), (end, y), style, "-")
    _arrow(figure, (end, y), (end, loop), style)
    steps = len(trace.steps)
    text = f"queries that are kept, again until nothing changes: {steps} step{'s' if steps > 1 else ''} here"
    figure.add_text((start + end) / 2, y - 0.09, text, ha="center", va="top")
