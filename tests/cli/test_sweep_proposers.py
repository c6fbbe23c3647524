"""`carlab sweep -g proposer=... -g refiner=...`: real runs on tiny CLIPs, and one setting by the other."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from carlab.cli.app import app
from carlab.evaluate.folder import RunFolder, run_paths
from carlab.evaluate.summary import Summary
from carlab.metrics.intervals import shown
from tests.datasets.builders import labels, voc
from tests.tiny_clip import tiny_options


@pytest.fixture
def command(tmp_path: Path, clip_folders: tuple[Path, Path]) -> list[str]:
    root = voc(tmp_path / "voc", {"a": labels(), "b": labels()})
    words = ["sweep", "voc21", "--root", str(root), "-o", str(tmp_path / "out"), "--preset", "offline"]
    return [*words, *tiny_options(clip_folders), "--workers", "0"]


def test_the_table_of_proposers_by_refiners(command: list[str], tmp_path: Path) -> None:
    grid = ["-g", "proposer=gradcam,maskclip,gradcam++", "-g", "refiner=pamr,none"]
    done = CliRunner().invoke(app, [*command, *grid, "--format", "json"])
    assert done.exit_code == 0, done.output
    cross, scores, *_ = json.loads(done.stdout)
    assert cross["head"] == ["proposer / refiner", "pamr", "none"]
    assert [row[0] for row in cross["rows"]] == ["gradcam", "maskclip", "gradcam++"]
    runs = {path: Summary.of(folder, folder.ids) for path, folder in folders(tmp_path / "out").items()}
    assert len(runs) == len(scores["rows"]) == 6
    for row in cross["rows"]:
        for refiner, cell in zip(("pamr", "none"), row[1:], strict=True):
            (run,) = (run for run in runs.values() if run.name == f"proposer={row[0]} refiner={refiner}")
            assert cell == shown(run.interval("mIoU"))
            stages = {"gradcam": "GradCam", "maskclip": "MaskClip", "gradcam++": "GradCamPlusPlus"}
            (settings,) = run.manifest["models"]
            assert settings["proposer"]["stage"] == stages[row[0]]
            assert settings["refiner"]["stage"] == {"pamr": "Pamr", "none": "NoRefiner"}[refiner]


def folders(out: Path) -> dict[Path, RunFolder]:
    return {path: RunFolder.read(path) for path in run_paths([out])}


@pytest.mark.parametrize(
    "grid",
    [["theta=.3,.4"], ["theta=.3,.4", "refiner=none"], ["theta=.3,.4", "eta=.3,.4", "refiner=none,pamr"]],
)
def test_other_grids_have_no_such_table(grid: list[str], command: list[str]) -> None:
    words = [word for axis in grid for word in ("-g", axis)]
    done = CliRunner().invoke(app, [*command, *words, "--limit", "1", "--format", "json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)[0]["head"][0] == "run"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-g", "proposer=openai/clip-vit-base-patch16"], "--proposer-backbone"),
        (["-g", "proposer=gradcam,legrad", "--proposer-backbone", "offline"], "a proposer out of gradcam"),
    ],
)
def test_a_proposer_that_cannot_be_is_one_line(words: list[str], said: str, command: list[str]) -> None:
    plain = [
        word
        for word in command
        if "clips" not in word and word not in ("--proposer-backbone", "--classifier")
    ]
    done = CliRunner().invoke(app, [*plain, *words])
    assert done.exit_code != 0
    assert said in f"{done.output}{done.exception}"
