"""Figures for papers, of saved traces alone: grids of pictures in the widths and types of the venues."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure

from carlab.errors import SettingError, check_choice
from carlab.figures.charts import score_curves
from carlab.figures.framework import pipeline
from carlab.figures.grid import SIDE, Cell, found_palette, legend_of, painted_as, palette, picture_grid
from carlab.figures.layers import mask_threshold
from carlab.figures.print_style import CVPR, Style, print_style
from carlab.files.pictures import edge, paint_maps, resize, resize_maps, shrink
from carlab.files.shapes import Image
from carlab.stages.prompter import PROMPTS, Combined, Outline, prompts
from carlab.trace import Trace
from carlab.trace.show import most_telling

COMBINED = ("circle+blur", "blur+grey")
"""Sums of prompts that the paper uses, beside the single ones."""
OUTLINE = 160
"""Pixels of a picture for one of an outline's width: one of 30 mm has lines of 0.2 mm."""


def recurrence_strip(trace: Trace, *, style: Style = CVPR, width: str = "page", most: int = 5) -> Figure:
    """Draw a row for each step and a column for each query: its mask, and its score; the last is the result.

    Parameters
    ----------
    trace, most
        At most so many queries, the most telling ones, and ten steps.
    style, width
        See `Style`; "column" or "page".

    Examples
    --------
    >>> figure = recurrence_strip(trace)
    >>> [axes.get_title() for axes in figure.axes[:3]]
    ['cat', 'dog', 'sofa']
    """
    queries, steps = most_telling(trace, most), trace.steps[:10]
    image, numbers = shrink(trace.image, SIDE), palette([trace])
    rows: list[list[Cell | None]] = []
    for step in steps:
        row: list[Cell | None] = [None] * len(queries)
        for place, query in enumerate(step.active):
            if query in queries:
                score, kept = float(step.scores[place]), bool(step.kept[place])
                shown = _masked(image, step.masks[place], int(query), mask_threshold(trace))
                text = f"{score:.2f} {'kept' if kept else 'dropped'}"
                row[queries.index(int(query))] = Cell(shown, text, dim=not kept)
        rows.append([*row, None])
    # Beside the first step the image, beside the last the result.
    rows[0][-1], rows[-1][-1] = Cell(image), Cell(painted_as(trace, numbers))
    names = [*(trace.queries[query] for query in queries), "image" if len(steps) > 1 else "result"]
    grid = picture_grid(
        rows,
        style=style,
        width=width,
        row_names=[f"step {t + 1}" for t in range(len(steps))],
        column_names=names,
        legend=legend_of([trace], numbers),
        tallest=28,
    )
    last = grid.axes[-1][-1]
    if last is not None:
        with print_style(style):
            last.set_title("result", pad=2, fontsize=style.size)
    return grid.figure


def prompt_gallery(
    trace: Trace,
    *,
    query: str | None = None,
    step: int = 0,
    names: Sequence[str] = (*PROMPTS, *COMBINED),
    style: Style = CVPR,
    width: str = "page",
) -> Figure:
    """Draw one mask by every visual prompt (figure 3 of the paper); outlines are as wide as print needs.

    Raises SettingError if the query is not active in that step, or a prompt is unknown.

    Parameters
    ----------
    trace, query, step
        Whose mask; None for the first query found, or the first of all. Steps count from 0.
    names
        Prompts, joined with +, out of `carlab.stages.prompter.PROMPTS`.
    style, width
        See `Style`; "column" or "page".

    Examples
    --------
    >>> [axes.get_title() for axes in prompt_gallery(trace, names=["circle", "circle+blur"]).axes]
    ['image', 'circle', 'circle+blur']
    """
    query = query or next(iter(trace.found), trace.queries[0])
    place = [trace.queries[index] for index in trace.steps[step].active]
    check_choice(f"a query that is active in step {step}", query, place)
    image = shrink(trace.image, 2 * SIDE)
    soft = resize(trace.steps[step].masks[place.index(query)], *image.shape[:2])
    region = soft > mask_threshold(trace)
    wide = max(1, round(max(image.shape[:2]) / OUTLINE))
    drawn = [Cell(image), *(Cell(_outlined(name, wide)(image, region)) for name in names)]
    cells = [cell._replace(picture=_framed(cell.picture, image.shape[:2])) for cell in drawn]
    across = -(-len(cells) // (2 if len(cells) > 6 else 1))
    titles = ["image", *names]
    rows: list[list[Cell | None]] = [
        [cells[k]._replace(below=titles[k]) if k < len(cells) else None for k in range(start, start + across)]
        for start in range(0, len(cells), across)
    ]
    if len(rows) == 1:
        plain = [[cell and cell._replace(below="") for cell in rows[0]]]
        return picture_grid(plain, style=style, width=width, column_names=titles).figure
    return picture_grid(rows, style=style, width=width).figure


def qualitative_grid(
    methods: Mapping[str, Sequence[Trace]], *, style: Style = CVPR, width: str = "page"
) -> Figure:
    """Draw a column for each image, and a row for each method below the image itself; one legend for all.

    Raises SettingError if there is no method, or methods have other images or different numbers of them.

    Parameters
    ----------
    methods
        Traces by the name of the method, of the same images in the same order.
    style, width
        See `Style`; "column" or "page".

    Examples
    --------
    >>> len(qualitative_grid({"a": [trace], "b": [trace]}).axes)
    3
    """
    traces = _same_images(methods)
    numbers, first = found_palette(traces), next(iter(methods.values()))
    rows: list[list[Cell | None]] = [[Cell(shrink(trace.image, SIDE)) for trace in first]]
    rows += [[Cell(painted_as(trace, numbers)) for trace in row] for row in methods.values()]
    names = ["image", *methods]
    legend = legend_of(traces, numbers)
    return picture_grid(rows, style=style, width=width, row_names=names, legend=legend, tallest=32).figure


def postprocessor_grid(
    methods: Mapping[str, Sequence[Trace]], *, style: Style = CVPR, width: str = "page"
) -> Figure:
    """Draw a column for each image: image, soft masks, their cut at eta, and each post-processor's result.

    Raises SettingError as `qualitative_grid` does.

    Parameters
    ----------
    methods
        Traces by the name of the post-processor, of the same images in the same order; the masks before it
        are those of the first.
    style, width
        See `Style`; "column" or "page".

    Examples
    --------
    >>> len(postprocessor_grid({"CRF": [trace]}).axes)
    4
    """
    traces = _same_images(methods)
    numbers, first = found_palette(traces), next(iter(methods.values()))
    rows: list[list[Cell | None]] = [
        [Cell(shrink(trace.image, SIDE)) for trace in first],
        [Cell(_soft(trace, numbers)) for trace in first],
        [Cell(painted_as(trace, numbers, cut_labels(trace))) for trace in first],
    ]
    rows += [[Cell(painted_as(trace, numbers)) for trace in row] for row in methods.values()]
    names = ["image", "soft mask", "cut at eta", *methods]
    legend = legend_of(traces, numbers)
    return picture_grid(rows, style=style, width=width, row_names=names, legend=legend, tallest=32).figure


def cut_labels(trace: Trace) -> np.ndarray:
    """Return the label map without a post-processor: soft masks of the last step cut at eta.

    Parameters
    ----------
    trace
        Any.

    Examples
    --------
    >>> bool((cut_labels(trace) == trace.labels).all())
    True
    """
    step = trace.steps[-1]
    labels = np.zeros(trace.image.shape[:2], dtype=np.int64)
    for place in np.argsort(step.scores, kind="stable"):
        if step.kept[place]:
            soft = resize(step.masks[place], *trace.image.shape[:2])
            labels[soft > mask_threshold(trace)] = step.active[place] + 1
    return labels


def _outlined(name: str, wide: int) -> Combined:
    """Return prompts by name, joined with +, with outlines of a width in pixels."""
    drawn = prompts(name.split("+")).prompts
    return Combined(tuple(replace(one, width=wide) if isinstance(one, Outline) else one for one in drawn))


def _soft(trace: Trace, numbers: Mapping[str, int]) -> Image:
    """Return the image with the soft masks of the survivors."""
    step, image = trace.steps[-1], shrink(trace.image, SIDE)
    if not step.kept.any():
        return image
    queries = [numbers[trace.queries[query]] for query in step.survivors]
    return paint_maps((0.8 * image).astype(np.uint8), step.masks[step.kept], queries, 0.85)


def _masked(image: Image, mask: Any, query: int, eta: float) -> Image:
    """Return the image with one soft mask painted, and a white outline at eta."""
    soft = resize_maps(mask[None], *image.shape[:2])
    shown = paint_maps((0.8 * image).astype(np.uint8), soft, [query], 0.75)
    shown[edge(soft[0] > eta)] = 255
    return shown


def _framed(picture: Image, size: tuple[int, ...]) -> UInt8[np.ndarray, "rows columns 3"]:
    """Return a picture of another size, such as a crop's, as large as fits, centred on white."""
    if picture.shape[:2] == size:
        return picture
    scale = min(size[0] / picture.shape[0], size[1] / picture.shape[1])
    rows, columns = (max(1, int(scale * side)) for side in picture.shape[:2])
    ground = np.full((*size, 3), 255, dtype=np.uint8)
    top, left = (size[0] - rows) // 2, (size[1] - columns) // 2
    ground[top : top + rows, left : left + columns] = resize(picture, rows, columns)
    return ground


def _same_images(methods: Mapping[str, Sequence[Trace]]) -> list[Trace]:
    """Return all traces; SettingError unless every method has the same images."""
    sizes = {tuple(trace.image.shape for trace in traces) for traces in methods.values()}
    if len(sizes) != 1 or not next(iter(sizes)):
        raise SettingError(
            f"expected the same images for every method, got {len(methods)} methods with "
            f"{', '.join(str(len(traces)) for traces in methods.values()) or 'no'} traces of other sizes; "
            "give a trace of every image for each, in one order"
        )
    return [trace for traces in methods.values() for trace in traces]


OF_ONE: dict[str, Callable[..., Figure]] = {
    "strip": recurrence_strip,
    "prompts": prompt_gallery,
    "pipeline": pipeline,
    "scores": score_curves,
}
"""Figures of one trace, by name; add your own."""
OF_METHODS: dict[str, Callable[..., Figure]] = {
    "grid": qualitative_grid,
    "postprocessors": postprocessor_grid,
}
"""Figures of several methods on the same images, by name."""


def draw(kind: str, traces: Sequence[Trace], **options: Any) -> Figure:
    """Draw a figure by its name.

    Raises SettingError if there is no such figure, or it takes another number of traces.

    Parameters
    ----------
    kind, traces
        Of `OF_ONE`, with one trace; or of `OF_METHODS`, whose methods are named by their presets, those with
        the same name in one row.
    options
        Of the figure.

    Examples
    --------
    >>> len(draw("grid", [trace, trace]).axes)
    4
    """
    check_choice("a figure", kind, (*OF_ONE, *OF_METHODS))
    if kind in OF_METHODS:
        methods: dict[str, list[Trace]] = {}
        for trace in traces:
            methods.setdefault(trace.provenance.get("preset") or "result", []).append(trace)
        return OF_METHODS[kind](methods, **options)
    if len(traces) != 1:
        raise SettingError(
            f"expected one trace for the figure {kind!r}, got {len(traces)}; draw each by itself"
        )
    return OF_ONE[kind](traces[0], **options)
