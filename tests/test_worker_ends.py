"""A process for refinement ends with the one that started it, even one that is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CODE = """
import os, time
from loky import get_reusable_executor
from carlab.batch import IDLE, _end_with
executor = get_reusable_executor(max_workers=1, timeout=IDLE, initializer=_end_with, initargs=(os.getpid(),))
print(executor.submit(os.getpid).result(), flush=True)
time.sleep(60)
"""


def alive(number: int) -> bool:
    """Whether a process runs; one that has ended, and that nobody has asked for, does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks the system for processes")
def test_the_worker_of_a_killed_process_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert alive(worker)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        waited = 0
        while alive(worker) and waited < 200:  # it looks once a second
            time.sleep(0.1)
            waited += 1
        left = alive(worker)
        if left:
            os.kill(worker, signal.SIGKILL)
        assert not left
