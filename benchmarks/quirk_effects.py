"""Measure what each quirk of the release does; writes the tables of docs/fidelity.md.

    python -m benchmarks.quirk_effects ../shared golden
    python -m benchmarks.quirk_effects ../shared voc [IMAGES]

On the golden cases each quirk is switched off alone, in the `reference`
preset; on VOC 2012 train images each is switched on alone, in the
`offline/voc` preset. Quirk 1 changes what a score means, and the preset's theta does
not fit it: a second row chooses theta on other images (`benchmarks.crossval`). An
hour for 80 images on two cores; one image passes the trunk once for all quirks.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from tqdm import tqdm

from benchmarks.crossval import chosen, miou
from benchmarks.fidelity import build, load_pair
from benchmarks.measured import write
from carlab.datasets import load_dataset
from carlab.metrics.intervals import paired_interval, shown
from carlab.metrics.semantic import confusion, tally
from carlab.presets import load
from carlab.recurrence import ClipAsRnn
from carlab.stages.prompter import Blur, Circle, Combined, Contour, Crop, Grey, Prompt, Rectangle
from carlab.trace import Trace

Change = Callable[[ClipAsRnn], ClipAsRnn]


def stage(name: str, **values: Any) -> Change:
    """Change fields of one stage."""
    return lambda model: replace(model, **{name: replace(getattr(model, name), **values)})


def affinity(**values: Any) -> Change:
    """Change fields of the proposer's affinity."""

    def change(model: ClipAsRnn) -> ClipAsRnn:
        proposer: Any = model.proposer
        return stage("proposer", affinity=replace(proposer.affinity, **values))(model)

    return change


def backbones(**values: Any) -> Change:
    """Change fields of both backbones."""

    def change(model: ClipAsRnn) -> ClipAsRnn:
        for name in ("proposer", "classifier"):
            model = stage(name, backbone=replace(getattr(model, name).backbone, **values))(model)
        return model

    return change


def drawn(kinds: tuple[type[Prompt], ...], **values: Any) -> Change:
    """Change fields of some prompts."""

    def change(model: ClipAsRnn) -> ClipAsRnn:
        prompter: Any = model.prompter
        parts = (replace(part, **values) if isinstance(part, kinds) else part for part in prompter.prompts)
        return replace(model, prompter=Combined(tuple(parts)))

    return change


def both(*changes: Change) -> Change:
    """Make one change after another."""

    def change(model: ClipAsRnn) -> ClipAsRnn:
        for one in changes:
            model = one(model)
        return model

    return change


OUTLINES = (Circle, Contour, Rectangle, Blur)
OFF: dict[str, Change] = {
    "1 sum of per-template softmaxes": stage("classifier", ensemble="embeddings"),
    "2 classifier leaves out its last block": stage("classifier", skip_blocks=0),
    "3 centre crop": stage("classifier", fit="squash"),
    "4 bare name in step 1": stage("proposer", first_template=None),
    "5 BGR wrapped-around image in the CRF": stage("refiner", released_image=False),
    "6 boxes lose the border": affinity(cut_border=False),
    "7 grey weights swapped": drawn((Grey,), swapped=False),
    "8 positions bilinear, half precision": backbones(positions="bicubic"),
    "9 best query always stays": stage("filter", keep_best=False),
    "9 two steps at least": lambda model: replace(model, min_steps=1),
    "14 proposer sides multiples of 16": backbones(side_multiple=None),
    "rectangle centred on the mean": drawn((Rectangle,), centred=False),
    "p_k kept before min-max": stage("proposer", keep_probability=False),
    "drawn by OpenCV": drawn(OUTLINES, engine="skimage"),
}
SUMMED = "1 sum of per-template softmaxes"
THETAS = (0.052, 0.055, 0.058, 0.062, 0.066, 0.07, 0.08)
"""For quirk 1: with 20 queries and one template no score exceeds e / (e + 19) = 0.125, and 0.05 is chance."""
ON: dict[str, Change] = {
    SUMMED: stage("classifier", ensemble="probabilities"),
    "3 centre crop": stage("classifier", fit="crop"),
    "4 bare name in step 1, `a clean origami {}.` after": stage(
        "proposer", first_template="{}", template="a clean origami {}."
    ),
    "5 BGR wrapped-around image in the CRF": stage("refiner", released_image=True),
    "6 boxes lose the border": affinity(cut_border=True),
    "7 grey weights swapped (grey + crop)": lambda m: replace(m, prompter=Grey(swapped=True) + Crop(0.3)),
    "7 grey weights right (grey + crop)": lambda m: replace(m, prompter=Grey() + Crop(0.3)),
    "9 best query always stays": stage("filter", keep_best=True),
    "9 two steps at least": lambda model: replace(model, min_steps=2),
    "p_k kept before min-max": stage("proposer", keep_probability=True),
}


def golden_table(root: Path) -> str:
    """Return a table with each quirk off alone: changed kept sets, probabilities, and label pixels."""
    cases = json.loads((root / "cases.json").read_text())
    pairs = {name: load_pair(root, name) for name in {case["models"] for case in cases}}
    seen: dict[str, list[tuple[bool, float, float]]] = {name: [] for name in OFF}
    for case in tqdm(cases, desc="golden"):
        model = build(case, *pairs[case["models"]])
        image = load_file(root / f"{case['name']}.safetensors")["image"]
        base = model(image, case["queries"])
        for name, change in OFF.items():
            if change(model) != model:
                seen[name].append(difference(base, change(model)(image, case["queries"])))
    rows = [
        "| quirk switched off | cases | kept sets that change | change of a score | changed label pixels |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, found in seen.items():
        kept, score, pixels = (np.array(column) for column in zip(*found, strict=True))
        rows.append(
            f"| {name} | {len(found)} | {kept.sum()} | {score.mean():.1e} | {100 * pixels.mean():.2f} % |"
        )
    return "\n".join(rows)


def difference(a: Trace, b: Trace) -> tuple[bool, float, float]:
    """Return whether another set is found, the largest change of a first score, and the changed labels."""
    score = np.abs(a.steps[0].scores - b.steps[0].scores).max()
    return a.found != b.found, float(score), float((a.labels != b.labels).mean())


def voc_table(root: Path, images: int) -> str:
    """Return a table of mIoU over 21 classes of the offline preset, with each quirk on alone."""
    dataset = load_dataset("voc21", root, split="train").as_released()
    tuned = {theta: both(ON[SUMMED], stage("filter", theta=theta)) for theta in THETAS}
    changes: dict[Any, Change] = {"none": lambda model: model, **ON, **tuned}
    counts: dict[Any, list[np.ndarray]] = {name: [] for name in changes}
    model = load("offline/voc")
    images = min(images, len(dataset))
    for index in tqdm(range(images), desc="VOC train"):
        sample = dataset[index]
        prepared, truth = model.prepare(sample.image, dataset.queries), sample.truth()
        for quirk, change in changes.items():
            changed = change(model)
            fields = ("proposer", "prompter", "classifier", "filter", "refiner", "min_steps")
            trace = prepared.run(**{field: getattr(changed, field) for field in fields})
            counts[quirk].append(np.concatenate(tally(confusion(truth, trace.labels, 20))))
    rows = {name: np.stack(found) for name, found in counts.items()}
    picks, scored = chosen({theta: rows.pop(theta) for theta in THETAS})
    lowest, highest = min(picks), max(picks)
    chose = f"{lowest}" if lowest == highest else f"{lowest} to {highest}"
    named = {name: rows[name] for name in ("none", SUMMED)}
    named[f"{SUMMED}, theta {chose}, chosen on other images"] = scored
    lines = [f"| quirk switched on, {images} images | mIoU, 21 classes | change |", "|---|---:|---:|"]
    for name, found in {**named, **{k: v for k, v in rows.items() if k not in named}}.items():
        moved = "" if name == "none" else shown(paired_interval(miou(rows["none"]), miou(found)), "+")
        lines.append(f"| {name} | {100 * miou(found).score:.1f} | {moved} |")
    return "\n".join(lines)


def main(shared: str, section: str, images: str = "80") -> None:
    """Write one of both tables into the page."""
    root, command = Path(shared), f"quirk_effects ../shared {section}"
    if section == "golden":
        write("fidelity.md", command, golden_table(root / "golden"))
    else:
        write("fidelity.md", f"{command} {images}", voc_table(root / "data", int(images)), section=command)


if __name__ == "__main__":
    main(*sys.argv[1:])
