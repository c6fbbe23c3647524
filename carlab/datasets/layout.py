"""Read the files of a data set; whatever is wrong is one DatasetError that names the expected file."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from carlab.errors import DatasetError
from carlab.files.shapes import LabelMap


class Names(NamedTuple):
    """Classes of a data set: official names, queries, which are stuff, and the released code's queries."""

    classes: tuple[str, ...]
    queries: tuple[str, ...]
    stuff: tuple[bool, ...]
    released: tuple[str, ...]


def read_names(name: str) -> Names:
    """Read a list that ships with carlab; its comments name the columns."""
    text = files("carlab.datasets").joinpath("names", f"{name}.tsv").read_text(encoding="utf-8")
    return parse_names(line for line in text.splitlines() if not line.startswith("#"))


def parse_names(lines: Iterable[str]) -> Names:
    """Parse lines such as `windowpane<TAB>window<TAB>stuff<TAB>pane`; all but the name is optional."""
    rows = [[*map(str.strip, line.split("\t")), "", "", ""] for line in lines if line.strip()]
    return Names(
        tuple(row[0] for row in rows),
        tuple(row[1] or row[0] for row in rows),
        tuple(row[2] == "stuff" for row in rows),
        tuple(row[3] or row[1] or row[0] for row in rows),
    )


def find_root(root: Path, candidates: Sequence[str | Path], mark: str) -> Path:
    """Return the first folder that holds `mark`, `root` or a candidate below it; else raise DatasetError."""
    for place in (root, *(root / candidate for candidate in candidates)):
        if (place / mark).exists():
            return place
    below = ", ".join(str(candidate) for candidate in candidates if not Path(candidate).is_absolute())
    raise DatasetError(
        f"expected {mark} in {root}, or in {below} there, got folders without it; give the right --root"
    )


def need(path: Path, what: str) -> Path:
    """Return the path; raise DatasetError if it does not exist."""
    if not path.exists():
        raise DatasetError(f"expected {what} at {path}, got nothing there; check --root and --split")
    return path


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Raise one DatasetError for a missing file, and for any error while it is read and parsed."""
    need(path, what)
    try:
        yield
    except DatasetError:
        raise
    except Exception as error:  # damaged pickles, MATLAB files and images raise almost anything
        raise DatasetError(
            f"expected {what} at {path}, got a damaged or a different file ({error!r}); replace it"
        ) from error


def read_lines(path: Path, what: str) -> list[str]:
    """Return the lines of a text file that are not blank; UTF-8, or Latin-1 as in some official lists."""
    with reading(path, what):
        content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_index(path: Path, what: str) -> LabelMap:
    """Read an image file of one integer per pixel, palette or grey, of 8 or 16 bits."""
    with reading(path, what), Image.open(path) as picture:
        values = np.asarray(picture)
        if values.ndim != 2:
            raise ValueError(f"{values.shape}, not one number per pixel")
    return values.astype(np.int64)
