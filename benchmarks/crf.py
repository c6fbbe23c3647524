"""Compare the engines of the CRF: labels on VOC 2012 photos, and seconds.

    python -m benchmarks.crf DATA           # writes the tables of docs/performance.md
    python -m benchmarks.crf --device cuda  # seconds alone, without pydensecrf where there is none

The soft masks of the photos are the offline preset's among the 20 classes; they are computed once and kept in
out/. Both engines run in turns, on two threads.
"""

import argparse
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from skimage import data
from tqdm import tqdm

from benchmarks.measured import write
from carlab.files.pictures import resize
from carlab.files.shapes import Image, LabelMap, Maps
from carlab.stages.refiner import DenseCrf, NoRefiner

KEPT = Path(__file__).parents[1] / "out" / "crf_soft_masks.safetensors"
ROUNDS = 5
PATCHES = (12, 16)
"""Grid of the made-up soft masks."""


def main() -> None:
    """Print the tables; with photos, write them into the page."""
    parser = argparse.ArgumentParser(description="Compare the engines of the CRF.")
    parser.add_argument("data", nargs="?", type=Path, help="root of VOC 2012, as of `carlab eval`")
    parser.add_argument("--device", default="cpu", help="where torch computes")
    given = parser.parse_args()
    torch.set_num_threads(2)
    engines = {f"torch, {given.device}": DenseCrf(engine="torch", device=given.device)}
    if find_spec("pydensecrf"):
        engines = {"pydensecrf": DenseCrf(engine="pydensecrf"), **engines}
    text = made_up(engines)
    if given.data is not None:
        text = f"{text}\n\n{photos(given.data, *engines.values())}"
        write("performance.md", "crf DATA", f"### The engines of the CRF\n\n{text}")
    print(text)


def made_up(engines: dict[str, DenseCrf]) -> str:
    """Return median milliseconds with made-up soft masks, on a photo and on an image of one colour."""
    cat = resize(data.chelsea(), 375, 500, "bicubic")
    flat = np.full_like(cat, 100)
    rows = [f"| 500 x 375 | labels | {' | '.join(engines)} |", f"|---|---:{'|---:' * len(engines)}|"]
    for name, image, number in (("cat", cat, 2), ("cat", cat, 5), ("cat", cat, 21), ("one colour", flat, 5)):
        soft = np.random.default_rng(number).random((number - 1, *PATCHES), dtype=np.float32) ** 3
        turns = [[refine(crf, image, soft)[1] for crf in engines.values()] for _ in range(ROUNDS + 1)]
        medians = np.median(turns[1:], axis=0)  # the first warms up
        rows.append(f"| {name} | {number} | {' | '.join(f'{1000 * one:.0f} ms' for one in medians)} |")
    return "\n".join(rows)


def photos(root: Path, reference: DenseCrf, crf: DenseCrf) -> str:
    """Return how far the labels of two engines agree, and the seconds of both."""
    equal, seconds = [], []
    for image, soft in tqdm(soft_masks(root), desc="CRF"):
        if soft.any():
            (expected, before), (found, after) = refine(reference, image, soft), refine(crf, image, soft)
            equal.append(100 * float((expected == found).mean()))
            seconds.append((before, after))
    first, second = np.median(seconds, axis=0)
    ratio = np.median([after / before for before, after in seconds])
    return (
        f"{len(equal)} photos of VOC 2012 in which the offline preset finds something: labels equal on\n"
        f"{np.mean(equal):.4f} % of the pixels on average, on {np.min(equal):.4f} % in the photo where they\n"
        f"differ most, and everywhere in {equal.count(100)} photos. Median seconds of a photo: {first:.2f}\n"
        f"and {second:.2f}; median ratio {ratio:.2f}."
    )


def refine(crf: DenseCrf, image: Image, soft: Maps) -> tuple[LabelMap, float]:
    """Return the labels, and seconds; the labels are on the host, so that a GPU has done its work."""
    start = perf_counter()
    masks = crf(image, soft)
    spent = perf_counter() - start
    return np.where(masks.any(axis=0), masks.argmax(axis=0) + 1, 0), spent


def soft_masks(root: Path) -> list[tuple[Image, Maps]]:
    """Return the photos, and the soft masks of what the offline preset finds in each."""
    from carlab.datasets import load_dataset  # here, because a machine with a GPU may lack what they need
    from carlab.files.images import load_image
    from carlab.presets import load

    splits = [load_dataset("voc21", root, split=split) for split in ("train", "val")]
    samples = {name: split.find(name) for split in splits for name in split.ids}
    if not KEPT.is_file():
        model = replace(load("offline/voc"), refiner=NoRefiner())
        soft = {}
        for name, sample in tqdm(samples.items(), desc="soft masks"):
            step = model(sample.image, splits[0].queries).steps[-1]
            soft[name] = step.masks[step.kept]
        KEPT.parent.mkdir(exist_ok=True)
        save_file(soft, KEPT)
    return [(load_image(samples[name].image), masks) for name, masks in load_file(KEPT).items()]


if __name__ == "__main__":
    main()
