"""What a user may change on any preset, by name; None leaves what the preset has."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from carlab.errors import SettingError
from carlab.queries import BACKGROUNDS, background_words
from carlab.stages.prompter import prompts
from carlab.stages.refiner import DenseCrf, NoRefiner
from carlab.stages.regions import RegionMatch

if TYPE_CHECKING:
    from carlab.recurrence import ClipAsRnn

REFINERS = ("crf", "none")
NO_REGIONS = "none"


@dataclass(frozen=True)
class Changes:
    """What a user may change on any preset."""

    theta: float | None = None
    eta: float | None = None
    box: float | None = None
    prompter: str | None = None
    background: str | None = None
    background_weight: float | None = None
    refiner: str | None = None
    regions: str | None = None
    keep_best: bool | None = None
    refer: bool = False
    max_steps: int | None = None
    batch: int | None = None

    def apply(self, model: "ClipAsRnn") -> "ClipAsRnn":
        """The model with these changes.

        Raises
        ------
        SettingError, QueryError
            If a value is outside what is allowed.
        """
        # eta comes first: a refiner that cuts takes it over.
        model = changed(model, mask_threshold=self.eta, max_steps=self.max_steps, batch=self.batch)
        model = replace(
            model,
            proposer=self._proposer(model.proposer),
            prompter=model.prompter if self.prompter is None else prompts(self.prompter.split("+")),
            filter=changed(model.filter, theta=self.theta, keep_best=self.keep_best),
            refiner=self._refiner(model),
            background=model.background if self.background is None else words(self.background),
        )
        if self.regions in (None, NO_REGIONS):
            return model
        from carlab.presets import match_regions

        return match_regions(model, self.regions)

    def _proposer(self, proposer: Any) -> Any:
        if self.box is not None:
            proposer = replace(proposer, affinity=replace(proposer.affinity, box_threshold=self.box))
        return changed(
            proposer, background_weight=self.background_weight, compete=False if self.refer else None
        )

    def _refiner(self, model: "ClipAsRnn") -> Any:
        if self.refiner not in (None, *REFINERS):
            raise SettingError(
                f"expected a refiner out of {', '.join(REFINERS)}, got {self.refiner!r}; choose one of them"
            )
        if isinstance(model.refiner, RegionMatch):
            base = self._base(model.refiner.base, model.mask_threshold)
            return base if self.regions == NO_REGIONS else replace(model.refiner, base=base)
        return self._base(model.refiner, model.mask_threshold)

    def _base(self, refiner: Any, threshold: float) -> Any:
        if self.refiner == "none":
            return NoRefiner(threshold)
        if self.refiner == "crf" and isinstance(refiner, NoRefiner):
            refiner = DenseCrf()
        return replace(refiner, compete=False) if self.refer and isinstance(refiner, DenseCrf) else refiner


def changed(stage: Any, **values: Any) -> Any:
    """The stage with those fields replaced that are not None."""
    return replace(stage, **{name: value for name, value in values.items() if value is not None})


def words(text: str) -> tuple[str, ...]:
    """A background: the name of a vocabulary, or words with commas between them."""
    return BACKGROUNDS[text] if text in BACKGROUNDS else background_words(text.split(","))
