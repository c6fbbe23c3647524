"""Find a checkpoint by name: a local folder, a cache on this machine, or the hub."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from carlab.backbones.cached import (
    MAIN,
    Snapshot,
    cache_folders,
    earlier_snapshots,
    repository_folder,
    snapshot_at,
    snapshots,
)
from carlab.backbones.checkpoint import Checkpoint
from carlab.backbones.contents import Contents, kind_of
from carlab.backbones.download import Download, plan
from carlab.errors import BackboneError, quoted, reason

OFFLINE_FLAGS = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


class Family(NamedTuple):
    """What a caller can load.

    Parameters
    ----------
    name, kinds
        Its name, and transformers' model types; any, where there is none.
    example, stand_in
        A hub name, and the name that needs no weights, for messages.
    """

    name: str = "model"
    kinds: tuple[str, ...] = ()
    example: str = "openai/clip-vit-base-patch16"
    stand_in: str = "offline"

    @property
    def ways_out(self) -> str:
        """Advice for when there is no such checkpoint."""
        return f'give a local folder with the checkpoint, or use "{self.stand_in}"'

    def check(self, name: str, kind: str) -> None:
        """Raise BackboneError if checkpoints of this type cannot be loaded."""
        if self.kinds and kind not in self.kinds:
            raise BackboneError(
                f"expected a {self.name} checkpoint of type {', '.join(self.kinds)}, got {kind!r} "
                f"in {quoted(name)}; {self.ways_out}"
            )


ANY = Family()


def find_checkpoint(name: str, family: Family = ANY) -> Checkpoint:
    """Find a checkpoint by folder or hub name ("org/name", or "org/name@revision"), all its files whole.

    What is cached whole is used without any request. Else what is missing is downloaded; where that fails, an
    earlier commit of the same name is used if the cache has one.

    Raises BackboneError if there is none, it is of another family, or the hub cannot be reached or refuses.
    """
    folder = Path(os.path.expanduser(name))
    if name and os.path.isdir(folder):
        here = Snapshot({path.name: path for path in folder.iterdir()}, folder)
        return _checked_snapshot(name, here, here.contents(), family)
    found = _cached(name, family)
    for snapshot, contents in found:
        if not contents.lacking and not contents.unsure:
            return _checked_snapshot(name, snapshot, contents, family)
    found += _cached_before(name, family)
    note = f"; the cache has it without {', '.join(found[0][1].lacking)}" if found else ""
    try:
        return download(name, family, plan_download(name, family, note))
    except BackboneError:
        if checkpoint := find_cached(name, family):
            return checkpoint
        raise


def find_cached(name: str, family: Family = ANY) -> Checkpoint | None:
    """Return what the caches have of a hub name, whole, be it an earlier commit; no request is made."""
    found = [*_cached(name, family), *_cached_before(name, family)]
    whole = (pair for pair in found if not pair[1].lacking)
    return next((_checked_snapshot(name, *pair, family) for pair in whole), None)


def plan_download(name: str, family: Family = ANY, note: str = "") -> Download:
    """Ask the hub what a name needs, and how large it is. Nothing is written.

    Raises BackboneError if it cannot be reached, refuses, or has no such checkpoint.
    """
    repository, revision = split_name(name, family)
    with _explained(name, family, note):
        for flag in OFFLINE_FLAGS:
            if os.environ.get(flag, "0").upper() in {"1", "ON", "YES", "TRUE"}:
                raise ConnectionError(f"{flag} is set")
        cache = repository_folder(cache_folders()[0], repository)
        converted = {
            snapshot.revision
            for snapshot, contents in _cached(name, family)
            if snapshot.folder and cache in snapshot.folder.parents and snapshot.converted(contents)
        }
        return plan(repository, revision or MAIN, lambda kind: family.check(name, kind), converted)


def download(name: str, family: Family, planned: Download) -> Checkpoint:
    """Download what is missing of a plan, with a progress bar, and return the checkpoint.

    Raises BackboneError if it breaks off; what has come by then is kept, and gone on with the next time.
    """
    with _explained(name, family, "; what has come so far is kept, and gone on with the next time"):
        planned.download()
    here = snapshot_at(planned.folder, planned.commit, planned.revision == MAIN)
    return _checked_snapshot(name, here, here.contents(), family)


def split_name(name: str, family: Family = ANY) -> tuple[str, str]:
    """Return repository and revision ("" where there is none) of a hub name.

    Raises BackboneError if it is none.
    """
    repository, _, revision = name.partition("@")
    if len(repository.split("/")) != 2 or repository.startswith((".", "/", "~")):
        raise BackboneError(
            f'expected "{family.stand_in}", a folder that exists, or a hub name like "{family.example}", '
            f"got {quoted(name)}; run `carlab models` to see what can be loaded here"
        )
    return repository, revision


def _cached(name: str, family: Family) -> list[tuple[Snapshot, Contents]]:
    repository, revision = split_name(name, family)
    return [(snapshot, snapshot.contents()) for snapshot in snapshots(repository, revision or MAIN)]


def _cached_before(name: str, family: Family) -> list[tuple[Snapshot, Contents]]:
    """Return what main was before, and what began to be downloaded, where no revision was asked for."""
    repository, revision = split_name(name, family)
    earlier = () if revision else earlier_snapshots(repository)
    return [(snapshot, snapshot.contents()) for snapshot in earlier]


def _checked_snapshot(name: str, snapshot: Snapshot, contents: Contents, family: Family) -> Checkpoint:
    if contents.config:
        family.check(name, kind_of(contents.config))
    if contents.lacking:
        raise BackboneError(
            f"expected a whole {family.name} checkpoint, got {quoted(name)} without "
            f"{' and '.join(contents.lacking)}; {family.ways_out}"
        )
    return snapshot.checkpoint(name, contents)


@contextmanager
def _explained(name: str, family: Family, note: str = "") -> Iterator[None]:
    """Turn whatever a download raises into one line."""
    try:
        yield
    except BackboneError:
        raise
    except Exception as error:  # OSError, httpx's errors, huggingface_hub's, and what a wrong answer causes
        raise BackboneError(
            f"expected {quoted(name)} from the model hub, got nothing ({_why(error, name)}{note}); "
            f"{family.ways_out}"
        ) from error


def _why(error: Exception, name: str) -> str:
    """Return what a failed request means for the user."""
    from huggingface_hub import constants

    response = getattr(error, "response", None)
    status = getattr(response, "status_code", 0)
    page = f"{constants.ENDPOINT}/{name.partition('@')[0]}"
    if status in {401, 403}:
        return (
            f"the hub refuses it, {status}: if the name is right, accept the licence at {page} and set "
            "HF_TOKEN to a token of yours"
        )
    if status == 404:
        return "the hub has no such model, revision or file"
    if status == 429:
        wait = getattr(response, "headers", {}).get("Retry-After")
        return f"the hub has had too many requests, 429: try again {f'in {wait} s' if wait else 'later'}"
    return reason(error)
