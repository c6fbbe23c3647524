"""What transformers and huggingface_hub, of any version, have cached on this machine."""

import atexit
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from carlab.backbones.checkpoint import Checkpoint
from carlab.backbones.contents import Contents, inspect, kind_of, read_config, relevant
from carlab.files.opening import read_file

MAIN = "main"
OLD_VARIABLES = (
    *("HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE"),
    *("PYTORCH_TRANSFORMERS_CACHE", "PYTORCH_PRETRAINED_BERT_CACHE"),
)
"""Environment variables by which versions of old were told where to cache."""
ADDRESS = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/([^/]+)$")
"""Repository, revision and name in the address of a file at the hub."""

NOT_THERE = Contents({}, (), ("config.json",), ())


@dataclass(frozen=True)
class Snapshot:
    """Files of one revision in a cache.

    Parameters
    ----------
    files
        Where each file is, by name in the repository.
    folder
        The folder in which they lie under these names; None in the layout of 2021, which has none.
    revision
        Its commit, where it is known.
    absent
        Names of files that the repository is known not to have.
    """

    files: dict[str, Path]
    folder: Path | None = None
    revision: str | None = None
    absent: frozenset[str] = field(default_factory=frozenset)

    def contents(self) -> Contents:
        """Return what it holds of a checkpoint; what the repository is known not to have is not missed."""
        contents = inspect(self.files)
        return contents._replace(unsure=tuple(set(contents.unsure) - self.absent))

    def converted(self, contents: Contents) -> bool:
        """Whether the weights are those of the conversion bot, which lie beside another commit."""
        return bool(contents.weights) and self.files[contents.weights[0]].parent != self.folder

    def checkpoint(self, name: str, contents: Contents) -> Checkpoint:
        """Return the checkpoint; `contents` must lack nothing."""
        folder, files = self.folder, self.files
        if folder is None:
            folder = _linked(files)
            files = {name: folder / name for name in files}
        weights = tuple(files[name] for name in contents.weights)
        return Checkpoint(name, folder, weights, contents.config, self.revision)


def cache_folders() -> list[Path]:
    """Return the folders in which models may be cached, the one that downloads go to first."""
    from huggingface_hub import constants

    home = Path(constants.HF_HOME)
    old = [Path(os.environ[name]).expanduser() for name in OLD_VARIABLES if os.environ.get(name)]
    return list(dict.fromkeys([Path(constants.HF_HUB_CACHE), *old, home / "hub", home / "transformers"]))


def repository_folder(cache: Path, repository: str) -> Path:
    """Return where a cache keeps a repository."""
    return cache / "--".join(("models", *repository.split("/")))


def snapshots(repository: str, revision: str = MAIN) -> Iterator[Snapshot]:
    """Yield what the caches have of one revision: the branch, tag, pull request or commit asked for."""
    for cache in cache_folders():
        folder = repository_folder(cache, repository)
        commit = refs(folder).get(revision, revision)
        if (folder / "snapshots" / commit).is_dir():
            yield snapshot_at(folder, commit, revision == MAIN)
    for cache in cache_folders():
        if files := _old_layout(cache).get((repository, revision)):
            yield Snapshot(files)


def earlier_snapshots(repository: str) -> Iterator[Snapshot]:
    """Yield what the caches have of main as it was, the newest first: commits that have no other name."""
    for cache in cache_folders():
        folder = repository_folder(cache, repository)
        named = {commit for name, commit in refs(folder).items() if name != MAIN}
        commits = [path for path in (folder / "snapshots").glob("*") if path.name not in named]
        for path in sorted(commits, key=lambda path: path.stat().st_mtime, reverse=True):
            yield snapshot_at(folder, path.name)


def snapshot_at(folder: Path, commit: str, main: bool = False) -> Snapshot:
    """Return a commit of a cached repository; to main belong the safetensors of the conversion bot."""
    place = folder / "snapshots" / commit
    files = {**(_conversion(folder) if main else {}), **{path.name: path for path in place.iterdir()}}
    absent = frozenset(path.name for path in (folder / ".no_exist" / commit).glob("*"))
    return Snapshot(files, place, commit, absent)


def refs(folder: Path) -> dict[str, str]:
    """Return the commit of each branch, tag and pull request that a cached repository knows."""
    root = folder / "refs"
    found = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): read_file(path).decode().strip() for path in found}


class CachedModel(NamedTuple):
    """A repository in a cache: whether a model can be loaded from there, in words too, and its bytes."""

    name: str
    kind: str
    whole: bool
    state: str
    size: int
    folder: Path


def cached_models() -> list[CachedModel]:
    """Return every model that is cached, whole or half."""
    found = []
    for cache in cache_folders():
        for folder in cache.glob("models--*--*"):
            named = refs(folder)
            labels = {commit: name for name, commit in [*named.items(), (MAIN, named.get(MAIN, ""))]}
            held = {
                labels.get(path.name, path.name[:8]): snapshot_at(
                    folder, path.name, path.name == named.get(MAIN)
                ).contents()
                for path in (folder / "snapshots").glob("*")
            }
            files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
            found.append(_summary("/".join(folder.name.split("--", 2)[1:]), held, files, folder))
        for (name, revision), old in _old_layout(cache).items():
            found.append(_summary(name, {revision: inspect(old)}, list(old.values()), cache))
    return sorted(found)


def _summary(name: str, held: dict[str, Contents], files: list[Path], folder: Path) -> CachedModel:
    """Describe a repository by what each of its revisions holds."""
    whole = [revision for revision, contents in held.items() if not contents.lacking]
    best = min(held.values(), key=lambda contents: len(contents.lacking), default=NOT_THERE)
    state = f"whole: {', '.join(whole)}" if whole else f"half there, without {', '.join(best.lacking)}"
    size = sum(path.stat().st_size for path in files)
    return CachedModel(name, kind_of(best.config), bool(whole), state, size, folder)


def _conversion(folder: Path) -> dict[str, Path]:
    """Return safetensors that transformers took from the conversion bot's pull request.

    It takes nothing but weights from there. A pull request that has a configuration beside them was asked
    for by its name, and is no stand-in for main.
    """
    for name, commit in refs(folder).items():
        place = folder / "snapshots" / commit
        if name.startswith("refs/pr/") and place.is_dir() and not (place / "config.json").exists():
            return {path.name: path for path in place.iterdir() if ".safetensors" in path.name}
    return {}


def _old_layout(cache: Path) -> dict[tuple[str, str], dict[str, Path]]:
    """Return the files by repository and revision as transformers before 4.22 cached them.

    They are named by hashes; a JSON file beside each says from where it came.
    """
    found: dict[tuple[str, str], dict[str, Path]] = {}
    notes = [path for path in cache.glob("*.json") if path.with_suffix("").is_file()]
    for note in sorted(notes, key=lambda path: path.stat().st_mtime):  # a later version replaces an earlier
        content = read_config(note)
        address = ADDRESS.search(str(content.get("url")) if isinstance(content, dict) else "")
        if address:
            found.setdefault((address[1], address[2]), {})[address[3]] = note.with_suffix("")
    return found


def _linked(files: dict[str, Path]) -> Path:
    """Return a folder, deleted when Python exits, in which files have the names that loaders look for."""
    folder = Path(tempfile.mkdtemp(prefix="carlab-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in relevant(files):
        try:
            (folder / name).symlink_to(files[name].absolute())
        except OSError:  # no right to make links
            shutil.copyfile(files[name], folder / name)
    return folder
