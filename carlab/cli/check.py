"""`carlab check`: a minute that tells whether a model is trained and was loaded right."""

import json
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carlab.cli import options
from carlab.errors import check_choice
from carlab.trace.show import printable, text_table

if TYPE_CHECKING:
    from carlab.backbones import FrozenVlm
    from carlab.evaluate.check import Report

VERDICTS = {True: "ok", False: "FAIL", None: ""}


def check_model(
    model: Annotated[str, typer.Argument(help="A preset, a local folder or a hub name.")] = "offline",
    device: options.Device = "cpu",
    dtype: options.Dtype = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Check that a model is trained and was loaded right, in a minute; exit code 1 if not.

    Of a preset both backbones are checked: the proposer, and the classifier without its masks.
    """
    from carlab.evaluate.check import check_backbone

    options.announce(f"loading {printable(model)}")
    reports = {}
    for role, backbone in by_role(model, device=device, dtype=dtype).items():
        typer.echo(f"checking the {role}: {printable(backbone.name)}", err=True)
        reports[role] = check_backbone(backbone, masks=role != "classifier")
        if not as_json:
            typer.echo(report_text(role, reports[role]))
    if as_json:
        typer.echo(json.dumps([as_record(role, report) for role, report in reports.items()], indent=1))
    if any(report.failed for report in reports.values()):
        raise typer.Exit(1)


def by_role(name: str, **places: str) -> dict[str, "FrozenVlm"]:
    """Load what a name stands for, by role.

    Raises SettingError if it can be no model; BackboneError if it cannot be found or read.
    """
    from carlab.backbones import load_backbone
    from carlab.presets import PRESETS, load

    if name in PRESETS:
        model: Any = load(name, **places)
        f, g = model.proposer.backbone, model.classifier.backbone
        return {"proposer and classifier": f} if f is g else {"proposer": f, "classifier": g}
    meant_a_preset = name.partition("/")[0] in {preset.partition("/")[0] for preset in PRESETS}
    if (meant_a_preset or not {"/", ":"} & set(name)) and not os.path.isdir(os.path.expanduser(name)):
        check_choice("a folder that exists, a hub name (org/name), or a preset", name, PRESETS)
    return {"backbone": load_backbone(name, **places)}


def report_text(role: str, report: "Report") -> str:
    """Return the table of one backbone, and the verdict."""
    rows = [(row.check, row.expected, row.found, VERDICTS[row.passed]) for row in report.rows]
    table = text_table(rows, ("check", "expected", "found", ""))
    verdict = (
        f"FAIL: {len(report.failed)} of {len(rows)} checks; not trained, or not loaded right"
        if report.failed
        else f"ok: behaves as {report.family}"
    )
    return f"{role}: {printable(report.backbone)}\n\n{table}\n\n{verdict}\n"


def as_record(role: str, report: "Report") -> dict[str, object]:
    """Return a report for JSON."""
    checks = [row._asdict() for row in report.rows]
    return {"role": role, **report._asdict(), "passed": not report.failed, "rows": checks}
