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

SYMBOLS = ("x", "f", "v", "g", "σ", "")
TITLES = ("image", "mask proposer", "visual prompter", "mask classifier", "query filter", "post-processor")

Place = tuple[float, float]


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
    box = (page - 5 * gap) / 6
    cell = box - 2 * pad
    aspect = float(np.clip(trace.image.shape[0] / trace.image.shape[1], 0.5, 1.5))
    row = cell * aspect + pad
    tall = len(places) * row + pad
    head, loop = 2.2 * line, 3.2 * line
    with print_style(style):
        figure = PrintFigure(figsize=(page, head + tall + loop), style=style)
        lefts = [number * (box + gap) for number in range(6)]
        for number, left in enumerate(lefts):
            _box(figure, left, loop, box, tall, style)
            figure.add_text(
                left + box / 2, loop + tall + 1.55 * line, SYMBOLS[number], ha="center", style="italic",
                fontsize=style.size * 1.15,
            )  # fmt: skip
            name = figure.add_text(left + box / 2, loop + tall + 0.55 * line, "", ha="center")
            fit_text(name, TITLES[number], box + gap * 0.8, room=40)
            if number:
                _arrow(figure, (left - gap, loop + tall / 2), (left, loop + tall / 2), style)
        image = shrink(trace.image, SIDE)
        middle = loop + (tall - cell * aspect) / 2
        figure.add_picture(image, lefts[0] + pad, middle, cell, cell * aspect)
        figure.add_picture(painted_as(trace, palette([trace])), lefts[5] + pad, middle, cell, cell * aspect)
        for number, place in enumerate(places):
            bottom = loop + tall - (number + 1) * row
            _query_row(
                figure, trace, step, place, image, [left + pad for left in lefts], bottom, cell, aspect
            )
        _loop(figure, trace, lefts, box, loop, style)
    return figure


def _query_row(
    figure: PrintFigure,
    trace: Trace,
    step: int,
    place: int,
    image: Image,
    lefts: list[float],
    bottom: float,
    cell: float,
    aspect: float,
) -> None:
    """Draw the pictures of one query: activation map and mask, prompted image, scores, verdict."""
    one, style = trace.steps[step], figure.style or STYLES["cvpr"]
    query, kept = int(one.active[place]), bool(one.kept[place])
    height = cell * aspect
    half = cell / 2 - 0.2 * MM
    soft = resize_maps(one.masks[place][None], *image.shape[:2])
    masked = paint_maps((0.8 * image).astype(np.uint8), soft, [query], 0.75)
    masked[edge(soft[0] > mask_threshold(trace))] = 255
    low = bottom + (height - half * aspect) / 2
    figure.add_picture(heat(image, one.cams[place]), lefts[1], low, half, half * aspect)
    figure.add_picture(masked, lefts[1] + cell - half, low, half, half * aspect)
    figure.add_picture(one.prompted[place], lefts[2], bottom, cell, height)
    _scores(figure, trace, step, place, lefts[3], bottom, cell, height)
    text = figure.add_text(lefts[4] + cell / 2, bottom + height * 0.62, "", ha="center", weight="bold")
    fit_text(text, trace.queries[query], cell)
    tint = style.ink if kept else style.pale
    figure.add_box(lefts[4] + cell / 2 - 0.05, bottom + height * 0.32, 0.1, 0.05, facecolor=colour_hex(query))
    verdict = f"{one.scores[place]:.2f} {'kept' if kept else 'dropped'}"
    figure.add_text(lefts[4] + cell / 2, bottom + height * 0.15, verdict, ha="center", color=tint)


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
        name = figure.add_text(left + 0.42 * cell, y, "", ha="right", fontsize=style.size * 0.8)
        fit_text(name, trace.queries[query], 0.42 * cell)
        figure.add_box(left + 0.46 * cell, y - bar * 0.28, 0.54 * cell, bar * 0.56, facecolor="#dddddd")
        if share > 0:
            figure.add_box(
                left + 0.46 * cell, y - bar * 0.28, 0.54 * cell * share, bar * 0.56,
                facecolor=colour_hex(query) if other == place else GREY,
            )  # fmt: skip


def _box(figure: PrintFigure, left: float, bottom: float, width: float, height: float, style: Style) -> None:
    x, y, w, h = left * 72, bottom * 72, width * 72, height * 72
    scale: Any = figure.dpi_scale_trans
    patch = FancyBboxPatch(
        (x / 72 + 0.02, y / 72), w / 72 - 0.04, h / 72, boxstyle="round,pad=0.0,rounding_size=0.04",
        facecolor="none", edgecolor=style.pale, linewidth=0.6, transform=scale,
    )  # fmt: skip
    figure.add_artist(patch)


def _arrow(figure: PrintFigure, start: Place, end: Place, style: Style, head: str = "-|>") -> None:
    look: Any = {"linewidth": 0.8, "color": style.ink, "transform": figure.dpi_scale_trans}
    figure.add_artist(
        FancyArrowPatch(start, end, arrowstyle=head, mutation_scale=6, shrinkA=0, shrinkB=0, **look)
    )


def _loop(
    figure: PrintFigure, trace: Trace, lefts: list[float], box: float, loop: float, style: Style
) -> None:
    """Draw the way back from the filter to the proposer: what makes it recurrent."""
    start, end, y = lefts[4] + box / 2, lefts[1] + box / 2, loop * 0.55
    _arrow(figure, (start, loop), (start, y), style, "-")
    _arrow(figure, (start, y), (end, y), style, "-")
    _arrow(figure, (end, y), (end, loop), style)
    steps = len(trace.steps)
    text = f"queries that are kept, again until nothing changes: {steps} step{'s' if steps > 1 else ''} here"
    figure.add_text((start + end) / 2, y - 0.09, text, ha="center", va="top")
