"""What a view offers to download: figures for print, and the page."""

from carlab.errors import check_choice
from carlab.figures import figure_bytes
from carlab.figures.page import page
from carlab.figures.paper import OF_ONE, draw
from carlab.trace import Trace

FIGURE_FORMATS = ("pdf", "svg", "png")
PAGE = "page"
PRINT_DPI = 300


def file_of(trace: Trace, kind: str, form: str) -> tuple[str, bytes]:
    """Return the name and the bytes of a file about a trace.

    Raises SettingError if there is no such figure or format.

    Parameters
    ----------
    trace
        What it shows.
    kind
        Out of `carlab.figures.paper.OF_ONE`, or "page", that of `carlab view`.
    form
        Of a figure, out of "pdf", "svg", "png".

    Examples
    --------
    >>> name, data = file_of(trace, "scores", "pdf")
    >>> name, data[:5]
    ('carlab-scores.pdf', b'%PDF-')
    """
    check_choice("a file", kind, (*OF_ONE, PAGE))
    if kind == PAGE:
        return "carlab.html", page(trace).encode()
    check_choice("a format", form, FIGURE_FORMATS)
    name = f"carlab-{kind}.{form}"
    return name, figure_bytes(draw(kind, [trace]), name, PRINT_DPI)
