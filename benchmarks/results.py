"""Evaluate the offline backbone and write docs/results.md: every number of its tables comes from here.

Usage: `python -m benchmarks.results DATA RUNS [SECTION...]`; an hour or more for all. DATA holds VOC 2012,
COCO and DAVIS in their official layouts; RUNS keeps the runs, and a second call only reads them. Where the
hub's cache holds both CLIPs, `paper` runs them on what DATA holds.
"""

import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.measured import run, write
from carlab.cli.machine import cached
from carlab.datasets import load_dataset
from carlab.errors import CarlabError
from carlab.evaluate.folder import RunFolder
from carlab.evaluate.summary import Summary
from carlab.metrics.intervals import shown
from carlab.presets import BASE_16, LARGE_14
from carlab.stages.regions import SAM_HQ

ABLATIONS = (
    "prompter=circle,blur,circle+blur,grey,black,crop",
    "background=none,terrestrial,aquatic-atmospheric,man-made,all",
    "theta=.2,.4,.5,.6",
    "recurrence=off",
    "regions=superpixels",
)
IMAGES = 40
"""Images of an ablation: eighteen variants of eighty would take an hour."""

FEW = 20
"""Images of the table of proposers and refiners, which has 20 cells."""
OFFLINE_PROPOSERS = ("gradcam", "layercam", "gradcam++", "patches")
"""Those that the offline backbone supports, but for HiResCAM, which equals Grad-CAM there."""
REFINERS_WITHOUT_WEIGHTS = ("crf", "pamr", "grabcut", "random-walker", "none")

MATCH = f"--regions {SAM_HQ}"
RELEASED = "mIoU per object as released"


class Row(NamedTuple):
    """A number of the paper, and the command that measures it here with CLIP."""

    title: str
    command: str
    printed: float
    run: str
    """Folder of the run, below the one that keeps them all."""
    score: str = "mIoU"
    offline: str = ""
    """Folder of the same with the offline backbone, if there is one."""


def _eval(title: str, data: str, preset: str, printed: float, **more: str) -> Row:
    """Return a row measured by `carlab eval`; `data` may name a split, `more` holds options and fields."""
    name, _, split = data.partition(" ")
    options = more.pop("options", "")
    run = more.pop("run", "clip-" + data.replace("/", "-").replace(" ", "-"))
    parts = (f"eval {name} --preset reference/{preset}", f"--split {split}" if split else "", options)
    return Row(title, f"{' '.join(filter(None, parts))} -o {{}}/{run}", printed, run, **more)


def _referring(title: str, data: str, preset: str, printed: float, score: str = RELEASED) -> Row:
    return _eval(title, data, preset, printed, score=score)


PAPER = (
    _eval("VOC 21", "voc21", "voc", 67.6, offline="voc/recurrence%3Don"),
    _eval("VOC 21, and SAM", "voc21", "voc", 70.2, options=MATCH, run="sam-voc21"),
    Row("VOC 21, no recurrence", "sweep voc21 --preset reference/voc -g recurrence=off -o {}/clip-once", 15.2,
        "clip-once/recurrence%3Doff", offline="voc/recurrence%3Doff"),
    _eval("VOC 20", "voc20", "voc", 91.4, offline="voc20"),
    _eval("COCO-Object", "coco-object", "coco", 36.6, offline="coco"),
    _eval("COCO-Object, and SAM", "coco-object", "coco", 37.6, options=MATCH, run="sam-coco"),
    _eval("Context 59", "context59", "context", 39.5),
    _eval("Context 60", "context60", "context", 30.5),
    _eval("Context 60, and SAM", "context60", "context", 31.1, options=MATCH, run="sam-context60"),
    _eval("ADE 150", "ade150", "ade150", 17.7),
    _eval("ADE 847", "ade847", "ade847", 8.1),
    _eval("Context 459", "context459", "pc459", 13.9),
    _referring("RefCOCO val", "refcoco unc/val", "refcoco", 33.57),
    _referring("RefCOCO test A", "refcoco unc/testA", "refcoco", 35.36),
    _referring("RefCOCO test B", "refcoco unc/testB", "refcoco", 30.51),
    _referring("RefCOCO+ val", "refcoco+ unc/val", "refcoco+", 34.22),
    _referring("RefCOCO+ test A", "refcoco+ unc/testA", "refcoco+", 36.03),
    _referring("RefCOCO+ test B", "refcoco+ unc/testB", "refcoco+", 31.02),
    _referring("RefCOCOg val (umd)", "refcocog umd/val", "refcocog", 36.67),
    _referring("RefCOCOg test (umd)", "refcocog umd/test", "refcocog", 36.57),
    _referring("RefCOCOg val (google)", "refcocog google/val", "refcocog", 36.63),
    _referring("GRES val", "grefcoco unc/val", "gres", 16.8),
    *(_referring(f"Ref-DAVIS 2017, {score}", "ref-davis17 val", "refcoco", printed, score)
      for score, printed in (("J&F", 30.34), ("J", 28.15), ("F", 32.53))),
)  # fmt: skip
"""Every result of the paper, with `reference`, the code that measured it. The release has no settings for
Ref-DAVIS: RefCOCO's are taken."""


def paper(data: str, runs: str) -> str:
    """Return the table of the paper's numbers, and beside each what was measured here."""
    have = {model.name for model in cached() if model.whole}
    lines = [
        "| data set | paper | carlab, CLIP | carlab, offline, not CLIP | `carlab` ... |",
        "|---|---:|---:|---:|---|",
    ]
    for row in PAPER:
        words = row.command.split()
        needed = {BASE_16, LARGE_14} | ({SAM_HQ} & set(words))
        if needed <= have and readable(words[1], data):
            run(f"carlab {row.command.format(runs)} --root {data}")
        here = [score(f"{runs}/{out}", row.score) if out else "" for out in (row.run, row.offline)]
        shown = f"`{row.command.format('RUNS')} --root DATA`"
        lines.append(
            f"| {row.title} | {row.printed} | {here[0] or 'no weights here'} | {here[1] or '-'} | {shown} |"
        )
    return "\n".join(lines)


def readable(name: str, data: str) -> bool:
    """Whether a data set is there."""
    try:
        return len(load_dataset(name, Path(data))) > 0
    except CarlabError:
        return False


def score(out: str, name: str) -> str:
    """Return a score of a run, its interval, and over how many images; empty if there is no such run."""
    if not Path(out, "manifest.json").exists():
        return ""
    folder = RunFolder.read(out)
    summary = Summary.of(folder, folder.ids)
    return f"{shown(summary.interval(name))}, {len(summary.records)} images"


def commands(data: str, runs: str) -> dict[str, tuple[str, list[str], str]]:
    """Title, commands that run, and the one that reports, by section."""
    voc, coco = (f"{name} --root {data} --preset offline/voc" for name in ("voc21", "coco-object"))
    ablation = " ".join(f"-g {axis}" for axis in ABLATIONS)
    return {
        "voc": (
            "VOC 2012 val, 20 classes and background",
            [f"carlab sweep {voc} --split val -o {runs}/voc -g recurrence=on,off",
             f"carlab eval {voc} --split val --labels-given -o {runs}/voc-labels"],
            f"carlab report {runs}/voc/recurrence%3Don {runs}/voc/recurrence%3Doff {runs}/voc-labels",
        ),
        "voc20": (
            "VOC 2012 val, 20 classes without background",
            [f"carlab eval {voc.replace('voc21', 'voc20')} --split val -o {runs}/voc20"],
            f"carlab report {runs}/voc20",
        ),
        "coco": (
            "COCO-Object, val2017",
            [f"carlab eval {coco} -o {runs}/coco"],
            f"carlab report {runs}/coco",
        ),
        "referring": (
            "Referring expressions, on images of COCO val2017",
            [f"carlab eval coco-referring --root {data} --preset offline/voc -o {runs}/referring"],
            f"carlab report {runs}/referring",
        ),
        "video": (
            "DAVIS 2016, every frame by itself",
            [f"carlab eval {name} --root {data} --split all --preset offline/voc -o {runs}/{out}"
             for name, out in (("davis16", "video"), ("davis16-distractors", "video-distractors"))],
            f"carlab report {runs}/video {runs}/video-distractors",
        ),
        "video-smoothing": (
            "DAVIS 2016, smoothed over time",
            [],
            f"python -m benchmarks.video {data} offline/voc",
        ),
        "proposers": (
            f"Mask proposers and refiners, the first {FEW} images of VOC 2012 val",
            [],
            f"carlab sweep {voc} --split val --limit {FEW} -g proposer={','.join(OFFLINE_PROPOSERS)} "
            f"-g refiner={','.join(REFINERS_WITHOUT_WEIGHTS)} -o {runs}/proposers",
        ),
        "ablations": (
            f"Ablations, the first {IMAGES} images of VOC 2012 val, one change at a time",
            [],
            f"carlab sweep {voc} --split val --limit {IMAGES} --each {ablation} -o {runs}/ablations",
        ),
    }  # fmt: skip


def main(data: str, runs: str, *sections: str) -> None:
    """Run what is missing, and write those sections of the page, or all."""
    known = commands(data, runs)
    for section in sections or (*known, "paper"):
        if section == "paper":
            write("results.md", "results DATA RUNS paper", paper(data, runs))
            continue
        title, first, last = known[section]
        for command in first:
            run(command)
        shown = "\n".join(f"    {command}" for command in [*first, last])
        shown = shown.replace(data, "DATA").replace(runs, "RUNS")
        printed = run(f"{last} --format markdown" if last.startswith("carlab") else last)
        write("results.md", f"results DATA RUNS {section}", f"### {title}\n\n{shown}\n\n{printed}")


if __name__ == "__main__":
    main(*sys.argv[1:])
