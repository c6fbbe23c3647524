"""Run tasks in a thread of its own, the latest first: a slider never waits for a model."""

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Any


class StoppedError(Exception):
    """A run was cancelled, or superseded by a later one; not a failure."""


class Runner:
    """Runs one task at a time; of those submitted meanwhile only the last is run.

    A task is called with `stopped`; once `stopped()` is true it should raise `StoppedError`.
    """

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._next: Callable[[], Any] | None = None
        self._busy = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def submit(self, task: Callable[[Callable[[], bool]], None]) -> None:
        """Run a task as soon as possible, in place of the running and the waiting one."""
        context = copy_context()  # hooks that the user opened around the widget hold in the thread too
        with self._lock:
            self._stop.set()
            self._next = lambda: context.run(task, self._stop.is_set)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, daemon=True, name="carlab-lab")
                self._thread.start()
            self._lock.notify_all()

    def cancel(self) -> None:
        """Stop the running task, and drop the waiting one."""
        with self._lock:
            self._next = None
            self._stop.set()

    @property
    def waiting(self) -> bool:
        """Whether a later task supersedes the present one."""
        return self._next is not None

    def wait(self, timeout: float | int | None = None) -> bool:
        """Block until no task is left; False if that took longer than `timeout` seconds."""
        with self._lock:
            return self._lock.wait_for(lambda: self._next is None and not self._busy, timeout)

    def _work(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._next is not None)
                task, self._next = self._next, None
                self._stop.clear()
                self._busy = True
            try:
                if task is not None:
                    task()
            finally:
                with self._lock:
                    self._busy = False
                    self._lock.notify_all()
