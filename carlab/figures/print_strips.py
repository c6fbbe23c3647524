"""Figures that are a few pictures in a row (recorded maps, prompted images, traces), and the matrix P_t."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
from jaxtyping import Shaped
from matplotlib.figure import Figure

from carlab.errors import ProbeError, SettingError
from carlab.figures.layers import ACROSS, MOST_NAMED, stretched
from carlab.figures.print_style import GREY, PRINT_SIDE, PrintFigure, fit_text, heat, print_style
from carlab.files.pictures import edge, paint, shrink, stacked
from carlab.files.shapes import Image
from carlab.hooks import PROBES
from carlab.trace import Trace
from carlab.trace.show import found, most_telling, painted, shorten

PICTURE_WIDTH, SPACE, TEXT_HEIGHT = 1.8, 0.12, 0.2
"""Width of a picture, space between two, and height of a line of text, in inches."""
MOST_PICTURES = 24
Picture = tuple[Image, str, str]
"""Pixels, the name above them (text of a user), and the line below."""


def maps_figure(trace: Trace, name: str = "mask.refined", t: int = 0) -> Figure:
    """Draw a recorded map of each query over the image, each in its own range.

    Raises ProbeError if the probe was not recorded, or is no map per query.

    Parameters
    ----------
    trace, name, t
        The step, from 0, and a recorded probe of axes "q i j".

    Examples
    --------
    >>> step = replace(trace.steps[0], probes={"cam.raw": trace.steps[0].cams})
    >>> [axes.get_title() for axes in maps_figure(replace(trace, steps=(step,)), "cam.raw").axes]
    ['cat', 'dog', 'sofa']
    """
    maps = _recorded(trace.steps[t].probes, name, "q i j")
    names = [trace.queries[query] for query in trace.steps[t].active]
    return _strip([_mapped(trace, *parts) for parts in zip(maps, names, strict=True)])


def patches_figure(
    trace: Trace, patches: Sequence[tuple[int, int]], name: str = "affinity.similarity"
) -> Figure:
    """Draw the relation of patches to all others over the image, each in its own range.

    A white frame marks the patch. It is left out of the range: a patch resembles nothing as much as itself.

    Raises ProbeError if the probe was not recorded, or relates no patches; SettingError if a patch lies
    outside the grid.

    Parameters
    ----------
    trace, name
        A recorded probe of axes "n n".
    patches
        Row and column of each patch, from 0.

    Examples
    --------
    >>> probed = replace(trace, probes={"affinity.similarity": np.eye(54)})
    >>> patches_figure(probed, [(2, 4)]).axes[0].get_title()
    'row 2, column 4'
    """
    relations = _recorded(trace.probes, name, "n n")
    rows, columns = grid = trace.steps[0].cams.shape[1:]
    pictures = []
    for row, column in patches:
        if not (0 <= row < rows and 0 <= column < columns):
            raise SettingError(
                f"expected patches inside {rows} rows and {columns} columns, got {row, column}; count from 0"
            )
        others = relations[row * columns + column].reshape(grid).astype(np.float32)
        others[row, column] = -np.inf
        others[row, column] = others.max(initial=0)
        pixels, title, extent = _mapped(trace, others, f"row {row}, column {column}")
        pictures.append((_framed_cell(pixels, (row, column), grid), title, extent))
    return _strip(pictures)


def prompted_figure(trace: Trace, t: int = 0) -> Figure:
    """Draw the prompted images of a step as the classifier saw them, with their scores.

    Parameters
    ----------
    trace, t
        The step, from 0.

    Examples
    --------
    >>> [text.get_text() for text in prompted_figure(trace).texts]
    ['0.80 kept', '0.80 kept', '0.12 dropped']
    """
    step = trace.steps[t]
    names = [trace.queries[query] for query in step.active]
    verdicts = zip(step.scores, np.where(step.kept, "kept", "dropped"), strict=True)
    captions = [f"{score:.2f} {verdict}" for score, verdict in verdicts]
    return _strip(list(zip(step.prompted, names, captions, strict=True)))


def regions_figure(trace: Trace, name: str = "refine.regions") -> Figure:
    """Draw recorded regions of the image beside the final masks.

    Raises ProbeError if the probe was not recorded, or holds no regions.

    Parameters
    ----------
    trace, name
        A recorded probe of axes "m h w".

    Examples
    --------
    >>> probed = replace(trace, probes={"refine.regions": np.ones((2, 6, 9))})
    >>> [text.get_text() for text in regions_figure(probed).texts]
    ['2 regions', 'cat']
    """
    regions = _recorded(trace.probes, name, "m h w")
    image = paint(shrink(trace.image, PRINT_SIDE), stacked(regions), 0.5)
    final = painted(trace, PRINT_SIDE), "final masks", found(trace)
    return _strip([(image, name, f"{len(regions)} regions"), final])


def compare_figure(traces: Mapping[str, Trace]) -> Figure:
    """Draw the painted image of each trace, with the queries found in it.

    Parameters
    ----------
    traces
        By the name that is drawn above each.

    Examples
    --------
    >>> [axes.get_title() for axes in compare_figure({"before": trace, "after": trace}).axes]
    ['before', 'after']
    """
    return _strip([(painted(trace, PRINT_SIDE), name, found(trace)) for name, trace in traces.items()])


def matrix_figure(trace: Trace, t: int = 0) -> Figure:
    """Draw P_t: the score of each query (column) in each prompted image (row).

    Parameters
    ----------
    trace, t
        The step, from 0. Of many active queries the most telling are drawn, at most `MOST_NAMED`.

    Examples
    --------
    >>> [text.get_text() for text in matrix_figure(trace, 1).axes[0].texts]
    ['0.80', '0.10', '0.10', '0.12']
    """
    step = trace.steps[t]
    shown = np.isin(step.active, most_telling(trace, MOST_NAMED))
    labels = [shorten(trace.queries[query], 14) for query in step.active[shown]]
    probs, side = step.probs[shown][:, shown], 0.5 * len(labels)
    with print_style():
        figure = PrintFigure(figsize=(side + 2.0, side + 1.2), layout="constrained")
        axes = figure.add_subplot(xlabel="query", ylabel="prompted image")
        axes.imshow(probs, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(len(labels)), labels, rotation=30)
        axes.set_yticks(range(len(labels)), labels)
        for (row, column), prob in np.ndenumerate(probs):
            look: Any = {"ha": "center", "va": "center", "color": "white" if prob > 0.5 else "black"}
            axes.text(column, row, f"{prob:.2f}", weight="bold" if row == column else "normal", **look)
        axes.spines[:].set_visible(False)
    return figure


def _strip(pictures: Sequence[Picture]) -> Figure:
    """Draw pictures side by side, `ACROSS` in a row; those beyond `MOST_PICTURES` are counted below."""
    shown, left_out = pictures[:MOST_PICTURES], len(pictures) - MOST_PICTURES
    # A panorama is no thread, and a pillar does not fill the page.
    shapes = [pixels.shape[0] / pixels.shape[1] for pixels, *_ in shown]
    heights = PICTURE_WIDTH * np.clip(shapes, 0.25, 2.0)
    starts = range(0, len(shown), ACROSS)
    bottoms = np.cumsum([heights[start : start + ACROSS].max() + 2 * TEXT_HEIGHT + SPACE for start in starts])
    page = bottoms[-1] + TEXT_HEIGHT * (left_out > 0)
    with print_style():
        width = SPACE + min(ACROSS, len(shown)) * (PICTURE_WIDTH + SPACE)
        figure = PrintFigure(figsize=(width, page))
        for place, (pixels, name, text) in enumerate(shown):
            left = SPACE + place % ACROSS * (PICTURE_WIDTH + SPACE)
            bottom = page - bottoms[place // ACROSS] + TEXT_HEIGHT + SPACE / 2
            axes = figure.add_picture(pixels, left, bottom, PICTURE_WIDTH, heights[place])
            fit_text(axes.set_title("", fontsize=9, pad=3), name, PICTURE_WIDTH)
            middle = left + PICTURE_WIDTH / 2, bottom - TEXT_HEIGHT / 2
            caption = figure.add_text(*middle, "", ha="center", color=GREY)
            fit_text(caption, text, PICTURE_WIDTH + SPACE / 2, room=40)
        if left_out > 0:
            figure.add_text(SPACE, TEXT_HEIGHT / 2, f"... and {left_out} more", color=GREY)
    return figure


def _mapped(trace: Trace, values: Shaped[np.ndarray, "i j"], name: str) -> Picture:
    """Return a map over the image, with its own range as caption."""
    level, extent = stretched(values)
    return heat(shrink(trace.image, PRINT_SIDE), level), name, extent


def _framed_cell(picture: Image, patch: tuple[int, int], grid: tuple[int, ...]) -> Image:
    """Return the picture with a white frame round one patch."""
    region = np.zeros(picture.shape[:2], dtype=bool)
    scales = np.divide(region.shape, grid)
    region[tuple(slice(int(k * s), ceil((k + 1) * s)) for k, s in zip(patch, scales, strict=True))] = True
    return np.where(edge(region)[..., None], np.uint8(255), picture)


def _recorded(probes: Mapping[str, np.ndarray], name: str, axes: str) -> np.ndarray:
    """Return the value of a recorded probe of these axes."""
    fitting = [probe for probe, info in PROBES.items() if info.axes == axes]
    if name not in probes or name not in fitting:
        raise ProbeError(
            f"expected a recorded probe of axes ({axes}), got {name!r}; "
            f"give model(..., record=[...]) one of {', '.join(fitting)}"
        )
    return probes[name]
