"""Open files that others made: regular files alone, and no more of them than a reader expects.

Every file of the package is opened here, so a pipe, a device or a folder is an error wherever it is named.
"""

import errno
import os
import stat
from io import BufferedReader

MOST = 2**33
"""Bytes of the largest file that is opened where the reader sets no limit: weights and traces."""
MOST_TEXT = 2**24
"""Bytes of a list, a configuration, a manifest or a record."""
MOST_VIDEO = 2**40
"""Bytes of a video, or of the traces of one; they are read in parts."""
MOST_JSON = 2**31
"""Bytes of the annotations of a data set; COCO's largest are 470 MB."""


def open_file(path: str | os.PathLike[str], most: int = MOST) -> BufferedReader:
    """Open a regular file of at most `most` bytes.

    Raises OSError if it is missing, larger, a folder, or a pipe or device, on which reading may never end.
    """
    _check(os.stat(path), most)  # before it is opened: that alone may wait for ever, or rewind a tape
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _check(os.fstat(number), most)  # it may be another file by now
    except OSError:
        os.close(number)
        raise
    return os.fdopen(number, "rb")


def read_file(path: str | os.PathLike[str], most: int = MOST_TEXT) -> bytes:
    """Return the content of a regular file of at most `most` bytes; errors are those of `open_file`."""
    with open_file(path, most) as stream:
        content = stream.read(most + 1)
    if len(content) > most:  # it grows, or says nothing of its size
        raise _too_large(f"more than {most}", most)
    return content


def _check(state: os.stat_result, most: int) -> None:
    if stat.S_ISDIR(state.st_mode):
        raise IsADirectoryError(errno.EISDIR, "a folder")
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "a special file")
    if state.st_size > most:
        raise _too_large(f"{state.st_size}", most)


def _too_large(size: str, most: int) -> OSError:
    return OSError(errno.EFBIG, f"{size} bytes, where {most} are the most")
