"""Arguments of wrong types to the public calls: one clear error of carlab's, whatever they are."""

import subprocess
import sys


def test_one_clear_error() -> None:
    """In a process of its own: users have no types checked in signatures."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.arguments"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not done.stdout.strip(), done.stdout
