"""The command line as a user meets it: output, files, exit codes."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from carlab.cli.app import app
from carlab.cli.segment import stems
from carlab.errors import CarlabError
from carlab.trace import Trace
from tests.tiny_clip import tiny_options
from tests.traces import make_trace

Run = Callable[..., Result]


@pytest.fixture
def run(clip_folders: tuple[Path, Path]) -> Run:
    """`carlab segment` on the tiny CLIPs; other commands as they are."""

    def runner(*words: str) -> Result:
        tiny = tiny_options(clip_folders)
        return CliRunner().invoke(app, [*words, *(tiny if words[0] == "segment" else [])])

    return runner


@pytest.fixture
def photos(tmp_path: Path, photo: np.ndarray) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(photo).save(folder / "a.png")
    Image.fromarray(photo[:, ::-1]).save(folder / "b.jpg")
    return folder


def carlab(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A real process: what reaches the shell."""
    command = [sys.executable, "-m", "carlab.cli", *words]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )


def test_a_folder_of_photos(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    result = run(
        "segment",
        str(photos),
        "-q",
        "cat",
        "-q",
        "red car",
        "--theta",
        "0.1",
        "-o",
        str(out),
        "--record",
        "cam.*",
    )
    assert result.exit_code == 0, result.output
    kinds = ("labels.png", "overlay.png", "recurrence.png", "trace.safetensors")
    assert sorted(path.name for path in out.iterdir()) == sorted(
        f"{n}.{kind}" for n in "ab" for kind in kinds
    )
    trace = Trace.load(out / "a.trace.safetensors")
    assert trace.threshold == 0.1
    assert "cam.raw" in trace.steps[0].probes
    np.testing.assert_array_equal(np.asarray(Image.open(out / "a.labels.png")), trace.labels)
    assert str(trace) in result.stdout
    assert "2 images done" in result.stderr


def test_a_bad_photo_does_not_stop_the_others(run: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "aa.png").write_bytes(b"not a photo")
    out = tmp_path / "out"
    result = run("segment", str(photos), "-q", "cat", "-o", str(out), "--no-figures")
    assert result.exit_code == 1
    assert "2 images done, 1 failed" in result.stderr
    assert "aa.png" in result.stderr
    assert len(list(out.glob("*.trace.safetensors"))) == 2
    assert not list(out.glob("*.overlay.png"))


def test_same_names_do_not_overwrite() -> None:
    paths = [Path(name) for name in ("x/a.png", "y/a.jpg", "y/A.png", "a-2.png")]
    assert len({name.casefold() for name in stems(paths)}) == 4
    assert stems(paths)[0] == "a"


def test_queries_from_a_file(run: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("cat\n\nقطة\n", encoding="utf-8")
    result = run(
        "segment", str(photos / "a.png"), "--queries-file", str(tmp_path / "q.txt"), "-o", str(tmp_path / "o")
    )
    assert result.exit_code == 0
    assert Trace.load(tmp_path / "o" / "a.trace.safetensors").queries == ("cat", "قطة")


BAD = {
    "no queries": [],
    "blank": ["-q", "  "],
    "twice": ["-q", "cat", "-q", "Cat"],
    "too long": ["-q", "x" * 500],
    "preset": ["-q", "cat", "--preset", "nonsense"],
    "prompter": ["-q", "cat", "--prompter", "square"],
    "refiner": ["-q", "cat", "--refiner", "magic"],
    "device": ["-q", "cat", "--device", "cuda:77"],
    "dtype": ["-q", "cat", "--dtype", "float8"],
    "theta": ["-q", "cat", "--theta", "7"],
    "eta": ["-q", "cat", "--eta", "-1"],
    "probe": ["-q", "cat", "--record", "no.such"],
    "queries file": ["--queries-file", "/no/such/file"],
    "background": ["-q", "cat", "--background", "a,,\x1b"],
}


@pytest.mark.parametrize("problem", BAD)
def test_bad_options_are_carlab_errors(run: Run, photos: Path, tmp_path: Path, problem: str) -> None:
    result = run("segment", str(photos / "a.png"), "-o", str(tmp_path / "o"), *BAD[problem])
    assert isinstance(result.exception, CarlabError), result.output
    assert "expected" in str(result.exception)
    assert not list((tmp_path / "o").glob("*"))


def test_the_shell_sees_one_line_and_exit_code_2(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for wrong in (
        ["segment", str(photos / "missing.png"), "-q", "cat"],
        ["segment", str(photos), "-q", "cat", "-o", str(tmp_path / "file" / "out")],
        ["segment", str(photos), "-q", "\x1b[31mred"],
        ["show", str(tmp_path / "file")],
    ):
        result = carlab(*wrong)
        assert result.returncode == 2, result
        assert result.stderr.startswith("carlab: error: expected")
        assert result.stderr.count("\n") == 1
        assert "\x1b" not in result.stderr
        assert result.stdout == ""


def test_a_hub_that_cannot_be_reached_is_one_line(photos: Path, tmp_path: Path) -> None:
    words = [
        "segment",
        str(photos),
        "-q",
        "cat",
        "-o",
        str(tmp_path / "o"),
        "--proposer-backbone",
        "nobody/no-such-model",
    ]
    for environment in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        result = carlab(*words, **environment)
        assert result.returncode == 2
        announced, said = result.stderr.splitlines()
        assert announced.startswith("carlab: loading offline, 2 images")
        assert re.search("local folder.*offline", said)


def test_usage_errors_are_plain(run: Run) -> None:
    for wrong in (["segment"], ["nonsense"], ["show", "a", "--what"]):
        assert run(*wrong).exit_code == 2


def test_show(run: Run, tmp_path: Path) -> None:
    path = make_trace(probes={"cam.raw": np.ones((2, 3))}).save(tmp_path / "t.trace.safetensors")
    result = run("show", str(path), "--probes", "--settings", "--figures", str(tmp_path / "f"))
    assert result.exit_code == 0
    assert "dropped at step 2, 0.180 below 0.300" in result.stdout
    assert re.search(r"cam.raw +image +2x3 +float64 +min 1", result.stdout)
    assert re.search(r"filter.theta +0.3", result.stdout)
    assert len(list((tmp_path / "f").glob("t.*.png"))) == 3


def test_show_and_help_need_no_torch(tmp_path: Path) -> None:
    path = make_trace().save(tmp_path / "t.safetensors")
    for command in (["show", str(path)], ["--help"], ["probes"], ["segment", "--help"]):
        code = (
            "import sys\nfrom carlab.cli.app import app\n"
            f"try: app({command!r})\nexcept SystemExit: pass\n"
            "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_probes_lists_all(run: Run) -> None:
    from carlab.hooks import PROBES

    output = run("probes").stdout
    assert all(name in output for name in PROBES)
    assert "(q, i, j)" in output


def test_models_and_doctor(run: Run) -> None:
    models = run("models")
    assert models.exit_code == 0
    assert re.search(r"offline \(not CLIP\) +whole +116 MB", models.stdout)
    assert "openai/clip-vit-base-patch16" in models.stdout
    doctor = run("doctor")
    assert doctor.exit_code == 0, doctor.output
    assert "a run of the offline preset" in doctor.stdout
    assert "PROBLEM" not in doctor.stdout


def test_version(run: Run) -> None:
    assert re.fullmatch(r"carlab \d+\.\d+\.\d+\S*\n", run("--version").stdout)
