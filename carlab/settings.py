"""The settings that a user can change on any model, in one table.

Command line options, the grammar of sweeps, the controls of the Lab, the Python that the Lab writes, and
docs/settings.md are all made from `SETTINGS`. A new one is a row there.

>>> strict = change(model, theta=0.9, prompter="circle+blur")
>>> SETTINGS["theta"].read(strict), SETTINGS["prompter"].read(strict)
(0.9, 'circle+blur')
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from math import inf
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from carlab.errors import SettingError, check_choice, described, quoted
from carlab.queries import BACKGROUNDS, check_background
from carlab.stages.base import SCORE_KINDS
from carlab.stages.prompter import PROMPTS, prompts
from carlab.stages.proposer import PROPOSERS, proposer_named
from carlab.stages.refiner import DenseCrf, LabelRefiner, NoRefiner
from carlab.stages.refiner.base import device_of
from carlab.stages.refiner.sam_prompt import SamPrompt
from carlab.stages.regions import SAM_HQ, SUPERPIXELS, RegionMatch

if TYPE_CHECKING:
    from carlab.recurrence import ClipAsRnn

NONE = "none"
SWITCH = {"on": True, "off": False, "true": True, "false": False}


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    Parameters
    ----------
    name
        In sweeps and in the Lab, and `--name` on the command line.
    path
        Dotted, from the model to the field it changes.
    kind, meaning
        float, int, bool or str; and one sentence.
    low, high
        Range of a number.
    choices, open
        Values to offer, in a registry that may grow later; and whether others are possible.
    symbol
        In the paper.
    getter, setter
        From the model to the value, and from model and value to the changed model, where that is not the
        field at `path` itself.
    """

    name: str
    path: str
    kind: type
    meaning: str
    low: float = 0.0
    high: float = 1.0
    choices: Collection[str] = ()
    symbol: str = ""
    open: bool = False
    getter: "Callable[[ClipAsRnn], Any] | None" = None
    setter: "Callable[[ClipAsRnn, Any], ClipAsRnn] | None" = None

    @property
    def key(self) -> str:
        """Its name as a Python keyword."""
        return {"lambda": "box"}.get(self.name, self.name)

    def read(self, model: "ClipAsRnn") -> Any:
        """Return the value that a model has; None if it has none, or one without a name."""
        if self.getter is not None:
            return self.getter(model)
        value: Any = model
        for name in self.path.split("."):
            value = getattr(value, name, None)
        return value

    def write(self, model: "ClipAsRnn", value: Any) -> "ClipAsRnn":
        """Return the model with this setting changed.

        Raises SettingError or QueryError if a stage has no such field, or the value is not allowed.
        """
        if self.setter is not None:
            return self.setter(model, value)
        return with_field(model, self.path, value)

    def check(self, value: Any) -> None:
        """Raise SettingError unless a value is of this setting's kind; its range is checked by its stage."""
        kinds: dict[type, Any] = {float: Real, int: Integral}
        if isinstance(value, bool) != (self.kind is bool) or not isinstance(
            value, kinds.get(self.kind, self.kind)
        ):
            raise SettingError(
                f"expected {self.name} as {self.kind.__name__}, got {described(value)}; see docs/settings.md"
            )

    def parse(self, text: str) -> Any:
        """Return the value that a text stands for; ValueError or KeyError if it stands for none."""
        return SWITCH[text] if self.kind is bool else self.kind(text)


def with_field(part: Any, path: str, value: Any) -> Any:
    """Return a model or stage with the field at a dotted path replaced.

    Raises SettingError if there is no such field.
    """
    name, _, rest = path.partition(".")
    if not is_dataclass(part) or name not in {field.name for field in fields(part)}:
        raise SettingError(
            f"expected a stage with the field {name!r}, got {type(part).__name__} without it; "
            "leave that setting, or give the stage such a field"
        )
    changed = with_field(getattr(part, name), rest, value) if rest else value
    return replace(part, **{name: changed})  # type: ignore[type-var]  # it is a dataclass


def change(model: "ClipAsRnn", **values: Any) -> "ClipAsRnn":
    """Return the model with settings changed by name; None leaves what the model has.

    Raises SettingError or QueryError if there is no such setting or field, or a value is not allowed.

    Parameters
    ----------
    values
        By `Setting.key`, such as `theta=0.3, prompter="circle+blur"`; see docs/settings.md.
    """
    rows = {row.key: row for row in SETTINGS.values()}
    unknown = [name for name in values if name not in rows]
    if unknown:
        raise SettingError(
            f"expected settings out of {', '.join(rows)}, got {unknown[0]!r}; docs/settings.md has them all"
        )
    for name, row in rows.items():  # in the order of the table: a refiner that cuts takes eta over
        if values.get(name) is not None:
            row.check(values[name])
            model = row.write(model, values[name])
    return model


def current(model: "ClipAsRnn") -> dict[str, Any]:
    """Return the value of every setting by key, as `Setting.read` gives it."""
    return {row.key: row.read(model) for row in SETTINGS.values()}


def code(values: Mapping[str, Any]) -> str:
    """Return settings as the keyword arguments of `change`."""
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _prompter(model: "ClipAsRnn") -> str | None:
    parts = getattr(model.prompter, "prompts", ())
    plain = {prompt(): name for name, prompt in PROMPTS.items()}
    known = plain | {prompt.as_released(): name for prompt, name in plain.items()}
    names = [known.get(part) for part in parts]
    return "+".join(name for name in PROMPTS if name in names) if names and None not in names else None


def _background(model: "ClipAsRnn") -> str:
    known = (name for name, queries in BACKGROUNDS.items() if queries == model.background)
    return next(known, ", ".join(model.background))


def _set_background(model: "ClipAsRnn", value: str) -> "ClipAsRnn":
    """Return the model with a vocabulary by name, or with queries that have commas between them."""
    known = BACKGROUNDS.get(value)
    return replace(model, background=check_background(value.split(","), ()) if known is None else known)


def _set_prompter(model: "ClipAsRnn", value: str) -> "ClipAsRnn":
    """Prompts by name; in the `reference` presets drawn as released, like those that they replace."""
    prompter = prompts(value.split("+"))
    released = model.name.startswith("reference/")
    return replace(model, prompter=prompter.as_released() if released else prompter)


def _set_max_steps(model: "ClipAsRnn", value: int) -> "ClipAsRnn":
    """The most steps, and so the least: the release makes two or more (quirk 9)."""
    return replace(model, max_steps=value, min_steps=min(model.min_steps, value))


def _proposer(model: "ClipAsRnn") -> str | None:
    kind = type(model.proposer)
    return next((name for name in PROPOSERS if proposer_named(name) is kind), None)


def _set_proposer(model: "ClipAsRnn", value: str) -> "ClipAsRnn":
    """Return the model with another mask proposer, on the same backbone and with the same other settings.

    Raises SettingError if there is none of this name, or the backbone does not support it.
    """
    if value not in PROPOSERS:
        raise SettingError(
            f"expected a mask proposer out of {', '.join(PROPOSERS)}, got {quoted(value)}; its network is "
            "given by --proposer-backbone, in Python by proposer_backbone="
        )
    kind: Any = proposer_named(value)
    old = model.proposer
    names = [field.name for field in fields(kind) if hasattr(old, field.name)]
    return replace(model, proposer=kind(**{name: getattr(old, name) for name in names}))


def _set_affinity(model: "ClipAsRnn", value: bool) -> "ClipAsRnn":
    if value and getattr(model.proposer, "affinity", None) is not None:
        return model
    from carlab.stages.affinity import Affinity  # here, since it loads torch

    return with_field(model, "proposer.affinity", Affinity() if value else None)


def _set_lambda(model: "ClipAsRnn", value: float) -> "ClipAsRnn":
    if getattr(model.proposer, "affinity", model) is None:
        raise SettingError(
            f"expected a proposer with affinity to set lambda, got none for lambda {value}; "
            "leave lambda, or switch affinity on"
        )
    return with_field(model, "proposer.affinity.box_threshold", value)


def _refiner(model: "ClipAsRnn") -> str | None:
    base = _base(model.refiner)
    if isinstance(base, SamPrompt):
        name = _sam_name(base.sam)
        return SAM if name == SAM_HQ else f"{SAM}:{name}"
    others = (name for name in REFINERS if name != SAM)
    return next((name for name in others if type(_made(name, model)) is type(base)), None)


def _made(name: str, model: "ClipAsRnn") -> Any:
    try:
        return REFINERS[name](model, NoRefiner())
    except SettingError:  # it needs a library that is not installed
        return None


def _set_refiner(model: "ClipAsRnn", value: str) -> "ClipAsRnn":
    name, _, sam = value.partition(":")
    if sam and name == SAM:
        return _on_base(model, lambda base: _prompting(model, sam))
    check_choice("a refiner", value, (*REFINERS, f"{SAM}:NAME"))
    return _on_base(model, lambda base: REFINERS[value](model, base))


def _labelling(kind: Any, model: "ClipAsRnn", old: Any, **values: Any) -> Any:
    """Return a `LabelRefiner` that takes over from another how it shares pixels; the old one if it is one."""
    if type(old) is kind:
        return old
    kept = {name: getattr(old, name) for name in ("background_power", "compete") if hasattr(old, name)}
    return kind(**kept, **values)


def _crf(model: "ClipAsRnn", old: Any) -> Any:
    return _labelling(DenseCrf, model, old, device=_device(model))


def _pamr(model: "ClipAsRnn", old: Any) -> Any:
    from carlab.stages.refiner.pamr import Pamr  # here, since it loads torch

    return _labelling(Pamr, model, old, device=_device(model))


def _grabcut(model: "ClipAsRnn", old: Any) -> Any:
    from carlab.stages.refiner.grabcut import GrabCut

    return _labelling(GrabCut, model, old)


def _random_walker(model: "ClipAsRnn", old: Any) -> Any:
    from carlab.stages.refiner.random_walker import RandomWalker

    return _labelling(RandomWalker, model, old)


def _prompting(model: "ClipAsRnn", name: str) -> SamPrompt:
    from carlab.backbones.sam import load_sam

    return SamPrompt(load_sam(name, device=_device(model)), model.mask_threshold)


def _sam_name(sam: Any) -> str:
    return str(getattr(sam, "name", type(sam).__name__.lower())).removeprefix("SAM ")


def _device(model: "ClipAsRnn") -> str:
    return device_of(getattr(model.classifier, "backbone", None))


SAM = "sam"
REFINERS: "dict[str, Callable[[ClipAsRnn, Any], Any]]" = {
    "crf": _crf,
    "pamr": _pamr,
    SAM: lambda model, refiner: _prompting(model, SAM_HQ),
    "grabcut": _grabcut,
    "random-walker": _random_walker,
    NONE: lambda model, refiner: NoRefiner(model.mask_threshold),
}
"""Refiners by name: from the model and its present refiner to the new one; add your own."""


def _regions(model: "ClipAsRnn") -> str:
    if not isinstance(model.refiner, RegionMatch):
        return NONE
    return _sam_name(model.refiner.regions)


def _set_regions(model: "ClipAsRnn", value: str) -> "ClipAsRnn":
    from carlab.presets import match_regions

    if value != NONE:
        return match_regions(model, value)
    return replace(model, refiner=_base(model.refiner))


def _set_refer(model: "ClipAsRnn", value: bool) -> "ClipAsRnn":
    model = with_field(model, "proposer.compete", not value)
    return _on_base(
        model, lambda base: replace(base, compete=not value) if isinstance(base, LabelRefiner) else base
    )


def _base(refiner: Any) -> Any:
    """Return the refiner that makes the masks, inside a match to regions too."""
    return refiner.base if isinstance(refiner, RegionMatch) else refiner


def _on_base(model: "ClipAsRnn", changed: Callable[[Any], Any]) -> "ClipAsRnn":
    refiner = model.refiner
    base = changed(_base(refiner))
    return replace(model, refiner=replace(refiner, base=base) if isinstance(refiner, RegionMatch) else base)


_ROWS = (
    Setting("theta", "filter.theta", float, "Score a query must exceed.", symbol="theta"),
    Setting("eta", "mask_threshold", float, "Where a soft mask exceeds it, it is drawn.", symbol="eta"),
    Setting(
        "proposer", "proposer", str, "How masks are proposed; docs/proposers.md has what each needs.",
        choices=PROPOSERS, symbol="f", getter=_proposer, setter=_set_proposer,
    ),
    Setting(
        "affinity", "proposer.affinity", bool, "Refine the maps by the affinity of the patches.",
        getter=lambda model: getattr(model.proposer, "affinity", None) is not None, setter=_set_affinity,
    ),
    Setting(
        "lambda", "proposer.affinity.box_threshold", float, "Share of a CAM's maximum that its boxes hold.",
        symbol="lambda", setter=_set_lambda,
    ),
    Setting(
        "prompter", "prompter", str, "Prompts to draw; join several with +.",
        choices=PROMPTS, symbol="v", open=True, getter=_prompter, setter=_set_prompter,
    ),
    Setting(
        "background", "background", str, "Background queries: a vocabulary, or your own with commas.",
        choices=BACKGROUNDS, open=True, getter=_background, setter=_set_background,
    ),
    Setting("background_weight", "proposer.background_weight", float, "Weight of the background.", high=inf),
    Setting("keep_best", "filter.keep_best", bool, "Keep the best query when none passes."),
    Setting(
        "max_steps", "max_steps", int, "Stop after so many steps.", 1.0, inf, setter=_set_max_steps
    ),
    Setting("batch", "batch", int, "Prompted images encoded at once.", 1.0, inf),
    Setting(
        "refiner", "refiner", str, "Post-processor of the final masks; sam:NAME takes another SAM or SAM 2.",
        choices=REFINERS, open=True, getter=_refiner, setter=_set_refiner,
    ),
    Setting(
        "score", "classifier.score", str,
        "Score of a query: its share among the active ones, or absolute (sigmoid; needs a SigLIP).",
        choices=SCORE_KINDS,
    ),
    Setting(
        "refer", "proposer.compete", bool, "Each query against the background alone.",
        getter=lambda model: not getattr(model.proposer, "compete", True), setter=_set_refer,
    ),
    Setting(
        "regions", "refiner.regions", str,
        "Match the final masks to regions: a SAM by folder or hub name, superpixels, or none.",
        choices=(NONE, SUPERPIXELS, SAM_HQ), open=True, getter=_regions, setter=_set_regions,
    ),
)  # fmt: skip

SETTINGS = {row.name: row for row in _ROWS}
"""Every setting by name, in the order in which they are applied."""
WITHOUT_RECURRENCE = {"max_steps": 1, "theta": 0.0}
"""Changes that leave f alone: one step, in which no query is dropped (the paper's ablation)."""
