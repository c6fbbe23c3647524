"""One trace as one interactive HTML page: player, scores and matrix, with no network and no server."""

import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from carlab.figures.layers import LAYERS, layer_picture
from carlab.files.archive import write_file
from carlab.files.pictures import colour_hex, data_uri
from carlab.trace import Trace
from carlab.trace.show import ending, found, header, most_telling, shorten

SIDE = 560
"""Longest side of a picture on the page, in pixels."""
TELLING = 12
"""Queries shown before a search, each with pictures of its own."""


def write_page(trace: Trace, path: str | os.PathLike[str]) -> Path:
    """Write the page, atomically.

    Raises
    ------
    TraceError
        If the place cannot be written.
    """
    return write_file(path, page(trace).encode())


def page(trace: Trace) -> str:
    """The page as text. Words of the user are data in it, never markup: the script sets them as text."""
    template = files("carlab.figures").joinpath("page.html").read_text(encoding="utf-8")
    # "<" would let a word end the script element; in JSON it can be written otherwise.
    content = json.dumps(page_data(trace), ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")
    return template.replace("/*DATA*/", content)


def page_data(trace: Trace) -> dict[str, Any]:
    """Everything that the page shows, as JSON values."""
    telling = most_telling(trace, TELLING)
    return {
        "title": f"found: {found(trace)}",
        "about": f"{header(trace)} · {ending(trace)}",
        "stop": trace.stop,
        "layers": list(LAYERS),
        "threshold": _number(trace.threshold),
        "queries": [
            {"name": shorten(name, 60), "colour": colour_hex(index), "telling": index in telling}
            for index, name in enumerate(trace.queries)
        ],
        "scores": [[_number(score) for score in row] for row in trace.scores],
        "drops": [[drop.query, drop.step, _number(drop.margin)] for drop in trace.drops],
        "steps": [_step(trace, t, telling) for t in range(len(trace.steps))],
        "made": {"settings": _plain(trace.settings), "provenance": _plain(trace.provenance)},
    }


def _step(trace: Trace, t: int, telling: list[int]) -> dict[str, Any]:
    step = trace.steps[t]
    active = [int(query) for query in step.active]
    return {
        "active": active,
        "kept": int(step.kept.sum()),
        "probs": np.round(step.probs.astype(float), 4).tolist(),
        "all": {layer: data_uri(layer_picture(trace, t, layer, telling, side=SIDE)) for layer in LAYERS},
        "own": {
            layer: {
                query: data_uri(layer_picture(trace, t, layer, [query], side=SIDE))
                for query in telling
                if query in active
            }
            for layer in LAYERS[:3]
        },
    }


def _number(value: Any) -> float | None:
    """JSON knows no NaN."""
    return round(float(value), 5) if np.isfinite(value) else None


def _plain(value: Any) -> Any:
    """The value with infinities and NaN as text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value
