"""Run tasks in a thread, the latest first: a slider never waits for a model."""

import threading
from collections.abc import Callable
from contextvars import copy_context


class StoppedError(Exception):
    """A run was cancelled, or superseded by a later one; not a failure."""


class Runner:
    """Run one task at a time in a thread; of those submitted meanwhile only the last is run.

    A task is called with `stopped`; once `stopped()` is true it should raise `StoppedError`.
    """

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._tasks: list[Callable[[], None]] = []  # the running one, and the waiting one
        self._stop = threading.Event()

    def submit(self, task: Callable[[Callable[[], bool]], None]) -> None:
        """Run a task as soon as possible, in place of the running and the waiting one."""
        context = copy_context()  # hooks that the user opened around the widget hold in the thread too
        with self._lock:
            self._stop.set()
            self._tasks[1:] = [lambda: context.run(task, self._stop.is_set)]
            if len(self._tasks) == 1:
                self._start()

    def cancel(self) -> None:
        """Stop the running task, and drop the waiting one."""
        with self._lock:
            self._stop.set()
            del self._tasks[1:]

    @property
    def waiting(self) -> bool:
        """True if a later task supersedes the running one."""
        return len(self._tasks) > 1

    def wait(self, timeout: float | int | None = None) -> bool:
        """Block until no task is left; return False if that took longer than `timeout` seconds."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._tasks, timeout)

    def _start(self) -> None:
        self._stop.clear()
        threading.Thread(target=self._work, daemon=True, name="carlab-lab").start()

    def _work(self) -> None:
        try:
            self._tasks[0]()
        finally:
            with self._lock:
                del self._tasks[0]
                if self._tasks:
                    self._start()
                self._lock.notify_all()
