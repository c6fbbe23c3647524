"""Run code in a process of its own, and say how long it took and how much memory it held at most."""

import subprocess
import sys

CODE = """
import resource
from carlab.errors import CarlabError
{imports}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    {call}
except CarlabError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def refused(imports: str, call: str, *, seconds: float = 120, megabytes: int = 300) -> str:
    """The error that a call ends in; it may grow the process by so much, and must end in that time."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE.format(imports=imports, call=call)],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    message, grown = done.stdout.splitlines()
    assert message.startswith("expected") and message.isprintable() and len(message) <= 300, message
    assert int(grown) < megabytes, f"{grown} MB"
    return message
