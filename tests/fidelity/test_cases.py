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

from benchmarks import fidelity
from benchmarks.fidelity import (
    BOUNDS,
    OWN,
    ROUNDING,
    Row,
    all_hold,
    build,
    compare_final,
    disagreement,
    equal_masks,
    load_pair,
    rounding_flips,
    run_case,
    run_cases,
)
from benchmarks.fidelity_threads import CONDITIONS, run
from benchmarks.quirk_effects import OFF
from carlab.cli.app import app
from carlab.errors import DatasetError
from carlab.hooks import edit, record
from carlab.recurrence import ClipAsRnn
from carlab.trace import Trace
from tests.conftest import WORDS
from tests.traces import make_trace


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
    # In case026 both survivors' masks are the same up to rounding; in case002 two are empty.
    assert [(row.name, row.equal) for row in rows if row.equal] == [("case002", 2), ("case026", 2)]


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
    "refiner": lambda golden: golden.update({"final.masks": 1 - golden["final.masks"]}),
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


def test_masks_are_equal_only_within_rounding() -> None:
    mask = np.random.default_rng(0).random((4, 5), dtype=np.float32)
    clear = mask.copy()
    clear[0, 0] += 3 * ROUNDING
    assert equal_masks(np.stack([mask, clear, mask + ROUNDING / 4, clear])) == [[0, 2], [1, 3]]
    assert equal_masks(np.zeros((0, 4, 5), np.float32)) == []


def test_labels_are_exchanged_only_between_equal_masks() -> None:
    """The union of the group is judged: a pixel that another query lost or won is still seen."""
    trace = make_trace(kept=((0, 1),))
    refined = np.zeros((2, *trace.image.shape[:2]), bool)
    refined[0, :20], refined[1, 20:40] = True, True
    expected = np.zeros((len(trace.queries), *refined.shape[1:]), bool)
    expected[trace.survivors] = refined
    assert disagreement(expected, trace, refined[::-1], [[0], [1]]) > 0.1
    assert disagreement(expected, trace, refined[::-1], [[0, 1]]) == 0
    refined[1, 39] = False
    assert disagreement(expected, trace, refined[::-1], [[0, 1]]) > 0.005


def test_the_whole_chain_is_judged(cases: Path) -> None:
    """A run whose final masks are others than the refiner's is seen, although the refiner itself is right."""
    case = json.loads((cases / "cases.json").read_text())[0]
    golden = load_file(cases / "case000.safetensors")
    model = build(case, *load_pair(cases, "t"))
    trace = model(golden["image"], case["queries"])
    for seen, holds in ((trace, True), (replace(trace, refined=~trace.refined), False)):
        row = Row("x")
        compare_final(row, model, seen, golden)
        assert row.holds == holds
        assert row.differences["refiner"] <= BOUNDS["refiner"]


def test_a_pixel_at_eta_is_counted_and_the_rest_judged(
    cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The case comes from another processor: its maps differ in the last bits, and one pixel lies at eta."""
    folder = Path(shutil.copytree(cases, tmp_path / "eta"))
    case = json.loads((folder / "cases.json").read_text())[0]
    pair = load_pair(folder, "t")
    image = load_file(folder / "case000.safetensors")["image"]
    bits = np.random.default_rng(0)

    def traced(eta: float) -> Trace:
        with record("affinity.refined"), edit("affinity.refined", lambda maps: maps * scale):
            return build(case | {"mask_threshold": eta}, *pair)(image, case["queries"])

    scale = np.ones((), np.float32)
    trace = traced(0.4)
    here = trace.masks(0)
    scale = (1 + 1e-7 * bits.standard_normal(trace.steps[0].cams.shape[1:])).astype(np.float32)
    there = traced(0.4).masks(0)
    apart = np.where(np.abs(here - 0.5) < 0.3, np.abs(here - there), 0)
    pixel = np.unravel_index(apart.argmax(), apart.shape)
    eta = float(here[pixel] + there[pixel]) / 2
    trace = traced(eta)
    golden = {"image": image}
    for t, step in enumerate(trace.steps):
        golden |= {
            f"step{t}.probs": step.probs,
            f"step{t}.masks_u8": np.rint(trace.masks(t) * 255).astype(np.uint8),
            f"step{t}.cam": step.cams,
            f"step{t}.cam_refined": step.probes["affinity.refined"],
        }
    case |= {"mask_threshold": eta, "kept": [np.flatnonzero(step.kept).tolist() for step in trace.steps]}
    row = run_case(case, golden, *pair)
    assert (row.holds, row.flipped > 0) == (True, True)
    monkeypatch.setattr(fidelity, "rounding_flips", lambda *masks: 0)
    assert not run_case(case, golden, *pair).holds
    monkeypatch.undo()
    assert not run_case(case, golden | {"step0.probs": golden["step0.probs"] + 2e-5}, *pair).holds


CHANGES: dict[str, Callable[[ClipAsRnn], ClipAsRnn]] = {
    "eta": lambda model: replace(model, mask_threshold=model.mask_threshold + 0.01),
    "boxes": OFF["6 boxes lose the border"],
    "bare name": OFF["4 bare name in step 1"],
    "image of the CRF": OFF["5 BGR wrapped-around image in the CRF"],
    "grey": OFF["7 grey weights swapped"],
    "positions": OFF["8 positions bilinear, half precision"],
    "crop": OFF["3 centre crop"],
    "blocks": OFF["2 classifier leaves out its last block"],
    "ensemble": OFF["1 sum of per-template softmaxes"],
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_wrong_model_fails(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every quirk that acts on the cases of this checkout is missed by them; so is another eta."""
    monkeypatch.setattr(fidelity, "build", lambda *parts: CHANGES[name](build(*parts)))
    rows = list(run_cases(OWN))
    assert not all_hold(rows)
    assert [row.name for row in rows if not row.holds]


def test_they_hold_without_vector_instructions() -> None:
    """In a process of its own: the instruction set is chosen once, when torch is loaded."""
    held, _, _ = run(None, CONDITIONS["no vector instructions"])
    assert held == "5 of 5 cases hold"


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
