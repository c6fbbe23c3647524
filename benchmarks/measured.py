"""Pages whose numbers come from commands: what stands between two marks is written by running them."""

import os
import platform
import re
import shlex
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
END = "<!-- end -->\n"


def write(page: str, command: str, text: str, where: str = "", section: str = "") -> None:
    """Replace what stands in a page of docs/ between the mark of the command that measured it and its end.

    Parameters
    ----------
    command
        All of it after `python -m benchmarks.`: the mark names it as it was called.
    where
        The machine that measured it; "": this one.
    section
        How the command begins that stands in the mark now, where the rest may differ; "": all of it.
    """
    path = DOCS / page
    begins = re.escape(section) + r"[^\n]*" if section else re.escape(command)
    head, rest = re.split(rf"<!-- measured: python -m benchmarks\.{begins} -->\n", path.read_text())
    mark, tail = f"<!-- measured: python -m benchmarks.{command} -->\n", rest.split(END, 1)[1]
    path.write_text(f"{head}{mark}\n{text}\n\nOn {where or machine()}.\n\n{END}{tail}")


def run(command: str) -> str:
    """Return what a command prints that begins with `carlab` or with `python -m`."""
    sys.stderr.write(f"{command}\n")
    program, *arguments = shlex.split(command)
    if program == "carlab":
        arguments = ["-m", "carlab.cli", *arguments]
    done = subprocess.run(  # noqa: S603 - our own commands
        [sys.executable, *arguments], check=True, stdout=subprocess.PIPE, text=True, cwd=DOCS.parent
    )
    return done.stdout.strip()


def machine() -> str:
    """Return processor, cores, system and Python."""
    return f"{processor()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def processor() -> str:
    """Return the name of the processor, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
