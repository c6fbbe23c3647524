"""One trace as one interactive HTML page: player, scores and matrix, with no network and no server."""

import json
import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from carlab.figures.layers import LAYERS, MOST_NAMED, layer_picture
from carlab.files.archive import write_file
from carlab.files.pictures import colour_hex, data_uri
from carlab.trace import Trace
from carlab.trace.show import ending, found, header, most_telling, shorten

PAGE_SIDE = 560
"""Longest side of a picture on the page, in pixels."""


def write_page(trace: Trace, path: str | os.PathLike[str]) -> Path:
    """Write the page of a trace atomically, and return its path.

    Raises TraceError if the place cannot be written.

    Parameters
    ----------
    trace, path
        At most `MOST_NAMED` queries, the most telling ones, have pictures of their own.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_page(trace, f"{folder}/trace.html").name
    'trace.html'
    """
    return write_file(path, page(trace).encode())


def page(trace: Trace) -> str:
    """Return the page as HTML. Text of the user is JSON data in it, never markup.

    Parameters
    ----------
    trace
        As `write_page` takes it.

    Examples
    --------
    >>> page(trace)[:15]
    '<!doctype html>'
    """
    template = files("carlab.figures").joinpath("page.html").read_text(encoding="utf-8")
    # A query with "<" could end the script element; JSON can write it otherwise.
    content = json.dumps(_content(trace), ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")
    return template.replace("/*DATA*/", content)


def _content(trace: Trace) -> dict[str, Any]:
    telling = most_telling(trace, MOST_NAMED)
    return {
        "title": f"found: {found(trace)}",
        "about": f"{header(trace)} · {ending(trace)}",
        "stop": trace.stop,
        "layers": LAYERS,
        "threshold": _json_number(trace.threshold),
        "queries": [
            {"name": shorten(name, 60), "colour": colour_hex(index), "telling": index in telling}
            for index, name in enumerate(trace.queries)
        ],
        "scores": [[_json_number(score) for score in row] for row in trace.scores.tolist()],
        "drops": [[drop.query, drop.step, _json_number(drop.margin)] for drop in trace.drops],
        "steps": [_step_content(trace, t, telling) for t in range(len(trace.steps))],
        "made": _json_value({"settings": trace.settings, "provenance": trace.provenance}),
    }


def _step_content(trace: Trace, t: int, telling: list[int]) -> dict[str, Any]:
    step = trace.steps[t]
    active = step.active.tolist()

    def picture(layer: str, queries: list[int]) -> str:
        return data_uri(layer_picture(trace, t, layer, queries, side=PAGE_SIDE))

    own = [query for query in telling if query in active]
    return {
        "active": active,
        "kept": int(step.kept.sum()),
        "probs": np.round(step.probs.astype(float), 4).tolist(),
        "all": {layer: picture(layer, telling) for layer in LAYERS},
        "own": {layer: {query: picture(layer, [query]) for query in own} for layer in LAYERS[:3]},
    }


def _json_number(value: float) -> float | None:
    return round(float(value), 5) if np.isfinite(value) else None  # NaN is no JSON


def _json_value(value: Any) -> Any:
    """Return the value with infinities and NaN as text."""
    if isinstance(value, Mapping):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value
