"""Threads of the command line, seen in a process of its own: torch's, NumPy's, and what importing changes."""

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest
from loky import cpu_count
from typer.testing import CliRunner

from carlab.cli.app import app

SET = re.compile("OMP_|MKL_|BLAS_|RAYON_")
REPORT = """
import json, os, sys
affinity = json.loads(sys.argv.pop(1))
if affinity:
    os.sched_setaffinity(0, affinity)
from carlab.cli.app import main
assert "torch" not in sys.modules, "OpenMP reads the environment when torch is imported"
try:
    main()  # ends before there is a model: there is no such image
except SystemExit:
    pass
import threadpoolctl, torch
pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
threads = int(os.environ["OMP_NUM_THREADS"])
print(json.dumps([threads, [torch.get_num_threads(), *pools], os.environ["OMP_WAIT_POLICY"]]))
"""
RUNS_A_MODEL = ("segment", "eval", "sweep", "lab", "demo", "doctor", "bench")


def computed_on(*options: str, affinity: list[int] | None = None, **environment: str) -> Any:
    """Threads set for OpenMP, those of torch and of all pools, and the wait policy of `carlab segment`."""
    words = ["segment", "no-such-image.png", "-q", "cat", *options]
    result = subprocess.run(
        [sys.executable, "-c", REPORT, json.dumps(affinity), *words],
        env={name: value for name, value in os.environ.items() if not SET.match(name)} | environment,
        capture_output=True,
        text=True,
    )
    assert "no-such-image.png" in result.stderr, result
    return json.loads(result.stdout)


def test_as_many_as_there_are_cores_and_they_sleep() -> None:
    threads, pools, policy = computed_on()
    assert (threads, policy) == (cpu_count(), "PASSIVE")
    assert max(pools) <= threads


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_the_cores_of_this_process_count() -> None:
    threads, pools, _ = computed_on(affinity=[min(os.sched_getaffinity(0))])
    assert (threads, set(pools)) == (1, {1})


def test_as_many_as_asked_for_in_every_library() -> None:
    threads, pools, _ = computed_on("--threads", "1", OMP_NUM_THREADS="2", MKL_NUM_THREADS="2")
    assert (threads, set(pools)) == (1, {1})


def test_what_the_user_has_set_stays() -> None:
    threads, _, policy = computed_on(OMP_NUM_THREADS="7", OMP_WAIT_POLICY="ACTIVE")
    assert (threads, policy) == (7, "ACTIVE")


def test_importing_changes_nothing() -> None:
    code = (
        "import os; before = dict(os.environ); import carlab, carlab.cli.app; carlab.segment; "
        "assert dict(os.environ) == before, 'the library is a guest'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("command", RUNS_A_MODEL)
def test_every_command_that_runs_a_model_has_it(command: str) -> None:
    assert "--threads" in CliRunner().invoke(app, [command, "--help"]).output
