"""`carlab check` as a user meets it: tables, JSON, exit codes, one line where it cannot be run."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import carlab.presets
from carlab.cli.app import app
from carlab.errors import CarlabError


def shell(*words: str) -> subprocess.CompletedProcess[str]:
    """A real process, with time enough on a machine that is busy."""
    command = [sys.executable, "-m", "carlab.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=900)


def test_the_default_passes_in_json() -> None:
    result = shell("check", "--json")
    assert result.returncode == 0, result.stderr
    (report,) = json.loads(result.stdout)
    assert (report["role"], report["family"]) == ("proposer and classifier", "the offline backbone")
    assert "not CLIP" in report["backbone"] and len(report["sha256"]) == 64
    assert report["passed"] is True
    assert all(row["passed"] is not False for row in report["rows"])
    unknown = {row["check"] for row in report["rows"] if row["found"] == "not known to this backbone"}
    assert unknown == {row["check"] for row in report["rows"] if row["passed"] is None}
    assert {"logit scale", "tokens of known texts"} < unknown


def test_random_weights_fail_with_exit_code_1(clip_folders: tuple[Path, Path]) -> None:
    result = shell("check", str(clip_folders[0]))
    assert result.returncode == 1, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == f"backbone: CLIP {clip_folders[0]}"
    assert lines[2].split() == ["check", "expected", "found"]
    (own,) = (line for line in lines if line.startswith("own caption ranked first"))
    assert own.endswith("FAIL")
    assert lines[-2].startswith("FAIL: ") and "not trained, or not loaded right" in lines[-2]


def test_a_preset_has_both_its_backbones_checked(
    clip_folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The classifier without masks, which it never proposes; one backbone in both places once."""
    f, g = map(str, clip_folders)
    numbers = carlab.presets.NUMBERS
    monkeypatch.setattr(carlab.presets, "BASE_16", f)
    monkeypatch.setitem(numbers, "voc", replace(numbers["voc"], classifier=g))
    monkeypatch.setitem(numbers, "refcoco", replace(numbers["refcoco"], classifier=f))
    result = CliRunner().invoke(app, ["check", "paper/voc", "--json"])
    assert result.exit_code == 1
    proposer, classifier = json.loads(result.stdout)
    assert (proposer["role"], proposer["backbone"]) == ("proposer", f"CLIP {f}")
    assert (classifier["role"], classifier["backbone"]) == ("classifier", f"CLIP {g}")
    masks = {row["check"] for row in proposer["rows"]} - {row["check"] for row in classifier["rows"]}
    assert masks == {"maximum of the mask in its region", "mask in its region, above other queries'"}
    result = CliRunner().invoke(app, ["check", "paper/refcoco", "--json"])
    assert [report["role"] for report in json.loads(result.stdout)] == ["proposer and classifier"]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("paper/vok", "reference/voc"),
        ("offlin", "a hub name"),
        ("reference", "paper/gres"),
        ("", "offline/voc"),
        ("/no/such/folder", "folder"),
        ("nobody/no-such-model", "offline"),
    ],
)
def test_a_name_of_nothing_says_what_there_is(name: str, known: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    result = CliRunner().invoke(app, ["check", name])
    assert isinstance(result.exception, CarlabError)
    assert str(result.exception).startswith("expected") and known in str(result.exception)
    assert result.output == f"carlab: loading {name} ...\n"


def test_a_load_error_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    result = shell("check", str(tmp_path))
    assert result.returncode == 2
    announced, said = result.stderr.splitlines()
    assert announced.startswith("carlab: loading ")
    assert said.startswith("carlab: error: expected a whole image-text checkpoint")
    assert result.stdout == ""
