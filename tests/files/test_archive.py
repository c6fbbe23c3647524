"""Archives: written whole or not at all; whatever else is read is one error of one line."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from carlab.errors import TraceError
from carlab.files import archive
from carlab.files.archive import KEY, read_archive, write_archive, write_file
from carlab.trace import Trace
from tests.traces import make_trace


def one_line(path: Path, match: str = "expected a trace written by carlab") -> None:
    """Reading must fail with one line that names the file and says what to do."""
    with pytest.raises(TraceError, match=match) as caught:
        Trace.load(path)
    assert len(str(caught.value).splitlines()) == 1
    assert repr(str(path)) in str(caught.value)


def test_a_file_is_plain_safetensors_with_json(tmp_path: Path) -> None:
    path = make_trace().save(tmp_path / "t.safetensors")
    assert load_file(path)["step0.cams"].shape == (3, 6, 9)
    assert read_archive(path)[1]["queries"] == ["cat", "dog", "sofa"]
    assert KEY.encode() in path.read_bytes()[:4000]
    assert json.dumps(read_archive(path)[1])


@pytest.mark.parametrize(
    "array",
    [
        np.array(3.5),
        np.zeros((0, 4)),
        np.arange(6).reshape(2, 3).T,
        np.arange(9)[::-2],
        np.eye(3, dtype=bool),
    ],
    ids=["a number", "empty", "transposed", "reversed", "bits"],
)
def test_any_layout_is_read_as_it_was(tmp_path: Path, array: np.ndarray) -> None:
    arrays, metadata = read_archive(write_archive(tmp_path / "a", {"x": array}, {"ü": [1, None]}))
    np.testing.assert_array_equal(arrays["x"], array, strict=True)
    assert metadata == {"ü": [1, None]}


def test_every_truncation_is_one_error(tmp_path: Path) -> None:
    path = make_trace().save(tmp_path / "t.safetensors")
    whole = path.read_bytes()
    for length in (0, 1, 7, 8, 9, 100, 1000, *range(2000, len(whole), 9973), len(whole) - 1):
        path.write_bytes(whole[:length])
        one_line(path)


def test_something_after_the_end_is_one_error(tmp_path: Path) -> None:
    path = make_trace().save(tmp_path / "t.safetensors")
    path.write_bytes(path.read_bytes() + b"\0")
    one_line(path)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_random_bytes_are_one_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t").write_bytes(content)
    one_line(tmp_path / "t")


@pytest.mark.parametrize(
    "content",
    [b"\xff" * 64, b"PK\x03\x04" + bytes(60), b"\x89PNG\r\n\x1a\n" + bytes(99), b"\x80\x04\x95pickle", b"{}"],
)
def test_other_files_are_one_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t").write_bytes(content)
    one_line(tmp_path / "t")


@pytest.mark.parametrize("said", [None, {"a": "b"}, {KEY: "null"}, {KEY: "[]"}, {KEY: "3"}])
def test_other_safetensors_are_one_error(tmp_path: Path, said: dict[str, str] | None) -> None:
    save_file({"a": np.zeros(3)}, tmp_path / "t", said)
    one_line(tmp_path / "t", "something else")


@pytest.mark.parametrize("said", ["", "{", "\0", "[" * 100_000], ids=["empty", "open", "nul", "deep"])
def test_metadata_that_is_no_json_is_one_error(tmp_path: Path, said: str) -> None:
    save_file({"a": np.zeros(3)}, tmp_path / "t", {KEY: said})
    one_line(tmp_path / "t")


def test_missing_files_and_folders(tmp_path: Path) -> None:
    one_line(tmp_path / "no")
    one_line(tmp_path)


def full(*_: object) -> None:
    """Stand in for a system call on a disk without space."""
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_writing_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = make_trace().save(tmp_path / "t.safetensors")
    before = path.read_bytes()
    # Path.replace calls os.replace, which is what archive's os is too.
    monkeypatch.setattr(archive.os, call, full)
    with pytest.raises(TraceError, match="No space left"):
        make_trace(theta=0.5).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(archive.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "t", b"x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["missing/t", "file/t", ".", "a\0b", "x" * 256])
def test_places_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TraceError, match="expected a place that can be written") as caught:
        write_file(tmp_path / place, b"x")
    assert len(str(caught.value).splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(TraceError, match="Permission denied"):
        write_file(tmp_path / "t", b"x")
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("name", ["x" * 255, "😀" * 63, " ", "ü", "-rf", "$HOME", "a\nb"], ids=repr)
def test_any_name_that_the_system_allows(tmp_path: Path, name: str) -> None:
    assert write_file(tmp_path / name, b"x").read_bytes() == b"x"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_new_file_has_the_rights_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    written = write_file(tmp_path / "ours", b"")
    assert written.stat().st_mode == (tmp_path / "plain").stat().st_mode
