"""Runs as one HTML page that works from its file: no network, no server, nothing beside it."""

import os
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from math import isnan
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from carlab.evaluate.folder import RunFolder
from carlab.evaluate.page import sections
from carlab.evaluate.page.cards import cards
from carlab.evaluate.summary import Summary
from carlab.files.archive import write_file
from carlab.trace.show import printable, shorten


def write_page(
    folders: Sequence[RunFolder], summaries: Sequence[Summary], path: str | os.PathLike[str]
) -> Path:
    """Write a page about runs, finished or not; others are compared to the first.

    Parameters
    ----------
    folders, summaries
        One of each for a run, in the same order.
    path
        Where the page goes. It appears whole, or not at all.

    Raises
    ------
    RunError, TraceError, DatasetError
        If a record, a kept trace or a kept truth is damaged.
    TraceError
        If the place cannot be written.
    """
    runs = sections.runs(folders, summaries)
    environment = _environment()
    script = environment.get_template("page.js").render()
    html = environment.get_template("page.html").render(
        runs=runs,
        scores=sections.scores(runs),
        differences=sections.differences(runs),
        classes=sections.classes(runs),
        kept=sections.kept(runs),
        dropped=sections.dropped(runs),
        failed=sections.failed(runs),
        cards=cards(runs),
        settings=sections.settings(runs),
        script=Markup(script),  # noqa: S704 - our own file
        script_digest=b64encode(sha256(script.encode()).digest()).decode(),
    )
    return write_file(path, html.encode())


def _environment() -> Environment:
    """Templates in which every value is escaped, and no letter can reorder or end a line."""
    environment = Environment(
        loader=PackageLoader("carlab.evaluate.page", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_readable,
    )
    environment.filters |= {"percent": percent, "signed": signed, "short": shorten, "at": at}
    environment.tests["known"] = lambda value: not isnan(value)
    return environment


def _readable(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def percent(value: float) -> str:
    """Percent with one digit; a dash for none."""
    return "–" if isnan(value) else f"{100 * value:.1f}"


def signed(value: float) -> str:
    """Percent with its sign."""
    return "–" if isnan(value) else f"{100 * value:+.1f}"


def at(value: float | int, low: float | int = 0, high: float | int = 1) -> str:
    """Where a value lies between two others, as a CSS or SVG length."""
    return f"{100 * (value - low) / (high - low):.2f}%"
