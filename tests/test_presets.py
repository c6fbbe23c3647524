"""Presets, built on tiny checkpoints, against the paper's numbers typed here once more."""

from pathlib import Path

import pytest

from carlab.errors import SettingError
from carlab.presets import NUMBERS, PRESETS, load, match_regions, stuff_pass
from carlab.queries import BACKGROUNDS
from carlab.recurrence import ClipAsRnn
from carlab.stages.prompter import Blur, Circle, Grey, prompts

B16, L14 = "openai/clip-vit-base-patch16", "openai/clip-vit-large-patch14"
# eta, theta as released, theta in the paper, lambda, prompts as released, prompts in the paper, prompts of
# the stuff pass, scoring backbone, referring, IoM of the match to SAM regions.
ROWS = {
    "voc": (0.4, 0.6, 0.6, 0.4, "circle blur", "circle blur", "circle blur", L14, False, 0.6),
    "coco": (0.5, 0.3, 0.3, 0.5, "blur grey", "blur grey", "blur grey", L14, False, 0.7),
    "context": (0.6, 0.25, 0.2, 0.4, "blur circle", "blur circle", "blur grey", L14, False, 0.5),
    "pc459": (0.4, 0.25, 0.25, 0.7, "grey blur", "grey blur", "grey blur", L14, False, 0.6),
    "ade150": (0.6, 0.25, 0.25, 0.7, "grey blur", "grey blur", "grey blur", L14, False, 0.6),
    "ade847": (0.6, 0.25, 0.25, 0.7, "grey blur", "grey blur", "grey blur", L14, False, 0.6),
    "refcoco": (0.5, 0.3, 0.3, 0.5, "circle", "circle blur", "circle", B16, True, 0.5),
    "refcoco+": (0.2, 0.1, 0.1, 0.5, "circle blur", "circle blur", "circle blur", B16, True, 0.5),
    "refcocog": (0.5, 0.1, 0.1, 0.6, "circle blur", "circle blur", "circle blur", B16, True, 0.5),
    "gres": (0.5, 0.0, 0.0, 0.3, "circle", "circle", "circle", L14, True, 0.5),
}
"""Typed from the paper (arXiv 2312.07661v3, appendix) and the configuration files of the released code."""


def build(kind: str, dataset: str, folders: tuple[Path, Path]) -> ClipAsRnn:
    return load(f"{kind}/{dataset}", proposer_backbone=str(folders[0]), classifier=str(folders[1]))


def test_every_row_is_typed() -> None:
    assert NUMBERS.keys() == ROWS.keys()


@pytest.mark.parametrize("dataset", ROWS)
@pytest.mark.parametrize("kind", ["reference", "paper"])
def test_the_numbers_are_those_of_the_paper(kind: str, dataset: str, clip_folders: tuple[Path, Path]) -> None:
    eta, released, written, box, drawn, drawn_in_paper, stuff, scoring, referring, iom = ROWS[dataset]
    model = build(kind, dataset, clip_folders)
    is_release = kind == "reference"
    assert model.mask_threshold == eta
    assert model.filter.theta == (released if is_release else written)
    assert model.proposer.affinity.box_threshold == box
    expected = prompts((drawn if is_release else drawn_in_paper).split())
    assert model.prompter.prompts == (expected.as_released() if is_release else expected).prompts
    second = prompts(stuff.split()) if stuff != drawn else expected
    assert stuff_pass(model).prompter.prompts == (second.as_released() if is_release else second).prompts
    assert model.proposer.compete == model.refiner.compete == (not referring)
    assert NUMBERS[dataset].classifier == scoring
    if referring:  # the released configurations name no template list: one text, one softmax
        assert model.classifier.templates == ("a clean origami {}.",)
        assert model.classifier.ensemble == "embeddings"
    matched = match_regions(model, "superpixels").refiner
    assert (matched.iom, matched.iou) == (iom, 0.9 if is_release else 0.7)
    least = 0.0 if not is_release else 0.05 if dataset == "voc" else 0.2
    assert (matched.least_common, matched.keep_best) == (least, is_release)
    assert model.name == f"{kind}/{dataset}"
    assert model.name in PRESETS


def test_the_crf_has_the_papers_numbers(clip_folders: tuple[Path, Path]) -> None:
    for kind in ("reference", "paper"):
        crf = build(kind, "voc", clip_folders).refiner
        assert (crf.smooth_deviation, crf.smooth_weight) == (1, 3)
        assert (crf.bilateral_deviation, crf.colour_deviation, crf.bilateral_weight) == (67, 3, 4)
        assert (crf.iterations, crf.background_power) == (10, 1)


def test_reference_has_every_quirk_and_paper_none(clip_folders: tuple[Path, Path]) -> None:
    released, written = (build(kind, "voc", clip_folders) for kind in ("reference", "paper"))
    assert released.classifier.ensemble == "probabilities"
    assert written.classifier.ensemble == "embeddings"
    assert (released.classifier.skip_blocks, written.classifier.skip_blocks) == (1, 0)
    assert (released.classifier.fit, written.classifier.fit) == ("crop", "squash")
    assert len(released.classifier.templates) == len(written.classifier.templates) == 15
    assert (released.proposer.first_template, written.proposer.first_template) == ("{}", None)
    assert released.proposer.template == written.proposer.template == "a clean origami {}."
    assert (released.refiner.released_image, written.refiner.released_image) == (True, False)
    assert (released.proposer.affinity.cut_border, written.proposer.affinity.cut_border) == (True, False)
    assert (released.min_steps, written.min_steps) == (2, 1)
    assert (released.filter.keep_best, written.filter.keep_best) == (True, False)
    backbone, plain = released.proposer.backbone, written.proposer.backbone
    assert (backbone.positions, plain.positions) == ("bilinear half", "bicubic")
    assert (backbone.side_multiple, plain.side_multiple) == (16, None)
    assert released.prompter == Circle(engine="opencv") + Blur(engine="opencv")
    assert stuff_pass(build("reference", "context", clip_folders)).prompter.prompts[1] == Grey(swapped=True)
    assert released.background == BACKGROUNDS["release"]
    assert written.background == BACKGROUNDS["all"]


def test_load_by_name(clip_folders: tuple[Path, Path]) -> None:
    model = load("reference/coco", proposer_backbone=str(clip_folders[0]), classifier=str(clip_folders[0]))
    assert model.name == "reference/coco"
    assert model.proposer.backbone is model.classifier.backbone


@pytest.mark.parametrize("name", ["", "voc", "reference", "reference/imagenet", "offline/coco"])
def test_unknown_presets(name: str) -> None:
    with pytest.raises(SettingError, match="expected a preset out of offline, offline/voc, reference/voc"):
        load(name)
