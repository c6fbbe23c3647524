"""Pages whose numbers come from commands: what stands between two marks is written by running them."""

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
END = "<!-- end -->\n"


def write(page: str, script: str, parts: Iterable[str]) -> None:
    """Replace what stands in a page of docs/ between the mark of its script and the end."""
    path, mark = DOCS / page, f"<!-- measured: python figures/{script} -->\n"
    head, rest = path.read_text().split(mark)
    tail = rest.split(END, 1)[1]
    text = "\n".join([f"Measured on {machine()}.\n", *parts])
    path.write_text(f"{head}{mark}\n{text}\n{END}{tail}")


def run(arguments: str) -> str:
    """What a `carlab` command prints."""
    sys.stderr.write(f"carlab {arguments}\n")
    done = subprocess.run(  # noqa: S603 - our own commands
        [sys.executable, "-c", "from carlab.cli import main; main()", *shlex.split(arguments)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


def machine() -> str:
    """Processor, cores, system and Python."""
    return f"{processor()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def processor() -> str:
    """Name of the processor, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
