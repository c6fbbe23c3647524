"""Draw all figures, or those named: `python -m figures.make teaser`; NAME.pdf and NAME.png beside it.

What is committed must stay small: pictures have at most 256 colours, in the PDF at `DPI`. Papers get all
of them by `save_figure`.
"""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from carlab.figures import save_figure

FOLDER = Path(__file__).parent
FIGURES = (
    "teaser", "framework", "prompts", "postprocessors", "steps", "scores", "ablation", "studies", "glossary",
)  # fmt: skip
DPI = 150
COLOURS = 256


def main(names: list[str]) -> None:
    """Draw the figures; all of them if none is named."""
    for name in names or FIGURES:
        for stem, drawn in import_module(f"figures.{name}").draw().items():
            path = save_figure(drawn, FOLDER / f"{stem}.png", DPI)
            few_colours(Image.open(path).convert("RGB")).save(path, optimize=True)
            lighten(drawn)
            sys.stdout.write(f"{path.name} {save_figure(drawn, path.with_suffix('.pdf'), DPI).name}\n")


def few_colours(picture: Image.Image) -> Image.Image:
    """Return a picture in its own palette."""
    return picture.quantize(COLOURS, kmeans=1, dither=Image.Dither.NONE)


def lighten(figure: Figure) -> None:
    """Replace every picture by one of the size at which it is printed, in few colours: a PDF stores it so."""
    for axes in figure.axes:
        for shown in axes.images:
            pixels = np.asarray(shown.get_array())
            if pixels.ndim == 3:
                inches = axes.get_position().width * figure.get_figwidth()
                picture = Image.fromarray(pixels.astype(np.uint8))
                side = max(1, round(inches * DPI))
                if side < picture.width:
                    picture = picture.resize((side, round(side * picture.height / picture.width)))
                shown.set_data(np.asarray(few_colours(picture).convert("RGB")))
                shown.set_interpolation("none")


if __name__ == "__main__":
    main(sys.argv[1:])
