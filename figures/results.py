"""Evaluate the offline backbone and write docs/results.md: every number of its tables comes from here.

Usage: `python figures/results.py DATA RUNS [SECTION...]`; half an hour for all of `voc`, `coco` and
`ablations`. DATA holds VOC 2012 and COCO in their official layouts; RUNS keeps the runs, and a second call
only reads them.
"""

import sys

from measured import run, write

ABLATIONS = (
    "prompter=circle,blur,circle+blur,grey,black,crop",
    "background=none,terrestrial,aquatic-atmospheric,man-made,all",
    "theta=.2,.4,.5,.6",
    "recurrence=off",
)
IMAGES = 40
"""Images of an ablation: seventeen variants of eighty would take an hour."""


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
        "coco": (
            "COCO-Object, val2017",
            [f"carlab eval {coco} -o {runs}/coco"],
            f"carlab report {runs}/coco",
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
    for section in sections or known:
        title, first, last = known[section]
        for command in first:
            run(command)
        shown = "\n".join(f"    {command}" for command in [*first, last])
        shown = shown.replace(data, "DATA").replace(runs, "RUNS")
        write(
            "results.md",
            f"results.py {section}",
            f"### {title}\n\n{shown}\n\n{run(f'{last} --format markdown')}",
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
