"""Figures of the studies, in the types and widths of `carlab.figures.print_style.Style`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from carlab.figures.charts import ablation_plot, figure_of
from carlab.figures.grid import SIDE, Cell, legend_of, painted_as, palette, picture_grid
from carlab.figures.print_style import CVPR, MM, PrintFigure, Style, print_style
from carlab.files.pictures import colour_hex, resize, shrink
from carlab.files.shapes import Image
from carlab.studies.removal import last_scores
from carlab.trace import Trace
from carlab.trace.show import shorten

if TYPE_CHECKING:
    from carlab.studies.forced import Counterfactual
    from carlab.studies.phases import PhaseDiagram
    from carlab.studies.removal import LeaveOneOut
    from carlab.studies.wording import Vocabulary

MOST_SETS = 12
"""Sets of kept queries named in a legend."""
RESOLUTION = 400
"""Thetas drawn in the plane of eta and theta; break points of one eta are drawn exactly."""


def leave_one_out_figure(study: "LeaveOneOut", *, style: Style = CVPR, width: str = "page") -> Figure:
    """Draw the change of every query's score (column) without each word (row); a ring where its fate changed.

    Parameters
    ----------
    study, style, width
        See `Style`; "column" or "page".
    """
    moved = study.scores - last_scores(study.base)
    limit = max(0.01, float(np.fmax.reduce(np.abs(moved).ravel(), initial=0)))
    words, queries = study.removed, study.base.queries
    changed = {(word, query): now for word, query, now in study.changes}
    with print_style(style):
        size = style.inches(width), (22 + 3.6 * len(words)) * MM
        axes = PrintFigure(figsize=size, style=style, layout="constrained").add_subplot()
        axes.set_facecolor(style.pale)
        shown = axes.imshow(moved, cmap="PuOr_r", vmin=-limit, vmax=limit, aspect="auto")
        for row, word in enumerate(words):
            for column, query in enumerate(queries):
                if (word, query) in changed:
                    fate = "kept" if changed[word, query] else "dropped"
                    ink = "white" if abs(moved[row, column]) > 0.6 * limit else "black"
                    axes.text(column, row, fate, ha="center", va="center", color=ink, weight="bold")
        kept = np.isin(np.arange(len(queries)), study.base.survivors)
        names = [
            f"{shorten(query, 18)}\n{'kept' if stays else 'dropped'}"
            for query, stays in zip(queries, kept, strict=True)
        ]
        axes.set_xticks(range(len(queries)), names)
        axes.xaxis.tick_top()
        axes.set_yticks(range(len(words)), [shorten(word, 24) for word in words])
        for label, word in zip(axes.get_yticklabels(), words, strict=True):
            label.set_color(style.ink if word in queries else style.pale)
        axes.set_ylabel("without (queries, then background)")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        figure_of(axes).colorbar(shown, ax=axes, label="change of its last score", shrink=0.8, aspect=30)
    return figure_of(axes)


def phase_figure(diagram: "PhaseDiagram", *, style: Style = CVPR, width: str = "column") -> Figure:
    """Draw which queries are kept over theta; with several etas, how many in the plane of the two.

    Parameters
    ----------
    diagram, style, width
        See `Style`; "column" or "page".
    """
    return (_plane if len(diagram.etas) > 1 else _bars)(diagram, style, width)


def _bars(diagram: "PhaseDiagram", style: Style, width: str) -> Figure:
    names = diagram.queries
    with print_style(style):
        axes = _axes(style, width, 14 + 4.5 * len(names))
        for phase in diagram.phases[0]:
            for query in phase.kept:
                axes.barh(query, phase.high - phase.low, left=phase.low, height=0.7, color=colour_hex(query))
            axes.axvline(phase.low, color=style.pale, linewidth=0.4, zorder=0)
        axes.axvline(diagram.theta, color=style.ink, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.annotate(f"θ = {diagram.theta:g}", (diagram.theta, 1), xycoords=("data", "axes fraction"),
                      xytext=(2, 1), textcoords="offset points", va="bottom")  # fmt: skip
        axes.set_yticks(range(len(names)), [shorten(name, 24) for name in names])
        axes.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.5), xlabel="θ; a bar where the query is kept")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    return figure_of(axes)


def _plane(diagram: "PhaseDiagram", style: Style, width: str) -> Figure:
    """Draw the kept sets as areas: the same set has the same colour."""
    numbers, known = kept_sets(diagram)
    edges = eta_edges(diagram)
    with print_style(style):
        axes = _axes(style, width, 38 + 3.4 * min(len(known), MOST_SETS))
        tints = set_colours(known)
        axes.pcolormesh(
            np.linspace(0, 1, RESOLUTION + 1), edges, numbers, cmap=ListedColormap(tints),
            vmin=-0.5, vmax=len(known) - 0.5, rasterized=True,
        )  # fmt: skip
        axes.plot(diagram.theta, diagram.eta, "o", color="black", markeredgecolor="white", markersize=5)
        axes.set(xlabel="θ", ylabel="η", xlim=(0, 1))
        names = [", ".join(shorten(diagram.queries[k], 16) for k in one) or "nothing" for one in known]
        boxes = [
            Patch(facecolor=tint, label=shorten(name, 52)) for tint, name in zip(tints, names, strict=True)
        ]
        axes.set_ylim(edges[0], edges[-1])
        figure_of(axes).legend(
            handles=boxes[:MOST_SETS], frameon=False, loc="outside lower left", title="kept", alignment="left"
        )
    return figure_of(axes)


def kept_sets(diagram: "PhaseDiagram") -> tuple[Int[np.ndarray, "e t"], list[tuple[int, ...]]]:
    """Return the number of the kept set at each eta and `RESOLUTION` thetas, and the sets, largest first.

    Parameters
    ----------
    diagram
        Any.
    """
    thetas = (np.arange(RESOLUTION) + 0.5) / RESOLUTION
    kept = diagram.kept(thetas.tolist())
    sets = [tuple(np.flatnonzero(row).tolist()) for row in kept.reshape(-1, len(diagram.queries))]
    known = sorted(dict.fromkeys(sets), key=lambda one: (-len(one), one))
    return np.array([known.index(one) for one in sets]).reshape(kept.shape[:2]), known


def set_colours(known: Sequence[tuple[int, ...]]) -> list[str]:
    """Return a colour for each set of kept queries, darker for smaller sets, grey for the empty one.

    Parameters
    ----------
    known
        Of `kept_sets`.
    """
    shades = colormaps["viridis"](np.linspace(0.95, 0.15, max(len(known) - (() in known), 1)))
    return [to_hex(shades[number]) if one else "#dddddd" for number, one in enumerate(known)]


def eta_edges(diagram: "PhaseDiagram") -> Float[np.ndarray, " f"]:
    """Return where the rows of the plane end: half way between the etas, and at the first and the last.

    Parameters
    ----------
    diagram
        With two etas or more.
    """
    etas = np.array(diagram.etas)
    return np.concatenate([etas[:1], (etas[1:] + etas[:-1]) / 2, etas[-1:]])


def vocabulary_figure(study: "Vocabulary", *, style: Style = CVPR, width: str = "column") -> Figure:
    """Draw the mIoU of every wording with its interval over images.

    Parameters
    ----------
    study, style, width
        See `Style`; "column" or "page".
    """
    return ablation_plot({name: study.miou(name) for name in study.names}, style=style, width=width)


def counterfactual_figure(study: "Counterfactual", *, style: Style = CVPR, width: str = "page") -> Figure:
    """Draw both results and the pixels that differ, above the scores of both runs step by step.

    Parameters
    ----------
    study, style, width
        See `Style`; "column" or "page".
    """
    before, after = study.before, study.after
    numbers = palette([before, after])
    cells = [
        Cell(shrink(before.image, SIDE), "image"),
        Cell(painted_as(before, numbers), "as it was"),
        Cell(painted_as(after, numbers), study.title),
        Cell(_differing_pixels(study), f"differs in {1 - study.comparison.agreement:.1%} of pixels"),
    ]
    legend, charts = legend_of([before, after], numbers), 38 * MM
    figure = picture_grid([cells], style=style, width=width, legend=legend, tallest=40, footer=charts).figure
    whole = figure.get_size_inches()[1]
    with print_style(style):
        for place, (trace, name) in enumerate(((before, "as it was"), (after, study.title))):
            axes = figure.add_axes(
                ((0.07 + 0.5 * place), 9 * MM / whole, 0.40, (charts - 14 * MM) / whole),
                title=shorten(name, 40), xlabel="step", ylabel="" if place else "score", ylim=(-0.02, 1.05),
            )  # fmt: skip
            _curves(axes, study, trace, style)
    return figure


def _curves(axes: Axes, study: "Counterfactual", trace: Trace, style: Style) -> None:
    steps = np.arange(1, len(trace.steps) + 1)
    for query in range(len(trace.queries)):
        wide = 1.8 if query == study.query else 0.9
        axes.plot(steps, trace.scores[:, query], "o-", color=colour_hex(query), markersize=3, linewidth=wide)
    axes.plot(study.step + 1, trace.scores[study.step, study.query], "s", markersize=8, fillstyle="none",
              color=style.ink)  # fmt: skip
    if not np.isnan(trace.threshold):
        axes.axhline(trace.threshold, color=style.ink, linewidth=0.6, linestyle=(0, (4, 3)))
    longest = max(len(study.before.steps), len(study.after.steps))
    axes.set(xlim=(0.8, longest + 0.2), xticks=range(1, longest + 1))
    axes.title.set_fontsize(style.size)
    axes.spines[["top", "right"]].set_visible(False)


def _differing_pixels(study: "Counterfactual") -> Image:
    """Return the image in grey, with the pixels whose label differs in red."""
    image = shrink(study.before.image, SIDE)
    differ = (study.before.labels != study.after.labels).astype(np.uint8)
    grey = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    height, width = image.shape[:2]
    grey[resize(differ, height, width, "nearest") > 0] = (213, 94, 0)
    return grey


def _axes(style: Style, width: str, height: float | int) -> Axes:
    size = style.inches(width), height * MM
    return PrintFigure(figsize=size, style=style, layout="constrained").add_subplot()
