"""Every view driven through its traits, without a browser; its figure is that of the pure functions."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
import traitlets

from carlab.errors import TraceError
from carlab.figures.inspection import maps_chart, probe_figure
from carlab.figures.layers import LAYERS, layer_picture
from carlab.figures.screen import bring, matrix, matrix_chart, scores_chart
from carlab.files.pictures import data_uri
from carlab.widgets import Compare, ProbeInspector, RecurrencePlayer, ScoreMatrix, ScorePlot, linked
from carlab.widgets.base import ChartBox, TraceWidget
from tests.traces import make_trace

VIEWS = (RecurrencePlayer, ScorePlot, ScoreMatrix, ProbeInspector)
PROBED = make_trace(
    kept=((0, 1), (0, 1)),
    probes={
        "cam.raw": np.random.default_rng(0).random((2, 6, 9), np.float32),
        "filter.scores": np.array([0.8, 0.1], np.float32),
        "affinity.attention": np.random.default_rng(1).random((54, 54), np.float32),
        "classify.pictures": np.zeros((2, 8, 8, 3), np.uint8),
        "classify.texts": np.zeros((2, 3, 5), np.float32),
    },
)
MANY = make_trace(
    [f"thing {k}" for k in range(80)], kept=(tuple(range(40)), tuple(range(5)), tuple(range(5)))
)
TRACES = {
    "usual": make_trace(),
    "nothing": make_trace(kept=((),)),
    "one": make_trace(["cat"], kept=((0,),)),
    "many": MANY,
    "probes": PROBED,
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", TRACES)
def test_every_view_of_every_trace_at_every_step(view: type[TraceWidget], name: str) -> None:
    trace = TRACES[name]
    widget = view(trace)
    for t in range(len(trace.steps)):
        widget.step = t
        for query in (-1, 0, len(trace.queries) - 1):
            widget.query = query
    widget.step = 99
    assert widget.step == len(trace.steps) - 1
    widget.query = 99999
    assert widget.query == -1


def test_the_player_shows_the_layer_of_the_step_and_query() -> None:
    trace = make_trace()
    player = RecurrencePlayer(trace)
    seen = set()
    for t in range(3):
        for layer in LAYERS:
            for query in (-1, 0):
                player.step, player.layer, player.query = t, layer, query
                shown = player.figure.layout.images[0].source
                queries = [0] if query == 0 else [0, 1, 2]
                assert shown == data_uri(layer_picture(trace, t, layer, queries, opacity=0.6))
                seen.add(shown)
    assert len(seen) > 6
    player.layer, player.opacity = "mask", 0.0
    faint = player.figure.layout.images[0].source
    player.opacity = 1.0
    assert player.figure.layout.images[0].source != faint


def test_the_stop_reason_of_a_rule_of_ones_own_is_text() -> None:
    player = RecurrencePlayer(replace(make_trace(), stop="<img src=x>"))
    player.step = 2
    assert "&lt;img src=x&gt;" in player.caption.value


def test_the_player_shows_what_was_dropped_and_by_how_much() -> None:
    player = RecurrencePlayer(make_trace(scores=(0.8, 0.12), theta=0.3))
    assert "dropped" in player.status.value
    assert "0.180 below 0.300" in player.status.value
    assert player.status.value.count("opacity:0.5") == 1
    player.step = 1
    assert player.status.value.count("opacity:0.5") == 2
    assert "1 kept" in player.caption.value


def test_controls_and_traits_follow_each_other() -> None:
    player = RecurrencePlayer(make_trace())
    player.slider.value = 2
    assert player.step == 2
    player.step = 1
    assert player.slider.value == 1
    player.list.value = 0
    assert player.query == 0
    player.layers.value = "CAM"
    assert player.layer == "CAM"
    with pytest.raises(traitlets.TraitError):
        player.layer = "masks"


def test_the_search_finds_any_of_eighty() -> None:
    player = RecurrencePlayer(MANY)
    assert len(player.list.options) == 13
    player.search.value = "thing 7"
    found = [index for _, index in player.list.options[1:]]
    assert found == [7, *range(70, 80)]
    player.list.value = 77
    assert player.query == 77


def lines(figure: object) -> list[tuple]:
    return [
        (tuple(np.nan_to_num(line.y, nan=-1)), line.name, line.opacity, line.line.width)
        for line in figure.data
    ]


@pytest.mark.parametrize("name", TRACES)
def test_the_plot_is_that_of_the_pure_function(name: str) -> None:
    trace = TRACES[name]
    plot = ScorePlot(trace)
    for step, query in ((0, -1), (len(trace.steps) - 1, 0), (0, len(trace.queries) - 1), (0, -1)):
        plot.step, plot.query = step, query
        assert lines(plot.figure) == lines(scores_chart(trace, query, step, plot.top))
        assert plot.figure.layout.shapes[-1].x0 == step + 1


def test_choosing_a_line_selects_its_query_and_again_none() -> None:
    plot = ScorePlot(make_trace())
    points = type("Points", (), {"point_inds": [0]})()
    plot._clicked(plot.figure.data[1], points, None)
    assert plot.query == 1
    assert [line.opacity for line in plot.figure.data[:3]] == [0.3, 1.0, 0.3]
    plot._clicked(plot.figure.data[1], points, None)
    assert plot.query == -1


def test_the_matrix_is_that_of_the_step() -> None:
    trace = make_trace()
    view = ScoreMatrix(trace)
    for t in range(3):
        view.step = t
        np.testing.assert_array_equal(view.figure.data[0].z, matrix(trace, t)["z"])
        np.testing.assert_array_equal(view.figure.data[0].z, trace.steps[t].probs)
    view.step = 0
    points = type("Points", (), {"ys": [view.figure.data[0].y[2]]})()
    view._clicked(None, points, None)
    assert view.query == 2


@pytest.mark.parametrize("name", sorted(PROBED.steps[0].probes))
def test_the_inspector_shows_any_probe(name: str) -> None:
    inspector = ProbeInspector(PROBED)
    inspector.probe = name
    expected = probe_figure(PROBED, 0, name, 0)
    assert len(inspector.figure.data) == len(expected.data)
    for mine, pure in zip(inspector.figure.data, expected.data, strict=True):
        for part in ("z", "y"):
            if getattr(pure, part, None) is not None:
                np.testing.assert_array_equal(getattr(mine, part), getattr(pure, part))
    assert " x ".join(map(str, PROBED.steps[0].probes[name].shape)) in inspector.facts.value


def test_maps_keep_their_place_when_others_are_gone() -> None:
    maps = np.random.default_rng(2).random((1, 6, 9), np.float32)
    trace = make_trace(["cat", "dog"], kept=((1,), (1,)), probes={"cam.raw": maps})
    chart = probe_figure(trace, 1, "cam.raw")
    assert chart.layout.annotations[0].text == "cat<br>no values"
    assert chart.layout.annotations[1].text.startswith("dog<br>")
    shown = np.array(chart.data[0].z, dtype=np.float64)
    expected = (maps[0] - maps.min()) / (maps.max() - maps.min())
    np.testing.assert_allclose(shown[-6:, -9:], expected, atol=6e-4)
    assert np.isnan(shown[:, :9]).all()


def test_values_that_are_not_finite_leave_gaps() -> None:
    maps = np.array([[[0, 1], [np.nan, np.inf]], [[3, 3], [3, 3]]], dtype=np.float32)
    chart = maps_chart(maps, ["a", "b"])
    assert [note.text for note in chart.layout.annotations] == ["a<br>0 to 1", "b<br>3 to 3"]
    shown = chart.data[0].z
    assert shown[-2:, :2].tolist() == [[0.0, 1.0], [None, None]]
    assert shown[-2:, -2:].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    json.loads(json.dumps(chart.data[0].z.tolist()), parse_constant=pytest.fail)


def test_a_chart_is_changed_in_place_where_that_can_be() -> None:
    charts = [scores_chart(make_trace(), step=t) for t in (0, 2)]
    figure = go.Figure(charts[0])
    bring(figure, charts[1])
    assert json.loads(figure.to_json()) == json.loads(charts[1].to_json())


def test_a_figure_for_each_kind_of_chart() -> None:
    place = ChartBox(lambda *_: None)
    lines, matrix = scores_chart(make_trace()), matrix_chart(make_trace())
    shown = ((lines, ""), (matrix, ""), (lines, ""), (lines, "b"))
    figures = [place.show(chart, kind) for chart, kind in shown]
    assert figures[0] is figures[2]
    assert len({id(figure) for figure in figures}) == 3
    assert [box.layout.display for box in place.children] == ["none", "none", None]


def test_a_probe_of_nobody() -> None:
    masks = np.zeros((0, 6, 9), np.float32)
    inspector = ProbeInspector(make_trace(kept=((),), probes={"refine.masks": masks}))
    assert inspector.figure.layout.annotations[0].text == "no values: 0 x 6 x 9"
    assert "nothing finite" in inspector.facts.value


def test_a_patch_is_chosen_by_a_click() -> None:
    inspector = ProbeInspector(PROBED)
    inspector.probe = "affinity.attention"
    rows = PROBED.steps[0].probes["affinity.attention"]
    np.testing.assert_array_equal(inspector.figure.data[0].z, rows[0].reshape(6, 9))
    inspector._clicked(None, type("Points", (), {"xs": [4], "ys": [2]})(), None)
    assert inspector.token == 22
    np.testing.assert_array_equal(inspector.figure.data[0].z, rows[22].reshape(6, 9))
    inspector._pointed(None, type("Points", (), {"point_inds": [53]})(), None)
    np.testing.assert_array_equal(inspector.figure.data[0].z, rows[53].reshape(6, 9))


def test_without_probes_the_inspector_says_how_to_record() -> None:
    inspector = ProbeInspector(make_trace())
    assert inspector.probe == ""
    assert "record=" in inspector.facts.value


def test_linked_views_share_step_and_query() -> None:
    trace = make_trace()
    views = [view(trace) for view in VIEWS]
    linked(*views)
    views[1].query = 2
    views[2].step = 1
    assert {view.query for view in views} == {2}
    assert {view.step for view in views} == {1}


def test_another_trace_in_the_same_view() -> None:
    for view in VIEWS:
        widget = view(make_trace())
        widget.step, widget.query = 2, 2
        widget.trace = make_trace(["cat"], kept=((0,),))
        assert widget.step == 0
        assert widget.query == -1
    assert RecurrencePlayer(make_trace()).slider.max == 2


def test_compare_links_both_and_says_what_differs() -> None:
    a = make_trace(theta=0.3)
    b = make_trace(["dog", "cat"], kept=((0, 1), (0,)), theta=0.5)
    view = Compare(a, b, ("before", "after"))
    assert "filter.theta" in view.table.value
    assert "before" in view.table.value
    view.a.query = 1
    assert view.b.query == 0
    view.step = 2
    assert (view.a.step, view.b.step) == (2, 1)
    view.a.layer = "CAM"
    assert view.b.layer == "CAM"
    figures = view.a.figure, view.b.figure
    view.show(b, make_trace(theta=0.7))
    assert (view.a.figure, view.b.figure) == figures
    assert (view.step, view.a.step, view.b.step) == (1, 1, 1)
    assert "0.7" in view.table.value
    with pytest.raises(TraceError, match="one image"):
        view.show(b, make_trace(size=(20, 30)))
    assert view.b.trace.settings["filter"]["theta"] == 0.7


def test_views_need_no_torch() -> None:
    code = (
        "import sys; from carlab.widgets import *; from tests.traces import make_trace; t = make_trace();"
        "linked(RecurrencePlayer(t), ScorePlot(t)); Compare(t, t); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_view_shows_only_traces() -> None:
    player = RecurrencePlayer(make_trace())
    with pytest.raises(traitlets.TraitError):
        player.trace = "trace"
