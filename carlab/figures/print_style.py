"""What printed figures share: fonts, places in inches, text of the user, and maps as pictures."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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

from carlab.errors import check_choice
from carlab.files.images import load_image
from carlab.files.pictures import encoded, resize
from carlab.files.shapes import Image
from carlab.trace.show import columns, shorten

GREY, PALE = "#6b6b6b", "#e4e4e4"
NOTEBOOK_DPI = 90
PRINT_SIDE = 320
"""Longest side of a picture inside a figure of many, in pixels."""
FONTS = (
    "DejaVu Sans", "Noto Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans Devanagari",
    "Noto Sans Thai", "Noto Sans Symbols 2", "Noto Emoji", "Arial Unicode MS", "Yu Gothic", "Microsoft YaHei",
    "Segoe UI Symbol",
)  # fmt: skip
"""Tried in this order for every letter, where installed; DejaVu Sans comes with matplotlib."""
STYLE: Any = {
    "font.size": 8,
    "text.parse_math": False,  # a dollar sign in a query starts no formula
    "svg.fonttype": "none",  # text stays text, to be edited and searched
    "svg.hashsalt": "carlab",  # the same figure gives the same file
    "pdf.fonttype": 42,
}


SERIF = ("STIXGeneral", "DejaVu Serif")
"""Both come with matplotlib; the first is metrically close to Times."""
MM = 1 / 25.4
"""Millimetres in inches."""


@dataclass(frozen=True)
class Style:
    """How a figure for print looks.

    Parameters
    ----------
    column, page
        Widths of one column and of the text, in mm.
    size
        Of its text, in points.
    serif, dark
        Whether its text has serifs, as most papers have; and whether it is drawn on black, for slides.

    Examples
    --------
    >>> replace(STYLES["cvpr"], dark=True).ink
    'white'
    """

    column: float | int = 82.5
    page: float | int = 174.6
    size: float | int = 7
    serif: bool = False
    dark: bool = False

    @property
    def ink(self) -> str:
        """Colour of text and lines."""
        return "white" if self.dark else "black"

    @property
    def paper(self) -> str:
        """Colour of the ground."""
        return "#111111" if self.dark else "white"

    @property
    def pale(self) -> str:
        """Colour of lines and texts that stand back."""
        return "#aaaaaa" if self.dark else GREY

    def inches(self, width: str) -> float:
        """Return the width of "column" or "page" in inches; SettingError if it is neither."""
        check_choice("a width", width, ("column", "page"))
        return MM * float(getattr(self, width))

    @property
    def settings(self) -> dict[str, Any]:
        """Matplotlib's own settings."""
        lines = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
        grounds = ("figure.facecolor", "axes.facecolor", "savefig.facecolor")
        widths = {"axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6}
        return {
            "font.size": self.size,
            **dict.fromkeys(lines, self.ink),
            **dict.fromkeys(grounds, self.paper),
            **widths,
        }


STYLES = {
    "cvpr": Style(82.5, 174.6, 7.0),
    "neurips": Style(139.7, 139.7, 8.0),
    "springer": Style(122.0, 122.0, 8.0),
    "ieee": Style(88.9, 181.9, 7.0),
}
"""By venue. CVPR: columns of 3.25 inches in a text of 6.875; NeurIPS: one of 5.5; Springer LNCS: one of
122 mm; IEEE: 3.5 inches in 7.16, from each one's author kit."""
CVPR = STYLES["cvpr"]
"""The style of a figure that names none."""


@contextmanager
def print_style(style: Style | None = None) -> Iterator[None]:
    """Set `STYLE` and the installed `FONTS`, and silence warnings about letters that no font has.

    Parameters
    ----------
    style
        Of a figure for a paper; None for those of the notebook.
    """
    installed = set(fontManager.get_font_names())  # matplotlib warns about any other
    serif = SERIF if style is not None and style.serif else ()
    fonts = [name for name in (*serif, *FONTS) if name in installed]
    own: Any = {} if style is None else style.settings
    with rc_context({**STYLE, **own, "font.family": fonts}), warnings.catch_warnings():
        # Queries come in any script, and most machines lack a font for some: a box is drawn instead.
        warnings.filterwarnings("ignore", message=".*Glyph .* missing from")
        # Before 3.11 matplotlib also warns about scripts whose letters it cannot join.
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        yield


class PrintFigure(Figure):
    """A figure always drawn in `print_style`, whose parts are placed in inches from the lower left corner."""

    def __init__(self, *arguments: Any, style: Style | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.style = style

    # Renderers are Any: those of PDF and SVG have no common class.
    def draw(self, renderer: Any) -> None:
        """Draw everything."""
        with print_style(self.style):
            super().draw(renderer)

    def get_tightbbox(self, renderer: Any = None, **options: Any) -> Any:
        """Return the box around everything, in inches; notebooks request it before they draw."""
        with print_style(self.style):
            return super().get_tightbbox(renderer, **options)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, bytes]:
        """Return a PNG, or a JPEG where that is smaller (photographs), so that notebooks stay small."""
        stream = BytesIO()
        self.savefig(stream, format="png", dpi=NOTEBOOK_DPI)
        png = stream.getvalue()
        # All of the colour is kept (4:4:4): thin red outlines must stay visible.
        jpeg = encoded(load_image(png), "JPEG", quality=88, subsampling=0)
        return min({"image/png": png}, {"image/jpeg": jpeg}, key=lambda b: len(*b.values()))

    def _shares(self, *inches: float | int) -> list[float]:
        shares: list[float] = (np.reshape(inches, (-1, 2)) / self.get_size_inches()).ravel().tolist()
        return shares

    def add_picture(
        self, picture: Image, left: float | int, bottom: float | int, width: float | int, height: float | int
    ) -> Axes:
        """Show a picture in axes without ticks or frame."""
        left, bottom, width, height = self._shares(left, bottom, width, height)
        axes = self.add_axes((left, bottom, width, height), xticks=[], yticks=[])
        axes.imshow(picture, interpolation="lanczos", aspect="equal")
        axes.spines[:].set_visible(False)
        return axes

    def add_text(self, x: float | int, y: float | int, text: str, **look: Any) -> Text:
        """Show a text right of a point, vertically centred on it."""
        x, y = self._shares(x, y)
        return self.text(x, y, text, **{"ha": "left", "va": "center", **look})

    def add_box(
        self, left: float | int, bottom: float | int, width: float | int, height: float | int, **look: Any
    ) -> None:
        """Draw a rectangle, outside any axes."""
        left, bottom, width, height = self._shares(left, bottom, width, height)
        look = {"linewidth": 0, "transform": self.transFigure, **look}
        self.add_artist(Rectangle((left, bottom), width, height, **look))


def width_of(text: Text) -> float:
    """Return the width of a text in inches.

    Parameters
    ----------
    text
        On a figure.
    """
    figure = text.get_figure(root=True)
    return text.get_window_extent().width / (figure.dpi if figure is not None else 1)


def fit_text(target: Text, text: str, inches: float, room: int = 20) -> None:
    """Show as much of a user's text as fits.

    Parameters
    ----------
    target, text
        Where it is shown, and the whole text.
    inches, room
        Most width, in inches, and most columns (see `carlab.trace.show.columns`).
    """
    target.set_text(shorten(text, room))
    while room > 2 and (width := width_of(target)) > inches:
        room = max(2, min(room - 1, int(columns(target.get_text()) * inches / width)))
        target.set_text(shorten(text, room))


def heat(image: Image, cam: Float32[np.ndarray, "i j"]) -> Image:
    """Return a map over the image in grey, on a colour scale that colour-blind readers can use.

    Parameters
    ----------
    image, cam
        RGB, and a map in [0, 1] of any size; NaN is drawn as 0.

    Examples
    --------
    >>> heat(image, np.eye(2, dtype=np.float32)).shape == image.shape
    True
    """
    grey = image.mean(axis=2, keepdims=True)
    colours = colormaps["inferno"](resize(cam, *image.shape[:2]))[..., :3] * 255
    return (0.35 * grey + 0.65 * colours).round().astype(np.uint8)
