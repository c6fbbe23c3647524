"""The command line `carlab`, of its commands."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from carlab.cli.check import check_model
from carlab.cli.datasets import datasets
from carlab.cli.demo import demo
from carlab.cli.evaluate import evaluate_preset
from carlab.cli.fetch import fetch
from carlab.cli.figure import figure
from carlab.cli.lab import lab
from carlab.cli.machine import doctor, models
from carlab.cli.refer import refer
from carlab.cli.report import report
from carlab.cli.segment import segment_images
from carlab.cli.show import probes, show
from carlab.cli.sweep import sweep
from carlab.cli.video import video
from carlab.cli.view import view
from carlab.errors import CarlabError
from carlab.trace.show import printable

CHECKOUT = Path(__file__).parents[2]

app = typer.Typer(
    name="carlab",
    help="CLIP as RNN, every step visible: open-vocabulary segmentation without training.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(demo)
app.command("segment")(segment_images)
for command in (refer, video, show, figure, view, lab):
    app.command()(command)
for command in (probes, models, fetch, doctor, datasets, sweep, report):
    app.command()(command)
app.command("eval")(evaluate_preset)
app.command("check")(check_model)

if (CHECKOUT / "benchmarks" / "commands.py").is_file():  # a checkout also measures; the wheel does not
    sys.path.append(str(CHECKOUT))
    from benchmarks.commands import bench, fidelity

    app.command()(bench)
    app.command()(fidelity)


def _print_version(wanted: bool | None) -> None:
    if wanted:
        import carlab

        typer.echo(f"carlab {carlab.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool | None,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = None,
) -> None:
    """Options of carlab itself."""


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 some images failed, 2 an error in one line, 130 stopped."""
    try:
        app()
    except CarlabError as error:
        typer.echo(f"carlab: error: {printable(str(error))}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("carlab: stopped", err=True)
        sys.exit(130)
