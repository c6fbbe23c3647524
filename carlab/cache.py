"""The one cache of the package: bounded in bytes, and out of use while an edit is open.

>>> cache = Cache()
>>> cache.get("answer", lambda: 6 * 7)
42
>>> cache.get("answer", lambda: 0)
42
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from threading import Lock
from typing import Any, TypeVar

from cachetools import LRUCache

from carlab.hooks import open_edits

LIMIT = 2**29
"""Bytes that a cache holds unless it is given another limit; what was used longest ago goes first."""
OVERHEAD = 64
"""Bytes counted for a value beside its arrays."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache:
    """Values by key, at most `limit` bytes of them.

    A key names everything that its value depends on, the stage that makes it included. While an edit is open
    (`carlab.edit`) every value is computed anew, and none is stored: an edited value outlives no `with`.

    Parameters
    ----------
    limit
        Bytes; a value larger than that is never stored.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._values: LRUCache[Any, Any] = LRUCache(limit, getsizeof=size)
        self._lock = Lock()  # the Lab computes in a thread of its own

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """Return the value of `key`; where it is missing, store and return what `make()` returns.

        Of threads that make one value at the same time, all return that of the first to be done.
        """
        if open_edits.get():
            return make()
        with self._lock:
            if key in self._values:
                return self._values[key]
        value = make()
        with self._lock, suppress(ValueError):  # larger than the whole cache
            value = self._values.setdefault(key, value)
        return value

    def get_all(self, keys: Sequence[K], make: Callable[[list[K]], Sequence[V]]) -> list[V]:
        """Return the value of every key; `make(missing)` is called once, for all that are missing."""
        with self._lock:
            known = (
                {} if open_edits.get() else {key: self._values[key] for key in keys if key in self._values}
            )
        missing = [key for key in dict.fromkeys(keys) if key not in known]
        made = make(missing) if missing else ()
        for key, value in zip(missing, made, strict=True):
            known[key] = self.get(key, lambda value=value: value)  # type: ignore[misc]
        return [known[key] for key in keys]

    def drop(self, kind: str) -> None:
        """Forget every value whose key is a tuple that begins with `kind`."""
        with self._lock:
            for key in [key for key in self._values if isinstance(key, tuple) and key[0] == kind]:
                del self._values[key]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()

    def __len__(self) -> int:
        return len(self._values)

    def __reduce__(self) -> tuple[Any, ...]:
        return Cache, (int(self._values.maxsize),)  # another process starts with an empty one


def stage_key(stage: Any, *irrelevant: str) -> tuple[Any, ...]:
    """Return a key of a stage without the fields that a cached value does not depend on.

    The type is part of it, so a variant of a stage never gets another variant's values.
    """
    if not is_dataclass(stage):
        return (stage,)
    names = (field.name for field in fields(stage) if field.name not in irrelevant)
    return (type(stage), *((name, getattr(stage, name)) for name in names))


def size(value: Any) -> int:
    """Return the bytes of the arrays and tensors in a value: itself, its items or its fields."""
    if hasattr(value, "nbytes"):
        return OVERHEAD + int(value.nbytes)
    if isinstance(value, Mapping):
        return OVERHEAD + sum(map(size, value.values()))
    if isinstance(value, list | tuple):
        return OVERHEAD + sum(map(size, value))
    if is_dataclass(value) and not isinstance(value, type):
        return OVERHEAD + sum(size(getattr(value, field.name)) for field in fields(value))
    return OVERHEAD
