"""Call a function in a process of its own, whose environment huggingface_hub reads when it is imported.

Importing torch takes seconds, so these processes are forked from one that has it, and has not yet imported
huggingface_hub.
"""

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any, NamedTuple

WAIT = 120.0
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch", "carlab.backbones.registry"])
VARIABLES = ("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "PYTORCH_", "XDG_", "CARLAB_")


class Outcome(NamedTuple):
    """What a call gave, or the type and text of what it raised, and how long it took."""

    value: Any
    error: str
    text: str
    seconds: float


def call(function: Callable[..., Any], *arguments: Any, **environment: str) -> Outcome:
    """Call a function of a module in a new process with some environment variables."""
    here, there = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_run, args=(there, environment, function, arguments))
    process.start()
    there.close()
    try:
        assert here.poll(WAIT), "the process does not end"
        return Outcome(*here.recv())
    finally:
        process.join(5)
        if process.is_alive():
            process.kill()


def _run(
    pipe: Connection, environment: Mapping[str, str], function: Callable[..., Any], arguments: Any
) -> None:
    for name in [name for name in os.environ if name.startswith(VARIABLES)]:
        del os.environ[name]
    os.environ.update(environment)
    warnings.simplefilter("error")
    assert "huggingface_hub" not in sys.modules, "it would not see the environment"
    import huggingface_hub  # noqa: F401 - its import is not what is timed

    start = monotonic()
    try:
        value, error = function(*arguments), None
    except Exception as caught:
        value, error = None, caught
        traceback.print_exc()
    pipe.send((value, type(error).__name__ if error else "", str(error or ""), monotonic() - start))


def found(name: str, seconds: float = 0.0) -> dict[str, Any]:
    """What `find_checkpoint` gives, as plain values; `seconds`: in place of `HUB_SECONDS`."""
    from carlab.backbones import download
    from carlab.backbones.hub import find_checkpoint

    download.HUB_SECONDS = seconds or download.HUB_SECONDS
    checkpoint = find_checkpoint(name)
    tensors = {key: tensor.tolist() for key, tensor in checkpoint.tensors().items()}
    return {
        **{"kind": checkpoint.kind, "source": checkpoint.source, "revision": checkpoint.revision},
        **{"weights": [path.name for path in checkpoint.weights], "tensors": tensors},
        "files": sorted(path.name for path in checkpoint.folder.iterdir()),
    }


def loaded(name: str) -> dict[str, str]:
    """What a loaded backbone says of itself."""
    from carlab.backbones import load_backbone

    backbone = load_backbone(name)
    text = backbone.encode_text(["a red car"])
    return {"sha256": backbone.sha256, "source": backbone.source, "text": str(text[0, :3])}


def sam_loaded(name: str) -> tuple[str, str]:
    """Digest and source of a SAM."""
    from carlab.backbones.sam import load_sam

    sam = load_sam(name)
    return sam.sha256, sam.source


def on_a_full_disk(name: str) -> dict[str, Any]:
    """`found` where a disk has no byte left."""
    import shutil
    from types import SimpleNamespace

    shutil.disk_usage = lambda path: SimpleNamespace(free=0)
    return found(name)


def fetched(name: str) -> list[str]:
    """Names of the weights among the files that are downloaded ahead."""
    from carlab.backbones.hub import plan_download

    files = [file.name for file in plan_download(name).files]
    return [file for file in files if file.endswith((".bin", ".safetensors"))]


def hub_file(name: str, file: str, revision: str = "main") -> str:
    """What any other program does: huggingface_hub fetches one file."""
    from huggingface_hub import hf_hub_download

    return hf_hub_download(name, file, revision=revision)


def cached_by_transformers(name: str) -> bool:
    """Load a CLIP as transformers does, for what it leaves in the cache."""
    warnings.simplefilter("ignore")  # of transformers
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    for part in (CLIPModel, CLIPTokenizer, CLIPImageProcessor):
        part.from_pretrained(name)
    return True


def carlab(*words: str) -> tuple[int, str, str]:
    """Exit code, output and errors of the command line."""
    import sys
    from contextlib import redirect_stderr, redirect_stdout
    from io import StringIO

    from carlab.cli.app import main

    out, err, sys.argv = StringIO(), StringIO(), ["carlab", *words]
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue(), err.getvalue()


def fetch_on_a_full_disk(*words: str) -> tuple[int, str, str]:
    """`carlab fetch` where a disk has no byte left."""
    import shutil
    from types import SimpleNamespace

    shutil.disk_usage = lambda path: SimpleNamespace(free=0)
    return carlab("fetch", *words)
