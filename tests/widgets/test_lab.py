"""The live Lab without a browser: runs, history, errors in place, code that makes the same trace."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from carlab.errors import ImageError, ProbeError
from carlab.queries import BACKGROUNDS
from carlab.recurrence import ClipAsRnn
from carlab.settings import SETTINGS, Setting
from carlab.stages.filter import Threshold
from carlab.stages.prompter import Crop
from carlab.trace import Trace
from carlab.widgets import Lab, ScoreMatrix
from carlab.widgets.lab.controls import HIDDEN, _show_value, _value_of, control
from carlab.widgets.lab.lab import COMPARE, MOST_RUNS
from carlab.widgets.lab.runner import Runner
from carlab.widgets.lab.state import LabState
from tests.conftest import WORDS

SECONDS = 60


@pytest.fixture
def lab(tiny: ClipAsRnn, photo: np.ndarray) -> Lab:
    lab = Lab(photo, WORDS[:3], model=replace(tiny, filter=Threshold(0.2)), record=["cam.*"])
    assert lab.wait(SECONDS)
    return lab


def test_the_result_follows_the_sliders(lab: Lab) -> None:
    assert lab.trace is not None
    assert lab.trace.threshold == 0.2
    lab.controls.settings["theta"].value = 0.9
    assert lab.wait(SECONDS)
    assert lab.trace.threshold == 0.9
    assert [view.trace for view in lab.views] == [lab.trace] * 3
    assert lab.trace.passes.keys() <= {"image encode"}
    assert "cam.raw" in lab.trace.steps[0].probes


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("a pass of the model")


def test_a_threshold_needs_no_model_pass(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = type(lab.own_model.classifier.backbone)
    for name in ("trunk", "encode_images", "tail"):
        monkeypatch.setattr(backbone, name, refuse)
    before = lab.trace
    lab.controls.settings["theta"].value = before.threshold + 1e-2
    assert lab.wait(SECONDS)
    assert "color:#d55e00" not in lab.message.value
    assert lab.trace is not before
    assert lab.trace.passes == {}


def test_other_queries_need_no_trunk(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(lab.own_model.proposer.backbone), "trunk", refuse)
    lab.controls.queries.value = "\n".join([WORDS[1], "something new"])
    assert lab.wait(SECONDS)
    assert lab.trace.queries == (WORDS[1], "something new")


@pytest.mark.parametrize(
    ("queries", "told"), [("", "expected one or more"), ("cat\ncat", "different"), ("x" * 9000, "token")]
)
def test_errors_are_shown_in_place(lab: Lab, queries: str, told: str) -> None:
    before = lab.trace
    lab.controls.queries.value = queries
    assert lab.wait(SECONDS)
    assert "color:#d55e00" in lab.message.value
    assert lab.trace is before
    lab.controls.queries.value = "cat\ndog"
    assert lab.wait(SECONDS)
    assert lab.trace.queries == ("cat", "dog")


def test_masks_are_matched_to_regions_and_back(lab: Lab) -> None:
    plain = lab.trace.settings["refiner"]
    lab.controls.settings["regions"].value = "superpixels"
    assert lab.wait(SECONDS)
    assert lab.trace.settings["refiner"]["stage"] == "RegionMatch"
    assert "regions='superpixels'" in lab.source.value
    matched = lab.state
    lab.controls.settings["regions"].value = "no SAM"
    assert lab.wait(SECONDS)
    assert "a folder that exists" in lab.message.value
    lab.controls.settings["regions"].value = ""
    assert lab.wait(SECONDS)
    assert lab.trace.settings["refiner"] == plain
    lab.controls.show(matched)
    assert lab.controls.settings["regions"].value == "superpixels"


def test_every_choice_is_offered_once(lab: Lab) -> None:
    offered = {key: [*one.options] for key, one in lab.controls.settings.items() if hasattr(one, "options")}
    assert offered["background"] == [*BACKGROUNDS]
    assert offered["background"].count("none") == 1
    assert offered.keys() == {row.key for row in SETTINGS.values() if row.choices} | {"max_steps"}
    for key, choices in offered.items():
        assert len(set(choices)) == len(choices), key


def test_a_new_row_of_the_table_has_a_control(lab: Lab) -> None:
    """Of any kind: it holds a value of the model and gives it back."""
    values = {float: 0.5, int: 3, bool: True, str: "b"}
    for kind, value in values.items():
        for high in (1.0, float("inf")):
            choices = ("a", "b") if kind is str else ()
            row = Setting("new", "new", kind, "Something.", high=high, choices=choices)
            one = control(row)
            _show_value(row.key, one, value)
            assert _value_of(row.key, one) == value
            _show_value(row.key, one, None)  # a model that lacks it
            assert one.disabled
    shown = {row.key: row for row in SETTINGS.values() if row.name not in HIDDEN}
    assert lab.controls.settings.keys() == shown.keys() == SETTINGS.keys() - {"lambda", "batch"} | {"box"}
    lab.controls.settings["background_weight"].value = 0.5
    lab.controls.settings["refer"].value = True
    assert lab.wait(SECONDS)
    assert lab.trace.settings["proposer"]["background_weight"] == 0.5
    assert not lab.trace.settings["proposer"]["compete"]


def test_the_history_goes_back_without_computing(lab: Lab) -> None:
    first = lab.trace
    lab.controls.settings["theta"].value = 0.5
    lab.wait(SECONDS)
    lab.controls.settings["prompter"].value = ("grey",)
    lab.wait(SECONDS)
    assert len(lab.runs) == 3
    lab.history.value = 0
    assert lab.trace is first
    assert lab.controls.settings["theta"].value == 0.2
    assert lab.controls.settings["prompter"].value == ("circle", "blur")
    assert lab.views[0].trace is first
    assert len(lab.runs) == 3


def test_the_history_is_bounded(lab: Lab) -> None:
    for number in range(MOST_RUNS + 5):
        lab.show(LabState(WORDS[: 1 + number % 2], f"x{number}"), lab.trace)
    assert len(lab.runs) == MOST_RUNS


def test_a_pinned_run_is_compared_with_what_comes_next(lab: Lab) -> None:
    lab.tabs.selected_index = COMPARE
    lab.pin.click()
    pinned = lab.trace
    for theta in (0.77, 0.66):
        lab.controls.settings["theta"].value = theta
        lab.wait(SECONDS)
        assert str(theta) in lab.comparison.value
    assert lab.player.front.other == lab.player.content_of(pinned, (0, 1, 2))
    lab.history.value = 0
    lab.pin.click()  # the pinned run itself: let go of it
    assert lab.player.front.other == {}


def test_after_an_error_or_a_stop_all_is_of_the_trace_that_is_shown(lab: Lab, tmp_path: Path) -> None:
    state, code = lab.state, lab.source.value
    lab.controls.queries.value = "cat\nCat"
    assert lab.wait(SECONDS)
    assert "expected different queries" in lab.message.value
    assert f"still shown: {state}" in lab.message.value
    assert (lab.state, lab.source.value) == (state, code)
    lab.folder.value = str(tmp_path / "out")
    lab.export.click()
    assert (tmp_path / "out" / "run.py").read_text() == code
    assert Trace.load(tmp_path / "out" / "trace.safetensors").queries == state.queries


def test_a_run_from_a_cell_moves_the_controls(lab: Lab) -> None:
    lab.run(replace(lab.state, queries=(*lab.state.queries, "something new")).but(theta=0.35))
    assert lab.wait(SECONDS)
    assert lab.controls.settings["theta"].value == 0.35
    assert lab.controls.queries.value.splitlines() == list(lab.trace.queries)
    assert lab.controls.state() == lab.state
    lab.controls.settings["keep_best"].value = not lab.controls.settings["keep_best"].value
    assert lab.wait(SECONDS)
    assert (lab.trace.queries[-1], lab.trace.threshold) == ("something new", 0.35)


def looks(content: dict) -> dict[str, tuple[int, str]]:
    """Number and colour of each query, as the browser shows them."""
    return {query["name"]: (query["number"], query["colour"]) for query in content["queries"]}


def test_queries_that_are_edited_in_the_list_keep_their_colours(lab: Lab) -> None:
    before = looks(lab.player.front.content)
    lab.pin.click()
    lab.player.front.wanted = [*WORDS[1:3], "something new"]  # as the browser does
    assert lab.wait(SECONDS)
    assert lab.trace.queries == (*WORDS[1:3], "something new")
    for content in (lab.player.front.content, lab.matrix.front.content):
        after = looks(content)
        assert {name: after[name] for name in WORDS[1:3]} == {name: before[name] for name in WORDS[1:3]}
        assert after["something new"] not in before.values()  # it is shown beside the pinned run
    assert looks(lab.player.front.other) == before
    lab.player.front.wanted = []
    assert lab.wait(SECONDS)
    assert "expected at least one query" in lab.message.value
    assert lab.player.front.wanted == list(lab.trace.queries)


def test_a_slider_that_moves_on_is_one_run_of_the_history(lab: Lab) -> None:
    for theta in (0.3, 0.4, 0.5):
        lab.controls.settings["theta"].value = theta
        assert lab.wait(SECONDS)
    lab.controls.settings["keep_best"].value = not lab.controls.settings["keep_best"].value
    assert lab.wait(SECONDS)
    assert [state.settings.get("theta") for state, _ in lab.runs] == [None, 0.5, 0.5]


def test_steps_at_most(lab: Lab) -> None:
    """It is no word for the ablation without recurrence, which sets theta too."""
    lab.controls.settings["max_steps"].value = 1
    assert lab.wait(SECONDS)
    assert (len(lab.trace.steps), lab.trace.threshold) == (1, 0.2)
    assert "max_steps=1" in lab.source.value
    lab.controls.settings["max_steps"].value = None
    assert lab.wait(SECONDS)
    assert lab.state.settings == {}


def test_going_back_is_not_undone_by_a_run_that_ends_later(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    first, reached, go_on = lab.trace, threading.Event(), threading.Event()
    run = Lab._trace

    def slowly(*args: object) -> Trace:
        trace = run(*args)
        reached.set()
        assert go_on.wait(SECONDS)
        return trace

    monkeypatch.setattr(Lab, "_trace", slowly)
    lab.controls.settings["theta"].value = 0.9
    assert reached.wait(SECONDS)
    lab._back({"new": 0})
    said = lab.message.value
    go_on.set()
    assert lab.wait(SECONDS)
    assert lab.trace is first
    assert lab.controls.settings["theta"].value == 0.2
    assert lab.message.value == said


def drawn(view: ScoreMatrix) -> list[bytes]:
    return [step["pairs"]["probs"] for step in view.front.content["steps"]]


def test_what_is_behind_a_closed_tab_is_drawn_when_it_is_opened(lab: Lab) -> None:
    player, matrix = lab.views[:2]
    lab.tabs.selected_index = 1
    assert [view.visible for view in lab.views] == [True, False, True]
    before = drawn(matrix)
    lab.controls.settings["prompter"].value = ("grey",)
    lab.wait(SECONDS)
    player.query = 1
    assert all(view.trace is lab.trace and view.query == 1 for view in lab.views)
    assert drawn(matrix) == before
    lab.tabs.selected_index = 0
    assert [view.visible for view in lab.views] == [True, True, False]
    fresh = ScoreMatrix(lab.trace)
    fresh.query = 1
    assert drawn(matrix) == drawn(fresh) != before


def test_the_code_makes_the_same_trace(lab: Lab) -> None:
    lab.controls.settings["theta"].value = 0.41
    lab.controls.settings["prompter"].value = ("grey",)
    lab.controls.settings["background"].value = "man-made"
    lab.wait(SECONDS)
    names = {"image": lab.photo.image, "model": lab.own_model}
    exec(lab.source.value.replace("\ntrace\n", "\n"), names)  # noqa: S102 - our own code is what is tested
    made: Trace = names["trace"]
    assert made.queries == lab.trace.queries
    assert made.settings == lab.trace.settings
    np.testing.assert_array_equal(made.labels, lab.trace.labels)
    np.testing.assert_allclose(made.scores, lab.trace.scores, atol=1e-5)


def test_code_of_words_that_are_code(tiny: ClipAsRnn) -> None:
    words = ('"]); raise SystemExit #', "it's", "{x}", "\\")
    code = LabState(words, "offline").but(background='"""').code("a'b.png")
    compile(code, "lab", "exec")
    assert repr(list(words)) in code


def test_export_writes_trace_figures_and_code(lab: Lab, tmp_path: Path) -> None:
    lab.folder.value = str(tmp_path / "out")
    lab.export.click()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "overlay.png", "recurrence.png", "run.py", "scores.png", "trace.safetensors",
    ]  # fmt: skip
    assert Trace.load(tmp_path / "out" / "trace.safetensors") == lab.trace
    lab.folder.value = str(tmp_path / "out" / "run.py")
    lab.export.click()
    assert "color:#d55e00" in lab.message.value


def test_reset_goes_back_to_the_preset(lab: Lab) -> None:
    lab.controls.settings["theta"].value = 0.9
    lab.controls.reset.click()
    lab.wait(SECONDS)
    assert lab.trace.threshold == 0.2


def test_another_preset_brings_its_own_settings(
    tiny: ClipAsRnn, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    thetas = {"offline": 0.2, "offline/voc": 0.6}
    monkeypatch.setattr("carlab.presets.load", lambda name: replace(tiny, filter=Threshold(thetas[name])))
    lab = Lab(photo, WORDS[:3])
    assert lab.wait(SECONDS)
    lab.controls.preset.value = "offline/voc"
    assert lab.wait(SECONDS)
    assert lab.controls.settings["theta"].value == lab.trace.threshold == 0.6
    lab.controls.settings["keep_best"].value = not lab.controls.settings["keep_best"].value
    assert lab.wait(SECONDS)
    assert lab.state.settings.keys() == {"keep_best"}
    assert lab.trace.threshold == 0.6


def test_what_is_wrong_from_the_start_is_an_error(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    with pytest.raises(ImageError):
        Lab("nowhere.png", WORDS, model=tiny)
    with pytest.raises(ProbeError):
        Lab(photo, WORDS, model=tiny, record=["cma.*"])


def test_cancel_stops_between_pictures(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    lab = Lab(photo, WORDS, model=replace(tiny, batch=1))
    assert lab.wait(SECONDS)
    done = lab.trace
    reached, go_on = threading.Event(), threading.Event()
    encode = type(tiny.classifier).encode_images

    def slow(self: object, pictures: np.ndarray) -> np.ndarray:
        reached.set()
        assert go_on.wait(SECONDS)
        return encode(self, pictures)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(tiny.classifier), "encode_images", slow)
        lab.controls.settings["prompter"].value = ("black",)
        assert reached.wait(SECONDS)
        lab.cancel.click()
        go_on.set()
        assert lab.wait(SECONDS)
    assert lab.trace is done
    assert "stopped" in lab.message.value
    assert lab.controls.state() == lab.state
    assert lab.controls.settings["prompter"].value == ("circle", "blur")


def test_of_many_tasks_only_the_last_is_run() -> None:
    runner, begun, go_on, done = Runner(), threading.Event(), threading.Event(), []

    def first(stopped: object) -> None:
        begun.set()
        assert go_on.wait(SECONDS)
        done.append(("first", stopped()))

    runner.submit(first)
    assert begun.wait(SECONDS)
    for number in range(5):
        runner.submit(lambda _, number=number: done.append(number))
    go_on.set()
    assert runner.wait(SECONDS)
    assert done == [("first", True), 4]


def test_a_prompt_with_numbers_of_its_own_is_not_called_none(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    lab = Lab(photo, WORDS[:2], model=replace(tiny, prompter=Crop(0.3)))
    assert lab.wait(SECONDS)
    assert "default: that of the preset" in lab.controls.notes["prompter"].value
