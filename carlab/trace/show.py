"""Show a trace as text in a terminal, and as HTML in a notebook.

User text is shown as text, never interpreted: control characters are replaced, HTML is escaped, and TeX is
switched off around it.
"""

import unicodedata
from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8
from tabulate import tabulate
from wcwidth import clip, ljust, wcswidth

from carlab.errors import invisible
from carlab.files.pictures import colour_hex, encoded, paint, shrink
from carlab.trace.provenance import setting_in

if TYPE_CHECKING:
    from carlab.trace.trace import Trace

NAME_WIDTH = 40
"""Columns that a query may take in a table."""
TABLE_ROWS = 30
NOTEBOOK_SIDE = 640
"""Longest side of the image in a notebook, in pixels."""
JOINERS = "\u200c\u200d"
"""Invisible, but Persian words and emoji of several parts need them to read right."""
NOT_XML = "\ufffe\uffff"
"""No characters at all: an SVG file that holds one cannot be opened."""


def shorten(text: str, width: int = NAME_WIDTH) -> str:
    """Return `printable` text, cut with an ellipsis.

    Parameters
    ----------
    text, width
        Of a user, and the most columns of a terminal that it may take.

    Examples
    --------
    >>> shorten("a very long query", 10)
    'a very lo…'
    """
    # Marks take no column: without a limit, ten thousand accents on one letter would all be kept.
    most = 4 * width
    text = printable(text[: most + 1])
    if columns(text) <= width and len(text) <= most:
        return text
    return clip(text[:most], 0, width - 1, control_codes="ignore").rstrip(" ") + "…"


def size_text(count: int) -> str:
    """Return bytes as text, in decimal units.

    >>> size_text(316), size_text(4_200), size_text(598_600_000), size_text(2_400_000_000)
    ('316 B', '4 kB', '599 MB', '2.4 GB')
    """
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    small = f"{count / 1e3:.0f} kB" if count >= 1e3 else f"{count} B"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else small


def printable(text: str) -> str:
    """Return the text without control and direction characters: it cannot move a cursor or reorder a line.

    Parameters
    ----------
    text
        Of a user.

    Examples
    --------
    >>> printable("a" + chr(27) + "b")
    'a�b'
    """
    hidden = {letter for letter in set(text) if _unseen(letter)}
    return text.translate(dict.fromkeys(map(ord, hidden - {*JOINERS} | {*NOT_XML}), "\ufffd"))


def _unseen(letter: str) -> bool:
    category = unicodedata.category(letter)
    # Selectors of variants are marks that emoji need; a letter that is drawn as nothing has no use.
    return category in {"Cc", "Cf", "Cs", "Zl", "Zp"} or (category == "Lo" and invisible(letter))


def columns(text: str) -> int:
    """Return how many columns of a terminal a text takes: none for marks and joiners, two for wide letters.

    Parameters
    ----------
    text
        That is `printable`.

    Examples
    --------
    >>> columns("cat"), columns("猫")
    (3, 2)
    """
    return max(0, wcswidth(text))


def text_table(rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> str:
    """Return rows of user text in aligned columns, for the terminal.

    Parameters
    ----------
    rows, head
        Cells, made `printable`, and the names of the columns; () for none.

    Examples
    --------
    >>> print(text_table([["cat", "0.8"]], ["query", "score"]))
    query    score
    cat      0.8
    """
    cells = [[printable(str(cell)) for cell in row] for row in ([head, *rows] if head else rows)]
    return tabulate(cells, tablefmt="plain", disable_numparse=True)


def trace_text(trace: "Trace") -> str:
    """Return a header, a row per query with its score at each step, the stop reason, and the cost.

    Parameters
    ----------
    trace
        At most `TABLE_ROWS` of its queries have a row, the most telling ones.

    Examples
    --------
    >>> print(trace_text(trace).splitlines()[3])
      cat      0.800    0.800    0.800   kept
    """
    shown = most_telling(trace)
    names = [shorten(trace.queries[query]) for query in shown]
    width = max(map(columns, ("query", *names)))
    steps = "".join(f"{f'step {t + 1}':>9}" for t in range(len(trace.steps)))
    lines = [header(trace), "", f"  {ljust('query', width)}{steps}"]
    for query, name in zip(shown, names, strict=True):
        scores = "".join(f"{score:>9}" for score in score_cells(trace, query))
        lines.append(f"  {ljust(name, width)}{scores}   {verdict(trace, query)}")
    if len(shown) < len(trace.queries):
        lines.append(f"  {rest(trace, shown)}")
    remarks = (f"note: {note}" for note in trace.notes)
    return "\n".join(
        [*lines, "", *(f"  {line}" for line in (outcome(trace), times(trace), *remarks) if line)]
    )


def trace_html(trace: "Trace") -> str:
    """Return the painted image beside the table of scores, for Jupyter, without scripts.

    Parameters
    ----------
    trace
        As `trace_text` takes it.
    """
    shown = most_telling(trace)
    html: str = _template().render(
        trace=trace,
        picture=b64encode(encoded(painted(trace, NOTEBOOK_SIDE))).decode(),
        queries=[
            {
                "name": shorten(trace.queries[query]),
                "colour": colour_hex(query) if query in trace.survivors else None,
                "scores": score_cells(trace, query),
                "verdict": verdict(trace, query),
            }
            for query in shown
        ],
        outcome=outcome(trace),
        header=header(trace),
        rest=rest(trace, shown) if len(shown) < len(trace.queries) else "",
        found=found(trace, lambda name: f"<span dir='auto'>{escape(shorten(name))}</span>"),
        ending=ending(trace),
        times=times(trace),
        notes=trace.notes,
    )
    return html.replace("\n", "")


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader  # here, because loading a trace does not need it

    environment = Environment(
        loader=PackageLoader("carlab.trace", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("trace.html")


def score_cells(trace: "Trace", query: int) -> list[str]:
    """Return the score of a query at each step as text, empty once it is dropped.

    Parameters
    ----------
    trace, query
        The index of the query.

    Examples
    --------
    >>> score_cells(trace, 1)
    ['0.800', '0.120', '']
    """
    return ["" if np.isnan(score) else f"{score:.3f}" for score in trace.scores[:, query]]


def header(trace: "Trace") -> str:
    """Return the size of the image, the preset and the backbones."""
    height, width = trace.image.shape[:2]
    parts = [f"{width} x {height} image", trace.provenance.get("preset", ""), backbones(trace.provenance)]
    return printable(" · ".join(filter(None, parts)))


def backbones(provenance: Any, between: str = " x ") -> str:
    """Return the names of proposer and classifier; one name when both are the same, or only one is known.

    Parameters
    ----------
    provenance, between
        Of a trace, and the text between the two names.

    Examples
    --------
    >>> backbones({"proposer.backbone": "CLIP a", "classifier.backbone": "CLIP b"})
    'CLIP a x CLIP b'
    """
    names = dict.fromkeys(provenance.get(f"{stage}.backbone", "") for stage in ("proposer", "classifier"))
    return between.join(filter(None, names))


def outcome(trace: "Trace") -> str:
    """Return the queries found, the stop reason, and the forward passes made."""
    return f"found: {found(trace)} · {ending(trace)}"


def found(trace: "Trace", show: Callable[[str], str] = shorten) -> str:
    """Return the names found, or "nothing".

    Parameters
    ----------
    trace, show
        At most eight names are listed; `show` formats each.

    Examples
    --------
    >>> found(trace, str.upper)
    'CAT'
    """
    names = ", ".join(show(name) for name in trace.found[:8]) or "nothing"
    return names + (f", ... ({len(trace.found)} in all)" if len(trace.found) > 8 else "")


def ending(trace: "Trace") -> str:
    """Return the number of steps, the stop reason, and the forward passes made.

    Parameters
    ----------
    trace
        Any.

    Examples
    --------
    >>> ending(trace)
    '3 steps, fixed point, 1 trunk, 4 vjps'
    """
    steps = f"{len(trace.steps)} step{'s' if len(trace.steps) > 1 else ''}"
    passes = sorted(trace.passes.items())
    cost = "".join(f", {count} {name}{'s' if count > 1 else ''}" for name, count in passes)
    return printable(f"{steps}, {trace.stop}{cost}")


def times(trace: "Trace") -> str:
    """Return where the time was spent, longest first; empty when none was measured. Parts may overlap."""
    longest = sorted(trace.seconds.items(), key=lambda part: -part[1])[:5]
    spent = ", ".join(f"{name} {seconds:.2f}" for name, seconds in longest if seconds >= 0.005)
    return printable(f"seconds: {spent}") if spent else ""


def verdict(trace: "Trace", query: int) -> str:
    """Return "kept", or the step at which the query was dropped and by what margin.

    Parameters
    ----------
    trace, query
        The index of the query.

    Examples
    --------
    >>> verdict(trace, 0), verdict(trace, 1)
    ('kept', 'dropped at step 2, 0.180 below 0.300')
    """
    for drop in trace.drops:
        if drop.query == query:
            # Another filter than a threshold may drop a score above theta, or have no theta. (The score is
            # float32, theta is not: equal ones differ in the eighth digit.)
            below = drop.margin > -1e-6
            margin = f", {max(drop.margin, 0):.3f} below {trace.threshold:.3f}" if below else ""
            return f"dropped at step {drop.step + 1}{margin}"
    empty = query in trace.survivors[~trace.filled]
    return "kept, but its final mask is empty" if empty else "kept"


def notes(trace: "Trace") -> tuple[str, ...]:
    """Return what a reader of the scores must know, a sentence each.

    Parameters
    ----------
    trace
        Of a run by softmax with one query: its score is 1, whatever the image shows. So is that of an object
        with one expression (`carlab.refer`). Of a run with close calls (`Trace.close_calls`): on another
        machine they may end the other way.
    """
    return (*_alone_notes(trace), *_close(trace))


def _close(trace: "Trace") -> tuple[str, ...]:
    calls = trace.close_calls
    if not calls:
        return ()
    names = ", ".join(f"{shorten(trace.queries[query])} at step {step + 1}" for query, step in calls[:3])
    more = f" and {len(calls) - 3} more" if len(calls) > 3 else ""
    return (
        f"a close call: {names}{more}: so near the threshold that rounding decides, which differs with batch "
        "size, threads and device",
    )


def _alone_notes(trace: "Trace") -> tuple[str, ...]:
    score = setting_in(trace.settings, "classifier", "score")
    alone = len(trace.queries) == 1 or "referring" in trace.settings
    if not alone or score == "sigmoid" or not (trace.scores == 1).all():
        return ()
    if len(trace.queries) > 1:
        return (
            "each expression is the only one of its object and always scores 1.000, its share among one: its "
            "mask says where, never whether",
        )
    return (
        "a single query always scores 1.000, its share among one: add queries that are not in the image as "
        'distractors, or take absolute scores (a SigLIP and score="sigmoid")',
    )


def rest(trace: "Trace", shown: Sequence[int]) -> str:
    """Return how many queries are not shown, and how many of those were kept.

    Parameters
    ----------
    trace, shown
        Indices of the queries that are shown.

    Examples
    --------
    >>> rest(trace, [1])
    '... and 2 more, dropped but for 1'
    """
    kept = len(set(trace.survivors.tolist()) - set(shown))
    exception = f" but for {kept}" if kept else ""
    return f"... and {len(trace.queries) - len(shown)} more, dropped{exception}"


def most_telling(trace: "Trace", most: int = TABLE_ROWS) -> list[int]:
    """Return the indices of the most telling queries, increasing.

    Survivors come first, then those that were dropped last, then those with the best scores.

    Parameters
    ----------
    trace, most
        How many, 1 or more; fewer if the trace has no more.

    Examples
    --------
    >>> most_telling(trace, 2)
    [0, 1]
    """
    # fmax: a score that is NaN must not hide the others, nor warn.
    best = np.fmax.reduce(trace.scores, axis=0)
    lasted = np.isfinite(trace.scores).sum(axis=0)
    survived = np.isin(np.arange(len(best)), trace.survivors)
    ranked = np.lexsort((-best, -lasted, ~survived))
    return sorted(ranked[:most].tolist())


def painted(trace: "Trace", side: int) -> UInt8[np.ndarray, "h w 3"]:
    """Return the image with its labels painted.

    Parameters
    ----------
    trace, side
        Longest side of the result, in pixels; a smaller image is not enlarged.

    Examples
    --------
    >>> painted(trace, 35).shape
    (24, 35, 3)
    """
    # Shrunk first, then painted: edges stay sharp, and a large image costs no more than a small one.
    image = shrink(trace.image, side)
    return paint(image, trace.labels)
