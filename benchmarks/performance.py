"""Run the benchmarks and write docs/performance.md: every number of its tables comes from here.

Usage: `python -m benchmarks.performance [SECTION...]`; a quarter of an hour for all on two cores, and nothing
else should run.
"""

import sys

from benchmarks.measured import run, write

SECTIONS = {
    "single": ("The method, single precision, beside the released schedule", "carlab bench"),
    "bfloat16": ("bfloat16", "carlab bench --dtype bfloat16 --no-released"),
    "offline": (
        "The offline backbone, an image of 500 x 375",
        "carlab bench --preset offline -n 6 --width 500 --height 375 --no-released",
    ),
    "queries": (
        "Growth with the number of queries, one step",
        "carlab bench --dtype bfloat16 -n 1 -n 5 -n 20 -n 80 --steps 1 --no-released",
    ),
    "large": (
        "12 megapixels and 150 queries",
        "carlab bench --preset offline -n 150 --width 4000 --height 3000 --steps 1 --no-released",
    ),
    "many": ("A thousand images", "python -m benchmarks.throughput"),
    "sizes": ("How large files are", "python -m benchmarks.sizes"),
    "widgets": ("From a key to the redrawn figure", "python -m tests.browser.latency"),
}


def main(*sections: str) -> None:
    """Measure these sections, or all."""
    for section in sections or SECTIONS:
        title, command = SECTIONS[section]
        write("performance.md", f"performance {section}", f"### {title}\n\n    {command}\n\n{run(command)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
