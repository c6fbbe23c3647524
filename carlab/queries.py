"""Check queries, templates and background vocabularies once; later code refers to queries by index.

>>> check_queries([" red car ", "cat"])
('red car', 'cat')
>>> check_background(["road", "Cat", "sky", "road"], ("cat",))
('road', 'sky')
"""

import unicodedata
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Any

from carlab.data import lines
from carlab.errors import QueryError, invisible, quoted

CAM_TEMPLATE = "a clean origami {}."
"""Template of the class activation maps (released code, taken over from CLIP-ES)."""

CLASSIFIER_TEMPLATES = lines("templates.txt")
"""The 15 templates of the mask classifier, in the order of the released code."""

_LISTS = {name: tuple(text.split()) for name, text in (line.split(":") for line in lines("backgrounds.txt"))}
_PAPER = (query for name, queries in _LISTS.items() if name != "release" for query in queries)

BACKGROUNDS: dict[str, tuple[str, ...]] = {"none": (), **_LISTS, "all": tuple(dict.fromkeys(_PAPER))}
"""Background vocabularies by name: "release", 23 queries, from the released code, after CLIP-ES (Lin et al.,
CVPR 2023); the others from the paper's ablation of background queries, "all" its three lists without
repeats."""

_UNPRINTED = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories that no query may hold: control, lone surrogate, line and paragraph separator."""

_INVISIBLE = frozenset({"Cf", "Mn", "Zs"})
"""Categories that are invisible alone; joiners of emoji and accents are among them."""

_BLANK = "\u2800"
"""Braille without a dot: a symbol that is drawn as nothing."""

MOST_QUERIES = 10_000
"""Queries, or background queries, of a run."""
MOST_LETTERS = 100_000
"""Letters of a query."""


def check_queries(queries: Any) -> tuple[str, ...]:
    """Return the queries, outer whitespace stripped, in the order given; later code refers to them by index.

    Raises QueryError for one text, a set, or an empty list, or an item that is no text, is blank, holds
    control characters, or equals another.
    """
    texts = _check_texts(queries, "queries", "['cat']")
    if len(texts) > MOST_QUERIES:
        raise QueryError(f"expected at most {MOST_QUERIES} queries, got {len(texts)}; run them in parts")
    if not texts:
        raise QueryError("expected at least one query, got an empty list; write ['cat']")
    first: dict[str, int] = {}
    for index, text in enumerate(texts):
        earlier = first.setdefault(_identity(text), index)
        if earlier != index:
            raise QueryError(
                f"expected different queries, got {quoted(texts[earlier])} at position {earlier} and "
                f"{quoted(text)} at position {index}, counted from 0; remove one"
            )
    return texts


def check_background(background: Any, queries: Iterable[str]) -> tuple[str, ...]:
    """Return the background queries that compete against `queries`, in the order given.

    Repeats are merged, and one that equals a query is left out: a query must not compete against itself. None
    or an empty list gives ().

    Raises QueryError for one text or a set, or an item that is no text, blank, or holds control characters.
    """
    example = "['sky'] or BACKGROUNDS['all']"
    texts = () if background is None else _check_texts(background, "background", example)
    taken = {_identity(query) for query in queries}
    merged: dict[str, str] = {}
    for text in texts:
        merged.setdefault(_identity(text), text)
    return tuple(text for key, text in merged.items() if key not in taken)


def check_template(template: Any) -> str:
    """Return the template, stripped, if it has exactly one `{}` and no other brace.

    Raises QueryError if it has none, several, or a brace of another meaning, or holds control characters.
    """
    _check_text(template, "the template")
    if [char for char in template if char in "{}"] != ["{", "}"] or "{}" not in template:
        raise QueryError(
            f"expected a template with one {{}} and no other brace, got {quoted(template)}; "
            "write 'a photo of a {}.'"
        )
    return template.strip()


def _check_texts(texts: Any, what: str, example: str) -> tuple[str, ...]:
    """Return every text stripped, or raise QueryError for a wrong list or item."""
    if isinstance(texts, str | bytes):
        shown = quoted(texts)
        raise QueryError(f"expected a list of texts, got the text {shown}; write [{shown}]")
    if isinstance(texts, AbstractSet):  # its order changes from run to run, and with it every label
        raise QueryError(f"expected a list of texts, got a {type(texts).__name__}; write sorted({what})")
    try:
        items = list(texts)
    except Exception as error:  # an iterable of one's own may raise anything
        raise QueryError(
            f"expected a list of texts, got {type(texts).__name__} for {what}; write {example}"
        ) from error
    for index, item in enumerate(items):
        _check_text(item, f"{what}[{index}]")
    return tuple(str(item).strip() for item in items)


def _check_text(text: Any, where: str) -> None:
    if not isinstance(text, str):
        raise QueryError(f"expected a text, got {type(text).__name__} in {where}; write it in quotes")
    if len(text) > MOST_LETTERS:
        raise QueryError(
            f"expected at most {MOST_LETTERS} letters, got {len(text)} in {where}, {quoted(text)}; shorten it"
        )
    # Stripped first: a line read from a file may keep its newline at the end.
    for char in text.strip():
        category = unicodedata.category(char)
        # An invisible joiner or accent has a use between others; a letter that is drawn as nothing has none.
        if category in _UNPRINTED or char == _BLANK or (category == "Lo" and invisible(char)):
            raise QueryError(
                f"expected printable text, got U+{ord(char):04X} in {where}, {quoted(text)}; remove it"
            )
    if all(char.isspace() or unicodedata.category(char) in _INVISIBLE or invisible(char) for char in text):
        raise QueryError(f"expected a name, got only blanks in {where}, {quoted(text)}; write or remove it")


def _identity(text: str) -> str:
    """Return a key that is equal for texts equal to a tokeniser: case, inner blanks, composed accents."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())
