"""Draw all figures, or those named: `python -m figures.make teaser`; NAME.pdf and NAME.png beside it."""

import sys
from importlib import import_module
from pathlib import Path

from carlab.figures import save_figure

FOLDER = Path(__file__).parent
FIGURES = ("teaser", "framework", "prompts", "postprocessors", "steps", "scores", "ablation", "studies")
DPI = 200


def main(names: list[str]) -> None:
    """Draw the figures; all of them if none is named."""
    for name in names or FIGURES:
        for stem, drawn in import_module(f"figures.{name}").draw().items():
            for suffix in (".pdf", ".png"):
                sys.stdout.write(f"{save_figure(drawn, FOLDER / f'{stem}{suffix}', DPI).name}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
