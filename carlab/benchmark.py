"""What a run costs, stage by stage, beside the same run on the schedule of the released code.

The released schedule is written here with the same stages, so that the ratio
can be measured by anyone, on any machine, in one command: every prompted
picture is encoded once per template, texts are encoded anew in every step,
each query of each step runs the tail forwards and backwards, and the affinity
is computed for each of them.
"""

import multiprocessing
import resource
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from itertools import islice
from time import perf_counter
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from PIL import Image

from carlab import probes
from carlab.backbones.class_names import class_names
from carlab.ledger import count, open_ledger, timed
from carlab.presets import load
from carlab.probes import as_numpy
from carlab.queries import fill_all
from carlab.recurrence import ClipAsRnn, Prepared
from carlab.stages.classifier import TemplateClassifier
from carlab.stages.filter import Threshold
from carlab.stages.proposer import GradCam, Proposal, Proposals, min_max
from carlab.stages.refiner import NoRefiner

NAMES = ("cat", "dog", "sofa", "train", "bottle", "bird", "car", "chair")
STAGES = ("trunk", "vjp", "text", "affinity", "prompt", "image encode", "refine")
"""Parts of a run that do not overlap, as the ledger names them."""
PASSES = {"text": "text encode"}
"""Where passes are counted under another name than seconds."""


@dataclass(frozen=True)
class Task:
    """What to measure."""

    preset: str = "reference/voc"
    proposer: str | None = "random:ViT-B/16"
    classifier: str | None = "random:ViT-L/14"
    device: str = "cpu"
    dtype: str = "float32"
    queries: int = 4
    steps: int = 2
    height: int = 366
    width: int = 500
    batch: int = 8
    photo: str | None = None
    as_released: bool = False


@dataclass(frozen=True)
class Measurement:
    """What came out: seconds and passes by stage, whole seconds, peak bytes, and the answer itself.

    `rerun` is the seconds of one more run with another threshold and no refiner.
    """

    seconds: dict[str, float]
    passes: dict[str, int]
    total: float
    rerun: float
    peak: int
    kept: tuple[tuple[int, ...], ...]
    labels: Int64[np.ndarray, "h w"]

    @property
    def necessary(self) -> float:
        """Seconds in passes that cannot be left out: trunk, products, texts, pictures."""
        return sum(self.seconds.get(name, 0.0) for name in ("trunk", "vjp", "text", "image encode"))


def measure(task: Task) -> Measurement:
    """Run a task in a fresh process, so that its peak memory is its own; loading is not counted."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(run_task, task).result()


def run_task(task: Task) -> Measurement:
    """Load, warm up, run once with the clock on, and report."""
    model = build(task)
    image, names = picture(task), query_names(task.queries)
    warm_up(model, image)
    forget(model)
    start = perf_counter()
    with open_ledger() as ledger:
        if task.as_released:
            with probes.edit("classify.pictures", lambda pictures: pictures):  # nothing is remembered
                trace = as_released(model)(image, names)
        else:
            prepared = model.prepare(image, names)
            trace = prepared.run()
    if task.device.startswith("cuda"):
        torch.cuda.synchronize()
    total, peak = perf_counter() - start, peak_bytes(task.device)
    rerun = float("nan") if task.as_released else seconds_again(prepared)
    kept = tuple(tuple(step.survivors.tolist()) for step in trace.steps)
    return Measurement(ledger.seconds, ledger.passes, total, rerun, peak, kept, trace.labels)


def seconds_again(prepared: Prepared) -> float:
    """Median seconds of a further run: other thresholds, no refiner, no picture that was not seen before."""
    spent = []
    for theta in np.linspace(0, 1e-4, 5):
        start = perf_counter()
        prepared.run(
            filter=Threshold(float(theta), keep_best=True), refiner=NoRefiner(prepared.model.mask_threshold)
        )
        spent.append(perf_counter() - start)
    return float(np.median(spent))


def build(task: Task) -> ClipAsRnn:
    """The preset, made to run so many steps whatever the scores are."""
    model = load(
        task.preset,
        proposer=task.proposer,
        classifier=task.classifier,
        device=task.device,
        dtype=task.dtype,
    )
    keep_all = Threshold(0.0, keep_best=True)  # random weights: every query stays, in both schedules
    return replace(model, filter=keep_all, min_steps=task.steps, max_steps=task.steps, batch=task.batch)


def picture(task: Task) -> UInt8[np.ndarray, "h w 3"]:
    """The photo named, or scikit-image's cat, brought to the size asked for.

    A real photo, because the time of a CRF depends on how many colours it holds.
    """
    if task.photo is not None:
        from carlab.images import load_image

        return load_image(task.photo)
    from skimage import data

    cat = Image.fromarray(data.chelsea())
    return np.asarray(cat.resize((task.width, task.height), Image.Resampling.BICUBIC))


def query_names(number: int) -> list[str]:
    """So many different real words: the offline backbone has no mask for one that it does not know."""
    words = dict.fromkeys([*NAMES, *(synonyms[0] for synonyms in class_names())])
    return list(islice(words, number))


def peak_bytes(device: str) -> int:
    """Peak memory of this process, or of the GPU where that computes."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in kibibytes


def warm_up(model: ClipAsRnn, image: UInt8[np.ndarray, "h w 3"]) -> None:
    """One query in one step: libraries choose their kernels the first time they see a shape."""
    replace(model, min_steps=1, max_steps=1)(image, ["warm-up"])


def forget(model: ClipAsRnn) -> None:
    """Drop the texts that loading may have left behind."""
    stages: tuple[Any, ...] = (model.proposer, model.classifier)
    for stage in stages:
        if hasattr(stage.backbone, "texts"):
            stage.backbone.texts.known.clear()


# --- the released schedule --------------------------------------------------------------------------


def as_released(model: ClipAsRnn) -> ClipAsRnn:
    """The same model on the released schedule: same numbers, more passes."""
    return replace(
        model,
        proposer=ReleasedGradCam(**_values(model.proposer)),
        classifier=ReleasedClassifier(**_values(model.classifier)),
        batch=1,
    )


@dataclass(frozen=True)
class ReleasedGradCam(GradCam):
    """One forward and backward pass of the tail, and one affinity, per query and step."""

    def prepare(
        self, image: UInt8[np.ndarray, "h w 3"], queries: Sequence[str], background: tuple[str, ...]
    ) -> Proposals:
        """The trunk alone."""
        return Proposals(self.backbone, self.backbone.trunk(image))

    def __call__(
        self, proposals: Proposals, queries: Sequence[str], background: tuple[str, ...], t: int
    ) -> Proposal:
        """CAMs by autograd through the softmax, query by query."""
        if hasattr(self.backbone, "texts"):
            self.backbone.texts.known.clear()
        template = self.template if t or self.first_template is None else self.first_template
        texts = [*fill_all(template, queries), *fill_all(self.template, background)]
        embeddings = self.backbone.encode_text(texts)
        cams, masks = [], []
        for k in range(len(queries)):
            cam = min_max(self._backward(proposals, embeddings, k).reshape(1, *proposals.grid))
            cams.append(cam)
            with timed("affinity"):
                count("affinity")
                if self.affinity is None:
                    masks.append(cam)
                    continue
                transition = self.affinity.transition(proposals.trunk.relations)
                masks.append(min_max(self.affinity.refine(cam, transition)))
        return Proposal(np.concatenate(cams), np.concatenate(masks))

    def _backward(self, proposals: Proposals, embeddings: Any, k: int) -> Float32[np.ndarray, " n"]:
        with timed("vjp"), torch.enable_grad():
            count("vjp")
            leaf = proposals.trunk.activations.detach().requires_grad_()
            logits = self.backbone.logits(self.backbone.tail(proposals.trunk, leaf)[None], embeddings)
            (gradient,) = torch.autograd.grad(logits[0].softmax(-1)[k], leaf)
            maps = leaf.detach() @ gradient.mean(dim=0)
        return np.maximum(as_numpy(maps), 0).astype(np.float32)


@dataclass(frozen=True)
class ReleasedClassifier(TemplateClassifier):
    """Every picture and every text is encoded once per template, in every step."""

    def encode_pictures(self, pictures: UInt8[np.ndarray, "m s1 s2 3"]) -> Float32[np.ndarray, "m d"]:
        """The same embeddings, so many times."""
        for _ in self.templates[1:]:
            super().encode_pictures(pictures)
        return super().encode_pictures(pictures)

    def __call__(self, embeddings: Any, texts: Any, active: Any) -> Float32[np.ndarray, "q q"]:
        """Encode the texts anew, then score."""
        if hasattr(self.backbone, "texts"):
            self.backbone.texts.known.clear()
        for template in self.templates:
            self.backbone.encode_text(fill_all(template, query_names(texts.shape[1])))
        return super().__call__(embeddings, texts, active)


def _values(stage: Any) -> dict[str, Any]:
    return {field.name: getattr(stage, field.name) for field in fields(stage)}
