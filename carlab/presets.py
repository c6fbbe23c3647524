"""Every number of the method, in one place, each with its source; models built from them by name.

`offline` is the embedded default. `reference/DATASET` is the released code, quirk by quirk, with which the
paper's numbers were measured; `paper/DATASET` is the method as written, whose one softmax makes the same
thetas stricter. Section numbers are those of the paper (arXiv 2312.07661v3); quirk numbers are
explained in docs/method.md.
"""

from dataclasses import dataclass, replace
from typing import Any

from carlab.backbones import load_backbone
from carlab.backbones.base import FrozenVlm
from carlab.errors import SettingError, check_choice, check_text, quoted
from carlab.queries import BACKGROUNDS, CAM_TEMPLATE
from carlab.recurrence import ClipAsRnn
from carlab.stages.affinity import Affinity
from carlab.stages.classifier import TemplateClassifier
from carlab.stages.filter import Threshold
from carlab.stages.prompter import Crop, prompts
from carlab.stages.proposer import GradCam
from carlab.stages.refiner import DenseCrf
from carlab.stages.regions import SUPERPIXELS, RegionMaker, RegionMatch, Superpixels

BASE_16 = "openai/clip-vit-base-patch16"
LARGE_14 = "openai/clip-vit-large-patch14"


@dataclass(frozen=True)
class Numbers:
    """Settings of one data set, as released (configuration files of the released code).

    Parameters
    ----------
    eta, theta, box
        Mask threshold; score a query must exceed; lambda, share of a CAM's maximum that its boxes hold.
    prompts, stuff_prompts
        Names of the prompts; those of the second pass over stuff classes, where they differ.
    iom
        Share of the smaller of the two that a region and a mask must have in common to match.
    classifier
        Hub name; the proposer is always CLIP ViT-B/16.
    referring
        Whether each query competes with the background alone.
    paper_theta, paper_prompts
        As the paper writes them, where that differs.
    """

    eta: float
    theta: float
    box: float
    prompts: tuple[str, ...]
    stuff_prompts: tuple[str, ...] | None = None
    iom: float = 0.6
    classifier: str = LARGE_14
    referring: bool = False
    paper_theta: float | None = None
    paper_prompts: tuple[str, ...] | None = None


_ADE = Numbers(0.6, 0.25, 0.7, ("grey", "blur"))
_REFER: dict[str, Any] = {"iom": 0.5, "referring": True}

NUMBERS: dict[str, Numbers] = {
    "voc": Numbers(0.4, 0.6, 0.4, ("circle", "blur")),
    "coco": Numbers(0.5, 0.3, 0.5, ("blur", "grey"), iom=0.7),
    "context": Numbers(0.6, 0.25, 0.4, ("blur", "circle"), ("blur", "grey"), iom=0.5, paper_theta=0.2),
    "pc459": Numbers(0.4, 0.25, 0.7, ("grey", "blur")),
    "ade150": _ADE,
    "ade847": _ADE,
    "refcoco": Numbers(
        0.5, 0.3, 0.5, ("circle",), classifier=BASE_16, paper_prompts=("circle", "blur"), **_REFER
    ),
    "refcoco+": Numbers(0.2, 0.1, 0.5, ("circle", "blur"), classifier=BASE_16, **_REFER),
    "refcocog": Numbers(0.5, 0.1, 0.6, ("circle", "blur"), classifier=BASE_16, **_REFER),
    "gres": Numbers(0.5, 0.0, 0.3, ("circle",), **_REFER),
}
"""Settings by data set."""

RELEASED: dict[str, Any] = {"positions": "bilinear half", "side_multiple": 16}
"""Settings of a backbone as released (quirks 8 and 14)."""
RELEASED_MATCH: dict[str, Any] = {"iou": 0.9, "least_common": 0.2, "keep_best": True}
"""Of the match to regions as released, where the data set's own configuration says no other; the paper writes
an IoU of 0.7 and nothing of the others."""
RELEASED_LEAST = {"voc": 0.05}
"""`least_common` by data set: the one configuration of the release that names it."""

PRESETS = (
    "offline",
    "offline/voc",
    *(f"{kind}/{name}" for kind in ("reference", "paper") for name in NUMBERS),
)
"""Every name that `load` takes."""


def load(
    preset: str = "offline",
    *,
    proposer_backbone: str | None = None,
    classifier: str | None = None,
    regions: str | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    proposer: str | None = None,
) -> ClipAsRnn:
    """Build a model from a preset's name: "offline", "reference/voc", "paper/coco", ...

    Raises SettingError if the preset, the device or the dtype is unknown, or `proposer` is given;
    BackboneError if the weights cannot be found or reached.

    Parameters
    ----------
    preset
        One of `PRESETS`.
    proposer_backbone, classifier
        Other backbones than the preset's: "offline", a local folder, or a hub name, of CLIP or SigLIP. The
        preset's settings stay; `change(model, score="sigmoid")` makes a SigLIP's scores absolute.
    regions
        What the final masks are matched to, see `match_regions`; None: nothing.
    device, dtype
        Where and in what precision the models compute, e.g. "cuda" and "bfloat16".
    proposer
        Not an option here, but a setting: `change(load(...), proposer="maskclip")`.
    """
    if proposer is not None:
        raise SettingError(
            f"expected a network as proposer_backbone=, got proposer={quoted(proposer)}; how masks are "
            'proposed is a setting: carlab.change(model, proposer="maskclip")'
        )
    check_choice("a preset", preset, PRESETS)
    networks = {"a proposer's network": proposer_backbone, "a classifier": classifier, "regions": regions}
    for what, name in networks.items():
        check_text(what, name, optional=True)
    kind, _, dataset = preset.partition("/")
    f, g = _backbones(kind, dataset, proposer_backbone, classifier, device=device, dtype=dtype)
    build = {"offline": _offline, "reference": _reference, "paper": _paper}[kind]
    model = build(dataset, f, g)
    return model if regions is None else match_regions(model, regions)


def backbone_names(preset: str) -> tuple[str, str]:
    """Return the names of the proposer and the classifier that a preset loads."""
    kind, _, dataset = preset.partition("/")
    return ("offline", "offline") if kind == "offline" else (BASE_16, NUMBERS[dataset].classifier)


def _backbones(
    kind: str, dataset: str, proposer: str | None, classifier: str | None, **places: Any
) -> tuple[FrozenVlm, FrozenVlm]:
    """Load f and g; once where they are the same."""
    own = backbone_names(f"{kind}/{dataset}")
    options = RELEASED if kind == "reference" else {}
    names = [given or name for given, name in zip((proposer, classifier), own, strict=True)]
    loaded = {
        name: load_backbone(name, **places, **({} if name == "offline" else options))
        for name in dict.fromkeys(names)
    }
    return loaded[names[0]], loaded[names[1]]


def _offline(dataset: str, f: FrozenVlm, g: FrozenVlm) -> ClipAsRnn:
    """Build the embedded default: no network, no CLIP. Numbers tuned on VOC 2012 train (docs/tuning.md).

    Among a few queries a wrong one needs a higher threshold than among the 20 of a data set: that is the only
    difference between "offline" and "offline/voc"; the higher one was chosen, not tuned.
    """
    return ClipAsRnn(
        proposer=GradCam(f, affinity=Affinity(0.2), template="{}"),
        prompter=Crop(0.3),
        classifier=TemplateClassifier(g, templates=("{}",)),
        filter=Threshold(0.3 if dataset else 0.4, keep_best=False),
        refiner=DenseCrf.beside(g, background_power=3.0),
        mask_threshold=0.45,
        background=BACKGROUNDS["release"],
        name=f"offline/{dataset}" if dataset else "offline",
    )


def _reference(dataset: str, f: FrozenVlm, g: FrozenVlm) -> ClipAsRnn:
    """Build the released code, every quirk on. Needs OpenCV (extra `opencv`), to draw as released."""
    numbers = NUMBERS[dataset]
    return ClipAsRnn(
        proposer=GradCam(
            f,
            affinity=Affinity(numbers.box, cut_border=True),
            compete=not numbers.referring,
            first_template="{}",
            keep_probability=True,
        ),
        prompter=prompts(numbers.prompts).as_released(),
        classifier=_classifier(numbers, g, ensemble="probabilities", fit="crop", skip_blocks=1),
        filter=Threshold(numbers.theta, keep_best=True),
        refiner=DenseCrf.beside(g, compete=not numbers.referring, released_image=True),
        mask_threshold=numbers.eta,
        background=BACKGROUNDS["release"],
        min_steps=2,
        name=f"reference/{dataset}",
    )


def _paper(dataset: str, f: FrozenVlm, g: FrozenVlm) -> ClipAsRnn:
    """Build the method as the paper writes it, no quirk of the release."""
    numbers = NUMBERS[dataset]
    theta = numbers.theta if numbers.paper_theta is None else numbers.paper_theta
    return ClipAsRnn(
        proposer=GradCam(f, affinity=Affinity(numbers.box), compete=not numbers.referring),
        prompter=prompts(numbers.paper_prompts or numbers.prompts),
        classifier=_classifier(numbers, g),
        filter=Threshold(theta, keep_best=False),
        refiner=DenseCrf.beside(g, compete=not numbers.referring),
        mask_threshold=numbers.eta,
        background=BACKGROUNDS["all"],
        name=f"paper/{dataset}",
    )


def _classifier(numbers: Numbers, g: FrozenVlm, **options: Any) -> TemplateClassifier:
    """Return the classifier; in referring use one template and one softmax (quirk 12)."""
    if numbers.referring:
        options |= {"templates": (CAM_TEMPLATE,), "ensemble": "embeddings"}
    return TemplateClassifier(g, **options)


def stuff_pass(model: ClipAsRnn) -> ClipAsRnn:
    """Return the model of the second pass, over stuff classes, where some presets draw other prompts."""
    kind, _, dataset = model.name.partition("/")
    if dataset not in NUMBERS or not NUMBERS[dataset].stuff_prompts:
        return model
    prompter = prompts(NUMBERS[dataset].stuff_prompts or ())
    return replace(model, prompter=prompter.as_released() if kind == "reference" else prompter)


def match_regions(model: ClipAsRnn, name: str) -> ClipAsRnn:
    """Return the model with its final masks matched to regions of the image (docs/method.md, section 7).

    The thresholds are those of the model's preset: IoM by data set, `RELEASED_MATCH` as released.
    A SAM computes on the device of the classifier. Raises BackboneError if it cannot be found or reached.

    Parameters
    ----------
    model
        A model whose refiner makes masks; one that matches already matches to the new regions.
    name
        A SAM or HQ-SAM by folder or hub name, e.g. "syscv-community/sam-hq-vit-huge" as in the paper; or
        "superpixels", which needs no weights and knows no objects.
    """
    base = model.refiner.base if isinstance(model.refiner, RegionMatch) else model.refiner
    kind, _, dataset = model.name.partition("/")
    options: dict[str, Any] = {"iom": NUMBERS[dataset].iom} if dataset in NUMBERS else {}
    if kind == "reference":
        options |= RELEASED_MATCH
        options["least_common"] = RELEASED_LEAST.get(dataset, options["least_common"])
    regions: RegionMaker = Superpixels()
    if name != SUPERPIXELS:
        from carlab.backbones.sam import load_sam

        g = model.classifier
        device = str(g.backbone.device) if isinstance(g, TemplateClassifier) else "cpu"
        regions = load_sam(name, device=device)
        if not callable(regions):
            raise SettingError(
                f"expected a SAM or HQ-SAM for regions, got {regions.name}, which is only prompted here; "
                f"take refiner={f'sam:{name}'!r}, or a SAM that is not SAM 2"
            )
    return replace(model, refiner=RegionMatch(base, regions, **options))
