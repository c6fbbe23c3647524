"""Run `carlab fidelity` as other processors would: writes the table of docs/fidelity.md.

    python -m benchmarks.fidelity_threads ../shared

With 1, 2, 3, 4 and 8 threads, and without the processor's vector instructions. A minute or two each.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measured import write

CONDITIONS: dict[str, Mapping[str, str]] = {
    **{f"{n} threads" if n > 1 else "1 thread": {"OMP_NUM_THREADS": str(n)} for n in (1, 2, 3, 4, 8)},
    "no vector instructions": {"ATEN_CPU_CAPABILITY": "default"},
}
"""What is set in the environment."""


def run(folder: Path | None, environment: Mapping[str, str]) -> list[str]:
    """Return the last three lines of `carlab fidelity`; a case that fails does not end the measurement."""
    command = [sys.executable, "-m", "carlab.cli", "fidelity", *([str(folder)] if folder else [])]
    done = subprocess.run(  # noqa: S603 - our own command
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True, check=False
    )
    return done.stdout.strip().splitlines()[-3:]


def table(shared: Path) -> str:
    """Return how many cases hold under each condition, and what rounding decided."""
    lines = ["| `carlab fidelity` | five cases | 30 cases | by rounding, of the 30 |", "|---|---|---|---|"]
    for name, environment in CONDITIONS.items():
        own, _, _ = run(None, environment)
        more, rounded, final = run(shared / "golden", environment)
        cells = [own, more, f"{rounded.removeprefix('by rounding: ')}; {final}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(shared: str) -> None:
    """Write the table into the page."""
    write("fidelity.md", "fidelity_threads ../shared", table(Path(shared)))


if __name__ == "__main__":
    main(*sys.argv[1:])
