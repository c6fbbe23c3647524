"""ClipAsRnn: the loop (paper, section 3.1 and algorithm 1).

    y_t = f(x, h_{t-1});   P_t = g(v(x, y_t), h_{t-1});   h_t = sigma(P_t)

until h_t = h_{t-1}. The filter only removes, so there are at most |h_0| + 1
steps.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, UInt8

from carlab import probes
from carlab.errors import SettingError
from carlab.gallery import Gallery
from carlab.images import load_image
from carlab.ledger import Ledger, open_ledger, timed
from carlab.provenance import provenance, settings
from carlab.queries import check_background, check_queries
from carlab.stages.protocols import MaskClassifier, MaskProposer, QueryFilter, Refiner, VisualPrompter
from carlab.trace import Step, Trace
from carlab.turns import Encode, Turns, carry_out


@dataclass(frozen=True)
class ClipAsRnn:
    """Five stages and the loop over them. Swap a stage with `dataclasses.replace`.

    Attributes
    ----------
    mask_threshold
        eta, in [0, 1]: a soft mask above it is the region that is drawn.
    background
        Words that take away what belongs to no query, unless a call gives its own.
    min_steps, max_steps
        The release always makes two steps or more (quirk 9); None: no limit.
    batch
        Prompted pictures encoded at once, 1 or more.
    name
        The preset this came from, for people to read.
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
        if not 0 <= self.mask_threshold <= 1:
            raise SettingError(
                f"expected a mask threshold (eta) in [0, 1], got {self.mask_threshold}; "
                "the paper uses 0.2 to 0.6"
            )
        most = self.min_steps if self.max_steps is None else self.max_steps
        if not 1 <= self.min_steps <= most or self.batch < 1:
            raise SettingError(
                "expected 1 <= min_steps <= max_steps and batch >= 1, got "
                f"{self.min_steps}, {self.max_steps} and {self.batch}; 1, None and 8 are the defaults"
            )

    def __call__(
        self,
        image: Any,
        queries: Sequence[str],
        *,
        background: Sequence[str] | None = None,
        record: Sequence[str] = (),
    ) -> Trace:
        """Segment one image.

        Parameters
        ----------
        image
            A path, bytes, a Pillow image, or a uint8 array (h, w, 3), RGB.
        queries
            What to look for; words that are not there are dropped.
        background
            Replaces the model's own background words; () for none.
        record
            Patterns of probes to keep in the trace, e.g. `["cam.*"]`.

        Raises
        ------
        ImageError, QueryError, ProbeError, BackboneError
        """
        with probes.record(*record):
            return self.prepare(image, queries, background=background).run()

    def prepare(
        self, image: Any, queries: Sequence[str], *, background: Sequence[str] | None = None
    ) -> "Prepared":
        """Do once what does not depend on the active set; the result runs again and again."""
        words = self.background if background is None else background
        return Prepared.of(self, load_image(image), check_queries(queries), words)


@dataclass(frozen=True)
class Prepared:
    """One photo and its queries after the trunk pass: every further run is cheap.

    `run(filter=Threshold(0.3))` runs the recurrence with a changed model. As
    long as the backbones stay it makes no trunk pass, and encodes only texts
    and pictures that were not seen before.
    """

    model: ClipAsRnn
    image: UInt8[np.ndarray, "h w 3"]
    queries: tuple[str, ...]
    background: tuple[str, ...]
    proposals: Any
    texts: Float32[np.ndarray, "p Q d"]
    gallery: Gallery
    ledger: Ledger
    recorded: Mapping[str, np.ndarray]

    @classmethod
    def of(
        cls,
        model: ClipAsRnn,
        image: UInt8[np.ndarray, "h w 3"],
        queries: tuple[str, ...],
        background: Sequence[str],
    ) -> "Prepared":
        """Run what is needed once; see `ClipAsRnn.prepare`."""
        words = check_background(background, queries)
        with open_ledger() as ledger, _recording() as recorded:
            proposals = model.proposer.prepare(image, queries, words)
            texts = model.classifier.encode_text(queries)
        gallery = Gallery(image, model.classifier)
        return cls(model, image, queries, words, proposals, texts, gallery, ledger, recorded)

    def run(self, **changes: Any) -> Trace:
        """Run the recurrence, with any field of the model changed.

        Raises
        ------
        TypeError
            If the model has no such field.
        """
        return carry_out(self.turns(**changes), changes.get("batch", self.model.batch))

    def ask(self, queries: Sequence[str]) -> "Prepared":
        """The same photo with other queries: no trunk pass, and what was encoded for it stays known.

        Raises
        ------
        QueryError
            If they cannot be used.
        """
        words = check_queries(queries)
        with open_ledger() as ledger, _recording() as recorded:
            texts = self.model.classifier.encode_text(words)
        background = check_background(self.background, words)
        kept = {**self.recorded, **recorded}
        return replace(self, queries=words, background=background, texts=texts, ledger=ledger, recorded=kept)

    def turns(self, **changes: Any) -> Turns:
        """`run` as a generator that asks for what can be done together with others, or elsewhere."""
        with open_ledger() as ledger:
            prepared = self._changed(changes)
            steps, stop = yield from prepared._recur()
            with _recording() as end:
                survivors = probes.probe("refine.masks", steps[-1].masks[steps[-1].kept])
                refined = yield from prepared.gallery.refine(prepared.model.refiner, survivors)
        return Trace(
            image=self.image,
            queries=self.queries,
            background=prepared.background,
            steps=steps,
            refined=refined,
            stop=stop,
            settings=settings(prepared.model),
            provenance=provenance(prepared.model),
            probes={**prepared.recorded, **end},
            seconds=_sum(prepared.ledger.seconds, ledger.seconds),
            passes=_sum(prepared.ledger.passes, ledger.passes),
        )

    def _changed(self, changes: Mapping[str, Any]) -> "Prepared":
        model = replace(self.model, **changes)
        if not model.proposer.can_use(self.proposals):
            return Prepared.of(model, self.image, self.queries, changes.get("background", self.background))
        words = check_background(changes.get("background", self.background), self.queries)
        prepared = replace(self, model=model, background=words)
        if model.classifier == self.model.classifier:
            return prepared
        texts = model.classifier.encode_text(self.queries)
        gallery = Gallery(self.image, model.classifier, refined=self.gallery.refined)
        return replace(prepared, texts=texts, gallery=gallery)

    def _recur(self) -> Generator[Encode, Any, tuple[tuple[Step, ...], str]]:
        active = np.arange(len(self.queries))
        steps: list[Step] = []
        while True:
            step = yield from self._step(active, len(steps))
            steps.append(step)
            if not step.kept.any():
                return tuple(steps), "nothing present"
            if step.kept.all() and len(steps) >= self.model.min_steps:
                return tuple(steps), "fixed point"
            if len(steps) == self.model.max_steps:
                return tuple(steps), "step limit"
            active = step.survivors

    def _step(self, active: Int[np.ndarray, " q"], t: int) -> Generator[Encode, Any, Step]:
        model, names = self.model, [self.queries[query] for query in active]
        with open_ledger() as ledger, _recording() as recorded:
            with timed("propose"):
                cams, masks = model.proposer(self.proposals, names, self.background, t)
            pictures, embeddings = yield from self.gallery.show(masks, model.mask_threshold, model.prompter)
            with timed("classify"):
                probs = model.classifier(embeddings, self.texts, active)
            kept = model.filter(probs)
        return Step(active, cams, masks, pictures, probs, kept, recorded, ledger.seconds)


def _recording() -> AbstractContextManager[dict[str, np.ndarray]]:
    """A recorder of its own for each part of the run, wanting what the user's recorders want."""
    return probes.record(*probes.recorded_patterns())


def _sum(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    return {name: a.get(name, 0) + b.get(name, 0) for name in (*a, *(key for key in b if key not in a))}
