"""Runs in a thread of its own, the latest wish first: a slider never waits for a model."""

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Any


class StoppedError(Exception):
    """A run was cancelled, or overtaken by a later wish; nothing went wrong."""


class Runner:
    """Does one task at a time; of those that come meanwhile only the last is done.

    A task is given `stopped`, which tells it to raise `StoppedError`.
    """

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._next: Callable[[], Any] | None = None
        self._busy = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def submit(self, task: Callable[[Callable[[], bool]], None]) -> None:
        """Do this as soon as possible, instead of what is being done or waits."""
        context = copy_context()  # hooks that the user opened around the widget hold in the thread too
        with self._lock:
            self._stop.set()
            self._next = lambda: context.run(task, self._stop.is_set)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, daemon=True, name="carlab-lab")
                self._thread.start()
            self._lock.notify_all()

    def cancel(self) -> None:
        """Stop what is being done, and forget what waits."""
        with self._lock:
            self._next = None
            self._stop.set()

    @property
    def waiting(self) -> bool:
        """Whether a later task overtakes the present one."""
        return self._next is not None

    def wait(self, timeout: float | int | None = None) -> bool:
        """Block until there is nothing to do; False if that took longer than `timeout` seconds."""
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
