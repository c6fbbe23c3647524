"""Presets: the numbers of METHOD section 10, built on tiny checkpoints."""

from pathlib import Path

import pytest

from carlab import presets
from carlab.errors import SettingError
from carlab.presets import DATASETS, PRESETS, load, paper, reference
from carlab.queries import BACKGROUNDS
from carlab.recurrence import ClipAsRnn
from carlab.stages.prompter import Blur, Circle, Grey


def build(kind: object, dataset: str, folders: tuple[Path, Path], **options: object) -> ClipAsRnn:
    return kind(dataset, proposer=str(folders[0]), classifier=str(folders[1]), **options)


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("kind", [reference, paper])
def test_every_preset_builds(kind: object, dataset: str, clip_folders: tuple[Path, Path]) -> None:
    model = build(kind, dataset, clip_folders)
    numbers = DATASETS[dataset]
    assert model.mask_threshold == numbers.eta
    assert model.proposer.affinity.box_threshold == numbers.box
    assert model.proposer.compete == model.refiner.compete == (not numbers.referring)
    assert model.name in PRESETS


def test_reference_has_every_quirk_and_paper_none(clip_folders: tuple[Path, Path]) -> None:
    released, written = (build(kind, "voc", clip_folders) for kind in (reference, paper))
    assert released.classifier.ensemble == "probabilities"
    assert written.classifier.ensemble == "embeddings"
    assert (released.classifier.skip_blocks, written.classifier.skip_blocks) == (1, 0)
    assert (released.classifier.fit, written.classifier.fit) == ("crop", "squash")
    assert (released.proposer.first_template, written.proposer.first_template) == ("{}", None)
    assert (released.refiner.released_image, written.refiner.released_image) == (True, False)
    assert (released.proposer.affinity.cut_border, written.proposer.affinity.cut_border) == (True, False)
    assert (released.min_steps, written.min_steps) == (2, 1)
    assert (released.filter.keep_best, written.filter.keep_best) == (True, False)
    backbone, plain = released.proposer.backbone, written.proposer.backbone
    assert (backbone.positions, plain.positions) == ("bilinear half", "bicubic")
    assert (backbone.side_multiple, plain.side_multiple) == (16, None)
    assert released.prompter == Circle(engine="opencv") + Blur(engine="opencv")
    assert written.prompter == Circle() + Blur()
    assert released.background == BACKGROUNDS["release"]
    assert written.background == BACKGROUNDS["all"]


def test_stuff_and_paper_rows(clip_folders: tuple[Path, Path]) -> None:
    assert build(reference, "context", clip_folders, stuff=True).prompter.parts[1] == Grey(swapped=True)
    assert build(paper, "context", clip_folders).filter.theta == 0.2
    assert build(reference, "context", clip_folders).filter.theta == 0.25
    assert build(paper, "refcoco", clip_folders).prompter == Circle() + Blur()


def test_load_by_name(clip_folders: tuple[Path, Path]) -> None:
    model = load("reference/coco", proposer=str(clip_folders[0]), classifier=str(clip_folders[0]))
    assert model.name == "reference/coco"
    assert model.proposer.backbone is model.classifier.backbone


@pytest.mark.parametrize("name", ["", "voc", "reference", "reference/imagenet", "offline/coco"])
def test_unknown_presets(name: str) -> None:
    with pytest.raises(SettingError, match="expected a preset out of offline, offline/voc, reference/voc"):
        load(name)


def test_unknown_data_set() -> None:
    with pytest.raises(SettingError, match="expected a data set out of voc"):
        presets.reference("imagenet")
