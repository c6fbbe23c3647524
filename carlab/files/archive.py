"""Write files whole or not at all; arrays and JSON in one safetensors file, read without torch or pickle."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, BinaryIO
from uuid import uuid4

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from carlab.errors import TraceError, as_path, quoted, reason
from carlab.files.opening import open_file
from carlab.files.schema import Count, parse, parse_plain

KEY = "carlab"
"""The one metadata entry: safetensors metadata holds strings only, so ours is JSON."""
STORED_DTYPES = frozenset({"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "F16", "F32", "F64"})
"""Types of numbers that NumPy has, by safetensors' names."""
HEADER_LIMIT = 100_000_000
"""Bytes of a safetensors header, by its specification."""


class Stored(msgspec.Struct):
    """Where an array lies in a safetensors file, and what it is."""

    dtype: Annotated[str, msgspec.Meta(max_length=20)]
    shape: Annotated[list[Count], msgspec.Meta(max_length=8)]
    data_offsets: tuple[Count, Count]


class Header(msgspec.Struct):
    """The header of a safetensors file: its arrays by name, its metadata, and the bytes that it must have."""

    arrays: dict[str, Stored]
    metadata: dict[str, str]
    size: int


def write_file(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write `content` to `path` atomically: a reader sees the old file or the new one.

    Raises TraceError if the folder is missing or cannot be written; nothing is left behind.
    """
    target = as_path(path, "a file to write", TraceError)
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
    folder = as_path(path, "a folder to write to", TraceError)
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
    try:
        said = json.dumps(metadata, allow_nan=False)
    except ValueError as error:
        raise TraceError(
            f"expected finite numbers in what is to be written to {quoted(path)}, got NaN or infinity; "
            "write such a setting as a text"
        ) from error
    return write_file(path, to_bytes(contiguous, {KEY: said}))


def read_archive(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `write_archive` wrote.

    Raises TraceError if the file is missing, truncated, not safetensors, or not carlab's.
    """
    place = as_path(path, "a trace", TraceError)
    try:
        with open_file(place) as stream:
            header = read_header(stream)
        odd = [name for name, array in header.arrays.items() if array.dtype not in STORED_DTYPES]
        if odd:
            raise ValueError(f"{header.arrays[odd[0]].dtype} numbers in {quoted(odd[0])}")
        metadata = parse_plain(header.metadata.get(KEY, "null"))
        with safe_open(os.fspath(place), framework="numpy") as archive:
            arrays = {name: archive.get_tensor(name) for name in header.arrays}
    except (OSError, SafetensorError, ValueError) as error:
        raise TraceError(
            f"expected a trace written by carlab, got {quoted(place)} ({reason(error)}); "
            "check the path, or run again to make a new trace"
        ) from error
    if not isinstance(metadata, dict):
        raise TraceError(
            f"expected a trace written by carlab, got {quoted(place)}, a safetensors file "
            "of something else; give the file that carlab segment wrote"
        )
    return arrays, metadata


def read_header(stream: BinaryIO) -> Header:
    """Read the header of a safetensors file; ValueError if it has none, or is no JSON of that form.

    Its numbers are not read: nothing that the header claims is allocated.
    """
    length = int.from_bytes(stream.read(8), "little")
    if length > HEADER_LIMIT:
        raise ValueError("not a safetensors file")
    parts = parse(stream.read(length), dict[str, msgspec.Raw])
    metadata = parse(bytes(parts.pop("__metadata__", b"{}")), dict[str, str])
    arrays = {name: parse(bytes(part), Stored) for name, part in parts.items()}
    ends = [array.data_offsets[1] for array in arrays.values()]
    return Header(arrays, metadata, 8 + length + max(ends, default=0))


def _not_writable(path: Path, error: Exception) -> TraceError:
    return TraceError(
        f"expected a place that can be written, got {quoted(path)} ({reason(error)}); "
        "create the folder, or choose another output"
    )
