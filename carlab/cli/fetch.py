"""`carlab fetch`: download checkpoints ahead, for machines without a network."""

from pathlib import Path
from typing import Annotated

import typer

from carlab.errors import BackboneError, check_choice
from carlab.trace.show import printable, size_text, text_table

Names = Annotated[
    list[str],
    typer.Argument(metavar="PRESET|NAME...", help="Presets, or hub names: org/name, org/name@revision."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show files and sizes; write nothing.")]
NEXT = """
On a machine without a network: copy {0} there, set HF_HUB_CACHE to
the copy and HF_HUB_OFFLINE to 1, and the same names and presets load. `carlab models` says what is whole."""


def fetch(names: Names, dry_run: DryRun = False) -> None:
    """Download what presets or models need; what is whole stays, and what broke off is gone on with."""
    wanted = list(dict.fromkeys(name for given in names for name in hub_names(given)))
    failures = 0
    for name in wanted:
        try:
            fetch_one(name, dry_run)
        except BackboneError as error:
            if len(wanted) == 1:
                raise
            failures += 1
            typer.echo(f"carlab: error: {printable(str(error))}", err=True)
    if not wanted:
        typer.echo("The offline backbone is embedded: there is nothing to download.")
    elif not dry_run and failures < len(wanted):
        from carlab.backbones.cached import cache_folders

        typer.echo(NEXT.format(cache_folders()[0]))
    if failures:
        raise typer.Exit(1)


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


def fetch_one(name: str, dry_run: bool) -> None:
    """Show what one checkpoint consists of, and download what is missing."""
    from carlab.backbones.contents import WITHOUT_TEXT
    from carlab.backbones.hub import Family, download, find_cached, plan_download
    from carlab.backbones.registry import FAMILIES

    family = Family("known", (*FAMILIES, *WITHOUT_TEXT))
    try:
        plan = plan_download(name, family)
    except BackboneError as error:
        if not (have := find_cached(name, family)):
            raise
        typer.echo(f"{name} is cached whole, in {have.folder}; the hub was asked for news: {error}")
        return
    missing = {file: plan.missing(file) for file in plan.files}
    rows = [
        (file.name, size_text(file.size), f"{size_text(rest)} to download" if rest else "here")
        for file, rest in missing.items()
    ]
    total = sum(missing.values())
    typer.echo(f"{name} at {plan.commit[:8]}, {size_text(total)} to download into {plan.folder}")
    typer.echo(text_table(rows, ("file", "size", "state")))
    if not dry_run:
        download(name, family, plan)
        typer.echo(f"{name} is whole\n")
