"""Kill commands at random moments, call them again until they are done, and compare the results."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
from PIL import Image
from skimage import data
from tqdm import tqdm

from carlab.errors import CarlabError
from carlab.trace import Trace
from carlab.video.archive import VideoTraces
from tests.backbones.loopback_hub import LoopbackHub
from tests.tiny_clip import save_tiny_clip

IMAGES = 12
PATIENCE = 5.0
"""Seconds after which a process of a killed command still counts as left behind."""
OUT = "OUT"
"""Stands for the output folder in a command."""
SLOW = 1e-4
"""Seconds between 64 bytes of a download, so that it lasts as long as Python takes to start."""
MARK = "CARLAB_KILLS"
"""Environment variable by which processes of a command are found."""


HEAD = (
    "command",
    "kills",
    "left a damaged or other file",
    "left a process",
    "results equal to the undisturbed",
)
"""Of the table that `kills` gives the rows of."""


def kills(folder: Path, how_many: int = 200) -> list[tuple[object, ...]]:
    """Kill the commands so many times in all; return a row for each."""
    hub = LoopbackHub(slow=SLOW)
    tried = commands(folder, hub)
    count = how_many // len(tried)
    with hub.serving():
        os.environ["HF_ENDPOINT"] = hub.url
        return [(name, count, *killed(command, folder / name, count)) for name, command in tried.items()]


def killed(command: list[str], place: Path, count: int) -> tuple[int, int, str]:
    """Kill a command so often; return how often files were wrong and a process left, and how it ended."""
    seconds = run(command, place / "whole") or 0.0
    whole = contents(place / "whole")
    rng, wrong, left, ends = random.Random(0), 0, 0, []  # noqa: S311 - moments, no secret
    out = place / "0"
    for _ in tqdm(range(count), desc=place.name):
        while run(command, out, rng.uniform(0, seconds)) is not None:  # done before it was killed
            ends.append(contents(out) == whole)
            out = place / f"{len(ends)}"
        left += bool(left_behind())
        wrong += bool(out.exists() and half_written(out, whole))
    run(command, out)
    ends.append(contents(out) == whole)
    return wrong, left, f"{sum(ends)} of {len(ends)}"


def commands(folder: Path, hub: LoopbackHub) -> dict[str, list[str]]:
    """Write images, a data set and a model, and put the model on the hub; return the commands."""
    photos, masks = folder / "data" / "images", folder / "data" / "masks"
    for made in (photos, masks):
        made.mkdir(parents=True)
    cat = data.chelsea()
    for index in range(IMAGES):
        part = cat[20 * index :, 10 * index :][:80, :96]
        Image.fromarray(part).save(photos / f"{index}.png")
        Image.fromarray((part[..., 0] > 128).astype(np.uint8)).save(masks / f"{index}.png")
    (folder / "data" / "names.txt").write_text("cat\ndog\n")
    clip = save_tiny_clip(folder / "clip")
    hub.add("someone/tiny-clip", {path.name: path.read_bytes() for path in clip.iterdir()})
    model = ["--preset", "reference/voc", "--proposer-backbone", str(clip), "--classifier", str(clip)]
    words = ["-q", "cat", "-q", "dog"]
    return {
        "eval": ["eval", "folder", "--root", str(folder / "data"), *model, "-o", OUT],
        "segment": ["segment", str(photos), *words, *model, "-o", OUT],
        "video": ["video", str(photos), *words, *model, "-o", OUT],
        "fetch": ["fetch", "someone/tiny-clip"],
    }


def run(command: list[str], out: Path, kill_after: float | None = None) -> float | None:
    """Call a command; return its seconds, or None if it was killed before it was done."""
    start = monotonic()
    process = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "carlab.cli", *(str(out) if word == OUT else word for word in command)],
        env={**os.environ, "OMP_NUM_THREADS": "1", MARK: "1", "HF_HOME": str(out)},  # where `fetch` writes
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said, _ = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)  # the process alone: its workers must notice
        process.stdout.close()  # type: ignore[union-attr]
        process.wait()
        return None
    if process.returncode:
        raise RuntimeError(f"carlab {' '.join(command)} failed:\n{said}")
    return monotonic() - start


def left_behind() -> list[int]:
    """Return the processes of killed commands that still run after a while."""
    deadline = monotonic() + PATIENCE
    while (found := list(marked())) and monotonic() < deadline:
        sleep(0.1)
    return found


def marked() -> Iterator[int]:
    """Yield the processes that carry the mark, zombies left out."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            mine = f"{MARK}=1".encode() in (entry / "environ").read_bytes()
            zombie = (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except (OSError, IndexError):
            continue
        if mine and not zombie:
            yield int(entry.name)


def results(folder: Path) -> dict[str, Path]:
    """Return every result by its path below the folder."""
    found = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    hidden = {name for name in found if any(part.startswith(".") for part in name.parts)}
    return {str(name): path for name, path in found.items() if name not in hidden}


def contents(folder: Path) -> dict[str, Any]:
    """Return what every result says, by its path below the folder."""
    return {name: said(path) for name, path in results(folder).items()}


def said(path: Path) -> Any:
    """Return what a file says, but for what it cost; traces are equal if all but their cost is."""
    if "snapshots" in path.parts:  # of a checkpoint
        return path.read_bytes()
    if path.suffix == ".safetensors":
        return Trace.load(path)
    if path.name == "traces.zip":
        return list(VideoTraces.open(path))
    if path.suffix == ".json":
        record = json.loads(path.read_text())
        return {key: value for key, value in record.items() if key not in {"seconds", "passes"}}
    if path.suffix == ".jsonl":  # grows by a line a frame
        return path.read_bytes().splitlines()
    return path.read_bytes()


def half_written(out: Path, whole: dict[str, Any]) -> list[str]:
    """Return the files of a killed command that are damaged, or say other things than a whole one's."""
    wrong = []
    for name, path in results(out).items():
        try:
            found = said(path)
        except (CarlabError, ValueError) as error:
            wrong.append(f"{name}: {error}")
            continue
        if path.suffix == ".jsonl":  # the last line may be torn
            wrong += [name] * (found[:-1] != whole[name][: len(found) - 1])
        elif name in whole and found != whole[name]:
            wrong.append(name)
    return wrong
