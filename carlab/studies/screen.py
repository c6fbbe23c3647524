"""Charts of the studies for the screen, in plotly; `carlab.widgets.StudyView` shows them."""

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from carlab.figures.screen import NEUTRAL, blank, label
from carlab.files.pictures import colour_hex
from carlab.studies.figures import RESOLUTION, eta_edges, kept_sets, set_colours
from carlab.studies.removal import last_scores

if TYPE_CHECKING:
    from carlab.studies.phases import PhaseDiagram
    from carlab.studies.removal import LeaveOneOut
    from carlab.studies.wording import Vocabulary


def leave_one_out_chart(study: "LeaveOneOut") -> go.Figure:
    """Draw the change of every query's score (column) without each word (row); its fate where that changed.

    Parameters
    ----------
    study
        Any; `point.y` of a click is the index of what was taken away.
    """
    moved = study.scores - last_scores(study.base)
    limit = max(0.01, float(np.fmax.reduce(np.abs(moved).ravel(), initial=0)))
    fates = np.full(moved.shape, "", dtype=object)
    for word, query, now in study.changes:
        fates[study.removed.index(word), study.base.queries.index(query)] = "kept" if now else "dropped"
    figure = blank(120 + 22 * len(study.removed), margin={"l": 140, "r": 12, "t": 40, "b": 12})
    scale = {"colorscale": "PuOr_r", "zmin": -limit, "zmax": limit, "colorbar": {"title": {"text": "change"}}}
    figure.add_heatmap(
        z=moved, text=fates, texttemplate="%{text}", textfont={"color": "black"},
        hovertemplate="%{y} → %{x}: %{z:+.3f}<extra></extra>", xgap=1, ygap=1, **scale,
    )  # fmt: skip
    figure.update_xaxes(**_ticks(study.base.queries), side="top", showgrid=False)
    return figure.update_yaxes(**_ticks(study.removed), autorange="reversed", showgrid=False)


def phase_chart(diagram: "PhaseDiagram") -> go.Figure:
    """Draw a bar for each query over the thetas at which it is kept; of several etas, areas of equal sets.

    Parameters
    ----------
    diagram
        `point.x` of a click is a theta.
    """
    return _plane_chart(diagram) if len(diagram.etas) > 1 else _bar_chart(diagram)


def _bar_chart(diagram: "PhaseDiagram") -> go.Figure:
    figure = blank(90 + 34 * len(diagram.queries), margin={"l": 140, "r": 12, "t": 28, "b": 40})
    said = "%{customdata[0]:.4f} to %{customdata[1]:.4f}, after step %{customdata[2]}"
    for query in range(len(diagram.queries)):
        phases = [phase for phase in diagram.phases[0] if query in phase.kept]
        figure.add_bar(
            orientation="h", y=[query] * len(phases), base=[phase.low for phase in phases],
            x=[phase.high - phase.low for phase in phases], marker={"color": colour_hex(query)},
            customdata=[[phase.low, phase.high, phase.steps] for phase in phases],
            hovertemplate=said, name="",
        )  # fmt: skip
    line = {"color": NEUTRAL, "dash": "dash"}
    figure.add_vline(diagram.theta, line=line, annotation={"text": "theta", "yanchor": "bottom"})
    figure.update_layout(barmode="overlay", showlegend=False)
    figure.update_xaxes(range=[0, 1], title={"text": "theta"})
    return figure.update_yaxes(**_ticks(diagram.queries), range=[len(diagram.queries) - 0.5, -0.5])


def _plane_chart(diagram: "PhaseDiagram") -> go.Figure:
    numbers, known = kept_sets(diagram)
    names = [", ".join(label(diagram.queries[k]) for k in one) or "nothing" for one in known]
    tints, most = set_colours(known), len(known)
    steps = [(share, tint) for k, tint in enumerate(tints) for share in (k / most, (k + 1) / most)]
    figure = blank(340)
    figure.add_heatmap(
        z=numbers, x=np.linspace(0, 1, RESOLUTION + 1), y=eta_edges(diagram), colorscale=steps, zmin=-0.5,
        zmax=most - 0.5, showscale=False, text=[[names[number] for number in row] for row in numbers],
        hovertemplate="theta %{x:.3f}, eta %{y:.2f}: %{text}<extra></extra>",
    )  # fmt: skip
    for tint, name in zip(tints, names, strict=True):  # the legend of the areas
        figure.add_scatter(
            x=[None], y=[None], mode="markers", marker={"color": tint, "symbol": "square"}, name=name
        )
    look = {"color": "black", "size": 10, "line": {"color": "white", "width": 1}}
    figure.add_scatter(x=[diagram.theta], y=[diagram.eta], mode="markers", marker=look, showlegend=False)
    figure.update_layout(legend={"orientation": "h", "y": -0.25})
    figure.update_yaxes(title={"text": "eta"})
    return figure.update_xaxes(range=[0, 1], title={"text": "theta"})


def vocabulary_chart(study: "Vocabulary") -> go.Figure:
    """Draw the mIoU of every wording, in percent, with its interval over images.

    Parameters
    ----------
    study
        Any.
    """
    values = 100 * np.array([study.miou(name) for name in study.names])
    middle, low, high = values.T
    figure = blank(90 + 34 * len(study.names), margin={"l": 140, "r": 12, "t": 12, "b": 40})
    spread = {"type": "data", "symmetric": False, "array": high - middle, "arrayminus": middle - low}
    figure.add_scatter(
        x=middle, y=np.arange(len(study.names)), error_x=spread, mode="markers", marker={"size": 9}
    )
    figure.update_xaxes(title={"text": "mIoU, percent, with 95 % intervals over images"})
    return figure.update_yaxes(**_ticks(study.names), range=[len(study.names) - 0.5, -0.5])


def _ticks(names: tuple[str, ...]) -> dict[str, object]:
    """Return the ticks of an axis of names: numbers, since shortened names may be equal."""
    return {"tickvals": list(range(len(names))), "ticktext": [label(name, 20) for name in names]}
