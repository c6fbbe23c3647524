"""Draw all figures, or those named: `python -m figures.make teaser`; NAME.pdf and NAME.png beside it.

What is committed must stay small: a PNG, and each picture in a PDF, has at most 256 colours. `save_figure`
alone keeps all of them.
"""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from carlab.figures import save_figure
from carlab.files.pictures import colour

FOLDER = Path(__file__).parent
FIGURES = (
    "teaser", "framework", "prompts", "postprocessors", "steps", "scores", "ablation", "studies", "glossary",
)  # fmt: skip
DPI, PICTURE_DPI = 150, 130
"""Of a PNG, and of the pictures in a PDF."""
COLOURS, FLAT = 256, 32
"""In all, and those that most pixels have."""
QUERIES = [colour(number) for number in range(16)]
"""Colours that legends must keep."""


def main(names: list[str]) -> None:
    """Draw the figures; all of them if none is named."""
    for name in names or FIGURES:
        for stem, drawn in import_module(f"figures.{name}").draw().items():
            path = save_figure(drawn, FOLDER / f"{stem}.png", DPI)
            few_colours(Image.open(path).convert("RGB")).save(path, optimize=True)
            lighten(drawn)
            sys.stdout.write(f"{path.name} {save_figure(drawn, path.with_suffix('.pdf'), DPI).name}\n")


def few_colours(picture: Image.Image) -> Image.Image:
    """Return a picture in a palette of its own: flat areas as they are, all else dithered."""
    pixels = np.asarray(picture).reshape(-1, 3)
    codes = pixels @ [65536, 256, 1]
    found, counts = np.unique(codes, return_counts=True)
    most = found[np.argsort(-counts, kind="stable")[:FLAT]]
    flat = np.concatenate([QUERIES, np.stack([most >> 16, most >> 8 & 255, most & 255], axis=1)])
    rest = picture.quantize(COLOURS - len(flat), kmeans=1, dither=Image.Dither.NONE).getpalette() or []
    carrier = Image.new("P", (1, 1))
    carrier.putpalette(np.concatenate([flat.ravel(), rest]).astype(np.uint8).tobytes())
    dithered = picture.quantize(palette=carrier, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB")
    exact = np.isin(codes, flat @ [65536, 256, 1])[:, None]
    palette, index = np.unique(
        np.where(exact, pixels, np.asarray(dithered).reshape(-1, 3)), axis=0, return_inverse=True
    )
    small = Image.fromarray(index.reshape(picture.size[::-1]).astype(np.uint8))
    small.putpalette(palette.astype(np.uint8).tobytes())
    return small


def lighten(figure: Figure) -> None:
    """Replace every picture by one of the size at which it is printed, in few colours: a PDF stores it so."""
    for axes in figure.axes:
        for shown in axes.images:
            pixels = np.asarray(shown.get_array())
            if pixels.ndim == 3:
                inches = axes.get_position().width * figure.get_figwidth()
                picture = Image.fromarray(pixels.astype(np.uint8))
                side = max(1, round(inches * PICTURE_DPI))
                if side < picture.width:
                    picture = picture.resize((side, round(side * picture.height / picture.width)))
                shown.set_data(np.asarray(few_colours(picture).convert("RGB")))
                shown.set_interpolation("none")


if __name__ == "__main__":
    main(sys.argv[1:])
