"""Every number of the method, in one place, each with its source.

`offline()` is the embedded default. `reference(dataset)` is the released code,
quirk by quirk; `paper(dataset)` is the method as written. Section numbers are
those of the paper (arXiv 2312.07661v3); quirk numbers are explained in
docs/fidelity.md.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from carlab.backbones import load_backbone
from carlab.backbones.protocol import FrozenVlm
from carlab.errors import SettingError
from carlab.queries import BACKGROUNDS, CLASSIFIER_TEMPLATES
from carlab.recurrence import ClipAsRnn
from carlab.stages.affinity import Affinity
from carlab.stages.classifier import TemplateClassifier
from carlab.stages.filter import Threshold
from carlab.stages.prompter import Combined, Crop, Prompt, prompts
from carlab.stages.proposer import GradCam
from carlab.stages.refiner import DenseCrf
from carlab.stages.regions import SUPERPIXELS, RegionMatch, Regions, Superpixels

BASE_16 = "openai/clip-vit-base-patch16"
LARGE_14 = "openai/clip-vit-large-patch14"


@dataclass(frozen=True)
class Numbers:
    """Settings of one data set, as released (configuration files of the released code)."""

    eta: float
    """Mask threshold."""
    theta: float
    """Score a query must exceed."""
    box: float
    """lambda: share of a CAM's maximum that its boxes hold."""
    prompts: tuple[str, ...]
    stuff_prompts: tuple[str, ...] | None = None
    """Prompts of the second pass over stuff classes, where they differ."""
    iom: float = 0.6
    """Share of the smaller of the two that a region and a mask must have in common to match."""
    classifier: str = LARGE_14
    referring: bool = False
    paper_theta: float | None = None
    paper_prompts: tuple[str, ...] | None = None


_ADE = Numbers(0.6, 0.25, 0.7, ("grey", "blur"))

DATASETS: dict[str, Numbers] = {
    "voc": Numbers(0.4, 0.6, 0.4, ("circle", "blur")),
    "coco": Numbers(0.5, 0.3, 0.5, ("blur", "grey"), iom=0.7),
    "context": Numbers(0.6, 0.25, 0.4, ("blur", "circle"), ("blur", "grey"), iom=0.5, paper_theta=0.2),
    "pc459": Numbers(0.4, 0.25, 0.7, ("grey", "blur")),
    "ade150": _ADE,
    "ade847": _ADE,
    "refcoco": Numbers(
        0.5,
        0.3,
        0.5,
        ("circle",),
        iom=0.5,
        classifier=BASE_16,
        referring=True,
        paper_prompts=("circle", "blur"),
    ),
    "refcoco+": Numbers(0.2, 0.1, 0.5, ("circle", "blur"), iom=0.5, classifier=BASE_16, referring=True),
    "refcocog": Numbers(0.5, 0.1, 0.6, ("circle", "blur"), iom=0.5, classifier=BASE_16, referring=True),
    "gres": Numbers(0.5, 0.0, 0.3, ("circle",), iom=0.5, referring=True),
}
"""Settings by data set; the proposer is always CLIP ViT-B/16."""

RELEASED: dict[str, Any] = {"positions": "bilinear half", "side_multiple": 16}
"""Settings of a backbone as released (quirks 8 and 14)."""
RELEASED_IOU = 0.9
"""The released code keeps the union of the matched regions only above this; the paper writes 0.7."""

PRESETS = (
    "offline",
    "offline/voc",
    *(f"{kind}/{name}" for kind in ("reference", "paper") for name in DATASETS),
)
"""Every name that `load` takes."""


def load(
    preset: str = "offline",
    *,
    proposer: str | None = None,
    classifier: str | None = None,
    regions: str | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> ClipAsRnn:
    """Build a model from a preset's name: "offline", "reference/voc", "paper/coco", ...

    Parameters
    ----------
    preset
        One of `PRESETS`.
    proposer, classifier
        Other backbones than the preset's: "offline", a local folder, or a hub name.
    regions
        What the final masks are matched to, see `match_regions`; None: nothing.
    device, dtype
        Where and in what precision the models compute, e.g. "cuda" and "bfloat16".

    Raises
    ------
    SettingError
        If the preset, the device or the dtype is unknown.
    BackboneError
        If the weights cannot be found or reached.
    """
    kind, _, dataset = preset.partition("/")
    places: dict[str, Any] = {"device": device, "dtype": dtype}
    if preset in PRESETS:
        builders: dict[str, Callable[..., ClipAsRnn]] = {
            "offline": offline,
            "reference": reference,
            "paper": paper,
        }
        model = builders[kind](dataset or None, proposer=proposer, classifier=classifier, **places)
        return model if regions is None else match_regions(model, regions)
    raise SettingError(f"expected a preset out of {', '.join(PRESETS)}, got {preset!r}; choose one of them")


def offline(
    dataset: str | None = None,
    *,
    proposer: str | None = None,
    classifier: str | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> ClipAsRnn:
    """The embedded default: no network, no CLIP. Numbers tuned on VOC 2012 train photos alone.

    Among a few words, a wrong one needs a higher bar than among the 20 of a data set (`dataset="voc"`):
    that is all in which the two differ.

    Raises
    ------
    SettingError
        If there are no settings for `dataset`.
    """
    if dataset not in (None, "voc"):
        raise SettingError(
            f"expected the data set voc, or none, got {dataset!r}; offline/voc serves others too"
        )
    f, g = _backbones(proposer or "offline", classifier or "offline", device, dtype)
    return ClipAsRnn(
        proposer=GradCam(f, affinity=Affinity(0.2), template="{}"),
        prompter=Crop(0.3),
        classifier=TemplateClassifier(g, templates=("{}",)),
        filter=Threshold(0.4 if dataset is None else 0.3, keep_best=False),
        refiner=DenseCrf(background_power=3.0),
        mask_threshold=0.45,
        background=BACKGROUNDS["release"],
        name="offline" if dataset is None else f"offline/{dataset}",
    )


def reference(
    dataset: str = "voc",
    *,
    stuff: bool = False,
    proposer: str | None = None,
    classifier: str | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> ClipAsRnn:
    """The released code, every quirk on, with its settings for `dataset`.

    `stuff` takes the settings of the second pass over stuff classes, whose
    background words are the names of the things. Needs OpenCV (extra
    `opencv`), to draw pixel for pixel as released.

    Raises
    ------
    SettingError
        If there are no settings for `dataset`.
    BackboneError
        If the weights cannot be found or reached.
    """
    numbers = _numbers(dataset)
    f, g = _backbones(
        proposer or BASE_16,
        classifier or numbers.classifier,
        device,
        dtype,
        **RELEASED,
    )
    model = ClipAsRnn(
        proposer=GradCam(
            f,
            affinity=Affinity(numbers.box, cut_border=True),
            compete=not numbers.referring,
            first_template="{}",
            keep_probability=True,
        ),
        prompter=released_prompts(numbers.prompts),
        classifier=TemplateClassifier(g, ensemble="probabilities", fit="crop", skip_blocks=1),
        filter=Threshold(numbers.theta, keep_best=True),
        refiner=DenseCrf(compete=not numbers.referring, released_image=True),
        mask_threshold=numbers.eta,
        background=BACKGROUNDS["release"],
        min_steps=2,
        name=f"reference/{dataset}",
    )
    return stuff_pass(model) if stuff else model


def paper(
    dataset: str = "voc",
    *,
    stuff: bool = False,
    proposer: str | None = None,
    classifier: str | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> ClipAsRnn:
    """The method as the paper writes it, no quirk of the release; parameters as `reference`."""
    numbers = _numbers(dataset)
    f, g = _backbones(proposer or BASE_16, classifier or numbers.classifier, device, dtype)
    model = ClipAsRnn(
        proposer=GradCam(f, affinity=Affinity(numbers.box), compete=not numbers.referring),
        prompter=prompts(numbers.paper_prompts or numbers.prompts),
        classifier=TemplateClassifier(g, templates=CLASSIFIER_TEMPLATES),
        filter=Threshold(
            numbers.theta if numbers.paper_theta is None else numbers.paper_theta, keep_best=False
        ),
        refiner=DenseCrf(compete=not numbers.referring),
        mask_threshold=numbers.eta,
        background=BACKGROUNDS["all"],
        name=f"paper/{dataset}",
    )
    return stuff_pass(model) if stuff else model


def stuff_pass(model: ClipAsRnn) -> ClipAsRnn:
    """The model for the second pass, over stuff, where some presets draw other prompts."""
    kind, _, dataset = model.name.partition("/")
    numbers = DATASETS.get(dataset)
    if numbers is None or not numbers.stuff_prompts:
        return model
    draw = released_prompts if kind == "reference" else prompts
    return replace(model, prompter=draw(numbers.stuff_prompts))


def match_regions(model: ClipAsRnn, name: str) -> ClipAsRnn:
    """The model whose final masks are matched to regions of the photo (METHOD section 10).

    The thresholds are those of the model's preset: IoM by data set, IoU 0.9 as released and 0.7 elsewhere.

    Parameters
    ----------
    model
        A model whose refiner makes masks; one that matches already matches to the new regions.
    name
        A SAM or HQ-SAM by folder or hub name, e.g. "syscv-community/sam-hq-vit-huge" as in the paper; or
        "superpixels", which needs no weights and knows no objects.

    Raises
    ------
    BackboneError
        If the weights cannot be found or reached; they compute where the classifier does.
    """
    base = model.refiner.base if isinstance(model.refiner, RegionMatch) else model.refiner
    kind, _, dataset = model.name.partition("/")
    iom = DATASETS[dataset].iom if dataset in DATASETS else RegionMatch.iom
    iou = RELEASED_IOU if kind == "reference" else RegionMatch.iou
    return replace(model, refiner=RegionMatch(base, _regions(name, model), iom, iou))


def _regions(name: str, model: ClipAsRnn) -> Regions:
    if name == SUPERPIXELS:
        return Superpixels()
    from carlab.backbones.sam import load_sam

    g = model.classifier
    return load_sam(name, device=str(g.backbone.device) if isinstance(g, TemplateClassifier) else "cpu")


def released_prompts(names: tuple[str, ...]) -> Prompt:
    """Prompts drawn by OpenCV, with the release's grey weights and centred rectangle."""
    quirks: dict[str, dict[str, Any]] = {
        "circle": {"engine": "opencv"},
        "contour": {"engine": "opencv"},
        "rectangle": {"engine": "opencv", "centred": True},
        "blur": {"engine": "opencv"},
        "grey": {"swapped": True},
    }
    names = tuple("grey" if name == "gray" else name for name in names)
    return Combined(tuple(replace(prompts([name]), **quirks.get(name, {})) for name in names))


def _numbers(dataset: str) -> Numbers:
    if dataset not in DATASETS:
        raise SettingError(
            f"expected a data set out of {', '.join(DATASETS)}, got {dataset!r}; choose one of them"
        )
    return DATASETS[dataset]


def _backbones(
    proposer: str, classifier: str, device: str, dtype: str, **clip: Any
) -> tuple[FrozenVlm, FrozenVlm]:
    """Load f and g; once where they are the same."""

    def one(name: str) -> FrozenVlm:
        return load_backbone(name, device=device, dtype=dtype, **({} if name == "offline" else clip))

    f = one(proposer)
    return f, f if classifier == proposer else one(classifier)
