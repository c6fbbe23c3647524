"""Every file of the package is opened by one function, which refuses what is no file, or too large."""

import ast
import os
from pathlib import Path

import pytest

from carlab.files.opening import open_file, read_file

PACKAGE = Path(__file__).parents[2] / "carlab"
OPENERS = {"open", "read_text", "read_bytes", "fdopen"}
ALLOWED = {
    "files/opening.py",  # the function itself
    "files/archive.py",  # writes a temporary file
    "backbones/download.py",  # writes what it downloads
    *("video/archive.py", "video/folder.py", "video/overlay.py"),  # write results and films
    *("video/frames.py", "widgets/video.py"),  # hand an open file to PyAV; name the method of VideoTraces
}
RESOURCES = ("files(", "joinpath(")
"""Reads of what ships in the package or another one."""


def calls(source: str) -> list[str]:
    """Every call in a module that opens a path."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and (node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", ""))
        in OPENERS
    ]


def test_files_are_opened_in_one_place() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix(): call
        for path in PACKAGE.rglob("*.py")
        for call in calls(path.read_text(encoding="utf-8"))
        if not any(part in call for part in RESOURCES)
    }
    own_packages = {"backbones/offline.py", "files/images.py"}
    assert set(found) <= ALLOWED | own_packages, found
    assert "Image.open(stream" in found["files/images.py"]


def test_a_file_is_read_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert read_file(tmp_path / "a", 3) == b"abc"
    with pytest.raises(OSError, match="3 bytes, where 2 are the most"):
        read_file(tmp_path / "a", 2)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, said in ((tmp_path / "pipe", "special"), ("/dev/null", "special"), (tmp_path, "folder")):
        with pytest.raises(OSError, match=said):
            open_file(path)
    with pytest.raises(FileNotFoundError):
        open_file(tmp_path / "none")


def test_a_file_that_says_nothing_of_its_size() -> None:
    """Those of /proc have none, and may be endless."""
    if not Path("/proc/self/maps").exists():
        pytest.skip("no /proc")
    with pytest.raises(OSError, match="more than 10"):
        read_file("/proc/self/maps", 10)
