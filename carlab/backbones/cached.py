"""What transformers and huggingface_hub, of any version, have cached on this machine."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from carlab.backbones.checkpoint import Checkpoint
from carlab.backbones.contents import Contents, inspect, read_json, relevant

MAIN = "main"
OLD_VARIABLES = (
    *("HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE"),
    *("PYTORCH_TRANSFORMERS_CACHE", "PYTORCH_PRETRAINED_BERT_CACHE"),
)
"""Environment variables by which versions of old were told where to cache."""


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
            weights = _conversion(folder) if revision == MAIN else {}
            yield snapshot_at(folder, commit, weights)
    for cache in cache_folders():
        if files := _old_files(cache, repository, revision):
            yield Snapshot(files)


def earlier_snapshots(repository: str) -> Iterator[Snapshot]:
    """Yield what the caches have of main as it was, the newest first: commits that have no other name."""
    for cache in cache_folders():
        folder = repository_folder(cache, repository)
        named = {commit for name, commit in refs(folder).items() if name != MAIN}
        commits = [path for path in (folder / "snapshots").glob("*") if path.name not in named]
        for path in sorted(commits, key=lambda path: path.stat().st_mtime, reverse=True):
            yield snapshot_at(folder, path.name)


def snapshot_at(folder: Path, commit: str, weights: dict[str, Path] | None = None) -> Snapshot:
    """Return a commit of a cached repository, with weights from elsewhere where it has none."""
    place = folder / "snapshots" / commit
    files = {**(weights or {}), **{path.name: path for path in place.iterdir()}}
    absent = frozenset(path.name for path in (folder / ".no_exist" / commit).glob("*"))
    return Snapshot(files, place, commit, absent)


def refs(folder: Path) -> dict[str, str]:
    """Return the commit of each branch, tag and pull request that a cached repository knows."""
    root = folder / "refs"
    found = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_text().strip() for path in found}


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


def _old_files(cache: Path, repository: str, revision: str) -> dict[str, Path]:
    """Return the files in the layout of transformers before 4.22: named by hashes, with their URL in JSON."""
    marker = f"/{repository}/resolve/{revision}/"
    files: dict[str, Path] = {}
    notes = [path for path in cache.glob("*.json") if path.with_suffix("").is_file()]
    for note in sorted(notes, key=lambda path: path.stat().st_mtime):  # a later version replaces an earlier
        content = read_json(note)
        _, found, name = str(content.get("url") if isinstance(content, dict) else "").rpartition(marker)
        if found and "/" not in name:
            files[name] = note.with_suffix("")
    return files


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
