"""Windows and macOS, as far as they can be tried here: no POSIX module is needed, and what travels can."""

import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from carlab import load
from carlab.cli.evaluate import place_named
from carlab.errors import SettingError

IMPORT_ALL = """
import builtins, importlib, pkgutil
POSIX = {"resource", "fcntl", "pwd", "grp", "termios", "pty"}
original = builtins.__import__

def checked(name, variables=None, *rest, **named):
    ours = (variables or {}).get("__name__", "").partition(".")[0] in ("carlab", "benchmarks")
    if ours and name in POSIX:
        raise ImportError(f"{variables['__name__']} imports {name}, which Windows lacks")
    return original(name, variables, *rest, **named)

builtins.__import__ = checked
import carlab, benchmarks.cost
for module in pkgutil.walk_packages(carlab.__path__, "carlab."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def test_nothing_imports_what_windows_lacks() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], cwd=Path(__file__).parents[1], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_work_of_a_preset_travels_without_weights() -> None:
    """What a worker gets is how to load the model, not the model."""
    place = place_named("ray", 2, 4, "cuda:1", None, None)
    loading = partial(load, "offline", device=place.device)
    sent = pickle.dumps(loading)
    assert len(sent) < 1000
    assert pickle.loads(sent).keywords == {"device": "cuda"}  # noqa: S301 - our own


@pytest.mark.parametrize(
    ("given", "device", "gpus"),
    [
        (("cuda:1", None), "cuda", 1.0),
        (("cuda", 0.5), "cuda", 0.5),
        (("cpu", None), "cpu", 0.0),
        (("mps", 0.0), "mps", 0.0),
    ],
)
def test_a_worker_uses_the_gpu_that_ray_gives_it(
    given: tuple[str, float | None], device: str, gpus: float
) -> None:
    place = place_named("ray", 2, 3, *given, "auto")
    assert (place.device, place.engine.keywords["gpus"]) == (device, gpus)
    assert place.engine.keywords["address"] == "auto"
    assert place.engine.keywords["together"] == 3
    assert place_named("local", 0, 4, "cuda:1", None, None).device == "cuda:1"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("ray", 1, 1, "cpu", 0.5, None), "--device cuda with a share of a GPU"),
        (("ray", 1, 1, "cuda", 0.0, None), "--device cuda with a share of a GPU"),
        (("local", 1, 1, "cuda", 0.5, None), "--engine ray with"),
        (("local", 1, 1, "cpu", None, "auto"), "--engine ray with"),
        (("slurm", 1, 1, "cpu", None, None), "local, ray"),
    ],
)
def test_places_that_make_no_sense(
    given: tuple[str, int, int, str, float | None, str | None], said: str
) -> None:
    with pytest.raises(SettingError, match=said):
        place_named(*given)
