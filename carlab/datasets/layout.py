"""Read the files of a data set; whatever is wrong is one DatasetError that names the expected file."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from carlab.errors import DatasetError, quoted, reason
from carlab.files.images import load_labels
from carlab.files.opening import MOST_JSON, read_file
from carlab.files.schema import parse
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
        if os.path.exists(place / mark):
            return place
    below = ", ".join(str(candidate) for candidate in candidates if not Path(candidate).is_absolute())
    raise DatasetError(
        f"expected {mark} in {root}, or in {below} there, got folders without it; give the right --root"
    )


def need(path: Path, what: str) -> Path:
    """Return the path; raise DatasetError if there is nothing, or the name is none that the disk can have."""
    try:
        os.stat(path)
    except FileNotFoundError as error:
        raise DatasetError(
            f"expected {what} at {quoted(path)}, got nothing there; check --root and --split"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DatasetError(
            f"expected {what} at {quoted(path)}, got none ({reason(error)}); check --root and --split"
        ) from error
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
            f"expected {what} at {quoted(path)}, got a damaged or a different file ({reason(error)}); "
            "replace it"
        ) from error


def read_lines(path: Path, what: str) -> list[str]:
    """Return the lines of a text file that are not blank; UTF-8, or Latin-1 as in some official lists."""
    with reading(path, what):
        content = read_file(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_json(path: Path, what: str, kind: Any) -> Any:
    """Read a JSON file of this type (see `carlab.files.schema`)."""
    with reading(path, what):
        return parse(read_file(path, MOST_JSON), kind)


def read_index(path: Path, what: str) -> LabelMap:
    """Read an image file of one integer per pixel, palette or grey, of 8 or 16 bits."""
    with reading(path, what):
        return whole_labels(load_labels(path))


def whole_labels(values: Shaped[np.ndarray, "h w"]) -> LabelMap:
    """Return a label map of any numbers as integers; ValueError if they are none, or negative."""
    labels = values.astype(np.int64)
    if (labels != values).any() or labels.min(initial=0) < 0:
        raise ValueError("labels that are no whole numbers from 0 on")
    return labels
