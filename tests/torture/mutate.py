"""Damage bytes, JSON values and arrays at random; the same for the same generator."""

import copy
from typing import Any

import numpy as np


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


WRONG: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 7, 2**31, 2**53 + 1, 2**63, 10**400, -0.5, 0.5, 1e308, float("nan")),
    *("", "x", "\x1b[2J", "\u3164", "../..", "a\0b", "\ud800", 10_000 * "x", 200_000 * "x"),
    *([], {}, [[]], [None], {"": 1}, nested(40), nested(300), list(range(1000))),
)
"""Values to put where others belong."""
SHAPES = ((), (0,), (3,), (0, 4), (2, 3), (3, 3), (54, 54), (3, 6, 9), (1, 6, 9), (2, 0, 3), (1, 1, 1, 3))
DTYPES = ("float32", "float64", "float16", "int64", "int32", "uint8", "uint64", "bool")


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a JSON value with each of its keys."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict | list):
        items = list(value.items() if isinstance(value, dict) else enumerate(value))
    return [(value, key) for key, _ in items] + [place for _, item in items for place in places(item)]


def damaged_json(rng: np.random.Generator, value: Any) -> Any:
    """A copy with one to three entries replaced, removed, or swapped with others."""
    value = copy.deepcopy(value)
    for _ in range(rng.integers(1, 4)):
        found = places(value)
        if not found:
            return value
        (holder, key), (other, place) = (found[index] for index in rng.integers(len(found), size=2))
        match rng.integers(4):
            case 0 if isinstance(holder, dict):
                del holder[key]
            case 1:
                holder[key] = copy.deepcopy(other[place])
            case 2 if isinstance(holder, list):
                holder.append(copy.deepcopy(other[place]))
            case _:
                holder[key] = copy.deepcopy(WRONG[rng.integers(len(WRONG))])
    return value


def damaged_bytes(rng: np.random.Generator, content: bytes) -> bytes:
    """A copy with bytes changed, cut out, repeated, or put in; headers are hit most."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        end = max(1, min(len(data), 300 if rng.random() < 0.7 else len(data)))
        place, length = int(rng.integers(end)), int(rng.integers(1, 9))
        match rng.integers(5):
            case 0:
                del data[place : place + length]
            case 1:
                data[place:place] = data[place : place + length]
            case 2:
                data[place : place + length] = bytes(rng.choice([0, 1, 127, 128, 255], length).tolist())
            case 3 if rng.random() < 0.2:
                del data[place:]
            case _:
                data[place : place + 1] = rng.bytes(1)
    return bytes(data)


def odd_array(rng: np.random.Generator) -> np.ndarray:
    """An array of any shape and type; numbers with a fraction may be NaN or infinite."""
    shape, dtype = SHAPES[rng.integers(len(SHAPES))], DTYPES[rng.integers(len(DTYPES))]
    numbers = rng.integers(0, 4, shape)
    if dtype.startswith("float"):
        return rng.choice(np.array([0, 0.5, 1, 1e4, np.nan, np.inf, -np.inf]), shape).astype(dtype)
    return np.asarray(numbers).astype(dtype)
