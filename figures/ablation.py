"""With and without recurrence on VOC 2012, offline backbone: the numbers that docs/results.md holds.

They are read there, where the command that measured them wrote them; none is typed here.
"""

import re
from pathlib import Path

from matplotlib.figure import Figure

from carlab.figures import ablation_plot

RESULTS = Path(__file__).parents[1] / "docs" / "results.md"
ROW = r"^\| {} +\| +([\d.]+) \[([\d.]+), ([\d.]+)\]"
RUNS = {"recurrence=on": "with recurrence", "recurrence=off": "without recurrence"}


def measured(run: str) -> tuple[float, ...]:
    """Return the mIoU of a run and its interval, in [0, 1]."""
    page = RESULTS.read_text().partition("<!-- measured: python -m benchmarks.results DATA RUNS voc -->")[2]
    found = re.search(ROW.format(re.escape(run)), page, re.MULTILINE)
    if found is None:
        raise SystemExit(f"no row {run!r} in {RESULTS}; run python -m benchmarks.results DATA RUNS voc")
    return tuple(float(number) / 100 for number in found.groups())


def draw() -> dict[str, Figure]:
    """Return the figure by the name of its file."""
    return {"ablation": ablation_plot({name: measured(run) for run, name in RUNS.items()})}
