"""One trace as one interactive HTML page: the view of the widgets, with no network and no server."""

import os
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from carlab.figures.content import as_script, trace_content
from carlab.figures.front import module, style
from carlab.files.archive import write_file
from carlab.trace import Trace
from carlab.trace.show import ending, found, header

PAGE_SIDE = 960
"""Longest side of the image on the page, in pixels."""


def write_page(trace: Trace, path: str | os.PathLike[str]) -> Path:
    """Write the page of a trace atomically, and return its path.

    Raises TraceError if the place cannot be written.

    Parameters
    ----------
    trace, path
        At most `MOST_NAMED` queries, the most telling ones, have prompted images.

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
    data = {
        "title": f"found: {found(trace)}",
        "about": f"{header(trace)} · {ending(trace)}",
        "made": {"settings": trace.settings, "provenance": trace.provenance},
        "content": trace_content(trace, side=PAGE_SIDE),
    }
    template = files("carlab.figures").joinpath("page.html").read_text(encoding="utf-8")
    before, after = template.replace("/*STYLE*/", style()).split("/*MODULE*/")
    script, end = after.split("</script>", 1)
    script = module() + script
    digest = b64encode(sha256(script.encode()).digest()).decode()
    html = f"{before}{script}</script>{end}".replace("/*DIGEST*/", digest)
    return html.replace("/*DATA*/", as_script(data))  # last: what users wrote is searched for nothing
