"""The table of settings: what each row reads, writes and refuses, and that nothing else declares one."""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from carlab.errors import SettingError
from carlab.photo import Photo
from carlab.presets import load
from carlab.recurrence import ClipAsRnn
from carlab.settings import SETTINGS, WITHOUT_RECURRENCE, change, code, current
from carlab.stages.base import Proposal
from carlab.stages.prompter import PROMPTS, Blur, Contour, Crop, Grey
from carlab.stages.refiner import DenseCrf, NoRefiner
from carlab.stages.regions import RegionMatch

VALUES = {
    "theta": 0.5,
    "eta": 0.6,
    "proposer": "hirescam",
    "affinity": False,
    "box": 0.1,
    "prompter": "contour+blur",  # in the order of the table
    "background": "man-made",
    "background_weight": 2.0,
    "keep_best": True,
    "max_steps": 3,
    "batch": 2,
    "refiner": "crf",
    "score": "sigmoid",
    "refer": True,
    "regions": "superpixels",
}


def test_no_change_leaves_everything(tiny: ClipAsRnn) -> None:
    assert change(tiny) == tiny
    assert change(tiny, theta=None, refer=None) == tiny


@pytest.mark.parametrize("key", VALUES)
def test_what_is_written_is_read(key: str, tiny_sigmoid: ClipAsRnn) -> None:
    value = VALUES[key]
    (row,) = (row for row in SETTINGS.values() if row.key == key)
    assert row.read(tiny_sigmoid) != value
    changed = change(tiny_sigmoid, **{key: value})
    assert row.read(changed) == value
    assert row.parse({True: "on", False: "off"}.get(value, str(value))) == value
    others = {name: old for name, old in current(tiny_sigmoid).items() if name != key}
    if key == "affinity":  # lambda goes with it
        del others["box"]
    assert {name: current(changed)[name] for name in others} == others


def test_every_row_is_tested() -> None:
    assert {row.key for row in SETTINGS.values()} == VALUES.keys()


def test_changes_reach_their_stages(tiny: ClipAsRnn) -> None:
    changed = change(
        tiny, theta=0.5, eta=0.6, box=0.1, prompter="contour+blur", background="none", refer=True
    )
    assert (changed.filter.theta, changed.filter.keep_best) == (0.5, tiny.filter.keep_best)
    assert changed.mask_threshold == 0.6
    assert changed.proposer.affinity.box_threshold == 0.1
    assert not changed.proposer.compete
    assert changed.prompter == Blur() + Contour()
    assert changed.background == ()


def test_changes_of_the_refiner(tiny: ClipAsRnn) -> None:
    crf = change(tiny, refiner="crf", refer=True)
    assert crf.refiner == DenseCrf(compete=False)
    assert change(crf, refiner="none", eta=0.7).refiner == NoRefiner(0.7)
    matched = change(crf, regions="superpixels")
    assert isinstance(matched.refiner, RegionMatch)
    assert change(matched, refiner="none").refiner.base == NoRefiner(tiny.mask_threshold)
    assert change(matched, regions="none") == crf
    with pytest.raises(SettingError, match="crf, pamr, .*none"):
        change(tiny, refiner="x")


def test_background_by_name_or_by_commas(tiny: ClipAsRnn) -> None:
    assert change(tiny, background="man-made").background[0] == "building"
    assert change(tiny, background="sky, sea").background == ("sky", "sea")
    assert current(change(tiny, background="sky, sea"))["background"] == "sky, sea"


def test_a_prompter_without_a_name_has_none(tiny: ClipAsRnn) -> None:
    assert current(replace(tiny, prompter=Crop(0.77)))["prompter"] is None
    assert current(replace(tiny, prompter=lambda image, region: image))["prompter"] is None
    for name, prompt in PROMPTS.items():
        assert current(replace(tiny, prompter=prompt()))["prompter"] == name
        assert current(replace(tiny, prompter=prompt().as_released()))["prompter"] == name


@dataclass(frozen=True)
class FirstTwo:
    """A filter of one's own, without theta."""

    def __call__(self, probs: np.ndarray) -> np.ndarray:
        return np.arange(len(probs)) < 2


@dataclass(frozen=True)
class Fixed:
    """A proposer of one's own, without compete."""

    def prepare(self, photo: Photo, queries: Sequence[str], background: tuple[str, ...]) -> None:
        return None

    def __call__(self, proposals: None, active: np.ndarray, t: int) -> Proposal:
        raise NotImplementedError


def test_a_stage_of_ones_own_without_the_field(tiny: ClipAsRnn) -> None:
    """No setting given, no complaint; a setting that the stage lacks, one clear error."""
    own = replace(tiny, filter=FirstTwo(), proposer=Fixed())
    assert change(own) == own
    assert change(own, eta=0.3).mask_threshold == 0.3
    assert current(own)["theta"] is None
    for name, field, given in (
        ("theta", "theta", {"theta": 0.4}),
        ("refer", "compete", {"refer": True}),
        ("lambda", "affinity", {"box": 0.4}),
    ):
        with pytest.raises(SettingError, match=f"expected a stage with the field {field!r}, got F") as caught:
            change(own, **given)
        assert "\n" not in str(caught.value), name


def test_lambda_needs_an_affinity(tiny: ClipAsRnn) -> None:
    plain = change(tiny, affinity=False)
    assert plain.proposer.affinity is None
    with pytest.raises(SettingError, match="leave lambda, or switch affinity on"):
        change(plain, box=0.3)
    assert change(plain, affinity=True, box=0.3).proposer.affinity.box_threshold == 0.3


def test_the_released_code_without_recurrence_and_with_other_prompts(clip_folders: tuple[Path, Path]) -> None:
    """Both kept the released drawing and its two steps from being changed before."""
    f, g = map(str, clip_folders)
    model = load("reference/voc", proposer_backbone=f, classifier=g)
    once = change(model, **WITHOUT_RECURRENCE)
    assert (once.min_steps, once.max_steps, once.filter.theta) == (1, 1, 0.0)
    assert (model.min_steps, change(model, max_steps=5).min_steps) == (2, 2)
    assert change(model, prompter="contour+grey").prompter == Contour(engine="opencv") + Grey(swapped=True)
    paper = load("paper/voc", proposer_backbone=f, classifier=g)
    assert change(paper, prompter="contour+grey").prompter == Contour() + Grey()


def test_values_of_lambda_share_one_matrix(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    shared = Photo.of(photo)
    proposers = [change(tiny, box=k / 10).proposer for k in range(1, 10)]
    made = [one.prepare(shared, ("cat", "dog"), ()).transition for one in proposers]
    assert all(matrix is made[0] for matrix in made)


def test_unknown_names_and_values(tiny: ClipAsRnn) -> None:
    with pytest.raises(SettingError, match="got 'thta'; docs/settings.md"):
        change(tiny, thta=0.3)
    for bad in ({"theta": 7.0}, {"eta": -1.0}, {"batch": 0}, {"prompter": "square"}, {"max_steps": 0}):
        with pytest.raises(SettingError, match="expected"):
            change(tiny, **bad)


def test_code_is_python(tiny_sigmoid: ClipAsRnn) -> None:
    values = VALUES | {"affinity": True}
    made = eval(f"change(tiny_sigmoid, {code(values)})")
    assert made == change(tiny_sigmoid, **values)


def test_the_range_of_a_row_is_that_of_its_stage(tiny: ClipAsRnn) -> None:
    for row in SETTINGS.values():
        if row.kind in (float, int):
            for value in (row.low, row.high):
                if abs(value) != float("inf"):
                    change(tiny, **{row.key: row.kind(value)})
            with pytest.raises(SettingError):
                change(tiny, **{row.key: row.kind(row.low - 1)})


def test_options_of_the_command_line_are_the_rows() -> None:
    from typer.testing import CliRunner

    from carlab.cli.app import app

    for command, left_out in (("segment", ()), ("eval", ("refer",))):
        text = re.sub(r"\s+", " ", CliRunner().invoke(app, [command, "--help"], terminal_width=200).stdout)
        for row in SETTINGS.values():
            flag = f"--{row.name.replace('_', '-')}"
            assert (flag in text) == (row.name not in left_out), flag
            assert row.name in left_out or row.meaning.split(";")[0].rstrip(".") in text


def test_theta_is_declared_in_one_place() -> None:
    """Its row; a field of the stage that reads it, and the presets' numbers. No option and no control.

    Two read it: what is read of saved settings, and the study that varies it.
    """
    root = Path(__file__).parents[1] / "carlab"
    declaring = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "").endswith("theta"))
        or (isinstance(node, ast.arg) and node.arg == "theta")
        or (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Setting" and is_theta(node))
    }
    readers = {"trace/stored.py", "studies/phases.py"}
    assert declaring - readers == {"settings.py", "stages/filter.py", "presets.py"}


def is_theta(row: ast.Call) -> bool:
    return isinstance(row.args[0], ast.Constant) and row.args[0].value == "theta"
