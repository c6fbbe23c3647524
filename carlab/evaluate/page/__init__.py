"""Write runs as one HTML page that opens from its file: no network, no server, no other files."""

import os
from base64 import b64encode
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from math import isnan
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from carlab.evaluate.folder import RunFolder
from carlab.evaluate.page.cards import make_cards
from carlab.evaluate.page.sections import group_by_classes, less_first, manifest_lines, page_runs
from carlab.evaluate.summary import Summary
from carlab.figures.front import module, style
from carlab.files.archive import write_file
from carlab.metrics.intervals import percent
from carlab.trace.show import backbones, printable, shorten


def write_report(
    folders: Sequence[RunFolder], summaries: Sequence[Summary], path: str | os.PathLike[str]
) -> Path:
    """Write a page about runs, finished or not, atomically; later ones are compared to the first.

    `folders` and `summaries` have one entry for each run. A trace or truth that is damaged raises TraceError
    or DatasetError, and so does a page that cannot be written (TraceError).
    """
    runs = page_runs(folders, summaries)
    environment = _environment()
    script = module() + environment.get_template("page.js").render()
    html = environment.get_template("page.html").render(
        runs=runs,
        differences=list(less_first(runs)),
        tables=group_by_classes(runs),
        dropped=[(run, *drop) for run in runs for drop in run.summary.wrong_drops()],
        cards=make_cards(runs),
        settings=manifest_lines(runs),
        view_style=Markup(style()),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        script_digest=b64encode(sha256(script.encode()).digest()).decode(),
    )
    return write_file(path, html.encode())


def _environment() -> Environment:
    """Return templates in which every value is escaped, and no letter can reorder or end a line."""
    environment = Environment(
        loader=PackageLoader("carlab.evaluate.page", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.filters |= {
        "percent": partial(percent, none="–"),
        "signed": partial(percent, sign="+", none="–"),
        "short": shorten,
        "at": _css_length,
        "backbones": backbones,
    }
    environment.tests["known"] = lambda value: not isnan(value)
    return environment


def _css_length(value: float | int, low: float | int = 0, high: float | int = 1) -> str:
    """Return the position of a value between two others as a CSS or SVG length."""
    return f"{100 * (value - low) / (high - low):.2f}%"
