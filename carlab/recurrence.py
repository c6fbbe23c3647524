"""ClipAsRnn, and the loop over its stages (paper, section 3.1 and algorithm 1).

    y_t = f(x, h_{t-1});   P_t = g(v(x, y_t), h_{t-1});   h_t = sigma(P_t)

until h_t = h_{t-1}. The filter only removes, so there are at most ``|h_0| + 1`` steps. A `Run` is one image
on its way through the loop; `recur` is the loop, for one run or for several in lock-step.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import cache, partial
from hashlib import blake2b
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from carlab import hooks
from carlab.cache import stage_key
from carlab.errors import ProbeError, QueryError, SettingError, as_list, check_count, check_share, check_text
from carlab.files.pictures import resize
from carlab.files.shapes import Image, Maps, Masks
from carlab.hooks import Recording, collect, probe, progress, recorded_patterns, timed
from carlab.photo import Photo
from carlab.queries import check_background, check_queries
from carlab.stages.base import (
    MaskClassifier,
    MaskProposer,
    QueryFilter,
    Refiner,
    VisualPrompter,
    check_returned,
    checked_proposal,
)
from carlab.trace.provenance import provenance, settings
from carlab.trace.stored import MOST_STEPS
from carlab.trace.trace import Step, Trace

THREADS = 8
"""Most prompted images drawn at once; each needs some full-size copies of the image."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class ClipAsRnn:
    """Five stages and the loop over them. Swap a stage with `dataclasses.replace`.

    Raises SettingError if a number is out of range, or a stage cannot be hashed.

    Parameters
    ----------
    proposer, prompter, classifier, filter, refiner
        f, v, g, sigma and the post-processor; see `carlab.stages.base`. Each must be hashable.
    mask_threshold
        eta, in [0, 1]: where a soft mask exceeds it, it is drawn.
    background
        Queries that compete but are not reported, unless a call gives its own.
    min_steps, max_steps
        The release always makes two steps or more (quirk 9); None: no limit.
    batch
        Prompted images encoded at once, 1 or more.
    name
        Of the preset, for people to read.

    Examples
    --------
    >>> from carlab.stages.filter import Threshold
    >>> strict = replace(model, filter=Threshold(1.0, keep_best=False))
    >>> strict(image, ["cat", "dog"]).stop
    'nothing present'
    """

    proposer: MaskProposer
    prompter: VisualPrompter
    classifier: MaskClassifier
    filter: QueryFilter
    refiner: Refiner
    mask_threshold: float = 0.4
    background: tuple[str, ...] = ()
    min_steps: int = 1
    max_steps: int | None = None
    batch: int = 8
    name: str = "custom"

    def __post_init__(self) -> None:
        check_text("a name", self.name)
        as_list(self.background, "background queries", QueryError)
        check_share("a mask threshold (eta)", self.mask_threshold, "the paper uses 0.2 to 0.6")
        for name in ("min_steps", "batch", *(["max_steps"] if self.max_steps is not None else [])):
            check_count(name, getattr(self, name))
        if self.max_steps is not None and self.min_steps > self.max_steps:
            raise SettingError(
                f"expected min_steps <= max_steps, got {self.min_steps} and {self.max_steps}; "
                "1 and None are the defaults"
            )
        for stage in (self.proposer, self.prompter, self.classifier, self.filter, self.refiner):
            try:
                hash(stage)
            except TypeError as error:
                raise SettingError(
                    f"expected stages that can be hashed, got {type(stage).__name__}, which cannot "
                    f"({error}); make it a frozen dataclass with hashable fields"
                ) from error

    def __call__(
        self,
        image: Any,
        queries: Sequence[str],
        *,
        background: Sequence[str] | None = None,
        record: Sequence[str] = (),
    ) -> Trace:
        """Segment one image.

        Raises ImageError, QueryError, ProbeError or BackboneError.

        Parameters
        ----------
        image
            A path, bytes, a Pillow image, a uint8 array (h, w, 3), RGB, or a `Photo`, whose cache is used.
        queries
            Names to look for; those that are not present are dropped.
        background
            Replaces the model's own background queries; () for none.
        record
            Patterns of probes to keep in the trace, e.g. `["cam.*"]`.
        """
        with hooks.record(*as_list(record, "probes to record", ProbeError)):
            run = Run(self, Photo.of(image), queries, background)
            recur([run], self.batch)
            return run.trace()

    def prepare(
        self, image: Any, queries: Sequence[str], *, background: Sequence[str] | None = None
    ) -> "Prepared":
        """Compute once what does not depend on the active set; the result can be run again and again.

        Parameters and errors are those of a call.
        """
        run = Run(self, Photo.of(image), queries, background)
        return Prepared(self, run.photo, run.queries, run.background)


@dataclass(frozen=True)
class Prepared:
    """A model, a photo and its queries: every run after the first is cheap.

    As long as the backbones stay, a run makes no trunk pass, and encodes only texts and prompted images that
    are not in the photo's cache.

    Examples
    --------
    >>> from carlab.stages.filter import Threshold
    >>> prepared = model.prepare(image, ["cat", "dog"])
    >>> prepared.run().passes["trunk"]
    1
    >>> prepared.run(filter=Threshold(0.0)).passes
    {}
    """

    model: ClipAsRnn
    photo: Photo
    queries: tuple[str, ...]
    background: tuple[str, ...]

    def run(self, **changes: Any) -> Trace:
        """Run the recurrence, with any field of the model changed.

        Raises TypeError if the model has no such field.
        """
        model = replace(self.model, **changes)
        return model(self.photo, self.queries, background=changes.get("background", self.background))

    def ask(self, queries: Sequence[str]) -> "Prepared":
        """Prepare other queries on the same photo: no trunk pass, and its cache stays.

        Raises QueryError if they cannot be used.
        """
        return self.model.prepare(self.photo, queries, background=self.background)


@dataclass(eq=False)
class Prompted:
    """A prompted image as the classifier sees it, and its embedding once it is encoded."""

    image: UInt8[np.ndarray, "s1 s2 3"]
    embedding: Float32[np.ndarray, " d"] | None = None


class Run:
    """One image on its way through the loop: its active queries and the steps so far.

    Raises QueryError or BackboneError if the queries cannot be used, or the model returns NaN or infinity.

    Parameters
    ----------
    model, photo
        What runs on what.
    queries, background
        As in `ClipAsRnn.__call__`.

    Examples
    --------
    >>> run = Run(model, Photo.of(image), ["cat", "dog"])
    >>> while run.stop is None:
    ...     run.draw()
    ...     embed([run], batch=8)
    ...     run.judge()
    >>> run.trace() == model(image, ["cat", "dog"])
    True
    """

    def __init__(
        self, model: ClipAsRnn, photo: Photo, queries: Sequence[str], background: Sequence[str] | None = None
    ) -> None:
        start = getattr(model.filter, "start", None)
        self.model, self.photo = replace(model, filter=start()) if start else model, photo
        self.queries = check_queries(queries)
        self.background = check_background(
            model.background if background is None else background, self.queries
        )
        self.active = np.arange(len(self.queries))
        self.steps: list[Step] = []
        self.stop: str | None = None
        """Why the loop ended; None while it goes on."""
        self.patterns = recorded_patterns()
        self.cost, self.end = Recording(), Recording(self.patterns)
        self.inputs = photo.prepare(model.proposer, model.classifier, self.queries, self.background)
        on = getattr(model.prompter, "on", None)
        self.threads = THREADS if on else 1
        self.prompt = partial(model.prompter, photo.image)
        if on:
            with collect(self.cost), timed("prompt"):
                self.prompt = photo.cache.get(("on", model.prompter), lambda: on(photo.image))

    def draw(self) -> None:
        """Propose a mask for every active query, and draw each onto the image."""
        self.step = Recording(self.patterns)
        with collect(self.step):
            with timed("propose"):
                proposer, inputs = self.model.proposer, self.inputs.proposals
                proposal = proposer(inputs, self.active, len(self.steps))
                self.proposal = checked_proposal(proposer, proposal, len(self.active))
            with timed("prompt"):
                self.prompted = in_threads(self._prompted, list(self.proposal.masks), self.threads)
            drawn = np.stack([prompted.image for prompted in self.prompted])
            self.images = probe("classify.pictures", drawn)
        if self.images is not drawn:  # edited
            self.prompted = [Prompted(image) for image in self.images]

    def judge(self) -> None:
        """Score the prompted images, drop queries, and append the step."""
        with collect(self.step):
            found = [prompted.embedding for prompted in self.prompted if prompted.embedding is not None]
            embeddings = probe("classify.embeddings", np.stack(found))
            with timed("classify"):
                probs = self.model.classifier(embeddings, self.inputs.texts, self.active)
            check_returned(self.model.classifier, "the scores P_t", probs, "float32", [len(self.active)] * 2)
            kept = self.model.filter(probs)
            check_returned(self.model.filter, "which queries are kept", kept, "bool", [len(self.active)])
        step = Step(
            self.active, *self.proposal, self.images, probs, kept, self.step.probes, self.step.seconds
        )
        self.steps.append(step)
        self.cost.add(self.step)
        self.active, self.stop = self.active[kept], stop_reason(self.model, self.steps)
        if self.stop is not None:
            with collect(self.end):
                self.soft = probe("refine.masks", step.masks[kept])

    @property
    def refine_key(self) -> tuple[Any, ...]:
        """Key of the final masks in the photo's cache."""
        soft = self.soft
        return ("refined", self.model.refiner, soft.shape, blake2b(soft.tobytes()).digest(), self.patterns)

    def trace(self, refine: "Refine | None" = None) -> Trace:
        """Refine the survivors' masks, unless the photo's cache holds the result, and return what happened.

        Parameters
        ----------
        refine
            Calls the refiner, here unless another function is given.
        """
        refine = refine or refine_here
        key = self.refine_key
        with collect(self.end):
            final, probes = self.photo.cache.get(
                key, lambda: refine(self.model.refiner, self.photo.image, self.soft)
            )
        for part in (self.photo.take_unreported(), self.end):
            self.cost.add(part)
        return Trace(
            image=self.photo.image,
            queries=self.queries,
            background=self.background,
            steps=tuple(self.steps),
            refined=final,
            stop=self.stop or "",
            settings=settings(self.model),
            provenance=provenance(self.model),
            probes={**self.inputs.probes, **self.end.probes, **probes},
            seconds=self.cost.seconds,
            passes=self.cost.passes,
        )

    def _prompted(self, mask: Float32[np.ndarray, "i j"]) -> Prompted:
        """Draw a soft mask; masks that exceed eta in the same pixels share an image."""
        model, get = self.model, self.photo.cache.get
        # No more full-size masks than threads: at 12 megapixels a hundred would not fit.
        region = cache(lambda: resize(mask, *self.photo.image.shape[:2]) > model.mask_threshold)
        soft = ("region", model.mask_threshold, mask.shape, blake2b(mask.tobytes()).digest())
        pixels = get(soft, lambda: blake2b(np.packbits(region()).tobytes()).digest())
        seen_by = stage_key(model.classifier, *getattr(model.classifier, "WORDS", ()))
        return get(("prompted", model.prompter, seen_by, pixels), lambda: self._seen(self.prompt(region())))

    def _seen(self, drawn: Any) -> Prompted:
        """Return what the prompter drew as the classifier sees it."""
        classifier = self.model.classifier
        check_returned(self.model.prompter, "a prompted image", drawn, "uint8", [None, None, 3])
        seen = classifier.preprocess(drawn)
        check_returned(classifier, "a preprocessed image", seen, "uint8", [None, None, 3])
        return Prompted(seen)


def recur(runs: Sequence[Run], batch: int) -> None:
    """Run algorithm 1, for one image or for several in lock-step, until every run has stopped.

    Parameters
    ----------
    runs
        Changed in place.
    batch
        Prompted images encoded at once, over all runs, 1 or more.

    Examples
    --------
    >>> runs = [Run(model, Photo.of(image), queries) for queries in (["cat"], ["dog", "red car"])]
    >>> recur(runs, batch=8)
    >>> all(run.stop for run in runs)
    True
    """
    while going := [run for run in runs if run.stop is None]:
        for run in going:
            run.draw()
        embed(going, batch)
        for run in going:
            run.judge()


def embed(runs: Sequence[Run], batch: int) -> None:
    """Encode the prompted images that have no embedding yet, those of all runs together, `batch` at a time.

    This is the only call of the image encoder. What is encoded stays in the photos' caches even if a later
    batch is cancelled.
    """
    owners = {
        prompted: run for run in reversed(runs) for prompted in run.prompted if prompted.embedding is None
    }
    for classifier in dict.fromkeys(run.model.classifier for run in runs):
        missing = [prompted for prompted, run in owners.items() if run.model.classifier == classifier]
        for start in range(0, len(missing), batch):
            progress("encode", start, len(missing))
            part = missing[start : start + batch]
            with collect(Recording()) as cost:
                embeddings = classifier.encode_images(np.stack([prompted.image for prompted in part]))
            check_returned(classifier, "image embeddings", embeddings, "float32", [len(part), None])
            for prompted, embedding in zip(part, embeddings, strict=True):
                prompted.embedding = embedding.copy()  # a view would keep those of other photos in memory
                owners[prompted].step.add(cost, 1 / len(part))


def in_threads(function: Callable[[T], R], items: Sequence[T], most: int) -> list[R]:
    """Call a function on every item, up to `most` at once where there are cores, with the hooks of here.

    NumPy and Pillow let other threads work while they do.
    """
    threads = min(most, torch.get_num_threads(), len(items))
    if threads < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        tasks = [pool.submit(copy_context().run, function, item) for item in items]
        return [task.result() for task in tasks]


Refine = Callable[[Refiner, Image, Maps], tuple[Masks, dict[str, np.ndarray]]]
"""Calls a refiner on an image and soft masks; returns final masks and recorded probes."""


def refine_here(refiner: Refiner, image: Image, masks: Maps) -> tuple[Masks, dict[str, np.ndarray]]:
    """Call the refiner, on the clock; return the final masks and the probes recorded meanwhile."""
    progress("refine", 0, 1)
    with collect(Recording(recorded_patterns())) as seen, timed("refine"):
        final = refiner(image, masks)
    check_returned(refiner, "final masks", final, "bool", [len(masks), *image.shape[:2]])
    return final, seen.probes


def stop_reason(model: ClipAsRnn, steps: Sequence[Step]) -> str | None:
    """Return why the loop ends after these steps, or None if it goes on."""
    kept = steps[-1].kept
    if not kept.any():
        return "nothing present"
    if kept.all() and len(steps) >= model.min_steps:
        return "fixed point"
    return "step limit" if len(steps) in (model.max_steps, MOST_STEPS) else None
