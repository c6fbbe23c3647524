"""The front end: one ES module and one style sheet, read from files beside this one, with no build step.

The module draws `carlab.figures.content.trace_content` in a canvas. The widgets load it through anywidget;
the pages hold it.
"""

from functools import cache
from importlib.resources import files

FILES = (
    *("base", "run", "paint", "point", "picture", "list", "strip", "charts"),
    *("save", "film", "view"),
)
"""Files of the module, in order: later ones use what earlier ones define."""


@cache
def module(*extras: str) -> str:
    """Return the ES module; its default export is what anywidget expects.

    Parameters
    ----------
    extras
        Files that only some views need: "frames", of a video.
    """
    return "\n".join(_read(f"{part}.js") for part in (*FILES[:-1], *extras, FILES[-1]))


@cache
def style() -> str:
    """Return the style sheet; every rule is for `.carlab` alone."""
    return _read("view.css")


def _read(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
