"""How a trace shows itself: as text in a terminal, as HTML in a notebook.

User text is shown as text, never interpreted: control characters are
replaced, HTML is escaped, and TeX is switched off around it.
"""

import unicodedata
from base64 import b64encode
from collections.abc import Callable, Sequence
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

from carlab.overlay import colour_hex, paint

if TYPE_CHECKING:
    from carlab.trace import Trace

NAME_WIDTH = 40
"""Columns that a query may take in a table."""
MOST_ROWS = 30
PICTURE_SIDE = 640
"""Longest side of the picture in a notebook, in pixels."""
JOINERS = "\u200c\u200d"
"""Invisible, but Persian words and emoji of several parts need them to read right."""
NOT_XML = "\ufffe\uffff"
"""No characters at all: an SVG file that holds one cannot be opened."""


def shorten(text: str, width: int = NAME_WIDTH) -> str:
    """`printable` text, cut to so many columns with an ellipsis."""
    # Marks take no column: without a limit, ten thousand accents on one letter would all be kept.
    most = 4 * width
    text = printable(text[: most + 1])
    if columns(text) <= width and len(text) <= most:
        return text
    kept, taken = "", 0
    for letter in text[:most]:
        taken += columns(letter)
        if taken >= width:
            break
        kept += letter
    return kept + "…"


def printable(text: str) -> str:
    """The text without control and direction characters: it cannot move a cursor or reorder a line."""
    return "".join("\ufffd" if _harms(letter) else letter for letter in text)


def _harms(letter: str) -> bool:
    control = unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return (control and letter not in JOINERS) or letter in NOT_XML


def columns(text: str) -> int:
    """How many terminal columns the text takes: none for marks and joiners, two for wide letters."""
    return sum(
        0
        if unicodedata.category(letter) in {"Mn", "Me", "Cf"}
        else 2
        if unicodedata.east_asian_width(letter) in "WF"
        else 1
        for letter in text
    )


def pad(text: str, width: int) -> str:
    """Fill up with blanks to so many columns."""
    return text + " " * (width - columns(text))


def trace_text(trace: "Trace") -> str:
    """A header, a row per query with its score at each step, why the loop stopped, and what it cost."""
    shown = most_telling(trace)
    names = [shorten(trace.queries[query]) for query in shown]
    width = max(map(columns, ("query", *names)))
    steps = "".join(f"{f'step {t + 1}':>9}" for t in range(len(trace.steps)))
    lines = [header(trace), "", f"  {pad('query', width)}{steps}"]
    for query, name in zip(shown, names, strict=True):
        scores = "".join(f"{'' if np.isnan(s) else f'{s:.3f}':>9}" for s in trace.scores[:, query])
        lines.append(f"  {pad(name, width)}{scores}   {verdict(trace, query)}")
    if len(shown) < len(trace.queries):
        lines.append(f"  {rest(trace, shown)}")
    return "\n".join([*lines, "", *(f"  {line}" for line in (outcome(trace), times(trace)) if line)])


def trace_html(trace: "Trace") -> str:
    """The painted photo beside the table of scores, for Jupyter; no script, no style of its own colours."""
    shown = most_telling(trace)
    head = "".join(f"<th style='text-align:right'>step {t + 1}</th>" for t in range(len(trace.steps)))
    rows = "".join(_row(trace, query) for query in shown)
    wide = f"<td colspan='{len(trace.steps) + 3}' style='text-align:left;opacity:.6'>"
    left = len(shown) < len(trace.queries)
    more = f"<tr>{wide}{rest(trace, shown)}</td></tr>" if left else ""
    picture = b64encode(png(painted(trace, PICTURE_SIDE))).decode()
    return (
        "<div class='tex2jax_ignore mathjax_ignore' style='display:flex;flex-wrap:wrap;gap:1.5em;"
        "align-items:flex-start'>"
        f"<img alt='{escape(outcome(trace))}' src='data:image/png;base64,{picture}' style='max-width:26em'>"
        f"<div><div style='opacity:.7'>{escape(header(trace))}</div>"
        "<table style='margin:.5em 0'><thead><tr><th></th><th style='text-align:left'>query</th>"
        f"{head}<th></th></tr></thead><tbody>{rows}{more}</tbody></table>"
        f"<div>found: {found(trace, _isolated)} · {escape(ending(trace))}</div>"
        f"<div style='opacity:.7'>{escape(times(trace))}</div></div></div>"
    )


def _isolated(name: str) -> str:
    """Markup of a name that does not reorder the words around it, whichever way its script runs."""
    return f"<span dir='auto'>{escape(shorten(name))}</span>"


def _row(trace: "Trace", query: int) -> str:
    kept = query in trace.survivors
    swatch = f"background:{colour_hex(query)};" if kept else ""
    scores = "".join(
        f"<td style='text-align:right'>{'' if np.isnan(s) else f'{s:.3f}'}</td>"
        for s in trace.scores[:, query]
    )
    return (
        f"<tr style='opacity:{1 if kept else 0.55}'>"
        f"<td><span style='display:inline-block;width:1em;height:1em;{swatch}"
        "border:1px solid currentColor;border-radius:2px'></span></td>"
        f"<td dir='auto' style='text-align:left'>{escape(shorten(trace.queries[query]))}</td>{scores}"
        f"<td style='text-align:left'>{escape(verdict(trace, query))}</td></tr>"
    )


def header(trace: "Trace") -> str:
    """Size of the photo, preset and backbones."""
    height, width = trace.image.shape[:2]
    made = trace.provenance
    # One name when both are the same, or when only one is known.
    names = dict.fromkeys(made.get(f"{stage}.backbone", "") for stage in ("proposer", "classifier"))
    backbones = " x ".join(filter(None, names))
    parts = [f"{width} x {height} photo", made.get("preset", ""), backbones]
    return printable(" · ".join(filter(None, parts)))


def outcome(trace: "Trace") -> str:
    """What was found, why the loop ended, and the model passes it took."""
    return f"found: {found(trace)} · {ending(trace)}"


def found(trace: "Trace", show: Callable[[str], str] = shorten) -> str:
    """The names found, each as `show` makes it, or "nothing"."""
    names = ", ".join(show(name) for name in trace.found[:8]) or "nothing"
    return names + (f", ... ({len(trace.found)} in all)" if len(trace.found) > 8 else "")


def ending(trace: "Trace") -> str:
    """How many steps, why the loop ended, and the model passes it took."""
    steps = f"{len(trace.steps)} step{'s' if len(trace.steps) > 1 else ''}"
    cost = "".join(
        f", {count} {name}{'s' if count > 1 else ''}" for name, count in sorted(trace.passes.items())
    )
    return printable(f"{steps}, {trace.stop}{cost}")


def times(trace: "Trace") -> str:
    """Where the time went, longest first; empty when none was measured. Parts may hold one another."""
    longest = sorted(trace.seconds.items(), key=lambda part: -part[1])[:5]
    spent = ", ".join(f"{name} {seconds:.2f}" for name, seconds in longest if seconds >= 0.005)
    return printable(f"seconds: {spent}") if spent else ""


def verdict(trace: "Trace", query: int) -> str:
    """Say "kept", or the step at which the query fell and by how much."""
    for drop in trace.drops:
        if drop.query == query:
            # A filter of another kind may drop what is above theta, or have none. (The score is
            # float32, theta is not: equal ones differ in the eighth digit.)
            below = drop.margin > -1e-6
            margin = f", {max(drop.margin, 0):.3f} below {trace.threshold:.3f}" if below else ""
            return f"dropped at step {drop.step + 1}{margin}"
    return "kept"


def rest(trace: "Trace", shown: Sequence[int]) -> str:
    """How many queries are not shown, and whether any of those was kept."""
    kept = len(set(trace.survivors.tolist()) - set(shown))
    exception = f" but for {kept}" if kept else ""
    return f"... and {len(trace.queries) - len(shown)} more, dropped{exception}"


def most_telling(trace: "Trace", most: int = MOST_ROWS) -> list[int]:
    """Indices of at most `most` queries, in their order: the survivors, who lasted longest, the best."""
    # fmax: a score that is NaN must not hide the others, nor warn.
    best = np.fmax.reduce(trace.scores, axis=0)
    lasted = np.isfinite(trace.scores).sum(axis=0)
    survived = np.isin(np.arange(len(best)), trace.survivors)
    ranked = np.lexsort((-best, -lasted, ~survived))
    return sorted(ranked[:most].tolist())


def painted(trace: "Trace", side: int) -> UInt8[np.ndarray, "h w 3"]:
    """The photo with its labels painted, its longest side at most `side` pixels."""
    # Shrunk first, then painted: edges stay sharp, and a large photo costs no more than a small one.
    image = thumbnail(trace.image, side)
    labels = Image.fromarray(trace.labels.astype(np.int32))
    return paint(image, np.asarray(labels.resize(image.shape[1::-1], Image.Resampling.NEAREST)))


def thumbnail(picture: UInt8[np.ndarray, "h w 3"], side: int) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The picture, its longest side at most `side` pixels."""
    shrunk = Image.fromarray(picture)
    shrunk.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(shrunk)


def png(picture: Shaped[np.ndarray, "h w *rgb"]) -> bytes:
    """The picture as a PNG file."""
    stream = BytesIO()
    Image.fromarray(picture).save(stream, format="PNG")
    return stream.getvalue()
