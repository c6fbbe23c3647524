"""Cross-validation never scores an image under a value that it helped to choose; pages name their command."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import measured
from benchmarks.crossval import chosen, miou
from benchmarks.tune import AXES, PRESET, name, table, variants
from carlab.backbones.offline import Offline
from carlab.presets import load
from carlab.settings import SETTINGS


def tallies(hits: list[int]) -> np.ndarray:
    """Images of 10 pixels of class 1, of which some are found and the others background."""
    return np.array([[0, hit, 0, 10, 10 - hit, hit, 0, 10 - hit] for hit in hits])


def test_a_fold_takes_what_the_others_choose() -> None:
    # Image 0 alone likes "a"; the others like "b". With a fold for each image, image 0 gets "b" all the same.
    found = {"a": tallies([10, 2, 2]), "b": tallies([0, 5, 5])}
    picks, scored = chosen(found, folds=3)
    assert picks == ["b", "a", "a"]  # without image 1, "a" has 12 of 20 and "b" 5
    np.testing.assert_array_equal(scored, np.stack([found["b"][0], found["a"][1], found["a"][2]]))
    assert miou(scored).score < max(miou(rows).score for rows in found.values())


def test_the_values_of_the_table_are_those_of_the_preset() -> None:
    """The variant of a preset's own value is the preset, and every other one is not."""
    model = load("offline/voc")
    network = model.classifier.backbone  # type: ignore[attr-defined]
    assert isinstance(network, Offline)
    own = {axis: value for axis, (value, _, _) in AXES.items()}
    assert [own[axis] for axis in AXES if axis.startswith(("theta", "eta", "lambda"))] == [
        SETTINGS[key].read(model) for key in ("theta", "eta", "lambda")
    ]
    for axis, (value, change, values) in AXES.items():
        assert value in values and name(axis, value) == PRESET
        if axis.startswith("people"):
            continue
        assert repr_of(change(value)(model)) == repr_of(model)
    assert len(variants()) == 1 + sum(len(values) - 1 for _, _, values in AXES.values())
    silent = variants()[name("people are as probable as what they wear", "no")](model)
    plain = silent.classifier.backbone.encode_text(["person"])  # type: ignore[attr-defined]
    assert (network.encode_text(["person"]) - plain).max() > 0.001
    np.testing.assert_allclose(plain.sum(), 1, rtol=1e-5)


def repr_of(model: object) -> object:
    """Settings of every stage and of both backbones."""
    from carlab.trace.provenance import settings

    parts = (model.proposer.backbone, model.classifier.backbone)  # type: ignore[attr-defined]
    numbers = ("scale", "name_temperature", "affinity_temperature", "max_side")
    return settings(model), [[getattr(part, number) for number in numbers] for part in parts]  # type: ignore[arg-type]


def test_the_table_has_a_row_for_each_value_and_finds_the_best() -> None:
    """One value of eta finds more in every image: all folds choose it, and it is worth that."""
    rng = np.random.default_rng(0)
    hits = rng.integers(2, 5, 16)
    rows = {variant: tallies(hits.tolist()) for variant in variants()}
    rows["eta, mask threshold = 0.35"] = tallies((hits + 3).tolist())
    lines = table(rows).splitlines()
    assert sum(line.startswith("| eta, mask threshold | ") for line in lines) == 3 + 1
    found = next(line for line in lines if line.startswith("| eta, mask threshold | 0.35 |"))
    assert found.endswith("| 8 |") and "| +" in found
    assert "| eta, mask threshold | **0.45** |" in "\n".join(lines)
    assert next(line for line in lines if line.startswith("| any one change |")).count("+") == 3


def test_a_page_names_the_command_as_it_was_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "DOCS", tmp_path)
    page, mark = tmp_path / "x.md", "<!-- measured: python -m benchmarks."
    page.write_text(
        f"a\n{mark}tune DATA RUNS 80 -->\nold\n<!-- end -->\n{mark}tuned -->\nkept\n<!-- end -->\n"
    )
    measured.write("x.md", "tune DATA RUNS 40", "new", "a machine", section="tune DATA RUNS")
    written = page.read_text()
    assert f"{mark}tune DATA RUNS 40 -->\n\nnew\n\nOn a machine.\n\n<!-- end -->" in written
    assert f"{mark}tuned -->\nkept" in written and "old" not in written and "80" not in written
