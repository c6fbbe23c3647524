"""Download what a checkpoint needs into the hub's cache, in its layout; what broke off is gone on with.

huggingface_hub's own download gives up what it has when it breaks off (since 1.18) and retries for minutes
where nothing answers, so the bytes are fetched here; names, addresses, tokens and errors are still its own.
"""

import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from carlab.backbones.cached import cache_folders, repository_folder
from carlab.backbones.checkpoint import SHA256
from carlab.backbones.contents import (
    MOST_WEIGHTS,
    SHARD_INDEX,
    SMALL_FILES,
    TOKENIZER,
    WEIGHTS_OF,
    choose,
    has_tokenizer,
    is_whole,
    kind_of,
    needs_tokenizer,
    shard_names,
    small_files,
)
from carlab.errors import BackboneError
from carlab.files.opening import open_file
from carlab.trace.show import size_text

HUB_SECONDS = 6.0
"""How long a hub may say nothing. A download that moves, however slowly, goes on."""
PAUSE = 0.5
"""Seconds before a connection that broke is made again."""
SAFE = re.compile(r"\w[\w.-]*")
"""What a hub may name a file in the cache: a hash, never a path."""

_T = TypeVar("_T")


class HubError(OSError):
    """A hub that has not what is asked for, or sends something else."""


class RemoteFile(NamedTuple):
    """A file at the hub: its name, address, and the hub's hash of it (sha256 where it is large)."""

    name: str
    url: str
    etag: str
    size: int


@dataclass(frozen=True)
class Download:
    """What a checkpoint needs of a repository, before anything is written.

    Parameters
    ----------
    repository, revision, commit
        Such as "openai/clip-vit-base-patch16", "main" and the commit that main is now.
    files
        Small files first: where the weights are whole, everything is.
    absent
        Names of files that the repository does not have, so that nobody asks again.
    """

    repository: str
    revision: str
    commit: str
    files: tuple[RemoteFile, ...]
    absent: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Folder of the repository in the cache."""
        return repository_folder(cache_folders()[0], self.repository)

    @property
    def snapshot(self) -> Path:
        """Folder of the files."""
        return self.folder / "snapshots" / self.commit

    def missing(self, file: RemoteFile) -> int:
        """Return how many bytes of a file must still be downloaded."""
        if _is_here(file, self.snapshot / file.name) or _is_here(file, self._blob(file)):
            return 0
        return max(file.size - _size(self._partial(file)), 0)

    def download(self) -> None:
        """Download what is missing, with a progress bar.

        Raises BackboneError if the disk is too full, before anything is written; HubError if a file has a
        wrong checksum, OSError if one cannot be written, and what httpx raises if the hub says nothing.
        """
        from tqdm.auto import tqdm

        total, missing = sum(file.size for file in self.files), sum(map(self.missing, self.files))
        check_room(self.folder, missing)
        bars = {"unit": "B", "unit_scale": True, "disable": None if missing else True}
        with tqdm(desc=self.repository, total=total, initial=total - missing, **bars) as bar:
            for file in self.files:
                self._complete(file, bar.update)
        for name in self.absent:
            _write(self.folder / ".no_exist" / self.commit / name, "")
        if self.revision != self.commit:  # last, so that a name never leads to what is half there
            _write(self.folder / "refs" / self.revision, self.commit)

    def _blob(self, file: RemoteFile) -> Path:
        return self.folder / "blobs" / file.etag

    def _partial(self, file: RemoteFile) -> Path:
        """Where versions of huggingface_hub that resume, and this one, keep what they have so far."""
        return self.folder / "blobs" / f"{file.etag}.incomplete"

    def _complete(self, file: RemoteFile, report: Callable[[int], Any]) -> None:
        from huggingface_hub.utils import WeakFileLock

        blob, partial, place = self._blob(file), self._partial(file), self.snapshot / file.name
        if _is_here(file, place):
            return
        locks = self.folder.parent / ".locks" / self.folder.name
        for folder in (locks, blob.parent, place.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(locks / f"{file.etag}.lock"):  # huggingface_hub takes the same one
            if _is_here(file, place):  # another process was waited for, and may be reading it
                return
            if not _is_here(file, blob):
                if blob.exists():  # it was cut after it had been whole
                    blob.replace(partial)
                receive(file, partial, report)
                _check_sum(file, partial)
                partial.replace(blob)
            place.unlink(missing_ok=True)
            try:
                place.symlink_to(os.path.relpath(blob, place.parent))
            except OSError:  # no right to make links
                blob.replace(place)


def plan(
    repository: str, revision: str, check_kind: Callable[[str], Any], converted: Collection[str | None] = ()
) -> Download:
    """Ask the hub what a checkpoint needs; `check_kind` raises if the model type is not wanted.

    Of the commits in `converted` the weights are cached, as the conversion bot made them.

    Raises HubError if the repository holds no checkpoint, and what huggingface_hub and httpx raise if the hub
    refuses or does not answer in `HUB_SECONDS`.
    """
    from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url

    about = {"revision": revision, "timeout": HUB_SECONDS, "files_metadata": True}
    info = ask(lambda: HfApi().model_info(repository, **about))
    names = {sibling.rfilename: sibling.size for sibling in info.siblings or ()}
    commit = _safe(info.sha)

    def address(name: str) -> str:
        return hf_hub_url(repository, name, revision=commit)

    configs = {name: read_remote(address(name)) for name in WEIGHTS_OF if name in names}
    config, weights = choose(configs, names)
    kind = kind_of(config)
    check_kind(kind)
    if weights is None:
        raise HubError(f"it has no {'weights' if config else 'config.json'} that can be read")
    if needs_tokenizer(kind) and not has_tokenizer(names):
        raise HubError(f"it has no {TOKENIZER}")
    shards = shard_names(read_remote(address(weights))) if weights.endswith(SHARD_INDEX) else ()
    if lost := set(shards) - set(names):
        raise HubError(f"it lacks {len(lost)} shards that {weights} names ({min(lost)}, ...)")
    config_name = next(name for name, formats in WEIGHTS_OF.items() if weights in formats)
    parts = () if commit in converted else (weights, *shards)
    needed = [config_name, *small_files(kind, names), *parts]

    def remote(name: str) -> RemoteFile:
        found = ask(lambda: get_hf_file_metadata(address(name), timeout=HUB_SECONDS))
        size = names[name] if found.size is None else found.size
        if size is None:
            raise HubError(f"the hub does not say how large {name} is")
        return RemoteFile(name, address(name), _safe(found.etag), size)

    absent = tuple(name for name in SMALL_FILES if name not in names)
    return Download(repository, revision, commit, tuple(map(remote, needed)), absent)


def check_room(folder: Path, missing: int) -> None:
    """Raise BackboneError unless the disk of a folder has room for so many bytes more."""
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(place).free
    if missing > free:
        raise BackboneError(
            f"expected {size_text(missing)} of free space for what is to be downloaded, got "
            f"{size_text(free)} at {str(place)!r}; free some, or set HF_HOME to a folder on a larger disk"
        )


def ask(request: Callable[[], _T]) -> _T:
    """Return a short request's answer. A closed network can hang in name resolution, which has no timeout."""
    outcome: list[tuple[Any, Exception | None]] = []

    def attempt() -> None:
        try:
            outcome.append((request(), None))
        except Exception as error:
            outcome.append((None, error))

    thread = Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(HUB_SECONDS)
    if not outcome:
        raise TimeoutError(f"no answer in {HUB_SECONDS:.0f} s")
    answer, error = outcome[0]
    if error:
        raise error
    return answer


def read_remote(url: str) -> Any:
    """Return the content of a small JSON file at the hub, None if it is not JSON."""
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    def request() -> Any:
        response = get_session().get(url, headers=build_hf_headers(), timeout=HUB_SECONDS)
        hf_raise_for_status(response)
        return response

    try:
        return ask(request).json()
    except ValueError:
        return None


def receive(file: RemoteFile, partial: Path, report: Callable[[int], Any]) -> None:
    """Append what is missing to a partial file; where a connection breaks, make it again while bytes come.

    Raises what httpx raises if no byte has come in `HUB_SECONDS`.
    """
    if _size(partial) > file.size:  # of another file, or written twice
        partial.unlink()
    partial.touch()
    heard = monotonic()
    while (have := _size(partial)) < file.size:
        left = HUB_SECONDS - (monotonic() - heard)
        try:
            for start, chunk in _stream(file.url, have, max(left, 1.0)):
                if start is not None and start < have:  # the hub sends the whole file again
                    os.truncate(partial, start)
                    report(start - have)
                    have = start
                with partial.open("ab") as stream:
                    stream.write(chunk)
                report(len(chunk))
                heard = monotonic()
            if _size(partial) < file.size:
                raise EOFError(f"{file.name} broke off at {_size(partial)} of {file.size} bytes")
        except OSError:  # the disk, or an answer that says no
            raise
        except Exception:  # the network: httpx's errors are no OSErrors
            if monotonic() - heard + PAUSE > HUB_SECONDS:
                raise
            sleep(PAUSE)


def _stream(url: str, start: int, seconds: float) -> Iterator[tuple[int | None, bytes]]:
    """Yield the bytes from `start` on, the first with where they really start."""
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with get_session().stream(
        "GET", url, headers=headers, timeout=seconds, follow_redirects=True
    ) as response:
        hf_raise_for_status(response)
        begin: int | None = start if response.status_code == 206 else 0
        for chunk in response.iter_bytes():
            yield begin, chunk
            begin = None


def _check_sum(file: RemoteFile, partial: Path) -> None:
    """Delete what is not what the hub has, and say so. Files that the hub does not hash are not checked."""
    right = _size(partial) == file.size
    if right and SHA256.fullmatch(file.etag):
        with open_file(partial, MOST_WEIGHTS) as stream:
            right = file_digest(stream, "sha256").hexdigest() == file.etag
    if not right:
        partial.unlink()
        raise HubError(f"{file.name} has a wrong checksum and was deleted; try again")


def _is_here(file: RemoteFile, path: Path) -> bool:
    return _size(path) == file.size and is_whole(file.name, path)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _safe(name: str | None) -> str:
    if not name or not SAFE.fullmatch(name):
        raise HubError(f"the hub names a file by {quote(str(name))}, which is no hash")
    return name
