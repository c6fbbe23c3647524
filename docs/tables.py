"""Write docs/probes.md and docs/settings.md from the code: `python docs/tables.py`. A test compares them."""

from pathlib import Path

from carlab.hooks import PROBES
from carlab.settings import SETTINGS, Setting
from carlab.widgets.lab.controls import HIDDEN

PROBES_HEAD = """# Probes

Made by `python docs/tables.py` from `carlab.PROBES`; do not edit by hand.

Axes: Q all queries, q those active in the step, k survivors, B background queries, n patch tokens
(i rows by j columns), c token width, d embedding width, p templates, s the classifier's input side,
h w image rows and columns, m regions. A probe fires once an image, once a step, or once at the end.
`cam.gradients` has one row more than there are queries when there is a background, which comes last.

`carlab.record(...)` and `record=[...]` record them, `carlab.edit(...)` changes them; both also work
around `prepared.run()`, for probes that fire once an image too. While an edit is open no cache is used.

| probe | axes | fires per | what it is |
|---|---|---|---|
"""
SETTINGS_HEAD = f"""# Settings

Made by `python docs/tables.py` from `carlab.settings.SETTINGS`; do not edit by hand.

Every setting that can be changed on any preset: by name in Python (`carlab.change(model, box=0.3)`), as
an option of `carlab segment` and `carlab eval` (`--lambda 0.3`; `eval` decides `refer` by the data set),
in a sweep (`-g lambda=.3,.4`), and by a control of the Lab (all but {", ".join(HIDDEN)}). They are applied
in the order of the table. A stage of your own that lacks the field gives one clear error when the setting
is changed, and none otherwise. In a sweep `recurrence=off` stands for `max_steps=1` and `theta=0` together.

| name | symbol | Python | field of the model | values | what it does |
|---|---|---|---|---|---|
"""


def probes_page() -> str:
    """Return docs/probes.md."""
    rows = (f"| `{name}` | {info.axes} | {info.when} | {info.meaning} |" for name, info in PROBES.items())
    return PROBES_HEAD + "\n".join(rows) + "\n"


def settings_page() -> str:
    """Return docs/settings.md."""
    rows = (
        f"| `{row.name}` | {row.symbol} | `{row.key}` | `{row.path}` | {values(row)} | {row.meaning} |"
        for row in SETTINGS.values()
    )
    return SETTINGS_HEAD + "\n".join(rows) + "\n"


def values(row: Setting) -> str:
    """Return the values of a row as text."""
    if row.choices:
        return ", ".join(row.choices) + (", ..." if row.open else "")
    if row.kind is bool:
        return "on, off"
    return f"{row.low:g} or more" if row.high == float("inf") else f"{row.low:g} to {row.high:g}"


PAGES = {"probes.md": probes_page, "settings.md": settings_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (Path(__file__).parent / name).write_text(page())
