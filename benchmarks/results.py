"""Evaluate the offline backbone and write docs/results.md: every number of its tables comes from here.

Usage: `python -m benchmarks.results DATA RUNS [SECTION...]`; half an hour for all. DATA holds VOC 2012, COCO
and DAVIS in their official layouts; RUNS keeps the runs, and a second call only reads them. Where the hub's
cache holds both CLIPs, `paper` runs them on what DATA holds.
"""

import sys
from pathlib import Path

from benchmarks.measured import run, write
from carlab.cli.machine import cached
from carlab.datasets import load_dataset
from carlab.errors import CarlabError
from carlab.evaluate.folder import RunFolder
from carlab.evaluate.summary import Summary
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

MATCH = f"--regions {SAM_HQ}"
PAPER = (
    ("VOC 21", "eval voc21 --preset paper/voc -o {}/clip-voc21", 67.6, "clip-voc21", "voc/recurrence%3Don"),
    ("VOC 21, and SAM", f"eval voc21 --preset paper/voc {MATCH} -o {{}}/sam-voc21", 70.2, "sam-voc21", ""),
    ("VOC 21, no recurrence", "sweep voc21 --preset paper/voc -g recurrence=off -o {}/clip-once", 15.2,
     "clip-once/recurrence%3Doff", "voc/recurrence%3Doff"),
    ("VOC 20", "eval voc20 --preset paper/voc -o {}/clip-voc20", 91.4, "clip-voc20", "voc20"),
    ("COCO-Object", "eval coco-object --preset paper/coco -o {}/clip-coco", 36.6, "clip-coco", "coco"),
    ("COCO-Object, and SAM", f"eval coco-object --preset paper/coco {MATCH} -o {{}}/sam-coco", 37.6,
     "sam-coco", ""),
    ("Context 59", "eval context59 --preset paper/context -o {}/clip-c59", 39.5, "clip-c59", ""),
    ("Context 60", "eval context60 --preset paper/context -o {}/clip-c60", 30.5, "clip-c60", ""),
    ("Context 60, and SAM", f"eval context60 --preset paper/context {MATCH} -o {{}}/sam-c60", 31.1,
     "sam-c60", ""),
    ("ADE 150", "eval ade150 --preset paper/ade150 -o {}/clip-ade150", 17.7, "clip-ade150", ""),
)  # fmt: skip
"""Title, command for CLIP, mIoU of the paper, and the runs of CLIP and of the offline backbone."""


def paper(data: str, runs: str) -> str:
    """Return a table of what the paper says, and beside it what was measured here."""
    have = {name for name, *_ in cached()}
    lines = [
        "| data set | paper | carlab, CLIP ViT-B/16 x L/14 | carlab, offline, not CLIP | `carlab` ... |",
        "|---|---:|---:|---:|---|",
    ]
    for title, command, printed, clip, offline in PAPER:
        needed = {BASE_16, LARGE_14} | ({SAM_HQ} & set(command.split()))
        if needed <= have and readable(command.split()[1], data):
            run(f"carlab {command.format(runs)} --root {data}")
        here = [score(f"{runs}/{clip}"), score(f"{runs}/{offline}") if offline else ""]
        told = f"`{command.format('RUNS')} --root DATA`"
        lines.append(f"| {title} | {printed} | {here[0] or 'no weights here'} | {here[1] or '-'} | {told} |")
    return "\n".join(lines)


def readable(name: str, data: str) -> bool:
    """Return whether a data set is there."""
    try:
        return len(load_dataset(name, Path(data))) > 0
    except CarlabError:
        return False


def score(out: str) -> str:
    """Return the mIoU of a run, its interval, and over how many images; empty if there is no such run."""
    if not Path(out, "manifest.json").exists():
        return ""
    folder = RunFolder.read(out)
    summary = Summary.of(folder, folder.ids)
    value, low, high = (100 * number for number in summary.interval("mIoU"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}], {len(summary.records)} images"


def commands(data: str, runs: str) -> dict[str, tuple[str, list[str], str]]:
    """Return title, commands that run, and the one that reports, by section."""
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
            [f"carlab eval davis16 --root {data} --split all --preset offline/voc -o {runs}/video"],
            f"carlab report {runs}/video",
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
            write("results.md", "results paper", paper(data, runs))
            continue
        title, first, last = known[section]
        for command in first:
            run(command)
        shown = "\n".join(f"    {command}" for command in [*first, last])
        shown = shown.replace(data, "DATA").replace(runs, "RUNS")
        write(
            "results.md",
            f"results {section}",
            f"### {title}\n\n{shown}\n\n{run(f'{last} --format markdown')}",
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
