"""Hooks of a run: record and edit probes, measure its cost, watch its progress.

A stage passes a value through `probe(name, value)`, which returns it unchanged unless an edit is open,
and reports what it computes through `timed` and `count`. All of them act only inside a `with`, and leave
nothing behind when it ends.

>>> import numpy as np
>>> with record("filter.*") as seen, edit("filter.scores", lambda scores: scores * 0):
...     probe("filter.scores", np.array([0.2, 0.8]))
array([0., 0.])
>>> seen["filter.scores"]
array([0., 0.])
>>> with measure() as cost, timed("vjp", passes=5):
...     count("trunk")
>>> cost.passes
{'trunk': 1, 'vjp': 5}
>>> with watching(lambda stage, done, of: print(stage, done, of)):
...     progress("encode", 0, 8)
encode 0 8
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from time import perf_counter
from typing import Any

import numpy as np

from carlab.errors import ProbeError
from carlab.hooks.table import check_patterns

Watch = Callable[[str, int, int], None]
"""Called with the stage that is about to work ("encode", "refine" or "regions"), how many of its parts are
done, and of how many. What it raises ends the run; embeddings encoded by then stay in the cache."""


@dataclass
class Recording:
    """What happened while it was open: recorded probes, seconds and forward passes by name.

    Parameters
    ----------
    patterns
        Names or patterns of the probes to record.
    clock
        Returns seconds, see `measure`.
    """

    patterns: tuple[str, ...] = ()
    probes: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    passes: dict[str, int] = field(default_factory=dict)
    clock: Callable[[], float] = perf_counter

    def add(self, other: "Recording", share: float = 1.0) -> None:
        """Add the cost in `other`, or a share of it, to this one."""
        for name, seconds in other.seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds * share
        for name, passes in other.passes.items():
            self.passes[name] = self.passes.get(name, 0) + round(passes * share)


_open: ContextVar[tuple[Recording, ...]] = ContextVar("carlab_recordings", default=())
open_edits: ContextVar[tuple[tuple[str, Callable[[Any], Any]], ...]] = ContextVar("carlab_edits", default=())
"""Name and function of every open edit: while there is one, no cache may be read or filled."""
_watch: ContextVar[Watch | None] = ContextVar("carlab_watch", default=None)


@contextmanager
def collect(recording: Recording) -> Iterator[Recording]:
    """Record into `recording` while the `with` lasts; it can be opened again later."""
    token = _open.set((*_open.get(), recording))
    try:
        yield recording
    finally:
        _open.reset(token)


@contextmanager
def record(*patterns: str) -> Iterator[dict[str, np.ndarray]]:
    """Record every probe whose name matches a pattern (`"cam.*"`).

    Yields a dict name -> latest value as a NumPy copy. A `Trace` made inside the `with` also carries the
    recorded values, by step.

    Raises ProbeError if a pattern matches no probe.
    """
    with collect(Recording(check_patterns(patterns))) as recording:
        yield recording.probes


def measure(wait: Callable[[], None] | None = None) -> AbstractContextManager[Recording]:
    """Measure the seconds and forward passes of everything inside the `with`.

    Parameters
    ----------
    wait
        Called before each reading of the clock. A GPU computes after the call that asked for it has returned:
        give `torch.cuda.synchronize`, and each part is charged for its own work. That takes time itself.
    """

    def clock() -> float:
        if wait is not None:
            wait()
        return perf_counter()

    return collect(Recording(clock=clock))


@contextmanager
def edit(name: str, fn: Callable[[Any], Any]) -> Iterator[None]:
    """Replace the value of one probe by `fn(value)` while the `with` lasts.

    `fn` gets a copy of the stage's own array (NumPy, or a torch tensor for the probes inside the model) and
    returns one of the same shape; edits of one probe apply in the order in which they were opened. While any
    edit is open no cache is read or filled.

    Raises ProbeError if there is no such probe; later, if `fn` changes shape or type.
    """
    check_patterns((name,), exact=True)
    token = open_edits.set((*open_edits.get(), (name, fn)))
    try:
        yield
    finally:
        open_edits.reset(token)


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Report the progress of the runs inside the `with` to `watch`; the innermost one is called."""
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


def probe(name: str, value: Any, *, edit: bool = True, record: bool = True) -> Any:
    """Apply the open edits of `name` to a copy of `value`, record the result, and return it.

    Without an edit `value` itself is returned. A stage whose values come from a cache edits them where they
    are computed (`record=False`), and records them where they are used (`edit=False`).
    """
    for wanted, fn in open_edits.get():
        if edit and wanted == name:
            value = _checked(name, value, fn(value.clone() if hasattr(value, "clone") else value.copy()))
    for recording in _open.get():
        if record and any(fnmatchcase(name, pattern) for pattern in recording.patterns):
            recording.probes[name] = as_numpy(value)
    return value


def recorded_patterns() -> tuple[str, ...]:
    """Return all patterns of the open recordings; a run records them into its Trace."""
    return tuple(pattern for recording in _open.get() for pattern in recording.patterns)


@contextmanager
def timed(name: str, passes: int = 0) -> Iterator[None]:
    """Add the seconds spent inside the `with` to `name`, and so many forward passes."""
    opened = _open.get()
    starts = [recording.clock() for recording in opened]
    try:
        yield
    finally:
        for recording, start in zip(opened, starts, strict=True):
            seconds = recording.clock() - start
            recording.seconds[name] = recording.seconds.get(name, 0.0) + seconds
            if passes:
                recording.passes[name] = recording.passes.get(name, 0) + passes


def count(name: str, passes: int = 1) -> None:
    """Add `passes` forward passes to `name`."""
    for recording in _open.get():
        recording.passes[name] = recording.passes.get(name, 0) + passes


def charge(cost: Recording) -> None:
    """Add a cost that was measured elsewhere, in another process."""
    for recording in _open.get():
        recording.add(cost)


def progress(stage: str, done: int, of: int) -> None:
    """Report how many of a stage's parts are done, before each part of it."""
    watch = _watch.get()
    if watch is not None:
        watch(stage, done, of)


def as_numpy(value: Any) -> np.ndarray:
    """Return a NumPy copy of an array or tensor; bfloat16 becomes float32.

    Torch is not imported here: a tensor is known by its methods.
    """
    if hasattr(value, "detach"):
        tensor = value.detach().cpu()
        value = (tensor.float() if tensor.is_floating_point() and tensor.itemsize < 4 else tensor).numpy()
    return np.array(value)


def _checked(name: str, value: Any, new: Any) -> Any:
    if type(new) is not type(value) or new.shape != value.shape or new.dtype != value.dtype:
        came = f"{type(new).__name__} {tuple(getattr(new, 'shape', ()))} {getattr(new, 'dtype', '')}"
        raise ProbeError(
            f"the edit of {name!r} must return a {type(value).__name__} {tuple(value.shape)} "
            f"{value.dtype}, got {came.strip()}; return an array like the one it was given"
        )
    return new
