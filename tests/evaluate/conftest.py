"""A data set of six small pictures on disk, with the tiny CLIP's words for classes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carlab.datasets import Dataset, load_dataset
from tests.conftest import WORDS
from tests.datasets.builders import save_labels, save_text

PICTURES = 6


def save_pictures(root: Path, number: int = PICTURES, *, names: tuple[str, ...] = WORDS) -> Path:
    """A `folder` data set: coloured noise, and masks in which each class fills a column or two."""
    random = np.random.default_rng(5)
    (root / "images").mkdir(parents=True)
    save_text(root / "names.txt", *names)
    for k in range(number):
        size = (40 + 3 * k, 56)
        Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(root / f"images/{k}.png")
        columns = np.repeat(random.choice([0, 1, 2, 3, 4, 5, 255], 7), 8)
        save_labels(root / f"masks/{k}.png", np.broadcast_to(columns, size))
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of the data set."""
    return save_pictures(tmp_path / "data")


@pytest.fixture
def dataset(root: Path) -> Dataset:
    """The data set."""
    return load_dataset("folder", root)
