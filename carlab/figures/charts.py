"""Charts for papers: scores over the steps, ablations with intervals, and classes as bars."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from carlab.errors import SettingError
from carlab.figures.layers import MOST_NAMED
from carlab.figures.print_style import CVPR, MM, PrintFigure, Style, print_style
from carlab.files.pictures import OKABE_ITO, colour_hex
from carlab.trace import Trace
from carlab.trace.show import most_telling, shorten

CURVE_MARKERS = "osD^vph<>"
SERIES = (4, 5, 2, 6, 0, 1, 3)
"""Indices into Okabe and Ito's palette for methods: the first ones are visible on white and on black."""


def score_curves(
    trace: Trace, *, style: Style = CVPR, width: str = "column", ax: Axes | None = None
) -> Figure:
    """Draw the score of each query over the steps, the threshold, and a cross where a query is dropped.

    Parameters
    ----------
    trace
        At most `MOST_NAMED` queries are drawn, the most telling ones.
    style, width
        See `Style`; "column" or "page".
    ax
        Axes to draw on, of a figure of your own.

    Examples
    --------
    >>> [line.get_label() for line in score_curves(trace).axes[0].lines[:3]]
    ['cat', 'dog', 'sofa']
    """
    with print_style(style):
        named = most_telling(trace, MOST_NAMED)
        legend = 6 + 0.56 * style.size * len(named)  # its height in mm
        axes = ax or new_axes(style, width, max(42.0, legend))
        steps = np.arange(1, len(trace.steps) + 1)
        for query in named:
            name, look = shorten(trace.queries[query], 24), _marked(query)
            axes.plot(steps, trace.scores[:, query], label=name, **look)
        for drop in trace.drops:
            axes.plot(drop.step + 1, drop.score, "x", color=style.ink, markersize=6, zorder=3)
        if not np.isnan(trace.threshold):
            axes.axhline(trace.threshold, color=style.ink, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
            axes.annotate(
                f"θ = {trace.threshold:g}", (1, trace.threshold), xytext=(-1, 1), textcoords="offset points",
                xycoords=("axes fraction", "data"), ha="right", va="bottom",
            )  # fmt: skip
        axes.set(xlabel="step", ylabel="score", ylim=(-0.02, 1.02), xlim=(0.85, len(steps) + 0.15))
        axes.set_xticks(steps[:: -(-len(steps) // 12)])
        beside_axes(axes)
    return figure_of(axes)


def ablation_plot(
    values: Mapping[str, Sequence[float]],
    *,
    label: str = "mIoU",
    paper: Mapping[str, float] | None = None,
    style: Style = CVPR,
    width: str = "column",
    ax: Axes | None = None,
) -> Figure:
    """Draw a row for each setting: its score as a dot, with its interval as a line.

    Raises SettingError if there is none, or one has not value, low and high.

    Parameters
    ----------
    values
        Score and the ends of its interval, in [0, 1], by name; as `Summary.interval` returns them.
    label
        Of the score; percent are drawn.
    paper
        Scores to mark beside, in [0, 1].
    style, width, ax
        As `score_curves` takes them.

    Examples
    --------
    >>> figure = ablation_plot({"with recurrence": (0.32, 0.28, 0.36), "without": (0.14, 0.11, 0.17)})
    >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
    ['with recurrence', 'without']
    """
    if not values or any(len(row) != 3 for row in values.values()):
        raise SettingError(
            'expected value, low and high by name, got none or others; write {"theta=.4": (0.32, 0.28, 0.36)}'
        )
    with print_style(style):
        axes = ax or new_axes(style, width, 13 + 5 * len(values))
        places = np.arange(len(values))
        middle, low, high = 100 * np.array(list(values.values()), dtype=float).T
        axes.hlines(places, low, high, color=colour_hex(SERIES[0]), linewidth=1.2)
        axes.plot(middle, places, "o", color=colour_hex(SERIES[0]), markersize=4, markeredgecolor=style.ink,
                  markeredgewidth=0.4)  # fmt: skip
        for place, value in zip(places, middle, strict=True):
            axes.annotate(
                f"{value:.1f}", (value, place), xytext=(0, 3), textcoords="offset points", ha="center"
            )
        known = [(100 * paper[name], place) for place, name in enumerate(values) if paper and name in paper]
        if known:
            axes.plot(
                *zip(*known, strict=True), "D", color=colour_hex(SERIES[1]), markersize=3.5, label="paper"
            )
            axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), borderpad=0)
        axes.set_yticks(places, [shorten(name, 40) for name in values])
        axes.set(xlabel=f"{label}, percent\n95 % intervals over images", ylim=(len(values) - 0.4, -0.7))
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(left=False)
        axes.grid(axis="x", color=style.pale, linewidth=0.3, alpha=0.5)
    return figure_of(axes)


def class_bars(
    values: Mapping[str, Mapping[str, float]],
    *,
    style: Style = CVPR,
    width: str = "page",
    ax: Axes | None = None,
) -> Figure:
    """Draw the IoU of each class as bars, one for each method; classes in the order of the first method.

    Raises SettingError if there is none.

    Parameters
    ----------
    values
        IoU in [0, 1] by class, by the name of the method; NaN or a missing class leaves a gap.
    style, width, ax
        As `score_curves` takes them.

    Examples
    --------
    >>> figure = class_bars({"a": {"cat": 0.6, "dog": 0.4}, "b": {"dog": 0.5}})
    >>> [text.get_text() for text in figure.axes[0].get_xticklabels()]
    ['cat', 'dog']
    """
    classes = list(dict.fromkeys(name for column in values.values() for name in column))
    if not classes:
        raise SettingError('expected IoU by class, got none; write {"offline": {"cat": 0.6}}')
    first = next(iter(values.values()))
    classes.sort(key=lambda name: -np.nan_to_num(first.get(name, -1.0), nan=-1.0))
    with print_style(style):
        axes = ax or new_axes(style, width, 45)
        wide = 0.8 / len(values)
        for number, (name, column) in enumerate(values.items()):
            heights = [100 * column.get(one, np.nan) for one in classes]
            left = np.arange(len(classes)) + wide * (number - (len(values) - 1) / 2)
            tint = colour_hex(SERIES[number] if number < len(SERIES) else number + len(OKABE_ITO))
            axes.bar(left, heights, wide, label=shorten(name, 30), color=tint, linewidth=0)
        axes.set_xticks(range(len(classes)), [shorten(name, 16) for name in classes], rotation=45, ha="right",
                        rotation_mode="anchor")  # fmt: skip
        axes.set(ylabel="IoU, percent", xlim=(-0.6, len(classes) - 0.4))
        axes.spines[["top", "right"]].set_visible(False)
        if len(values) > 1:
            axes.legend(frameon=False, ncols=min(4, len(values)), loc="upper right")
    return figure_of(axes)


def figure_of(axes: Axes) -> Figure:
    """Return the figure that axes belong to.

    Parameters
    ----------
    axes
        Of a figure.

    Examples
    --------
    >>> figure = Figure()
    >>> figure_of(figure.add_subplot()) is figure
    True
    """
    figure = axes.get_figure(root=True)
    assert figure is not None  # noqa: S101 - for the type checker
    return figure


def new_axes(style: Style, width: str, height: int | float) -> Axes:
    """Return the axes of a new figure.

    Parameters
    ----------
    style, width, height
        See `Style`; "column" or "page"; and the height in mm.
    """
    size = style.inches(width), height * MM
    return PrintFigure(figsize=size, style=style, layout="constrained").add_subplot()


def beside_axes(axes: Axes) -> None:
    """Put the legend right of the axes, and leave out the frame above and right.

    Parameters
    ----------
    axes
        With named lines.
    """
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.4)


def _marked(query: int) -> dict[str, Any]:
    rim: Any = {"markeredgecolor": "black", "markeredgewidth": 0.4, "markersize": 4, "linewidth": 1.0}
    return {"color": colour_hex(query), "marker": CURVE_MARKERS[query % len(CURVE_MARKERS)], **rim}
