"""Measure how far the numbers can be trusted; writes docs/reliability.md.

    python -m benchmarks.reliability repeats|batches|gradients|laws|hooks|kills [HOW_MANY]

Every section says how many cases it tried and how many failed. `kills` is in `benchmarks.kills`.
"""

import gc
import os
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from skimage import data
from tabulate import tabulate

import carlab
from benchmarks.kills import HEAD, kills
from benchmarks.measured import DOCS, write
from benchmarks.random_clip import SIZES, random_clip
from carlab import hooks
from carlab.recurrence import ClipAsRnn
from carlab.trace import Trace

QUERIES = ("cat", "dog", "red car", "sofa", "bottle")
TINY = "random:tiny/16"
SOME = ("cam.raw", "affinity.refined", "classify.probs")
"""Probes that every run fires with an array."""
WORKERS = 4


def models() -> Iterator[tuple[str, ClipAsRnn]]:
    """Yield the offline preset, and the released one on random weights."""
    yield "offline", carlab.load("offline")
    yield "reference/voc, random weights", tiny_model()


def tiny_model() -> ClipAsRnn:
    """Return the released preset on random weights of a tiny CLIP."""
    return carlab.load("reference/voc", proposer_backbone=TINY, classifier=TINY)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; what stands right of the first column is a number."""
    sides = ("left", *["right"] * (len(head) - 1))
    return tabulate(rows, head, tablefmt="pipe", disable_numparse=True, colalign=sides)


def repeats(runs: int = 100) -> str:
    """Run the same thing again and again, each time without a cache; count traces that differ in any bit."""
    image, rows = data.chelsea(), []
    for name, model in models():
        first = model(image, QUERIES)
        differ = sum(model(image, QUERIES) != first for _ in range(runs))
        rows.append((name, runs, differ))
    return table(("preset", "runs", "traces that differ"), rows)


def batches(largest: int = 16) -> str:
    """Run with every batch and 1 to 4 threads; compare scores and kept queries with batch 1 on one thread."""
    image, rows, before = data.chelsea(), [], torch.get_num_threads()
    for name, model in models():
        torch.set_num_threads(1)
        first = replace(model, batch=1)(image, QUERIES)
        furthest, other, flagged = 0.0, 0, 0
        for threads, batch in product(range(1, 5), range(1, largest + 1)):
            torch.set_num_threads(threads)
            trace = replace(model, batch=batch)(image, QUERIES)
            same = trace.found == first.found and len(trace.steps) == len(first.steps)
            other += not same
            flagged += not same and bool(first.close_calls)
            if same:
                furthest = max(furthest, float(np.nanmax(np.abs(trace.scores - first.scores))))
        rows.append((name, 4 * largest, f"{furthest:.1e}", other, flagged))
    torch.set_num_threads(before)
    head = ("preset", "runs", "largest difference of a score", "other kept queries", "of them close calls")
    return table(head, rows)


def gradients(configurations: int = 200) -> str:
    """Check the gradient of the tail by finite differences, on tiny CLIPs of random shape."""
    rng, failed = np.random.default_rng(0), []
    for seed in range(configurations):
        heads, patch = int(rng.integers(1, 5)), int(rng.choice([8, 14, 16]))
        width = heads * int(rng.integers(2, 7)) * 2
        sizes = (width, int(rng.integers(4, 40)), int(rng.integers(2, 5)), heads, 2 * patch, patch)
        SIZES["random"] = {"vision": sizes, "text": (8, 16, 2), "projection": int(rng.integers(2, 12))}
        clip = random_clip("random", device=torch.device("cpu"), dtype=torch.float64, seed=seed)
        image = rng.integers(0, 256, (2 * patch, int(rng.integers(1, 4)) * patch, 3), dtype=np.uint8)
        trunk, texts = clip.trunk(image), clip.encode_text(["cat", "a red car"])

        def tail(leaf: torch.Tensor) -> torch.Tensor:
            return clip.logits(clip.tail(trunk, leaf)[None], texts)[0]  # noqa: B023 - called at once

        leaf = trunk.activations.detach().clone().requires_grad_()
        if not torch.autograd.gradcheck(tail, leaf, raise_exception=False):
            failed.append(seed)
    del SIZES["random"]
    return table(("configurations", "failed"), [(configurations, len(failed))])


def laws(cases: int = 10_000) -> str:
    """Run the laws of tests/property, the cases shared among them."""
    folder = "tests/property/test_laws.py"
    number = (DOCS.parent / folder).read_text().count("@relaxed")
    each = -(-cases // number)
    done = subprocess.run(  # noqa: S603 - our own tests
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder],
        check=False,
        env={**os.environ, "CARLAB_CASES": str(each)},
        cwd=DOCS.parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    return table(("laws", "cases each", "pytest"), [(number, each, done.stdout.strip().splitlines()[-1])])


def hooks_section(blocks: int = 10_000) -> str:
    """Open and leave `record` and `edit` in several threads, a third of them by an exception.

    Every hundredth block runs a whole model. Afterwards nothing may be open, memory may not have grown, and a
    clean run gives what it gave before.
    """
    model, image = tiny_model(), data.chelsea()[:96, :128]
    clean = model(image, QUERIES[:2])
    tracemalloc.start()

    def many(worker: int, count: int) -> int:
        rng, wrong = np.random.default_rng(worker), 0
        for block in range(count):
            wrong += not one_block(rng, (lambda: model(image, QUERIES[:2])) if block % 100 == 0 else None)
        return wrong

    def together(count: int) -> int:
        with ThreadPoolExecutor(WORKERS) as pool:
            return sum(pool.map(many, range(WORKERS), [count // WORKERS] * WORKERS))

    wrong = together(blocks // 10)  # caches fill
    gc.collect()
    early = tracemalloc.get_traced_memory()[0]
    wrong += together(blocks)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - early
    tracemalloc.stop()
    left = len(hooks.recorded_patterns())
    same = "equal" if model(image, QUERIES[:2]) == clean else "DIFFERENT"
    head = ("blocks", "wrong", "recorders left open", "memory grown by, kB", "a clean run before and after")
    return table(head, [(blocks, wrong, left, round(grown / 1000), same)])


class LeftError(Exception):
    """What a block is left by."""


def one_block(rng: np.random.Generator, run: Callable[[], Trace] | None) -> bool:
    """Return whether a recorder and an edit inside it did what they should, and nothing after them."""
    name, value = str(rng.choice(SOME)), rng.random(3).astype(np.float32)
    try:
        with hooks.record(name) as seen, hooks.edit(name, np.zeros_like):
            edited = hooks.probe(name, value)
            if run is not None:
                run()
            if rng.random() < 1 / 3:
                raise LeftError
    except LeftError:
        pass
    return not edited.any() and name in seen and hooks.probe(name, value) is value


def kills_section(how_many: int = 200) -> str:
    """Kill commands at random moments; see `benchmarks.kills`."""
    with tempfile.TemporaryDirectory() as folder:
        return table(HEAD, kills(Path(folder), how_many))


SECTIONS: dict[str, Callable[..., str]] = {
    "repeats": repeats,
    "batches": batches,
    "gradients": gradients,
    "laws": laws,
    "hooks": hooks_section,
    "kills": kills_section,
}


def main(section: str, *how_many: str) -> None:
    """Write one section of the page."""
    text = SECTIONS[section](*map(int, how_many))
    command = f"reliability {section}"
    write("reliability.md", " ".join((command, *how_many)), text, section=command)


if __name__ == "__main__":
    main(*sys.argv[1:])
