"""What is read is of the declared type, or one short line says where it is not."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carlab.evaluate.records import LabelRecord, Manifest, read_manifest, read_record
from carlab.files.schema import DEPTH, Count, Number, Share, convert, parse, parse_plain
from carlab.trace.stored import Metadata

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["id", "error", "format", "dataset", "true", "score", "x"]), inner)
    ),
    max_leaves=20,
)


@settings(max_examples=300)
@given(JSON)
def test_any_json_is_a_value_or_a_value_error(value: Any) -> None:
    content = json.dumps(value).encode()
    for read in (
        parse_plain,
        read_manifest,
        lambda text: parse(text, list[Number]),
        lambda text: parse(text, Metadata),
        lambda text: read_record(text, {"kind": "semantic", "classes": ["cat"]}),
    ):
        assert len(problem(read, content).splitlines()) <= 1


def problem(read: Any, content: bytes) -> str:
    """The error that a reader raises, "" for none."""
    try:
        read(content)
    except ValueError as error:
        return str(error)
    return ""


@settings(max_examples=300)
@given(JSON)
def test_what_is_plain_is_what_json_reads(value: Any) -> None:
    """As Python's own reader has it; what it takes and is refused here is endless, deep or not finite."""
    text = json.dumps(value)
    try:
        assert parse_plain(text) == json.loads(text)
    except ValueError:
        assert (
            any(word in text for word in ("NaN", "Infinity", 100 * "0", "\\ud")) or deep(value) or huge(value)
        )


def deep(value: Any, depth: int = 0) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth >= DEPTH or any(deep(item, depth + 1) for item in inner)


def huge(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(huge, value.values() if isinstance(value, dict) else value))
    return isinstance(value, int | float) and not abs(value) <= 1e300


@pytest.mark.parametrize(
    ("kind", "fine", "wrong"),
    [
        (Count, 2**53, [2**53 + 1, -1, 1.5, "1", True, None]),
        (Number, -1e300, [1e301, math.inf, math.nan, "1", None, True]),
        (Share, 1, [1.1, -0.1, "0"]),
    ],
)
def test_strict(kind: Any, fine: Any, wrong: list[Any]) -> None:
    assert convert(fine, kind) == fine
    for value in wrong:
        with pytest.raises(ValueError, match="."):
            convert(value, kind)


def test_types_say_where() -> None:
    with pytest.raises(ValueError, match=r"missing required field"):
        convert({"id": "a"}, LabelRecord)
    with pytest.raises(ValueError, match=r"\$\.format"):
        parse(b'{"format": "1"}', Manifest)
