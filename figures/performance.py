"""Run the benchmark and write docs/performance.md: every number on that page comes from here.

python figures/performance.py          (about ten minutes on two cores; let nothing else run)
"""

import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
MARK = "<!-- measured: python figures/performance.py -->\n"
END = "<!-- end -->\n"
MEASUREMENTS = (
    ("The method, single precision, beside the released schedule", "bench"),
    ("bfloat16", "bench --dtype bfloat16 --no-released"),
    (
        "The offline backbone, a photo of 500 x 375",
        "bench --preset offline -n 6 --width 500 --height 375 --no-released",
    ),
    (
        "Growth with the number of queries, one step",
        "bench --dtype bfloat16 -n 1 -n 5 -n 20 -n 80 --steps 1 --no-released",
    ),
    (
        "12 megapixels and 150 queries",
        "bench --preset offline -n 150 --width 4000 --height 3000 --steps 1 --no-released",
    ),
)


def main() -> None:
    """Run all, and replace what stands between the two marks of the page."""
    parts = [
        f"Measured on {processor()}, {os.cpu_count()} cores, Linux, Python {platform.python_version()}.\n"
    ]
    for title, arguments in MEASUREMENTS:
        command = f"carlab {arguments}"
        sys.stderr.write(f"{command}\n")
        done = subprocess.run(  # noqa: S603 - our own commands
            [sys.executable, "-c", "from carlab.cli import main; main()", *shlex.split(arguments)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        parts.append(f"### {title}\n\n    {command}\n{done.stdout}")
    page = PAGE.read_text()
    head, rest = page.split(MARK)
    tail = rest.split(END)[1]
    PAGE.write_text(head + MARK + "\n" + "\n".join(parts) + "\n" + END + tail)


def processor() -> str:
    """Name of the processor, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


if __name__ == "__main__":
    main()
