"""What figures/ commits: small files, shown in the docs, whose text and legends keep their colours."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from skimage import data

from carlab.files.pictures import colour
from figures.make import COLOURS, FOLDER, few_colours, lighten

ROOT = Path(__file__).parents[2]
MOST_BYTES, MOST_OF_ALL = 500_000, 4_000_000


def test_few_colours_keep_those_of_flat_areas() -> None:
    picture = data.astronaut().copy()
    for number in range(7):
        picture[: 20 + number, 30 * number : 30 * number + 25] = colour(number)
    small = few_colours(Image.fromarray(picture))
    again = np.asarray(small.convert("RGB"))
    assert len(np.unique(again.reshape(-1, 3), axis=0)) <= COLOURS
    for number in range(7):
        assert (again[:20, 30 * number : 30 * number + 25] == colour(number)).all()
    assert np.abs(again.astype(int) - picture).mean() < 4


def test_pictures_in_a_pdf_are_those_of_the_figure_but_smaller() -> None:
    figure = Figure(figsize=(2, 2))
    axes = figure.add_axes((0, 0, 0.5, 0.5))
    axes.imshow(data.astronaut())
    axes.set_xlim(0, 512)
    before = np.asarray(Image.fromarray(data.astronaut()).resize((130, 130)), dtype=int)
    lighten(figure)
    (shown,) = axes.images
    after = np.asarray(shown.get_array(), dtype=int)
    assert after.shape == (130, 130, 3)
    assert np.abs(after - before).mean() < 6
    assert tuple(shown.get_extent()) == (-0.5, 511.5, 511.5, -0.5)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.png")), ids=lambda path: path.stem)
def test_each_is_small_and_shown(path: Path) -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert any(f"figures/{path.name})" in page.read_text(encoding="utf-8") for page in pages)
    for one in (path, path.with_suffix(".pdf")):
        assert one.stat().st_size < MOST_BYTES, one.name


def test_all_of_them_are_small() -> None:
    files = [path for path in FOLDER.iterdir() if path.suffix in {".png", ".pdf"}]
    assert len(files) >= 26
    assert sum(path.stat().st_size for path in files) < MOST_OF_ALL
