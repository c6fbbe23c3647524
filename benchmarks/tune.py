"""Tune the offline backbone on VOC 2012 train, cross-validated; writes docs/tuning.md.

    python -m benchmarks.tune DATA RUNS [IMAGES]

One setting at a time is changed from the `offline/voc` preset. The counts of each image are kept in RUNS, and
a second call computes only what is missing. A fold's value is chosen on the images of all other folds, and
scored on its own: the score of the choice is that of images on which nothing was chosen.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.crossval import FOLDS, Rows, chosen, miou
from benchmarks.measured import write
from benchmarks.quirk_effects import Change, affinity, backbones, stage
from carlab.datasets import Dataset, load_dataset
from carlab.files.archive import make_folder, write_file
from carlab.metrics.intervals import interval, paired_interval, shown
from carlab.metrics.semantic import confusion, tally
from carlab.photo import Photo
from carlab.presets import load
from carlab.recurrence import ClipAsRnn
from carlab.stages.prompter import Crop

PRESET = "as in the preset"


def eta(value: float) -> Change:
    """Change the mask threshold."""
    return lambda model: replace(model, mask_threshold=value)


def margin(value: float) -> Change:
    """Change the margin of the prompt."""
    return lambda model: replace(model, prompter=Crop(value))


def proposing(**values: Any) -> Change:
    """Change fields of the proposer's backbone alone: the classifier does not read them."""

    def change(model: ClipAsRnn) -> ClipAsRnn:
        proposer: Any = model.proposer
        return stage("proposer", backbone=replace(proposer.backbone, **values))(model)

    return change


def without_worn(model: ClipAsRnn) -> ClipAsRnn:
    """Read queries for people as ImageNet's class names alone."""
    network: Any = model.classifier.backbone  # type: ignore[attr-defined]  # a TemplateClassifier
    return backbones(people=network.people[:0])(model)


AXES: Mapping[str, tuple[Any, Callable[[Any], Change], tuple[Any, ...]]] = {
    "theta, score a query must exceed": (
        0.3, lambda v: stage("filter", theta=v), (0.2, 0.25, 0.3, 0.35, 0.4, 0.5)),
    "eta, mask threshold": (0.45, eta, (0.35, 0.45, 0.55)),
    "lambda, box threshold": (0.2, lambda v: affinity(box_threshold=v), (0.1, 0.2, 0.4)),
    "margin of the crop": (0.3, margin, (0.1, 0.3, 0.5)),
    "background power of the CRF": (
        3.0, lambda v: stage("refiner", background_power=v), (1.0, 2.0, 3.0, 4.0)),
    "scale of the logits": (2.0, lambda v: backbones(scale=v), (1.0, 2.0, 3.0)),
    "temperature over class names": (0.1, lambda v: backbones(name_temperature=v), (0.07, 0.1, 0.14)),
    "temperature over patches": (0.15, lambda v: proposing(affinity_temperature=v), (0.1, 0.15, 0.2)),
    "longest side of the proposer's input": (576, lambda v: proposing(max_side=v), (448, 576, 672)),
    "people are as probable as what they wear": ("yes", lambda v: without_worn, ("yes", "no")),
    "prior of people": (5.0, lambda v: backbones(people_prior=v), (1.0, 3.0, 5.0, 8.0)),
}  # fmt: skip
"""Value of the preset, the change that a value makes, and the values, by setting."""


def variants() -> dict[str, Change]:
    """Return the preset and every change of it, by name."""
    found: dict[str, Change] = {PRESET: lambda model: model}
    for axis, (own, change, values) in AXES.items():
        found |= {name(axis, value): change(value) for value in values if value != own}
    return found


def name(axis: str, value: Any) -> str:
    """Name a variant; that of the preset's own value is the preset."""
    return PRESET if value == AXES[axis][0] else f"{axis} = {value}"


def measure(dataset: Dataset, images: int, runs: Path) -> dict[str, Rows]:
    """Return the counts of each image by variant."""
    model, changes = load("offline/voc"), variants()
    rows: dict[str, list[list[int]]] = {variant: [] for variant in changes}
    for index in tqdm(range(images), desc="VOC train"):
        sample = dataset[index]
        path = runs / f"{sample.id}.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        missing = {variant: change for variant, change in changes.items() if variant not in known}
        if missing:
            photo, truth = Photo.of(sample.image), sample.truth()
            for variant, change in missing.items():
                labels = change(model)(photo, dataset.queries).labels
                known[variant] = np.concatenate(
                    tally(confusion(truth, labels, len(dataset.classes)))
                ).tolist()
            write_file(path, json.dumps(known).encode())
        for variant in changes:
            rows[variant].append(known[variant])
    return {variant: np.array(found) for variant, found in rows.items()}


def table(rows: Mapping[str, Rows]) -> str:
    """Return a row for each value of each setting, then what choosing is worth."""
    images = len(rows[PRESET])
    lines = [
        f"| setting, {images} images | value | mIoU, 21 classes | change | folds of {FOLDS} that choose it |",
        "|---|---:|---:|---:|---:|",
    ]
    for axis, (own, _, values) in AXES.items():
        found = {value: rows[name(axis, value)] for value in values}
        picks, _ = chosen(found)
        for value in values:
            change = paired_interval(miou(rows[PRESET]), miou(found[value]))
            moved = "" if value == own else shown(change, "+")
            label = f"**{value}**" if value == own else f"{value}"
            score = shown(interval(miou(found[value])))
            lines.append(f"| {axis} | {label} | {score} | {moved} | {picks.count(value)} |")
    lines += ["", "| chosen on the other folds, scored on each | mIoU, 21 classes | change to the preset |"]
    lines.append("|---|---:|---:|")
    choices = {axis: {v: rows[name(axis, v)] for v in values} for axis, (_, _, values) in AXES.items()}
    for title, found in {**choices, "any one change": dict(rows)}.items():
        _, scored = chosen(found)
        change = paired_interval(miou(rows[PRESET]), miou(scored))
        lines.append(f"| {title} | {shown(interval(miou(scored)))} | {shown(change, '+')} |")
    return "\n".join(lines)


def main(data: str, runs: str, images: str = "80") -> None:
    """Compute what is missing, and write the table into the page."""
    dataset = load_dataset("voc21", data, split="train").as_released()
    rows = measure(dataset, min(int(images), len(dataset)), make_folder(runs))
    command = f"tune DATA RUNS {images}"
    write("tuning.md", command, table(rows), section="tune DATA RUNS")


if __name__ == "__main__":
    main(*sys.argv[1:])
