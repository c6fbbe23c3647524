"""The folder of a run: a manifest, and one small file for each image.

    RUN/manifest.json     what is measured: settings, backbones, data, protocol, versions
        images/ID.json    what one image gave
        traces/ID.PASS.trace.safetensors, ID.truth.png

Every file appears whole or not at all, so a run that was killed goes on where
it stopped. Numbers are always summed up from the files, never kept beside them.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from filelock import FileLock, Timeout

from carlab.errors import RunError
from carlab.files.archive import write_file
from carlab.trace.compare import differences

FORMAT = 1
"""Version of the layout; a reader refuses versions it does not know."""
NAME_LIMIT = 200
"""Letters of an image's id in a file name; a longer one ends in its digest."""


@dataclass(frozen=True)
class RunFolder:
    """A run on disk, opened to be read; `claimed` opens it to be written."""

    path: Path
    manifest: Mapping[str, Any]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "RunFolder":
        """Open a run that exists.

        Raises
        ------
        RunError
            If there is none, or it is damaged.
        """
        file = Path(path) / "manifest.json"
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
            version = manifest["format"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"expected the folder of a run, got {str(path)!r} ({error!r}); give the --out of carlab eval"
            ) from error
        if version != FORMAT:
            raise RunError(
                f"expected run format {FORMAT}, got {version!r} in {str(path)!r}; "
                "use the carlab version that wrote it"
            )
        return cls(Path(path), manifest)

    @property
    def ids(self) -> list[str]:
        """Every image that has a record, in the order of their files' names."""
        files = sorted(self.images.glob("*.json"))
        try:
            return [json.loads(file.read_text(encoding="utf-8"))["id"] for file in files]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"expected records of images in {str(self.images)!r}, got others ({error!r}); "
                "delete what is damaged and run again"
            ) from error

    @property
    def images(self) -> Path:
        """Where the records are."""
        return self.path / "images"

    @property
    def traces(self) -> Path:
        """Where traces are."""
        return self.path / "traces"

    def put(self, record: Mapping[str, Any]) -> None:
        """Write what one image gave, under its `id`, atomically.

        Raises
        ------
        TraceError
            If the folder cannot be written.
        """
        text = json.dumps(record, allow_nan=False, separators=(",", ":"))
        write_file(self.images / f"{file_name(record['id'])}.json", text.encode())

    def done(self, identity: str) -> bool:
        """Whether an image has a record, and not one of a failure: those are tried again."""
        record = self.get(identity)
        return record is not None and "error" not in record

    def get(self, identity: str) -> dict[str, Any] | None:
        """What one image gave; None if it was not run yet.

        Raises
        ------
        RunError
            If its file is damaged.
        """
        file = self.images / f"{file_name(identity)}.json"
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(record, dict) or record.get("id") != identity:
                raise ValueError("another image's record")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise RunError(
                f"expected the record of an image, got {str(file)!r} ({error}); "
                "delete that file and run again"
            ) from error
        return record

    def records(self, identities: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Records of those images that have one, in the order given."""
        for identity in identities:
            record = self.get(identity)
            if record is not None:
                yield record

    def trace(self, identity: str, number: int = 0) -> Path:
        """Where an image's trace of a pass is, if it was kept."""
        return self.traces / f"{file_name(identity)}.{number}.trace.safetensors"

    def truth(self, identity: str) -> Path:
        """Where an image's true labels are, if its trace was kept."""
        return self.traces / f"{file_name(identity)}.truth.png"

    def kept(self, identity: str) -> list[Path]:
        """Files that were kept of an image beside its record."""
        numbers = range(len(self.manifest["models"]))
        files = [*(self.trace(identity, number) for number in numbers), self.truth(identity)]
        return [file for file in files if file.exists()]


@contextmanager
def claimed(path: str | os.PathLike[str], manifest: Mapping[str, Any]) -> Iterator[RunFolder]:
    """Create the folder of a run, or go on with it; no other process can meanwhile.

    Raises
    ------
    RunError
        If another process is at it, or it was made with other settings.
    TraceError
        If the place cannot be written.
    """
    folder = RunFolder(Path(path), {"format": FORMAT, **manifest})
    _no_stranger(folder)
    try:
        for place in (folder.path, folder.images, folder.traces):
            place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"expected a folder that can be written, got {str(path)!r} ({error.strerror}); "
            "choose another --out"
        ) from error
    lock = FileLock(folder.path / ".lock", blocking=False)
    try:
        lock.acquire()
    except (Timeout, OSError) as error:
        raise RunError(
            f"expected a run that nobody is at, got {str(path)!r}, where another process writes; "
            "wait for it, or choose another --out"
        ) from error
    try:
        file = folder.path / "manifest.json"
        if file.exists():
            _same_run(RunFolder.read(path), folder)
        else:
            write_file(file, json.dumps(folder.manifest, indent=1, allow_nan=False).encode())
        yield folder
    finally:
        lock.release()


def _same_run(old: RunFolder, new: RunFolder) -> None:
    differ = differences(old.manifest, json.loads(json.dumps(new.manifest)))
    if differ:
        shown = "; ".join(f"{name}: {was!r} there, {now!r} now" for name, was, now in differ[:4])
        raise RunError(
            f"expected the settings of the run in {str(new.path)!r}, got others ({shown}); "
            "give the same settings, or another --out"
        )


def _no_stranger(folder: RunFolder) -> None:
    """Records without a manifest came from somewhere else; nothing is written among them."""
    if not (folder.path / "manifest.json").exists() and any(folder.images.glob("*")):
        raise RunError(
            f"expected a new folder or a run, got {str(folder.path)!r} with images but no manifest.json; "
            "choose another --out"
        )


def digest(manifest: Mapping[str, Any]) -> str:
    """sha256 of everything that a manifest says."""
    return sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def file_name(identity: str) -> str:
    """An image's id as a file name on any system; different ids give different names."""
    name = quote(identity, safe=" ")
    if len(name) <= NAME_LIMIT:
        return name
    return f"{name[: NAME_LIMIT - 17]}-{sha256(identity.encode()).hexdigest()[:16]}"
