"""`carlab fetch`: download checkpoints ahead, for machines without a network."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carlab.errors import BackboneError, check_choice, reason
from carlab.trace.show import printable, size_text, text_table

if TYPE_CHECKING:
    from carlab.backbones.download import Download
    from carlab.backbones.hub import Family

FetchNames = Annotated[
    list[str],
    typer.Argument(metavar="PRESET|NAME...", help="Presets, or hub names: org/name, org/name@revision."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show files and sizes; write nothing.")]
NEXT = """
On a machine without a network: copy {0} there, set HF_HUB_CACHE to
the copy and HF_HUB_OFFLINE to 1, and the same names and presets load. `carlab models` says what is whole."""


def fetch(names: FetchNames, dry_run: DryRun = False) -> None:
    """Download what presets or models need; what is whole stays, and what broke off is gone on with."""
    wanted = list(dict.fromkeys(name for given in names for name in hub_names(given)))
    if not wanted:
        typer.echo("The offline backbone is embedded: there is nothing to download.")
        return
    from carlab.backbones.cached import cache_folders
    from carlab.backbones.download import check_room
    from carlab.backbones.hub import download

    family, cache, alone = loadable(), cache_folders()[0], len(wanted) == 1
    plans, failed = each(wanted, lambda name: planned(name, family), alone)
    missing = {name: sum(map(plan.missing, plan.files)) for name, plan in plans.items() if plan}
    typer.echo(f"{size_text(sum(missing.values()))} to download into {cache}")
    if not dry_run:
        check_room(cache, sum(missing.values()))
        _, broken = each(list(missing), lambda name: download(name, family, plans[name]), alone)
        failed += broken
        if failed < len(wanted):
            typer.echo(NEXT.format(cache))
    if failed:
        raise typer.Exit(1)


def each(names: list[str], action: Callable[[str], Any], alone: bool) -> tuple[dict[str, Any], int]:
    """Return what an action gives for each name, and for how many it failed; one alone raises its error."""
    results, failed = {}, 0
    for name in names:
        try:
            results[name] = action(name)
        except BackboneError as error:
            if alone:
                raise
            failed += 1
            typer.echo(f"carlab: error: {printable(str(error))}", err=True)
    return results, failed


def hub_names(given: str) -> list[str]:
    """Return the hub names that a preset needs, or the name itself.

    Raises SettingError if it looks like a preset and is none; BackboneError if it is a folder.
    """
    from carlab.backbones.registry import OFFLINE
    from carlab.presets import PRESETS, backbone_names

    if given.partition("/")[0] in {preset.partition("/")[0] for preset in PRESETS}:
        check_choice("a preset", given, PRESETS)
        return [name for name in backbone_names(given) if name != OFFLINE]
    if Path(given).expanduser().is_dir():
        raise BackboneError(f"expected a hub name, got the folder {given!r}; it can be loaded as it is")
    return [given]


def loadable() -> "Family":
    """Return the types of checkpoints that carlab can load, for any use."""
    from carlab.backbones.contents import WITHOUT_TEXT
    from carlab.backbones.hub import Family
    from carlab.backbones.registry import FAMILIES

    return Family("known", (*FAMILIES, *WITHOUT_TEXT))


def planned(name: str, family: "Family") -> "Download | None":
    """Show the files of a checkpoint, by the hub; None if it does not answer and all of them are here."""
    from carlab.backbones.hub import find_cached, plan_download

    try:
        plan = plan_download(name, family)
    except BackboneError as error:
        have = find_cached(name, family)
        if have is None:
            raise
        typer.echo(
            f"{name}: cached whole, in {have.folder}; no news of it ({reason(error.__cause__ or error)})"
        )
        return None
    rows = [
        (file.name, size_text(file.size), f"{size_text(rest)} to download" if rest else "here")
        for file, rest in ((file, plan.missing(file)) for file in plan.files)
    ]
    typer.echo(f"{name} at {plan.commit[:8]}:\n{text_table(rows, ('file', 'size', 'state'))}\n")
    return plan
