"""Reading files of a data set; whatever is wrong is one DatasetError that names the file expected."""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int
from PIL import Image

from carlab.errors import DatasetError


class Names(NamedTuple):
    """Classes of a data set: official names, words to ask for, which are stuff, and the release's words."""

    classes: tuple[str, ...]
    queries: tuple[str, ...]
    stuff: tuple[bool, ...]
    released: tuple[str, ...]


def class_names(name: str) -> Names:
    """Read a list that ships with carlab; its comments name the columns."""
    text = files("carlab.datasets").joinpath("names", f"{name}.tsv").read_text(encoding="utf-8")
    return parse_names(line for line in text.splitlines() if not line.startswith("#"))


def parse_names(lines: Any) -> Names:
    """Names of lines such as `windowpane<TAB>window<TAB>stuff<TAB>pane`; the name alone will do."""
    rows = [[*map(str.strip, line.split("\t")), "", "", ""] for line in lines if line.strip()]
    return Names(
        tuple(row[0] for row in rows),
        tuple(row[1] or row[0] for row in rows),
        tuple(row[2] == "stuff" for row in rows),
        tuple(row[3] or row[1] or row[0] for row in rows),
    )


def find_root(root: Path, candidates: Sequence[str | Path], mark: str) -> Path:
    """The folder, among `root` and those under it, that holds `mark`.

    Raises
    ------
    DatasetError
        If none does.
    """
    places = [root, *(root / candidate for candidate in candidates)]
    for place in places:
        if (place / mark).exists():
            return place
    below = ", ".join(str(candidate) for candidate in candidates if not Path(candidate).is_absolute())
    raise DatasetError(
        f"expected {mark} in {root}, or in {below} there, got folders without it; give the right --root"
    )


def need(path: Path, what: str) -> Path:
    """The path, if something is there."""
    if not path.exists():
        raise DatasetError(f"expected {what} at {path}, got nothing there; check --root and --split")
    return path


def read_lines(path: Path, what: str) -> list[str]:
    """Lines of a text file that are not blank; UTF-8, or Latin-1 as some official lists are."""
    try:
        content = need(path, what).read_bytes()
    except OSError as error:
        raise damaged(path, what, error) from error
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_json(path: Path, what: str) -> Any:
    """The content of a JSON file."""
    try:
        return json.loads(need(path, what).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, what, error) from error


def read_index(path: Path, what: str) -> Int[np.ndarray, "h w"]:
    """A picture of whole numbers, palette or grey, of 8 or 16 bits."""
    try:
        with Image.open(need(path, what)) as picture:
            values = np.asarray(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise damaged(path, what, error) from error
    if values.ndim != 2:
        raise DatasetError(
            f"expected {what}, one number a pixel, at {path}, got {values.shape}; take the official file"
        )
    return values.astype(np.int64)


def read_region(path: Path, what: str) -> Bool[np.ndarray, "h w"]:
    """A mask: whatever is not zero."""
    return read_index(path, what) > 0


def in_range(labels: Int[np.ndarray, "h w"], most: int, path: Path) -> Int[np.ndarray, "h w"]:
    """The labels, if none is above the number of classes."""
    if labels.size and labels.max() > most:
        raise DatasetError(
            f"expected labels up to {most} in {path}, got {labels.max()}; is it of another data set?"
        )
    return labels


def damaged(path: Path, what: str, error: Exception) -> DatasetError:
    """An error of a file that is there but cannot be read."""
    return DatasetError(f"expected {what} at {path}, got a damaged file ({error}); copy it again")
