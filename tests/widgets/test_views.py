"""Every view driven through its traits, without a browser; its figure is that of the pure functions."""

import json
import re
import subprocess
import sys
from base64 import b64decode
from io import BytesIO

import numpy as np
import plotly.graph_objects as go
import pytest
import traitlets
from PIL import Image

from carlab.errors import TraceError
from carlab.figures.content import trace_content
from carlab.figures.front import module, style
from carlab.figures.inspection import maps_chart, probe_figure
from carlab.widgets import Compare, ProbeInspector, RecurrencePlayer, ScoreMatrix, ScorePlot, linked
from carlab.widgets.base import TraceWidget
from carlab.widgets.chart import Chart, library
from carlab.widgets.compare import differences_in_words
from carlab.widgets.palette import Palette
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


def test_all_of_a_trace_is_sent_at_once_and_what_is_selected_is_not_sent_again() -> None:
    trace = make_trace()
    player = RecurrencePlayer(trace)
    sent = player.front.content
    assert sent == trace_content(trace)
    for t, step in enumerate(trace.steps):
        masks = np.frombuffer(sent["steps"][t]["masks"], np.uint8).reshape(step.masks.shape)
        np.testing.assert_allclose(masks / 255, step.masks, atol=0.51 / 255)
        assert sent["steps"][t]["prompted"].keys() == {str(index) for index in step.active}
    player.step, player.query, player.layer, player.opacity = 2, 0, "CAM", 0.2
    assert player.front.content is sent
    assert (player.front.step, player.front.query, player.front.layer, player.front.opacity) == (
        2,
        0,
        "CAM",
        0.2,
    )


def test_the_final_labels_arrive() -> None:
    trace = make_trace()
    runs = trace_content(trace)["final"]
    values = np.frombuffer(runs["values"], np.uint16)
    lengths = np.frombuffer(runs["lengths"], np.uint32)
    np.testing.assert_array_equal(np.repeat(values, lengths).reshape(trace.labels.shape), trace.labels)
    large = trace_content(make_trace(size=(1500, 2000)))["final"]
    assert (large["height"], large["width"]) == (720, 960)


def test_a_query_that_is_not_named_gets_its_prompted_images_when_it_is_selected() -> None:
    player = RecurrencePlayer(MANY)
    assert "39" not in player.front.content["steps"][0]["prompted"]
    player.front.query = 39  # as a search in the browser does
    assert "39" in player.front.content["steps"][0]["prompted"]
    assert player.query == 39


def test_the_browser_and_the_traits_follow_each_other() -> None:
    player = RecurrencePlayer(make_trace())
    player.front.step = 2
    assert player.step == 2
    player.step = 1
    assert player.front.step == 1
    player.front.set_state({"query": 0, "layer": "CAM"})  # a message of the browser
    assert (player.query, player.layer) == (0, "CAM")
    player.step = 99
    assert player.step == player.front.step == 2
    with pytest.raises(traitlets.TraitError):
        player.layer = "masks"


@pytest.mark.parametrize("name", TRACES)
def test_the_scores_are_those_of_the_trace(name: str) -> None:
    trace = TRACES[name]
    sent = ScorePlot(trace, top=3).front.content
    shown = np.array([[np.nan if score is None else score for score in row] for row in sent["scores"]])
    np.testing.assert_allclose(shown, trace.scores, atol=1e-5)
    assert sent["threshold"] == pytest.approx(trace.threshold)
    assert sum(query["telling"] for query in sent["queries"]) == min(3, len(trace.queries))
    assert "photo" not in sent


@pytest.mark.parametrize("name", TRACES)
def test_the_matrix_is_that_of_the_step(name: str) -> None:
    trace = TRACES[name]
    for step, sent in zip(trace.steps, ScoreMatrix(trace).front.content["steps"], strict=True):
        probs = np.frombuffer(sent["pairs"]["probs"], np.float32).reshape(step.probs.shape)
        np.testing.assert_array_equal(probs, step.probs)
        assert sent["pairs"]["queries"] == step.active.tolist()


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


def test_a_chart_sends_its_figure_and_the_library_when_it_is_asked() -> None:
    chart, sent = Chart(go.Figure().add_bar(y=[1.0, 2.0])), []
    chart.send = lambda content, buffers: sent.append(buffers[0])
    assert chart.figure["data"][0]["type"] == "bar"
    chart._handle_custom_msg({"ask": "plotly"}, [])
    assert sent == [library()]
    assert b"plotly.js v" in sent[0][:200]
    chart._handle_custom_msg({"ask": "something else"}, [])
    assert len(sent) == 1


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
    inspector.chart.clicked = {"x": 4, "y": 2, "count": 1}  # as the browser does
    assert inspector.token == 22
    np.testing.assert_array_equal(inspector.figure.data[0].z, rows[22].reshape(6, 9))
    assert inspector.front.pick == [2, 4]
    inspector.front.pick = [5, 8]
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


def test_compare_shows_both_and_says_what_differs() -> None:
    a = make_trace(theta=0.3)
    b = make_trace(["dog", "cat"], kept=((0, 1), (0,)), theta=0.5)
    view = Compare(a, b, ("before", "after"))
    assert view.front.names == ["before", "after"]
    assert ("theta", "0.3", "0.5") in differences_in_words(view.comparison, "ab")
    assert "before" in view.table.value
    colours = [
        {query["name"]: query["colour"] for query in one["queries"]}
        for one in (view.front.other, view.front.content)
    ]
    assert colours[0].items() >= colours[1].items()
    front = view.front
    view.show(b, make_trace(theta=0.7))
    assert view.front is front
    assert view.front.other["queries"][0]["name"] == "dog"
    assert "0.7" in view.table.value
    with pytest.raises(TraceError, match="one image"):
        view.show(b, make_trace(size=(20, 30)))
    assert view.trace.settings["filter"]["theta"] == 0.7
    view.front.mode = "blink"
    assert view.mode == "blink"


def test_a_query_keeps_its_colour_and_number_while_others_come_and_go() -> None:
    palette = Palette()
    first = dict(zip("abc", palette.slots("abc"), strict=True))
    after = dict(zip("bcd", palette.slots("bcd", beside="abc"), strict=True))
    assert {name: after[name] for name in "bc"} == {name: first[name] for name in "bc"}
    assert after["d"] not in first.values()
    again = palette.slots("abcd")
    assert len(set(again)) == 4
    assert again[1:] == (after["b"], after["c"], after["d"])


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


def test_without_a_kernel_there_is_a_picture() -> None:
    player = RecurrencePlayer(make_trace(), layer="final")
    bundle = player._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    shown = Image.open(BytesIO(b64decode(bundle["image/jpeg"])))
    assert shown.size == (70, 48)
    player.opacity = 0.1
    assert player._repr_mimebundle_()["image/jpeg"] != bundle["image/jpeg"]
    assert "image/jpeg" not in ScorePlot(make_trace())._repr_mimebundle_()


def test_the_front_end_is_small_and_asks_nobody() -> None:
    assert len(module().encode()) < 60_000
    for text in (module(), style(), Chart._esm):
        assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", str(text))
        assert not re.findall(r"\b(fetch|XMLHttpRequest|WebSocket|importScripts|import\()", str(text))
