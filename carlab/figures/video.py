"""Figures of a video: scores over time, and a strip of frames with them below."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from carlab.errors import SettingError
from carlab.figures.charts import beside_axes, figure_of, new_axes
from carlab.figures.grid import LINE, POINT, SIDE, Cell, painted_as, picture_grid
from carlab.figures.layers import MOST_NAMED
from carlab.figures.print_style import CVPR, MM, PrintFigure, Style, print_style
from carlab.files.pictures import colour_hex, shrink
from carlab.trace import Trace
from carlab.trace.show import shorten

CURVES = 24 * MM
"""Height of the curves below a strip, in inches."""
LINES, COLUMNS = 3, 3.6
"""Room for their labels below and on the left, in lines of text."""


@runtime_checkable
class TracedVideo(Protocol):
    """A video's traces, such as `carlab.video.VideoTraces`."""

    @property
    def queries(self) -> tuple[str, ...]:
        """Names."""
        ...

    @property
    def times(self) -> Float[np.ndarray, " f"]:
        """When each frame is shown, in seconds."""
        ...

    @property
    def scores(self) -> Float[np.ndarray, "f Q"]:
        """The last score of each query in each frame."""
        ...

    @property
    def kept(self) -> Sequence[Collection[int]]:
        """Which queries each frame keeps."""
        ...

    @property
    def frames(self) -> Sequence[Mapping[str, Any]]:
        """A record of each frame; one that failed has an `error`."""
        ...

    @property
    def threshold(self) -> float:
        """theta, or NaN."""
        ...

    def __getitem__(self, place: int) -> Trace: ...


def time_curves(
    times: Sequence[float],
    scores: Any,
    queries: Sequence[str],
    *,
    kept: Sequence[Collection[int]] | None = None,
    threshold: float = float("nan"),
    style: Style = CVPR,
    width: str = "page",
    ax: Axes | None = None,
) -> Figure:
    """Draw the last score of each query in each frame over time, bold where the frame keeps it.

    Parameters
    ----------
    times
        Of each frame, in seconds.
    scores
        Of each frame and query, in [0, 1]; NaN or None leaves a gap.
    queries, kept
        Names, and which of them each frame keeps, by index; at most `MOST_NAMED` are drawn, those kept most
        often.
    threshold
        theta; NaN: none.
    style, width, ax
        As `carlab.figures.charts.score_curves` takes them; with `ax` there is no legend.

    Examples
    --------
    >>> figure = time_curves([0.0, 0.5], [[0.8, 0.1], [0.7, 0.2]], ["cat", "dog"], kept=[[0], [0]])
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['cat', 'dog']
    """
    table = np.array(scores, dtype=float).reshape(len(times), len(queries))
    inside = _inside(kept, table.shape)
    with print_style(style):
        axes = ax or new_axes(style, width, 42)
        for query in telling(table, inside):
            look: Any = {"color": colour_hex(query), "solid_joinstyle": "round", "marker": "o"}
            thin: Any = {"linewidth": 0.7, "markersize": 1.2, **look}
            bold: Any = {"linewidth": 2.0, "markersize": 3.6, **look}
            axes.plot(times, table[:, query], label=shorten(queries[query], 24), **thin)
            # A frame that keeps a query which its neighbours drop is a dot alone.
            axes.plot(times, np.where(inside[:, query], table[:, query], np.nan), **bold)
        if not np.isnan(threshold):
            axes.axhline(threshold, color=style.ink, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
        axes.set(xlabel="time, seconds", ylabel="score", ylim=(-0.02, 1.02))
        axes.margins(x=0.01)
        if ax is None:
            beside_axes(axes)
        else:
            axes.spines[["top", "right"]].set_visible(False)
    return figure_of(axes)


def video_strip(
    film: TracedVideo, *, most: int = 6, curves: bool = True, style: Style = CVPR, width: str = "page"
) -> Figure:
    """Draw frames of a video, evenly spaced, with their masks; below, the scores over time.

    Raises SettingError if no frame has a trace, or `most` is less than 1.

    Parameters
    ----------
    film
        Such as `carlab.video.VideoTraces`; only the traces that are drawn are read.
    most
        Frames, 1 or more.
    curves
        Whether the scores are drawn, with a line at each of the frames above.
    style, width
        See `Style`; "column" or "page".
    """
    whole = [place for place, record in enumerate(film.frames) if "error" not in record]
    if most < 1 or not whole:
        raise SettingError(
            f"expected one frame or more, got {most} of {len(whole)}; run the video, and ask for one at least"
        )
    places = [whole[k] for k in np.unique(np.linspace(0, len(whole) - 1, most).round().astype(int))]
    numbers = {name: number for number, name in enumerate(film.queries)}
    cells: list[Cell | None] = []
    for place in places:
        trace = film[place]
        cells.append(Cell(shrink(painted_as(trace, numbers), SIDE), f"{film.times[place]:.2f} s"))
    table = film.scores
    drawn = telling(table, _inside(film.kept, table.shape))
    legend = {film.queries[query]: colour_hex(query) for query in drawn}
    footer = CURVES + LINES * style.size * LINE * POINT if curves else 0.0
    grid = picture_grid([cells], style=style, width=width, legend=legend, tallest=32, footer=footer)
    if curves:
        _draw_curves(grid.figure, film, places, style)
    return grid.figure


def telling(
    scores: Float[np.ndarray, "f Q"], inside: Float[np.ndarray, "f Q"] | np.ndarray, most: int = MOST_NAMED
) -> list[int]:
    """Return the queries to draw, in their own order: those kept most often, then those with the best scores.

    Parameters
    ----------
    scores, inside
        Of each frame and query, and whether the frame keeps it.
    most
        How many.

    Examples
    --------
    >>> telling(np.array([[0.2, 0.9, 0.3]]), np.array([[False, True, False]]), 2)
    [1, 2]
    """
    best = np.max(np.nan_to_num(scores, nan=-1.0), axis=0, initial=-1.0)
    ranked = np.lexsort((-best, -inside.sum(axis=0)))
    return sorted(ranked[:most].tolist())


def _inside(kept: Sequence[Collection[int]] | None, shape: tuple[int, ...]) -> np.ndarray:
    """Return whether each frame keeps each query, Bool (f, Q)."""
    inside = np.zeros(shape, dtype=bool)
    for row, indices in zip(inside, kept or [()] * shape[0], strict=True):
        row[list(indices)] = True
    return inside


def _draw_curves(figure: PrintFigure, film: TracedVideo, places: Sequence[int], style: Style) -> None:
    width, height = figure.get_size_inches()
    line = style.size * LINE * POINT
    left, bottom = COLUMNS * line, LINES * line
    share = (left / width, bottom / height, (width - left - 2 * MM) / width, (CURVES - line) / height)
    with print_style(style):
        axes = figure.add_axes(share)
        time_curves(
            film.times.tolist(), film.scores, film.queries,
            kept=film.kept, threshold=film.threshold, style=style, ax=axes,
        )  # fmt: skip
        for place in places:
            axes.axvline(film.times[place], color=style.pale, linewidth=0.5, linestyle=":", zorder=0)
