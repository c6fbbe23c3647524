"""Compare a device with the CPU, and time it: `python -m benchmarks.device [--device cuda] [--quick]`.

CLIPs of random weights (ViT-B/16 x ViT-L/14) on scikit-image's photos, single precision without TF32: kept
sets, labels, scores. Then seconds: stage by stage, each stage synchronised; and of whole runs, median of
many. Prints as it goes, and writes everything as JSON where `--json` says; `--page JSON` writes such a file
into docs/performance.md.
"""

import argparse
import json
import multiprocessing
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from skimage import data

from benchmarks.cost import STAGES, clear_texts, peak_bytes, query_names
from benchmarks.measured import write
from carlab.files.pictures import resize
from carlab.files.shapes import Image
from carlab.hooks import measure
from carlab.presets import load
from carlab.recurrence import ClipAsRnn
from carlab.stages.filter import Threshold
from carlab.stages.refiner import DenseCrf, NoRefiner

SIZE = (375, 500)
RUNS = 20
CLOSE = 1e-4
"""Scores nearer to theta than this may fall on either side of it: such images are counted apart."""


def photos() -> Iterator[Image]:
    """Yield scikit-image's own photos, cut and mirrored to 24 images of one size."""
    for source in (data.chelsea, data.astronaut, data.coffee, data.rocket):
        whole = source()
        height, width = whole.shape[:2]
        for part in (whole, whole[: 3 * height // 4], whole[:, width // 4 :]):
            shaped = resize(np.ascontiguousarray(part), *SIZE, "bicubic")
            yield shaped
            yield np.ascontiguousarray(shaped[:, ::-1])


def models(names: tuple[str, str], device: str, dtype: str = "float32") -> ClipAsRnn:
    """Return the stages of `paper/voc` on random weights, with the torch engine of the CRF."""
    f, g = names
    model = load("paper/voc", proposer_backbone=f, classifier=g, device=device, dtype=dtype)
    return replace(model, refiner=DenseCrf(engine="torch", device=device))


def parity(device: str, names: tuple[str, str], number: int) -> dict[str, Any]:
    """Compare both devices on so many images; theta lies in the widest gap of the CPU's first scores."""
    here, there = models(names, "cpu"), models(names, device)
    queries = query_names(4)
    rows: list[dict[str, Any]] = []
    for image in list(photos())[:number]:
        first = replace(here, max_steps=1, filter=Threshold(0.0), refiner=NoRefiner())(image, queries)
        scores = np.sort(first.steps[0].scores)
        gap = int(np.diff(scores).argmax())
        theta = float(scores[gap : gap + 2].mean())
        changed = [replace(model, filter=Threshold(theta)) for model in (here, there)]
        a, b = (model(image, queries) for model in changed)
        kept = [[step.survivors.tolist() for step in trace.steps] for trace in (a, b)]
        margin = min(float(np.abs(step.scores - theta).min()) for step in a.steps)
        same = kept[0] == kept[1]
        rows.append(
            {
                "kept equal": same,
                "close": margin < CLOSE,
                "labels": float((a.labels == b.labels).mean()),
                "scores": float(np.nanmax(np.abs(a.scores - b.scores))) if same else None,
                "cams": float(np.abs(a.steps[0].cams - b.steps[0].cams).max()),
            }
        )
    clear = [row for row in rows if not row["close"]]
    return {
        "images": len(rows),
        "kept sets equal": sum(row["kept equal"] for row in rows),
        "kept sets differ, not close": sum(not row["kept equal"] for row in clear),
        "labels equal, mean": float(np.mean([row["labels"] for row in rows])),
        "labels equal, least": min(row["labels"] for row in rows),
        "largest score difference": max(row["scores"] for row in rows if row["scores"] is not None),
        "largest CAM difference": max(row["cams"] for row in rows),
    }


def seconds(model: ClipAsRnn, queries: int, runs: int) -> dict[str, Any]:
    """Return median milliseconds of whole runs on a fresh photo, and the stages of one, each synchronised."""
    image, names = resize(data.chelsea(), *SIZE, "bicubic"), query_names(queries)
    cuda = model.proposer.backbone.device.type == "cuda"  # type: ignore[attr-defined]
    spent: dict[bool, list[float]] = {True: [], False: []}
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    for turn in range(2 * runs + 4):
        cached = turn % 2 == 0
        if not cached:
            clear_texts(model)
        start = perf_counter()
        model(image, names)  # ends in arrays of the CPU: the device has done its work
        if turn > 3:
            spent[cached].append(perf_counter() - start)
    clear_texts(model)
    with measure(torch.cuda.synchronize if cuda else None) as cost:
        model(image, names)
    return {
        "texts cached, ms": round(1000 * float(np.median(spent[True])), 1),
        "texts encoded, ms": round(1000 * float(np.median(spent[False])), 1),
        "stages, ms": {name: round(1000 * cost.seconds.get(name, 0.0), 1) for name in STAGES},
        "passes": cost.passes,
        "peak, MB": round(peak_bytes("cuda" if cuda else "cpu") / 1e6),
    }


def refinement(device: str) -> dict[str, float]:
    """Return median milliseconds of the torch engine at 500 x 375, by number of labels."""
    image, found = resize(data.chelsea(), *SIZE, "bicubic"), {}
    for labels in (2, 5, 21):
        soft = np.random.default_rng(labels).random((labels - 1, 12, 16), dtype=np.float32) ** 3
        crf, spent = DenseCrf(engine="torch", device=device), []
        for _ in range(8):
            start = perf_counter()
            crf(image, soft)
            spent.append(perf_counter() - start)
        found[f"{labels} labels"] = round(1000 * float(np.median(spent[2:])), 1)
    return found


def page(found: dict[str, Any]) -> str:
    """Return what was found as Markdown."""
    runs = {name: value for name, value in found.items() if name.endswith("steps")}
    head = ["milliseconds", *(name.removesuffix(", 2 steps") for name in runs)]
    rows = [["whole run, texts cached", *(run["texts cached, ms"] for run in runs.values())]]
    rows += [["whole run, texts encoded", *(run["texts encoded, ms"] for run in runs.values())]]
    rows += [[stage, *(run["stages, ms"][stage] for run in runs.values())] for stage in STAGES]
    rows += [["peak memory, MB", *(run["peak, MB"] for run in runs.values())]]
    table = [head, ["---", *["---:"] * len(runs)], *rows]
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in table]
    refining = ", ".join(f"{value} ms with {name}" for name, value in found["crf, ms"].items())
    same = "; ".join(f"{name}: {value:.5g}" for name, value in found["parity"].items())
    return "\n\n".join(
        (
            "### On a GPU: ViT-B/16 x ViT-L/14, 500 x 375, 2 steps",
            "\n".join(lines),
            f"The torch engine of the CRF, 500 x 375: {refining}.",
            f"Against the CPU, float32 without TF32: {same}.",
        )
    )


def main() -> None:
    """Measure everything, and print it part by part."""
    parser = argparse.ArgumentParser(description="Compare a device with the CPU.")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny models, few runs: does it work?")
    parser.add_argument("--no-parity", action="store_true", help="leave out the comparison with the CPU")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path, help="write this result into the docs, and measure nothing")
    given = parser.parse_args()
    found: dict[str, Any]
    if given.page is not None:
        found = json.loads(given.page.read_text())
        where = f"{found['device']} and {found['cores']} cores, torch {found['torch']}"
        write("performance.md", "device --device cuda", page(found), where)
        return
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    names = ("random:tiny/16",) * 2 if given.quick else ("random:ViT-B/16", "random:ViT-L/14")
    is_gpu = given.device.startswith("cuda")
    found = {
        "device": torch.cuda.get_device_name() if is_gpu else given.device,
        "torch": torch.__version__,
        "cores": multiprocessing.cpu_count(),
    }

    def report(name: str, value: Any) -> None:
        found[name] = value
        print(f"{name}: {json.dumps(value)}", flush=True)
        if given.json is not None:
            given.json.write_text(json.dumps(found, indent=1))

    report("crf, ms", refinement(given.device))
    for dtype in ("float32", "bfloat16", *(("float16",) if is_gpu else ())):
        keep_all = Threshold(0.0, keep_best=True)  # random weights: every query stays
        model = models(names, given.device, dtype)
        model = replace(model, filter=keep_all, min_steps=2, max_steps=2)
        for queries in (4, 20):
            report(
                f"{dtype}, {queries} queries, 2 steps", seconds(model, queries, 2 if given.quick else RUNS)
            )
    if given.no_parity:
        return
    report("parity", parity(given.device, names, 4 if given.quick else 24))


if __name__ == "__main__":
    main()
