"""Figures that are a few pictures in a row: recorded maps, where a patch looks, prompted images, traces."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32
from matplotlib import rc_context
from matplotlib.figure import Figure

from carlab.errors import ProbeError, SettingError
from carlab.figures.style import (
    GREY,
    QuietFigure,
    axes_at,
    fit_text,
    heat,
    show_picture,
    style,
    text_at,
)
from carlab.files.pictures import edge, paint, shrink, stacked
from carlab.files.shapes import Image
from carlab.hooks import PROBES
from carlab.trace import Trace
from carlab.trace.show import found, most_telling, painted, shorten

CELL, GAP, LINE = 1.8, 0.12, 0.2
"""Width of a picture, space between two, and height of a line of text, in inches."""
ACROSS = 4
"""Pictures in a row, before the next row begins."""
MOST_PICTURES = 24
MOST_ROWS = 12
PIXELS = 320
"""Longest side of a picture, in pixels."""


class Picture(NamedTuple):
    """A picture of a strip, the name above it (a user's text), and the line below it."""

    pixels: Image
    name: str
    caption: str


def maps_figure(trace: Trace, name: str = "mask.refined", t: int = 0) -> Figure:
    """A recorded probe of step `t` (from 0) that is a map per query, each over the photo in its own range.

    Raises
    ------
    ProbeError
        If the probe was not recorded, or is no map per query.
    """
    step = trace.steps[t]
    maps = _recorded(step.probes, name, "q i j").astype(np.float32)
    names = [trace.queries[query] for query in step.active]
    return _strip([_mapped(trace, one, query) for one, query in zip(maps, names, strict=True)])


def patches_figure(
    trace: Trace, patches: Sequence[tuple[int, int]], name: str = "affinity.similarity"
) -> Figure:
    """Where patches look: for each (row, column), its row of a recorded (n, n) probe over the photo.

    A white frame marks the patch. Each row is shown in its own range, the patch itself aside, because
    a patch is like nothing so much as itself.

    Raises
    ------
    ProbeError
        If the probe was not recorded, or relates no patches.
    SettingError
        If a patch lies outside the grid.
    """
    relations = _recorded(trace.probes, name, "n n").astype(np.float32)
    rows, columns = grid = trace.steps[0].cams.shape[1:]
    pictures = []
    for row, column in patches:
        if not (0 <= row < rows and 0 <= column < columns):
            raise SettingError(
                f"expected patches inside {rows} rows and {columns} columns, got "
                f"{(row, column)}; count from 0"
            )
        line = relations[row * columns + column].copy()
        line[row * columns + column] = np.delete(line, row * columns + column).max(initial=0)
        picture = _mapped(trace, line.reshape(grid), f"row {row}, column {column}")
        pictures.append(picture._replace(pixels=_framed(picture.pixels, (row, column), grid)))
    return _strip(pictures)


def prompted_figure(trace: Trace, t: int = 0) -> Figure:
    """The prompted images of step `t` (from 0), as the classifier saw them, with their scores."""
    step = trace.steps[t]
    verdicts = [
        f"{score:.2f} {'kept' if kept else 'dropped'}"
        for score, kept in zip(step.scores, step.kept, strict=True)
    ]
    names = [trace.queries[query] for query in step.active]
    return _strip([Picture(*parts) for parts in zip(step.prompted, names, verdicts, strict=True)])


def regions_figure(trace: Trace, name: str = "refine.regions") -> Figure:
    """A recorded probe that holds regions of the photo, painted, beside the final masks.

    Raises
    ------
    ProbeError
        If the probe was not recorded, or holds no regions.
    """
    regions = _recorded(trace.probes, name, "m h w")
    image = shrink(trace.image, PIXELS)
    return _strip(
        [
            Picture(paint(image, stacked(regions), 0.5), name, f"{len(regions)} regions"),
            Picture(painted(trace, PIXELS), "final masks", found(trace)),
        ]
    )


def compare_figure(traces: Mapping[str, Trace]) -> Figure:
    """The painted photo of each trace under the name that it is given here, and what was found in it."""
    return _strip([Picture(painted(trace, PIXELS), name, found(trace)) for name, trace in traces.items()])


def matrix_figure(trace: Trace, t: int = 0) -> Figure:
    """P_t of step `t` (from 0): how much of each prompted image (row) went to each query (column)."""
    step = trace.steps[t]
    shown = np.isin(step.active, most_telling(trace, MOST_ROWS))
    labels = [shorten(trace.queries[query], 14) for query in step.active[shown]]
    side = 0.5 * len(labels)
    with rc_context(style()):
        figure = QuietFigure(figsize=(side + 2.0, side + 1.2), layout="constrained")
        axes = figure.add_subplot(xlabel="query", ylabel="prompted image")
        axes.imshow(step.probs[shown][:, shown], cmap="Blues", vmin=0, vmax=1)
        # User text: a dollar sign starts no formula.
        axes.set_xticks(range(len(labels)), labels, parse_math=False, rotation=30)
        axes.set_yticks(range(len(labels)), labels, parse_math=False)
        for (row, column), prob in np.ndenumerate(step.probs[shown][:, shown]):
            look: Any = {"ha": "center", "va": "center", "color": "white" if prob > 0.5 else "black"}
            axes.text(column, row, f"{prob:.2f}", weight="bold" if row == column else "normal", **look)
        axes.spines[:].set_visible(False)
    return figure


def _strip(pictures: Sequence[Picture]) -> Figure:
    """Pictures side by side, `ACROSS` in a row, those beyond `MOST_PICTURES` counted in a last line."""
    shown, left_out = pictures[:MOST_PICTURES], len(pictures) - MOST_PICTURES
    rows = [shown[start : start + ACROSS] for start in range(0, len(shown), ACROSS)]
    heights = [max(_height(picture) for picture in row) for row in rows]
    page = sum(heights) + len(rows) * (2 * LINE + GAP) + LINE * (left_out > 0)
    with rc_context(style()):
        figure = QuietFigure(figsize=(GAP + max(map(len, rows)) * (CELL + GAP), page))
        for row, height in zip(rows, heights, strict=True):
            page -= height + 2 * LINE + GAP
            for column, picture in enumerate(row):
                _place(figure, picture, GAP + column * (CELL + GAP), page + LINE + GAP / 2)
        if left_out > 0:
            text_at(figure, GAP, LINE / 2, f"... and {left_out} more", color=GREY)
    return figure


def _place(figure: Figure, picture: Picture, left: float, bottom: float) -> None:
    axes = axes_at(figure, left, bottom, CELL, _height(picture))
    show_picture(axes, picture.pixels)
    fit_text(axes.set_title("", fontsize=9, pad=3), picture.name, CELL)
    caption = text_at(figure, left + CELL / 2, bottom - LINE / 2, "", ha="center", color=GREY)
    fit_text(caption, picture.caption, CELL + GAP / 2, room=40)


def _height(picture: Picture) -> float:
    # A panorama is no thread, and a pillar does not fill the page.
    rows, columns = picture.pixels.shape[:2]
    return CELL * min(2.0, max(0.25, rows / columns))


def _mapped(trace: Trace, values: Float32[np.ndarray, "i j"], name: str) -> Picture:
    """A map over the photo, with its own range as caption."""
    low, high = float(values.min()), float(values.max())
    level = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return Picture(heat(shrink(trace.image, PIXELS), level), name, f"{low:.3g} to {high:.3g}")


def _framed(picture: Image, patch: tuple[int, int], grid: tuple[int, ...]) -> Image:
    """The picture with a white frame round one patch."""
    scale = np.array(picture.shape[:2]) / grid
    (top, left), (bottom, right) = np.floor(patch * scale), np.ceil((np.array(patch) + 1) * scale)
    region = np.zeros(picture.shape[:2], dtype=bool)
    region[int(top) : int(bottom), int(left) : int(right)] = True
    framed = picture.copy()
    framed[edge(region)] = 255
    return framed


def _recorded(probes: Mapping[str, np.ndarray], name: str, axes: str) -> np.ndarray:
    """The value of a recorded probe of these axes."""
    if name in probes and PROBES[name].axes == axes:
        return probes[name]
    fitting = ", ".join(probe for probe, info in PROBES.items() if info.axes == axes)
    raise ProbeError(
        f"expected a recorded probe of axes ({axes}), got {name!r}; "
        f"give model(..., record=[...]) one of {fitting}"
    )
