"""Write files whole or not at all; arrays and JSON in one safetensors file, read without torch or pickle."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from carlab.errors import TraceError, reason

KEY = "carlab"
"""The one metadata entry: safetensors metadata holds strings only, so ours is JSON."""


def write_file(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write `content` to `path` atomically: a reader sees the old file or the new one.

    Raises TraceError if the folder is missing or cannot be written; nothing is left behind.
    """
    target = Path(path)
    # The name does not repeat the target's: that may fill the 255 bytes a name can have.
    temporary = target.parent / f".carlab.{uuid4().hex}"
    try:
        with temporary.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _not_writable(target, error) from error
    finally:  # also when the user interrupts; after a success there is nothing to remove
        with suppress(OSError, ValueError):
            temporary.unlink(missing_ok=True)
    return target


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Create a folder and check that files can be written there, before any work is done.

    Raises TraceError if it cannot be created or written.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise _not_writable(folder, error) from error
    write_file(folder / ".carlab-can-write", b"").unlink()
    return folder


def write_archive(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]
) -> Path:
    """Write named arrays and JSON metadata as one safetensors file, atomically."""
    # Not ascontiguousarray: it makes a vector of a single number.
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    return write_file(path, to_bytes(contiguous, {KEY: json.dumps(metadata)}))


def read_archive(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `write_archive` wrote.

    Raises TraceError if the file is missing, truncated, not safetensors, or not carlab's.
    """
    try:
        with safe_open(os.fspath(path), framework="numpy") as archive:
            metadata = json.loads((archive.metadata() or {}).get(KEY, "null"))
            arrays = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise TraceError(
            f"expected a trace written by carlab, got {os.fspath(path)!r} ({error}); "
            "check the path, or run again to make a new trace"
        ) from error
    if not isinstance(metadata, dict):
        raise TraceError(
            f"expected a trace written by carlab, got {os.fspath(path)!r}, a safetensors file "
            "of something else; give the file that carlab segment wrote"
        )
    return arrays, metadata


def _not_writable(path: Path, error: Exception) -> TraceError:
    return TraceError(
        f"expected a place that can be written, got {str(path)!r} ({reason(error)}); "
        "create the folder, or choose another output"
    )
