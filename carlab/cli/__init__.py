"""The command line `carlab`: one small file a command; nothing heavy is imported until it is needed."""

import sys
from typing import Annotated

import typer

from carlab.cli.bench import bench
from carlab.cli.datasets import datasets
from carlab.cli.evaluate import evaluate
from carlab.cli.fidelity import fidelity
from carlab.cli.lab import lab
from carlab.cli.machine import doctor, models
from carlab.cli.report import report
from carlab.cli.segment import segment
from carlab.cli.show import probes, show
from carlab.cli.sweep import sweep
from carlab.cli.view import view
from carlab.display import printable
from carlab.errors import CarlabError

app = typer.Typer(
    name="carlab",
    help="CLIP as RNN, every step visible: open-vocabulary segmentation without training.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (segment, show, view, lab, probes, models, doctor, fidelity, bench, datasets, sweep, report):
    app.command()(command)
app.command("eval")(evaluate)


def _version(wanted: bool | None) -> None:
    if wanted:
        import carlab

        typer.echo(f"carlab {carlab.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool | None, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = None,
) -> None:
    """Options of carlab itself."""


def main() -> None:
    """Run the command line: 0 done, 1 some photos failed, 2 one line of what is wrong, 130 stopped."""
    try:
        app()
    except CarlabError as error:
        typer.echo(f"carlab: error: {printable(str(error))}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("carlab: stopped", err=True)
        sys.exit(130)
