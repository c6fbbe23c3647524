"""What printed figures share: fonts, places in inches, user text, and maps made into pictures."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
from jaxtyping import Float32
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from carlab.files.images import load_image
from carlab.files.pictures import encoded, resize
from carlab.files.shapes import Image
from carlab.trace.show import columns, shorten

GREY, PALE = "#6b6b6b", "#e4e4e4"
NOTEBOOK_DPI = 90
"""Pixels an inch of a figure in a notebook."""
FONTS = (
    "DejaVu Sans",
    "Noto Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Noto Sans Symbols 2",
    "Noto Emoji",
    "Arial Unicode MS",
    "Yu Gothic",
    "Microsoft YaHei",
    "Segoe UI Symbol",
)
"""Tried in this order for every letter, where installed; DejaVu Sans comes with matplotlib."""
STYLE: Any = {
    "font.size": 8,
    "svg.fonttype": "none",  # text stays text, to be edited and searched
    "svg.hashsalt": "carlab",  # the same figure gives the same file
    "pdf.fonttype": 42,
}


class QuietFigure(Figure):
    """A figure that draws a box for a letter no font has, and shows itself as the last value of a cell."""

    # Renderers are Any: for PDF and SVG matplotlib hands in one of no common class.
    def draw(self, renderer: Any) -> None:
        """Draw everything."""
        with boxes_for_missing_letters():
            super().draw(renderer)

    def get_tightbbox(self, renderer: Any = None, **options: Any) -> Any:
        """Give the box around everything, in inches; notebooks ask for it before they draw."""
        with boxes_for_missing_letters():
            return super().get_tightbbox(renderer, **options)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, bytes]:
        """A PNG, or a JPEG where that is smaller (photos): a notebook of many figures stays small."""
        stream = BytesIO()
        with rc_context(style()):
            self.savefig(stream, format="png", dpi=NOTEBOOK_DPI)
        png = stream.getvalue()
        # All of the colour is kept (4:4:4): thin red outlines must stay visible.
        jpeg = encoded(load_image(png), "JPEG", quality=88, subsampling=0)
        return min({"image/png": png}, {"image/jpeg": jpeg}, key=lambda b: len(*b.values()))


@contextmanager
def boxes_for_missing_letters() -> Iterator[None]:
    """Let nothing be said of a letter that no installed font has; a box is drawn in its place."""
    with warnings.catch_warnings():
        # Queries come in any script, and most machines lack a font for some; the box says it all.
        warnings.filterwarnings("ignore", message=".*Glyph .* missing from")
        # Before 3.11 matplotlib also says so of scripts whose letters it cannot join.
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        yield


def style() -> Any:
    """`STYLE` with those of `FONTS` that are installed: naming another makes matplotlib complain."""
    installed = set(fontManager.get_font_names())
    return {**STYLE, "font.family": [name for name in FONTS if name in installed]}


def axes_at(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes placed in inches from the lower left corner: nothing moves when a text is long."""
    page = figure.get_size_inches()
    return figure.add_axes((left / page[0], bottom / page[1], width / page[0], height / page[1]))


def text_at(figure: Figure, x: float, y: float, text: str, **look: Any) -> Text:
    """Text in inches, by default left of it and at half its height."""
    page = figure.get_size_inches()
    return figure.text(x / page[0], y / page[1], text, **{"ha": "left", "va": "center", **look})


def box_at(figure: Figure, left: float, bottom: float, width: float, height: float, **look: Any) -> None:
    """A rectangle in inches, under no axes."""
    page = figure.get_size_inches()
    corner, size = (left / page[0], bottom / page[1]), (width / page[0], height / page[1])
    figure.add_artist(Rectangle(corner, *size, transform=figure.transFigure, **{"linewidth": 0, **look}))


def show_picture(axes: Axes, picture: Image) -> None:
    """Fill the axes with a picture, without ticks or frame."""
    axes.imshow(picture, interpolation="lanczos", aspect="equal")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def plain(*texts: Text) -> None:
    """Show user text as it is: a dollar sign starts no formula."""
    for text in texts:
        text.set_parse_math(False)


def text_width(figure: Figure, text: str, **look: Any) -> float:
    """Width of a text in inches."""
    trial = figure.text(0, 0, text, **look)
    trial.set_parse_math(False)
    width = width_of(trial)
    trial.remove()
    return width


def width_of(text: Text) -> float:
    """Width of a text of a figure in inches."""
    figure = text.get_figure(root=True)
    with boxes_for_missing_letters():
        return text.get_window_extent().width / (figure.dpi if figure is not None else 1)


def fit_text(target: Text, text: str, inches: float, room: int = 20) -> None:
    """Show as much of a user's text as is no wider than so many inches, and takes `room` columns at most."""
    plain(target)
    target.set_text(shorten(text, room))
    while room > 2 and (width := width_of(target)) > inches:
        room = max(2, min(room - 1, int(columns(target.get_text()) * inches / width)))
        target.set_text(shorten(text, room))


def heat(image: Image, cam: Float32[np.ndarray, "i j"]) -> Image:
    """Return a map in [0, 1] over a grey image, in a colour scale that colour-blind readers can follow."""
    grey = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    colours = colormaps["inferno"](resize(cam, *image.shape[:2]))[..., :3] * 255
    return (0.35 * grey + 0.65 * colours).round().astype(np.uint8)
