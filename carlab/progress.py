"""How far a run is: told to whoever watches, who may stop it.

>>> with watching(lambda stage, done, of: print(stage, done, of)):
...     progress("encode", 0, 8)
encode 0 8
>>> progress("encode", 0, 8)  # nobody watches
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Watch = Callable[[str, int, int], None]
"""Called with what is about to be done ("encode", "refine" or "regions"), how many parts of it are done,
and of how many. What it raises ends the run; what was encoded by then is kept for the next."""

_watch: ContextVar[Watch | None] = ContextVar("carlab_watch", default=None)


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Tell `watch` how far the runs inside the `with` are; the innermost watch is told."""
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


def progress(stage: str, done: int, of: int) -> None:
    """Tell how far a stage is, before each part of it."""
    watch = _watch.get()
    if watch is not None:
        watch(stage, done, of)
