"""Check what a file holds against a declared type before anything uses it.

Types are strict (a text is no number), numbers are finite, lengths and depth are limited. The shapes
themselves are declared beside their readers, as msgspec's structs or typed dicts.

>>> parse(b'{"cat": 3}', dict[str, Count])
{'cat': 3}
>>> parse(b'{"cat": "3"}', dict[str, Count])
Traceback (most recent call last):
ValueError: Expected `int`, got `str` - at `$[...]`
"""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

DEPTH = 32
"""Most levels of nested lists and mappings."""
LONGEST = 100_000
"""Letters of the longest text."""
LARGEST = 1e300
"""Beyond it a number counts as infinite."""
BOM = b"\xef\xbb\xbf"
"""What Windows writes before a text in UTF-8."""

Count = Annotated[int, Meta(ge=0, le=2**53)]
"""A whole number that is exact in double precision too."""
Number = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
"""A finite number."""
Share = Annotated[float, Meta(ge=0, le=1)]
Text = Annotated[str, Meta(max_length=LONGEST)]


def parse(content: bytes | str, kind: Any) -> Any:
    """Return JSON as a value of this type; ValueError, in one short line, if it is none."""
    if isinstance(content, bytes):
        content = content.removeprefix(BOM)
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
    except RecursionError:
        raise ValueError("nested too deeply") from None


def convert(value: Any, kind: Any) -> Any:
    """Return a value of plain lists, mappings, texts and numbers as this type; ValueError if it is none."""
    try:
        return msgspec.convert(value, type=kind, strict=True)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_plain(content: bytes | str) -> Any:
    """Return JSON of any form as lists, mappings, texts and finite numbers; ValueError if it is not plain."""
    value = parse(content, Any)
    _check_plain(value, DEPTH)
    return value


def _check_plain(value: Any, depth: int) -> None:
    if depth == 0:
        raise ValueError("nested too deeply")
    if isinstance(value, Mapping):
        for name, item in value.items():
            _check_plain(name, depth - 1)
            _check_plain(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _check_plain(item, depth - 1)
    elif isinstance(value, str):
        if len(value) > LONGEST:
            raise ValueError(f"a text of {len(value)} letters")
    elif value is not None and not abs(value) <= LARGEST:  # also of a number without end
        raise ValueError("a number that is not finite")
