"""One family of errors: each says what was expected, what came, and what to do.

Everything that a user can get wrong raises a subclass of `CarlabError`; any other exception that leaves the
package is a bug. The command line prints a `CarlabError` as one line and exits with code 2.
"""

import os
from collections.abc import Collection
from typing import Any


class CarlabError(Exception):
    """Base of every error that carlab raises on purpose."""


class ImageError(CarlabError):
    """An image that cannot be read, or an array that is not an image."""


class VideoError(CarlabError):
    """A video that cannot be read, or a folder of results that belongs to another one."""


class QueryError(CarlabError):
    """Queries, templates or background queries that cannot be used."""


class SettingError(CarlabError):
    """A preset, stage, device or number outside what is allowed."""


class BackboneError(CarlabError):
    """A model that cannot be found, loaded or trusted."""


class ProbeError(CarlabError):
    """An unknown probe, or an edit that changed a probe's shape or type."""


class TraceError(CarlabError):
    """A trace file that cannot be read or written."""


class DatasetError(CarlabError):
    """A data set whose layout or content is not the official one."""


class ComputeError(CarlabError):
    """An image on which a library, or a stage of one's own, raised an error, such as one of memory."""


class RunError(CarlabError):
    """The folder of an evaluation that cannot be read, written, or gone on with."""


def quoted(text: str | bytes | os.PathLike[str]) -> str:
    """Return a user's text or path in quotes for a message: on one line, its middle cut out if it is long.

    >>> quoted("red car"), len(quoted(1000 * "a"))
    ("'red car'", 113)
    """
    shown = repr(os.fsdecode(text))
    return shown if len(shown) <= 120 else f"{shown[:50]}...{shown[-60:]}"


def reason(error: BaseException) -> str:
    """Return what another library's error says, on one short line; its type if it says nothing."""
    said = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    line = "".join(letter if letter.isprintable() else "?" for letter in str(said).splitlines()[0])
    return line if len(line) <= 160 else f"{line[:157]}..."


def failure(error: Exception) -> CarlabError:
    """Return what an image raised as an error of carlab, in one line; one of carlab itself as it is.

    No traceback is kept: it would hold the arrays of its frames.

    >>> for error in (MemoryError(), ZeroDivisionError("division by zero")):
    ...     print(str(failure(error)).partition(";")[0])
    expected enough memory for an image, got MemoryError
    expected the masks of an image, got ZeroDivisionError (division by zero)
    """
    if isinstance(error, CarlabError):
        return error.with_traceback(None)
    kind, said = type(error).__name__, reason(error)
    got = kind if said == kind else f"{kind} ({said})"
    if "memory" in got.lower():  # torch raises a plain RuntimeError on a CPU
        advice = "take fewer images together, a smaller batch, or a smaller image"
        return ComputeError(f"expected enough memory for an image, got {got}; {advice}")
    return ComputeError(f"expected the masks of an image, got {got}; run the model on it alone to see where")


def check_choice(what: str, value: Any, choices: Collection[Any]) -> None:
    """Raise SettingError unless a value is one of the choices."""
    if value not in choices:
        raise SettingError(f"expected {what} out of {', '.join(choices)}, got {value!r}; choose one of them")


def check_share(what: str, value: float, advice: str) -> None:
    """Raise SettingError unless a number is in [0, 1]."""
    if not 0 <= value <= 1:
        raise SettingError(f"expected {what} in [0, 1], got {value}; {advice}")
