"""`carlab fidelity`: all released cases hold, and the check can fail."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from benchmarks.fidelity import (
    BOUNDS,
    OWN,
    ROUNDING,
    Row,
    all_hold,
    build,
    load_pair,
    rounding_flips,
    run_cases,
)
from carlab.cli.app import app
from carlab.errors import DatasetError
from carlab.hooks import record
from tests.conftest import WORDS


def test_the_cases_of_this_checkout_hold() -> None:
    """Written by the released code on public-domain images: no other file is needed to prove `reference`."""
    rows = list(run_cases(OWN))
    assert [row.name for row in rows if row.holds] == ["case003", "case017", "case019", "case021", "case025"]
    assert all_hold(rows)
    assert {kind for row in rows for kind in row.differences} == set(BOUNDS)
    result = CliRunner().invoke(app, ["fidelity"])
    assert (result.exit_code, "5 of 5 cases hold" in result.stdout) == (0, True)


def test_every_released_case_holds(shared: Path) -> None:
    rows = list(run_cases(shared / "golden"))
    assert len(rows) == 30
    assert [row.name for row in rows if not row.holds] == []
    assert all_hold(rows)
    assert sum("final" in row.differences for row in rows) > 20


@pytest.fixture(scope="module")
def cases(clip_folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cases in the layout, written from runs of the reference preset itself."""
    root = tmp_path_factory.mktemp("cases")
    for folder, role in zip(clip_folders, ("proposer", "classifier"), strict=True):
        shutil.copytree(folder, root / f"clip-t-{role}")
    pair = load_pair(root, "t")
    picture = np.random.default_rng(1).integers(0, 256, (7, 9, 3), dtype=np.uint8).repeat(10, 0).repeat(10, 1)
    written = []
    for number, mode in enumerate(("semantic", "refer")):
        case = {
            "name": f"case{number:03d}", "models": "t", "queries": list(WORDS), "seg_mode": mode,
            "semantic_templates": ["a {}.", "the {}"], "visual_prompt_type": ["circle", "gray"],
            "confidence_threshold": 0.2, "mask_threshold": 0.4, "clipes_threshold": 0.4,
            "bg_cls": ["sky", "road"], "bg_factor": 1.0, "final": True,
        }  # fmt: skip
        model = build(case, *pair)
        with record("affinity.refined"):
            trace = model(picture, WORDS)
        case["kept"] = [np.flatnonzero(step.kept).tolist() for step in trace.steps]
        case["steps"] = len(trace.steps)
        final = np.zeros((len(WORDS), 70, 90), np.uint8)
        final[trace.survivors] = trace.refined
        golden = {"image": picture, "final.masks": final}
        for t, step in enumerate(trace.steps):
            masks = trace.masks(t)
            golden |= {
                f"step{t}.probs": step.probs,
                f"step{t}.masks_u8": np.rint(masks * 255).astype(np.uint8),
                f"step{t}.prompted": np.stack([model.prompter(picture, m > 0.4) for m in masks]),
            }
            if mode == "semantic":
                golden |= {f"step{t}.cam": step.cams, f"step{t}.cam_refined": step.probes["affinity.refined"]}
        save_file(golden, root / f"{case['name']}.safetensors")
        written.append(case)
    (root / "cases.json").write_text(json.dumps(written))
    return root


def test_its_own_cases_hold_exactly(cases: Path) -> None:
    rows = list(run_cases(cases))
    assert all_hold(rows)
    assert set(rows[0].differences) == set(BOUNDS)
    assert all(value < 1e-6 for row in rows for value in row.differences.values())
    result = CliRunner().invoke(app, ["fidelity", str(cases)])
    assert result.exit_code == 0
    assert "2 of 2 cases hold" in result.stdout


def changed(cases: Path, tmp_path: Path, change: Callable[[dict[str, np.ndarray]], object]) -> Path:
    folder = Path(shutil.copytree(cases, tmp_path / "changed"))
    golden = load_file(folder / "case000.safetensors")
    change(golden)
    save_file(
        {name: np.ascontiguousarray(value) for name, value in golden.items()}, folder / "case000.safetensors"
    )
    return folder


def add(name: str, amount: float) -> Callable[[dict[str, np.ndarray]], object]:
    return lambda golden: golden.update({name: golden[name] + np.asarray(amount, golden[name].dtype)})


WRONG = {
    "cam": add("step0.cam", 1e-3),
    "refined": add("step1.cam_refined", 1e-3),
    "probs": add("step0.probs", 2e-5),
    "masks": add("step0.masks_u8", 3),
    "prompted": add("step1.prompted", 1),
    "final": lambda golden: golden.update({"final.masks": 1 - golden["final.masks"]}),
}


@pytest.mark.parametrize("kind", WRONG)
def test_each_difference_is_seen(cases: Path, tmp_path: Path, kind: str) -> None:
    folder = changed(cases, tmp_path, WRONG[kind])
    rows = list(run_cases(folder))
    assert not rows[0].holds
    assert rows[0].differences[kind] > BOUNDS[kind]
    assert rows[1].holds
    assert not all_hold(rows)


def test_only_pixels_within_rounding_of_eta_are_excused() -> None:
    own = np.full((1, 2, 3), 0.4, np.float32)
    below, above = own - ROUNDING / 4, own + ROUNDING / 4
    assert rounding_flips(below, above, 0.4) == 6
    assert rounding_flips(above, above, 0.4) == 0
    far = above.copy()
    far[0, 0, 0] = 0.4 + 3 * ROUNDING  # in the case itself this pixel is clear of eta
    assert rounding_flips(far, below, 0.4) == 0


def test_another_kept_set_is_seen(cases: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(cases, tmp_path / "kept"))
    written = json.loads((folder / "cases.json").read_text())
    written[0]["kept"][0] = written[0]["kept"][0][1:]
    (folder / "cases.json").write_text(json.dumps(written))
    result = CliRunner().invoke(app, ["fidelity", str(folder)])
    assert result.exit_code == 1
    assert "1 of 2 cases hold" in result.stdout


def test_not_a_number_never_holds() -> None:
    row = Row("x")
    row.see("cam", float("nan"))
    assert not row.holds
    assert not all_hold([])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda f: (f / "cases.json").unlink(),
        lambda f: (f / "cases.json").write_text("{}"),
        lambda f: (f / "case000.safetensors").write_bytes(b"x"),
        lambda f: (f / "case000.safetensors").unlink(),
        lambda f: save_file({"image": np.zeros((9, 9, 3), np.uint8)}, f / "case000.safetensors"),
    ],
)
def test_a_spoilt_folder_is_one_error(cases: Path, tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    folder = Path(shutil.copytree(cases, tmp_path / "spoilt"))
    spoil(folder)
    with pytest.raises(DatasetError, match=r"expected a .* docs/fidelity.md"):
        list(run_cases(folder))


@pytest.mark.parametrize("quirk", ["ensemble", "fit", "skip_blocks"])
def test_a_quirk_of_the_classifier_matters(cases: Path, quirk: str) -> None:
    """The check would see it if the preset lost a quirk."""
    case = json.loads((cases / "cases.json").read_text())[0]
    golden = load_file(cases / "case000.safetensors")
    model = build(case, *load_pair(cases, "t"))
    plain = {"ensemble": "embeddings", "fit": "squash", "skip_blocks": 0}
    other = replace(model, classifier=replace(model.classifier, **{quirk: plain[quirk]}))
    trace = other(golden["image"], case["queries"])
    assert np.abs(trace.steps[0].probs - golden["step0.probs"]).max() > BOUNDS["probs"]
