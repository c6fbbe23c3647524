"""Evaluate many made-up images and print images a second, memory on the way, and what a resumed run costs.

Usage: `python -m benchmarks.throughput [IMAGES]`; 1,000 take five minutes on two cores. The images are crops
of those that scikit-image ships, the masks mean nothing: only time and memory are looked at.
"""

import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from skimage import data

SIDE = 192
NAMES = ("cat", "coffee cup", "rocket", "person")
POINTS = 10
"""How many times memory is read."""


def main(images: int = 1000) -> None:
    """Print three paragraphs of Markdown."""
    with tempfile.TemporaryDirectory() as home:
        root, out = Path(home) / "data", Path(home) / "run"
        make_images(root, images)
        command = f"eval folder --root {root} --preset offline/voc -o {out} --keep-traces none"
        seconds, memory = watch(command, out, images)
        again, _ = watch(command, out, images)
    print(
        f"{images} images of {SIDE} x {SIDE}, {len(NAMES)} queries: {images / seconds:.1f} images a second.\n"
    )
    print("| images done | memory, MB, all processes |\n|---:|---:|")
    for done, size in memory.items():
        print(f"| {done} | {size / 1e6:.0f} |")
    print(f"\nThe same command once more, all images done: {again:.1f} s, loading the model included.")


def make_images(root: Path, number: int) -> None:
    """Write a `folder` data set of random crops; on each, one square is said to be one of the queries."""
    random = np.random.default_rng(0)
    sources = (data.chelsea(), data.coffee(), data.rocket(), data.astronaut())
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    (root / "names.txt").write_text("\n".join(NAMES))
    for k in range(number):
        label = k % len(sources)
        top, left = (int(random.integers(0, extent - SIDE)) for extent in sources[label].shape[:2])
        crop = sources[label][top : top + SIDE, left : left + SIDE]
        mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
        mask[SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4] = label + 1
        Image.fromarray(crop).save(root / "images" / f"{k:05}.png")
        Image.fromarray(mask).save(root / "masks" / f"{k:05}.png")


def watch(command: str, out: Path, images: int) -> tuple[float, dict[int, int]]:
    """Run a `carlab` command; return its seconds, and its memory at each tenth of the images."""
    program = [sys.executable, "-m", "carlab.cli", *shlex.split(command)]
    memory: dict[int, int] = {}
    start = time.monotonic()
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - ours
    while process.poll() is None:
        time.sleep(0.2)
        done = len(list(out.glob("images/*.json")))
        if done >= images * (len(memory) + 1) // POINTS:
            memory[done] = resident(psutil.Process(process.pid))
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.monotonic() - start, memory


def resident(process: psutil.Process) -> int:
    """Return the bytes that a process and its children hold."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
