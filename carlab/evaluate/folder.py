"""The folder of a run: a manifest, and one small file for each image.

    RUN/manifest.json     what is measured: settings, backbones, data, protocol, versions
        images/ID.json    the record of one image
        traces/ID.RUN.trace.safetensors, ID.truth.png

Every file is written whole or not at all, so an interrupted run resumes where it stopped. Scores are always
computed from the files, never stored beside them.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import count, takewhile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from filelock import FileLock, Timeout

from carlab.errors import RunError, as_path, described, quoted, reason
from carlab.evaluate.records import RUN_FORMAT, read_manifest, read_record, read_version
from carlab.files.archive import write_file
from carlab.files.opening import read_file
from carlab.trace.provenance import leaves

NAME_LIMIT = 200
"""Letters of an image's id in a file name; a longer one ends in its digest."""

IGNORED = 65535
"""In a kept truth: a pixel that is not scored."""


@dataclass(frozen=True)
class RunFolder:
    """A run on disk, opened for reading; `claimed` opens it for writing."""

    path: Path
    manifest: Mapping[str, Any]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "RunFolder":
        """Open an existing run; RunError if there is none, or its manifest is damaged."""
        place = as_path(path, "the folder of a run", RunError)
        try:
            content = read_file(place / "manifest.json")
            version = read_version(content)
            if version == RUN_FORMAT:
                return cls(place, read_manifest(content))
        except (OSError, ValueError) as error:
            raise RunError(
                f"expected the folder of a run, got {quoted(place)} ({reason(error)}); "
                "give the --out of carlab eval"
            ) from error
        raise RunError(
            f"expected run format {RUN_FORMAT}, got {described(version)} in {quoted(place)}; "
            "use the carlab version that wrote it"
        )

    @property
    def images(self) -> Path:
        """Folder of the records."""
        return self.path / "images"

    @property
    def traces(self) -> Path:
        """Folder of the traces."""
        return self.path / "traces"

    @property
    def ids(self) -> list[str]:
        """Ids of the images that have a record, in the order of the file names."""
        return [self._read(file)["id"] for file in sorted(self.images.glob("*.json"))]

    def put(self, record: Mapping[str, Any]) -> None:
        """Write the record of one image, under its `id`, atomically; TraceError if that fails."""
        text = json.dumps(record, allow_nan=False, separators=(",", ":"))
        write_file(self.images / f"{file_name(record['id'])}.json", text.encode())

    def get(self, identity: str) -> dict[str, Any] | None:
        """Return the record of one image, None if there is none; RunError if its file is damaged."""
        file = self.images / f"{file_name(identity)}.json"
        return self._read(file) if os.path.lexists(file) else None

    def records(self, identities: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield the records of those images that have one, in the order given."""
        yield from filter(None, map(self.get, identities))

    def trace(self, identity: str, number: int = 0) -> Path:
        """Return the path of the trace of a run over an image, whether it was kept or not."""
        return self.traces / f"{file_name(identity)}.{number}.trace.safetensors"

    def truth(self, identity: str) -> Path:
        """Return the path of the true labels, kept beside a trace."""
        return self.traces / f"{file_name(identity)}.truth.png"

    def kept(self, identity: str) -> list[Path]:
        """Return the existing trace and truth files of an image."""
        return [*self.kept_traces(identity), *filter(Path.exists, [self.truth(identity)])]

    def kept_traces(self, identity: str) -> list[Path]:
        """Return the existing trace files of an image, in the order of its runs."""
        return list(takewhile(Path.exists, (self.trace(identity, number) for number in count())))

    def _read(self, file: Path) -> dict[str, Any]:
        try:
            record = read_record(read_file(file), self.manifest["dataset"])
            if file.name != f"{file_name(record['id'])}.json":
                raise ValueError(f"the record of {quoted(record['id'])}")
        except (OSError, ValueError) as error:
            raise RunError(
                f"expected the record of an image, got {quoted(file)} ({reason(error)}); "
                "delete that file and run again"
            ) from error
        return record


def run_paths(paths: Sequence[Path]) -> list[Path]:
    """Return folders of runs; a folder that is no run itself, such as a sweep's, stands for those in it."""
    found: list[Path] = []
    for path in paths:
        inside = [] if os.path.exists(path / "manifest.json") else path.glob("*/manifest.json")
        found += sorted(manifest.parent for manifest in inside) or [path]
    return found


@contextmanager
def claimed(path: str | os.PathLike[str], manifest: Mapping[str, Any]) -> Iterator[RunFolder]:
    """Create the folder of a run, or open it to resume, locked against other processes.

    RunError if the folder cannot be written, is locked, holds other files, or a run of other settings.
    """
    # Through JSON, as a reader gets it: a tuple becomes a list.
    content = json.dumps({"format": RUN_FORMAT, **manifest}, allow_nan=False, indent=1).encode()
    folder = RunFolder(as_path(path, "the folder of a run", RunError), read_manifest(content))
    file = folder.path / "manifest.json"
    if not os.path.exists(file) and os.path.isdir(folder.images) and any(folder.images.iterdir()):
        raise RunError(
            f"expected a new folder or a run, got {quoted(path)} with images but no manifest.json; "
            "choose another --out"
        )
    lock = FileLock(folder.path / ".lock", blocking=False)
    try:
        for place in (folder.images, folder.traces):
            place.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise RunError(
            f"expected a run without a writer, got {quoted(path)}, which another process writes; "
            "wait for it, or choose another --out"
        ) from error
    except (OSError, ValueError) as error:
        raise RunError(
            f"expected a folder that can be written, got {quoted(path)} ({reason(error)}); "
            "choose another --out"
        ) from error
    try:
        if not os.path.exists(file):
            write_file(file, content)
        elif differ := _differing(RunFolder.read(path).manifest, folder.manifest):
            raise RunError(
                f"expected the settings of the run in {quoted(path)}, got others ({differ}); "
                "give the same settings, or another --out"
            )
        yield folder
    finally:
        lock.release()


def _differing(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Return what differs between two manifests in a few words, digests last; "" if nothing does."""
    was, now = dict(leaves(there)), dict(leaves(here))
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    names.sort(key=lambda name: name.endswith(("digest", "sha256")))
    return "; ".join(
        f"{name} {str(was.get(name))[:16]} there, {str(now.get(name))[:16]} now" for name in names[:2]
    )


def file_name(identity: str) -> str:
    """Return an image's id as a file name on any system; different ids give different names."""
    name = quote(identity, safe=" ")
    if len(name) <= NAME_LIMIT:
        return name
    return f"{name[: NAME_LIMIT - 17]}-{sha256(identity.encode()).hexdigest()[:16]}"
