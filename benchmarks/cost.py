"""What a run costs, stage by stage, beside the same run on the schedule of the released code.

The released schedule is written here with the same stages, so that the ratio can be measured by anyone, on
any machine, in one command: every prompted image is encoded once per template, texts are encoded anew in
every step, each query of each step runs the tail forwards and backwards, and the affinity is computed for
each of them.
"""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from itertools import islice
from time import perf_counter
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int, UInt8

import benchmarks.random_clip  # noqa: F401 - its loader serves "random:..."
from carlab.backbones.offline import class_names
from carlab.cache import Cache
from carlab.files.images import load_image
from carlab.files.pictures import resize
from carlab.files.shapes import Image, LabelMap
from carlab.hooks import as_numpy, count, edit, measure, timed
from carlab.photo import Photo
from carlab.presets import load
from carlab.recurrence import ClipAsRnn, Prepared
from carlab.stages.base import Proposal
from carlab.stages.classifier import TemplateClassifier
from carlab.stages.filter import Threshold
from carlab.stages.proposer import GradCam, Proposals, min_max, written
from carlab.stages.refiner import NoRefiner

NAMES = ("cat", "dog", "sofa", "train", "bottle", "bird", "car", "chair")
STAGES = ("trunk", "vjp", "text", "affinity", "prompt", "image encode", "refine")
"""Parts of a run that do not overlap, as they are timed."""
PASSES = {"text": "text encode"}
"""Where passes are counted under another name than seconds."""


@dataclass(frozen=True)
class Task:
    """What to measure."""

    preset: str = "reference/voc"
    proposer_backbone: str | None = "random:ViT-B/16"
    classifier: str | None = "random:ViT-L/14"
    device: str = "cpu"
    dtype: str = "float32"
    queries: int = 4
    steps: int = 2
    height: int = 366
    width: int = 500
    batch: int = 8
    image: str | None = None
    as_released: bool = False


@dataclass(frozen=True)
class Measurement:
    """Seconds and passes by stage, total seconds, peak bytes, and the result itself.

    `rerun` is the seconds of one more run with another threshold and no refiner.
    """

    seconds: dict[str, float]
    passes: dict[str, int]
    total: float
    rerun: float
    peak: int
    kept: tuple[tuple[int, ...], ...]
    labels: LabelMap

    @property
    def necessary(self) -> float:
        """Seconds in passes that cannot be left out: trunk, products, texts, prompted images."""
        return sum(self.seconds.get(name, 0.0) for name in ("trunk", "vjp", "text", "image encode"))


def measured(task: Task) -> Measurement:
    """Run a task in a fresh process, so that its peak memory is its own; loading is not counted."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(run_task, task).result()


def run_task(task: Task) -> Measurement:
    """Load, warm up, run once with the clock on, and report."""
    model = build(task)
    image, names = photo(task), query_names(task.queries)
    warm_up(model, image)
    clear_texts(model)
    wait = torch.cuda.synchronize if task.device.startswith("cuda") else None  # each stage its own work
    start = perf_counter()
    with measure(wait) as cost:
        if task.as_released:
            with edit("classify.pictures", lambda images: images):  # an open edit turns every cache off
                trace = as_released(model)(image, names)
        else:
            prepared = model.prepare(image, names)
            trace = prepared.run()
    if task.device.startswith("cuda"):
        torch.cuda.synchronize()
    total, peak = perf_counter() - start, peak_bytes(task.device)
    rerun = float("nan") if task.as_released else seconds_again(prepared)
    kept = tuple(tuple(step.survivors.tolist()) for step in trace.steps)
    return Measurement(cost.seconds, cost.passes, total, rerun, peak, kept, trace.labels)


def seconds_again(prepared: Prepared) -> float:
    """Return the median seconds of a further run: another threshold, no refiner, all encoded before."""
    spent = []
    for theta in np.linspace(0, 1e-4, 5):
        start = perf_counter()
        prepared.run(
            filter=Threshold(float(theta), keep_best=True), refiner=NoRefiner(prepared.model.mask_threshold)
        )
        spent.append(perf_counter() - start)
    return float(np.median(spent))


def build(task: Task) -> ClipAsRnn:
    """Build the preset, with so many steps whatever the scores are."""
    model = load(
        task.preset,
        proposer_backbone=task.proposer_backbone,
        classifier=task.classifier,
        device=task.device,
        dtype=task.dtype,
    )
    keep_all = Threshold(0.0, keep_best=True)  # random weights: every query stays, in both schedules
    return replace(model, filter=keep_all, min_steps=task.steps, max_steps=task.steps, batch=task.batch)


def photo(task: Task) -> Image:
    """Return the image named, or scikit-image's cat resized to the size given.

    A real photograph, because the time of a CRF depends on how many colours it holds.
    """
    if task.image is not None:
        return load_image(task.image)
    from skimage import data

    return resize(data.chelsea(), task.height, task.width, "bicubic")


def query_names(number: int) -> list[str]:
    """Return so many different real queries: the offline backbone has no mask for an unknown one."""
    words = dict.fromkeys([*NAMES, *(synonyms[0] for synonyms in class_names())])
    return list(islice(words, number))


def peak_bytes(device: str) -> int:
    """Return the peak memory of this process, or of the GPU where that computes."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated())
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource  # POSIX alone has it

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in kibibytes


def warm_up(model: ClipAsRnn, image: Image) -> None:
    """Run one query for one step: libraries choose their kernels the first time they meet a shape."""
    replace(model, min_steps=1, max_steps=1)(image, ["warm-up"])


def clear_texts(model: ClipAsRnn) -> None:
    """Empty the caches of text embeddings."""
    stages: tuple[Any, ...] = (model.proposer, model.classifier)
    for stage in stages:
        if hasattr(stage.backbone, "texts"):
            stage.backbone.texts.clear()


# --- the released schedule --------------------------------------------------------------------------


def as_released(model: ClipAsRnn) -> ClipAsRnn:
    """Return the same model on the released schedule: same numbers, more forward passes."""
    return replace(
        model,
        proposer=ReleasedGradCam(**_values(model.proposer)),
        classifier=ReleasedClassifier(**_values(model.classifier)),
        batch=1,
    )


@dataclass(frozen=True)
class ReleasedGradCam(GradCam):
    """One forward and backward pass of the tail, and one affinity, per query and step."""

    def prepare(self, photo: Photo, queries: Any, background: tuple[str, ...]) -> Proposals:
        """Run the trunk alone."""
        texts = written(queries, self.first_template or self.template), written(queries, self.template)
        against = tuple(written(background, self.template))
        return Proposals(self.backbone.trunk(photo.image), None, texts, Cache(), against=against)

    def __call__(self, proposals: Any, active: Int[np.ndarray, " q"], t: int) -> Proposal:
        """Compute CAMs by autograd through the softmax, query by query."""
        texts = [proposals.texts[t > 0][query] for query in active]
        embeddings = self.backbone.encode_text([*texts, *proposals.against])
        cams, masks = [], []
        for k in range(len(active)):
            cam = min_max(self._backward(proposals, embeddings, k).reshape(1, *proposals.trunk.grid))
            cams.append(cam)
            if self.affinity is None:
                masks.append(cam)
                continue
            with timed("affinity"):
                count("affinity")
                transition = self.affinity.transition(proposals.trunk.relations)
                masks.append(min_max(self.affinity.refine(cam, transition)))
        return Proposal(np.concatenate(cams), np.concatenate(masks))

    def _backward(self, proposals: Proposals, embeddings: Any, k: int) -> Float32[np.ndarray, " n"]:
        with timed("vjp", passes=1), torch.enable_grad():
            leaf = proposals.trunk.activations.detach().requires_grad_()
            logits = self.backbone.logits(self.backbone.tail(proposals.trunk, leaf)[None], embeddings)
            (gradient,) = torch.autograd.grad(logits[0].softmax(-1)[k], leaf)
            maps = leaf.detach() @ gradient.mean(dim=0)
        return np.maximum(as_numpy(maps), 0).astype(np.float32)


@dataclass(frozen=True)
class ReleasedClassifier(TemplateClassifier):
    """Every prompted image and every text is encoded once per template, in every step."""

    def encode_images(self, images: UInt8[np.ndarray, "m s s 3"]) -> Float32[np.ndarray, "m d"]:
        """Compute the same embeddings once per template."""
        for _ in self.templates[1:]:
            super().encode_images(images)
        return super().encode_images(images)

    def __call__(self, embeddings: Any, texts: Any, active: Any) -> Float32[np.ndarray, "q q"]:
        """Encode the texts anew, then score."""
        for template in self.templates:
            names = query_names(texts.shape[1])
            self.backbone.encode_text([template.replace("{}", name) for name in names])
        return super().__call__(embeddings, texts, active)


def _values(stage: Any) -> dict[str, Any]:
    return {field.name: getattr(stage, field.name) for field in fields(stage)}
