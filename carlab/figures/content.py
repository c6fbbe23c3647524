"""What the browser draws a trace from: JSON values, and bytes for pictures and arrays; sent once a trace.

`front/` draws it, in widgets and in pages alike.
"""

import json
from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from jaxtyping import Float, Integer, UInt8

from carlab.cache import Cache
from carlab.figures.layers import MOST_NAMED, mask_threshold, shrunk
from carlab.files.pictures import colour_hex, encoded, shrink, stacked
from carlab.files.shapes import Image
from carlab.trace import Step, Trace
from carlab.trace.show import most_telling, shorten

PHOTO_SIDE = 1280
"""Longest side of the image in a widget, in pixels: a laptop's screen."""
LABEL_SIDE = 960
"""Longest side of label maps."""
PROMPTED_SIDE = 256
"""Longest side of a prompted image."""
SMALL_SIDE = 112
"""The same on a page of many traces."""
MOST_PAIRS = 128
"""Active queries up to which the scores of all pairs are sent; beyond, those of the ones that are named."""
QUALITY = 85
"""Of JPEG."""
NAME_COLUMNS = 60
_PICTURES = Cache(2**27)


def trace_content(
    trace: Trace,
    *,
    query: int = -1,
    slots: Sequence[int] | None = None,
    pictures: bool = True,
    side: int = PHOTO_SIDE,
    top: int = MOST_NAMED,
    true: Collection[int] = (),
    compact: bool = False,
) -> dict[str, Any]:
    """Return a trace as the front end takes it: values of JSON, and bytes.

    Maps are bytes, 255 for 1, at patches; label maps are run lengths.

    Parameters
    ----------
    trace, query
        The `top` most telling queries, and `query` (-1: none), are named: only they have prompted images.
    slots
        The colour of each query, as an index of `carlab.files.pictures.colour`; by default its own index.
    pictures
        Whether the photo and the layers are wanted; without, scores alone.
    side
        Longest side of the image, in pixels.
    top
        How many queries are named.
    true
        Queries that are known to be in the image.
    compact
        For a page of many traces: maps of the named queries alone, and small prompted images.

    Examples
    --------
    >>> content = trace_content(trace)
    >>> content["queries"][1]["name"], content["steps"][1]["active"], len(content["steps"][1]["masks"])
    ('dog', [0, 1], 108)
    """
    telling = most_telling(trace, top)
    slots = range(len(trace.queries)) if slots is None else slots
    named = sorted({*telling, query} - {-1})
    content = {
        "named": named,
        "queries": [
            _query(name, slot, index in telling) | ({"true": True} if index in true else {})
            for index, (name, slot) in enumerate(zip(trace.queries, slots, strict=True))
        ],
        "threshold": finite(trace.threshold),
        "eta": mask_threshold(trace),
        "scores": [[finite(score) for score in row] for row in trace.scores.tolist()],
        "close": [list(call) for call in trace.close_calls],
        "drops": [[drop.query, drop.step, finite(drop.margin)] for drop in trace.drops],
        "steps": [_step(step, named, pictures, compact) for step in trace.steps],
        "stop": shorten(trace.stop),
        "grid": list(trace.steps[0].cams.shape[1:]),
    }
    return {**content, **_pictures(trace, side)} if pictures else content


def photo_content(image: Image, side: int = PHOTO_SIDE) -> dict[str, Any]:
    """Return an image as the front end takes it, before there is a trace.

    Parameters
    ----------
    image, side
        RGB, and the longest side sent, in pixels.

    Examples
    --------
    >>> photo_content(image)["width"]
    90
    """
    small = shrunk(image, side)
    return {"width": small.shape[1], "height": small.shape[0], "photo": picture(small)}


def picture(image: Image) -> dict[str, Any]:
    """Return an image as JPEG, with a key by which the browser knows it again.

    Parameters
    ----------
    image
        RGB.
    """
    # An array that was drawn again is another object; what it holds is the same.
    key = blake2b(np.ascontiguousarray(image).tobytes(), digest_size=12).hexdigest() + f"-{image.shape[1]}"
    return {"key": key, "data": _PICTURES.get(key, lambda: encoded(image, "JPEG", quality=QUALITY))}


def run_lengths(labels: Integer[np.ndarray, "h w"]) -> dict[str, Any]:
    """Return a label map as run lengths, row by row.

    Parameters
    ----------
    labels
        From 0 to 65,535.

    Examples
    --------
    >>> runs = run_lengths(np.array([[0, 0, 2], [2, 2, 1]]))
    >>> np.frombuffer(runs["values"], np.uint16), np.frombuffer(runs["lengths"], np.uint32)
    (array([0, 2, 1], dtype=uint16), array([2, 3, 1], dtype=uint32))
    """
    flat = labels.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=flat[0] - 1))
    lengths = np.diff(starts, append=flat.size)
    height, width = labels.shape
    values = flat[starts].astype(np.uint16).tobytes()
    return {
        "width": width,
        "height": height,
        "values": values,
        "lengths": lengths.astype(np.uint32).tobytes(),
    }


def as_json(value: Any) -> Any:
    """Return content as values of JSON alone: bytes as base64, infinities and NaN as text.

    Parameters
    ----------
    value
        Of `trace_content`, or any mapping, list, number or text.

    Examples
    --------
    >>> as_json({"data": b"abc", "theta": float("nan")})
    {'data': 'YWJj', 'theta': 'nan'}
    """
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def as_script(value: Any) -> str:
    r"""Return content as JSON that can stand in a script element, whatever its texts are.

    Parameters
    ----------
    value
        As `as_json` takes it.

    Examples
    --------
    >>> as_script({"name": "</script>"})
    '{"name": "\\u003c/script>"}'
    """
    text = json.dumps(as_json(value), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c")  # a query could end the element


def finite(value: float | int) -> float | None:
    """Return a score as JSON has it: NaN is no JSON."""
    return round(float(value), 5) if np.isfinite(value) else None


def _query(name: str, slot: int, telling: bool) -> dict[str, Any]:
    shown = shorten(name, NAME_COLUMNS)
    full = {"full": name} if shown != name else {}
    return {"name": shown, "number": slot + 1, "colour": colour_hex(slot), "telling": telling, **full}


def _step(step: Step, named: Sequence[int], pictures: bool, compact: bool) -> dict[str, Any]:
    few = np.isin(step.active, named)
    among = few if len(step.active) > MOST_PAIRS else np.ones(len(step.active), bool)
    pairs = step.probs[among][:, among].astype(np.float32)
    found: dict[str, Any] = {
        "active": step.active.tolist(),
        "pairs": {"queries": step.active[among].tolist(), "probs": pairs.tobytes()},
    }
    if pictures:
        mapped = few if compact else np.ones(len(step.active), bool)
        found |= {"mapped": step.active[mapped].tolist()}
        found |= {
            "cams": _eighth(step.cams[mapped]).tobytes(),
            "masks": _eighth(step.masks[mapped]).tobytes(),
        }
        drawn = zip(step.active.tolist(), step.prompted, strict=True)
        side = SMALL_SIDE if compact else PROMPTED_SIDE
        found["prompted"] = {str(index): _prompted(image, side) for index, image in drawn if index in named}
    return found


def _eighth(maps: Float[np.ndarray, "q i j"]) -> UInt8[np.ndarray, "q i j"]:
    return (np.nan_to_num(maps).clip(0, 1) * 255).round().astype(np.uint8)


def _prompted(image: Image, side: int) -> dict[str, Any]:
    return picture(image if max(image.shape[:2]) <= side else shrink(image, side))


def _pictures(trace: Trace, side: int) -> dict[str, Any]:
    regions = trace.probes.get("refine.regions")
    found = {**photo_content(trace.image, side), "final": run_lengths(_thinned(trace.labels))}
    if regions is not None and regions.ndim == 3 and len(regions):
        found["regions"] = run_lengths(_thinned(stacked(regions)))
    return found


def _thinned(labels: Integer[np.ndarray, "h w"]) -> Integer[np.ndarray, "h2 w2"]:
    """Return a label map of at most `LABEL_SIDE`, each pixel that of its centre."""
    height, width = labels.shape
    scale = max(1.0, max(height, width) / LABEL_SIDE)
    rows, columns = max(1, round(height / scale)), max(1, round(width / scale))
    y = ((np.arange(rows) + 0.5) * height / rows).astype(int)
    x = ((np.arange(columns) + 0.5) * width / columns).astype(int)
    return labels[np.ix_(y, x)]
