"""Where the time went, and how many model passes were made.

Stages report to whatever ledger is open around them; with none open, nothing
is kept. Speed is then measured by the benchmark, and *counts* of passes, which
do not depend on the machine, are what tests check.

>>> with open_ledger() as ledger:
...     with timed("trunk"):
...         count("trunk")
...     count("vjp", 5)
>>> ledger.passes
{'trunk': 1, 'vjp': 5}
>>> list(ledger.seconds)
['trunk']
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter


@dataclass
class Ledger:
    """Seconds and passes by name, in the order they first occurred."""

    seconds: dict[str, float] = field(default_factory=dict)
    passes: dict[str, int] = field(default_factory=dict)


_open: ContextVar[tuple[Ledger, ...]] = ContextVar("carlab_ledgers", default=())


@contextmanager
def open_ledger() -> Iterator[Ledger]:
    """Collect what happens inside the `with`; ledgers nest, and each sees all."""
    ledger = Ledger()
    token = _open.set((*_open.get(), ledger))
    try:
        yield ledger
    finally:
        _open.reset(token)


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Add the seconds spent inside the `with` to `name`."""
    start = perf_counter()
    try:
        yield
    finally:
        book(name, perf_counter() - start)


def count(name: str, passes: int = 1) -> None:
    """Add `passes` model passes to `name`."""
    for ledger in _open.get():
        ledger.passes[name] = ledger.passes.get(name, 0) + passes


def book(name: str, seconds: float) -> None:
    """Add seconds that were measured elsewhere to `name`."""
    for ledger in _open.get():
        ledger.seconds[name] = ledger.seconds.get(name, 0.0) + seconds
