"""Write docs/probes.md from the code: `python figures/probe_table.py`."""

from pathlib import Path

from carlab.hooks import PROBES

HEAD = """# Probes

Made by `python figures/probe_table.py` from `carlab.probes.PROBES`; do not edit by hand.

Axes: Q all queries, q those active in the step, k survivors, B background queries, n patch tokens
(i rows by j columns), c token width, d embedding width, p templates, s the classifier's input side,
h w image rows and columns, m regions. A probe fires once an image, once a step, or once at the end.
`cam.gradients` has one row more than there are queries when there is a background, which comes last.

| probe | axes | fires per | what it is |
|---|---|---|---|
"""


def probe_table() -> str:
    """The page."""
    rows = (f"| `{name}` | {info.axes} | {info.when} | {info.meaning} |" for name, info in PROBES.items())
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    (Path(__file__).parents[1] / "docs" / "probes.md").write_text(probe_table())
