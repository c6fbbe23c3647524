"""One family of errors: each says what was expected, what came, and what to do.

Everything that a user can get wrong raises a subclass of `CarlabError`; any other exception that leaves the
package is a bug. The command line prints a `CarlabError` as one line and exits with code 2.
"""

import os
from collections.abc import Collection
from contextlib import suppress
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar

INVISIBLE = (
    *((0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5)),
    *((0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164)),
    *((0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3)),
    *((0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
)
"""First and last code points of the letters that are drawn as nothing, such as the Hangul fillers: Unicode's
property Default_Ignorable_Code_Point (DerivedCoreProperties.txt)."""


class CarlabError(Exception):
    r"""Base of every error that carlab raises on purpose: one line that a terminal shows as it is.

    >>> print(CarlabError("two" + chr(10) + "lines"))
    two\nlines
    """

    LONGEST: ClassVar[int] = 2000
    """Letters of a message; what is cut out of a longer one is its middle."""

    def __init__(self, message: object = "") -> None:
        line, most = escaped(str(message)), self.LONGEST
        super().__init__(line if len(line) <= most else f"{line[: most - 123]}...{line[-120:]}")


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

    LONGEST = 300


class DatasetError(CarlabError):
    """A data set whose layout or content is not the official one."""

    LONGEST = 300


class ComputeError(CarlabError):
    """An image on which a library, or a stage of one's own, raised an error, such as one of memory."""


class RunError(CarlabError):
    """The folder of an evaluation that cannot be read, written, or gone on with."""

    LONGEST = 300


def invisible(letter: str) -> bool:
    r"""Whether a letter is drawn as nothing (`INVISIBLE`).

    >>> invisible("\u3164"), invisible(" ")
    (True, False)
    """
    return any(first <= ord(letter) <= last for first, last in INVISIBLE)


def escaped(text: str) -> str:
    r"""Return a text with its control characters, line ends and invisible letters as Python writes them.

    >>> print(escaped("a" + chr(27) + "[2J"))
    a\x1b[2J
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() and not invisible(letter) else letter.encode("unicode_escape").decode()
        for letter in text
    )


def quoted(text: str | bytes | os.PathLike[str]) -> str:
    """Return a user's text or path in quotes for a message: on one line, its middle cut out if it is long.

    >>> quoted("red car"), len(quoted(1000 * "a"))
    ("'red car'", 113)
    """
    try:
        name = os.fsdecode(text)
    except Exception:  # a path-like of one's own may raise anything
        return f"a {type(text).__name__}"
    shown = escaped(repr(name if len(name) <= 400 else name[:200] + name[-200:]))
    return shown if len(shown) <= 120 else f"{shown[:50]}...{shown[-60:]}"


def described(value: Any) -> str:
    """Return a value of a wrong type for a message: itself if that is short, else its type.

    >>> described("paper"), described(None), described(["paper"])
    ("'paper'", 'None', 'a list')
    """
    if isinstance(value, str | bytes | os.PathLike):
        return quoted(value)
    if value is None or (isinstance(value, bool | int | float) and abs(value) < 1e15):
        return repr(value)
    return f"a {type(value).__name__}"


def reason(error: BaseException) -> str:
    """Return what another library's error says, on one short line; its type if it says nothing."""
    said = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    line = escaped(str(said)[:1000].splitlines()[0])
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
    if not isinstance(value, str) or value not in choices:
        raise SettingError(
            f"expected {what} out of {', '.join(choices)}, got {described(value)}; choose one of them"
        )


def check_share(what: str, value: float, advice: str) -> None:
    """Raise SettingError unless a value is a number in [0, 1]."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value <= 1:
        raise SettingError(f"expected {what} in [0, 1], got {described(value)}; {advice}")


def check_count(what: str, value: int, least: int = 1) -> None:
    """Raise SettingError unless a value is a whole number from `least` on."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise SettingError(
            f"expected {what} as a whole number from {least} on, got {described(value)}; give a number"
        )


def check_text(what: str, value: str | None, *, optional: bool = False) -> None:
    """Raise SettingError unless a value is a text, or None where it may be left out."""
    if not (isinstance(value, str) or (optional and value is None)):
        raise SettingError(f"expected {what} as a text, got {described(value)}; write it in quotes")


def as_list(values: Any, what: str, kind: type[CarlabError]) -> list[Any]:
    """Return the items of a list or another iterable; raise an error of a kind for one text, or none."""
    if not isinstance(values, str | bytes):
        with suppress(Exception):  # an iterable of one's own may raise anything
            return list(values)
    raise kind(f"expected a list of {what}, got {described(values)}; write it in brackets")


def as_path(path: Any, what: str, kind: type[CarlabError]) -> Path:
    """Return a path as a `Path`; raise an error of a kind if it is none."""
    if isinstance(path, str | os.PathLike):
        with suppress(Exception):  # a path-like of one's own may raise anything
            return Path(path)
    raise kind(f"expected the path of {what}, got {described(path)}; give it as a text in quotes")
