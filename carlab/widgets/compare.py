"""Two traces of one image, in one picture: on one step, query and zoom."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import traitlets

from carlab.figures.layers import SCREEN_LAYERS
from carlab.trace import Trace
from carlab.trace.comparison import Comparison, compare
from carlab.trace.show import shorten
from carlab.widgets.base import html
from carlab.widgets.front import MODES, FrontView
from carlab.widgets.palette import Palette

MOST_OVERLAPS = 12


class Compare(FrontView):
    """Show two traces in one picture, and their differences in settings, kept queries and masks in words.

    Traits, beside those of `FrontView`: `trace` is b and `other` is a; `query` is an index of b; `layer`,
    `opacity`; `mode`, one of `carlab.widgets.front.MODES`.

    Raises TraceError if the images differ in size.

    Parameters
    ----------
    a, b
        Traces of one image; their queries may differ.
    names
        Headings of the two.

    Examples
    --------
    >>> strict = replace(trace, settings={**trace.settings, "filter": {"stage": "Threshold", "theta": 0.5}})
    >>> view = Compare(trace, strict)
    >>> view.comparison.settings
    (('filter.theta', 0.3, 0.5),)
    """

    parts = traitlets.Tuple(default_value=("tools", "picture", "strip", "list"))
    other = traitlets.Instance(Trace)
    layer = traitlets.Enum(SCREEN_LAYERS, default_value="final")
    opacity = traitlets.Float(0.6, min=0, max=1)
    mode = traitlets.Enum(MODES, default_value=MODES[0])
    linked = (*FrontView.linked, "layer", "opacity", "mode")

    def __init__(
        self,
        a: Trace,
        b: Trace,
        names: tuple[str, str] = ("a", "b"),
        *,
        palette: Palette | None = None,
        **options: Any,
    ) -> None:
        self.comparison = compare(a, b)
        self.names = names
        self.palette = palette or Palette()
        super().__init__(b, other=a, **options)

    def build(self) -> None:
        """Create the picture and the table."""
        self.table = html()
        super().build()
        self.front.names = [shorten(name) for name in self.names]
        self.children = [self.front, self.table]

    def renew(self) -> None:
        """Send both traces."""
        beside = self.other.queries
        slots = {
            trace: self.palette.slots(names, around)
            for trace, names, around in (("a", beside, ()), ("b", self.trace.queries, beside))
        }
        with self.front.hold_sync():
            self.front.other = self.content_of(self.other, slots["a"])
            self.front.change(
                content=self.content_of(self.trace, slots["b"]), step=self.step, query=self.query
            )
        self.table.value = differences_html(self.comparison, self.names)

    def show(self, a: Trace, b: Trace) -> None:
        """Compare two other traces in place; if their images differ in size, TraceError, and no change."""
        self.comparison = compare(a, b)
        self.other = a
        if b is self.trace:
            self.renew()
        else:
            self.trace = b


def differences_in_words(found: Comparison, names: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return the differences in words: what, in a, in b; both in one where they are of both.

    Parameters
    ----------
    found, names
        The comparison, and what the two are called.

    Examples
    --------
    >>> found = Comparison((("filter.theta", 0.3, None),), ((("dog",), ()),), {"cat": 0.5}, 0.9)
    >>> differences_in_words(found, "ab")
    [('theta', '0.3', 'none'), ('kept at step 1 by one alone', 'dog', '–'),
     ('final mask of cat', 'the two share 50 % of what they cover (IoU 0.500)', ''),
     ('pixels', '90.0 % have the same query in a and b', '')]
    """
    lines = [(setting_name(name), in_words(was), in_words(now)) for name, was, now in found.settings]
    for step, (only_a, only_b) in enumerate(found.kept, 1):
        if only_a or only_b:
            lines.append((f"kept at step {step} by one alone", in_words(only_a), in_words(only_b)))
    worst = sorted((pair for pair in found.iou.items() if pair[1] < 1), key=lambda pair: pair[1])
    for query, iou in worst[:MOST_OVERLAPS]:
        shared = f"the two share {100 * iou:.0f} % of what they cover (IoU {iou:.3f})"
        lines.append((f"final mask of {shorten(query, 24)}", shared, ""))
    same = f"{100 * found.agreement:.1f} % have the same query in {shorten(names[0])} and {shorten(names[1])}"
    return [*(lines or [("settings, kept queries and masks", "the same in both", "")]), ("pixels", same, "")]


def setting_name(path: str) -> str:
    """Return a setting as docs/settings.md calls it, or its path in words.

    Parameters
    ----------
    path
        Dotted, of `Trace.settings`.

    Examples
    --------
    >>> setting_name("mask_threshold"), setting_name("prompter.prompts"), setting_name("queries")
    ('eta', 'prompter: prompts', 'queries')
    """
    from carlab.settings import SETTINGS

    known = {row.path: row.name for row in SETTINGS.values()}
    return known.get(path, path.replace(".", ": ", 1).replace(".", " ").replace("_", " "))


def in_words(value: Any) -> str:
    """Return a value of a setting as people write it.

    Parameters
    ----------
    value
        Of JSON.

    Examples
    --------
    >>> in_words([{"stage": "Circle", "width": 1}, {"stage": "Blur"}]), in_words(True), in_words(None)
    ('Circle (width 1), Blur', 'on', 'none')
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        rest = ", ".join(f"{key} {in_words(item)}" for key, item in value.items() if key != "stage")
        name = str(value.get("stage", ""))
        return f"{name} ({rest})" if name and rest else name or rest
    if isinstance(value, list | tuple):
        more = f" and {len(value) - 8} more" if len(value) > 8 else ""
        return ", ".join(map(in_words, value[:8])) + more or "–"
    return "none" if value is None else shorten(f"{value:g}" if isinstance(value, float) else str(value), 60)


def differences_html(found: Comparison, names: Sequence[str]) -> str:
    """Return a table of the differences; what is of both has one cell."""
    style = "style='text-align:left;padding:2px 1.2em 2px 0;vertical-align:top'"
    rows = [
        f"<th {style}>{escape(what)}</th>"
        + (f"<td {style} dir='auto'>{escape(a)}</td><td {style} dir='auto'>{escape(b)}</td>" if b else "")
        + ("" if b else f"<td {style} dir='auto' colspan='2'>{escape(a)}</td>")
        for what, a, b in differences_in_words(found, names)
    ]
    heads = "".join(f"<th {style}>{escape(shorten(name))}</th>" for name in names)
    return f"<table><tr><th></th>{heads}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"
