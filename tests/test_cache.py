"""The one cache: what it serves, what it stores, how much it holds."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pytest

from carlab.cache import OVERHEAD, Cache, size, stage_key
from carlab.hooks import edit


def refuse(*_: Any) -> Any:
    raise AssertionError("made again")


def test_a_value_is_made_once_and_served_by_its_key() -> None:
    cache = Cache()
    assert [cache.get("a", lambda: 1), cache.get("a", refuse), cache.get("b", lambda: 2)] == [1, 1, 2]
    assert cache.get_all(["b", "a"], refuse) == [2, 1]
    cache.clear()
    assert len(cache) == 0


def test_what_is_missing_is_made_in_one_call() -> None:
    cache, calls = Cache(), []

    def make(missing: Sequence[str]) -> list[str]:
        calls.append(list(missing))
        return [key.upper() for key in missing]

    cache.get("a", lambda: "A")
    assert cache.get_all(["b", "a", "c", "b"], make) == ["B", "A", "C", "B"]
    assert calls == [["b", "c"]]


def test_while_an_edit_is_open_nothing_is_served_and_nothing_stored() -> None:
    cache = Cache()
    cache.get("a", lambda: "clean")
    with edit("filter.scores", lambda scores: scores):
        assert cache.get("a", lambda: "edited") == "edited"
        assert cache.get("b", lambda: "edited") == "edited"
        assert cache.get_all(["a", "c"], lambda missing: ["edited"] * len(missing)) == ["edited"] * 2
    assert cache.get_all(["a"], refuse) == ["clean"]
    assert cache.get_all(["b", "c"], lambda missing: ["clean"] * len(missing)) == ["clean"] * 2


def test_threads_that_make_a_value_at_the_same_time_get_one() -> None:
    cache, both, got = Cache(), Barrier(2), []

    def make() -> object:
        both.wait(timeout=30)
        return object()

    threads = [Thread(target=lambda: got.append(cache.get("a", make))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got[0] is got[1] is cache.get("a", refuse)


def test_what_was_used_longest_ago_goes_first() -> None:
    cache, value = Cache(3 * (OVERHEAD + 800)), np.zeros(100)
    for key in "abc":
        cache.get(key, lambda: value)
    cache.get("a", refuse)
    cache.get("d", lambda: value)
    assert len(cache) == 3
    for key in "acd":
        cache.get(key, refuse)
    with pytest.raises(AssertionError, match="made again"):
        cache.get("b", refuse)


def test_what_is_larger_than_the_cache_is_not_stored() -> None:
    cache = Cache(1000)
    assert len(cache.get("a", lambda: np.zeros(1000))) == 1000
    assert len(cache) == 0


def test_the_size_is_that_of_all_arrays_inside() -> None:
    @dataclass
    class Two:
        a: Any
        b: Any

    array = np.zeros(10, np.float32)
    assert size(array) == OVERHEAD + 40
    assert size({"a": array, "b": [array, "text"]}) == 2 * OVERHEAD + 2 * size(array) + OVERHEAD
    assert size(Two(array, (array,))) == 2 * OVERHEAD + 2 * size(array)


def test_another_process_starts_with_an_empty_one() -> None:
    cache = Cache(5000)
    cache.get("a", lambda: 1)
    other = pickle.loads(pickle.dumps(cache))  # noqa: S301 - our own
    assert len(other) == 0
    other.get("b", lambda: np.zeros(1000))  # as small as the first
    assert len(other) == 0


def test_a_value_may_be_made_in_several_threads() -> None:
    """No lock is held while a value is made: a thread that waits for another one must not block it."""
    cache, seen = Cache(), []

    def make() -> int:
        inner = Thread(target=lambda: seen.append(cache.get("inner", lambda: 2)))
        inner.start()
        inner.join(30)
        return 1

    assert cache.get("outer", make) == 1
    assert seen == [2]


@dataclass(frozen=True)
class Stage:
    power: float
    name: str = "x"


@dataclass(frozen=True)
class Variant(Stage):
    """Differs in what it does alone, not in its fields."""


def test_the_key_of_a_stage_is_its_type_and_its_fields() -> None:
    assert stage_key(Stage(1.0), "name") == stage_key(Stage(1.0, "y"), "name")
    stages = (Stage(1.0), Stage(1.0, "y"), Stage(2.0), Variant(1.0))
    assert len({stage_key(stage) for stage in stages}) == 4
    assert stage_key(refuse) == (refuse,)
