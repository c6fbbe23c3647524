"""Every stage, prompter, refiner and probe on the pretended device: nothing mixes, and few moves.

A backbone more is a row of `BACKBONES`, a refiner more a row of `REFINERS`.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carlab.backbones.sam import load_sam
from carlab.batch import Job, Request, run_many
from carlab.hooks import PROBES, edit, record
from carlab.presets import load
from carlab.recurrence import ClipAsRnn
from carlab.settings import change
from carlab.stages.base import Refiner
from carlab.stages.classifier import ENSEMBLES, FITS
from carlab.stages.filter import Threshold
from carlab.stages.prompter import PROMPTS, Prompt
from carlab.stages.proposer import PROPOSERS
from carlab.stages.refiner import DenseCrf, NoRefiner
from carlab.stages.refiner.grabcut import GrabCut
from carlab.stages.refiner.pamr import Pamr
from carlab.stages.refiner.random_walker import RandomWalker
from carlab.stages.regions import RegionMatch, Superpixels
from carlab.trace import Trace
from tests.conftest import WORDS, build_tiny
from tests.devices.pretended import DEVICE, Move, pretended
from tests.hooks.test_every_probe import changed
from tests.tiny_sam import save_tiny_sam
from tests.tiny_siglip import save_tiny_siglip

Folders = tuple[Path, Path]
BACKBONES: dict[str, Callable[[Folders, str], ClipAsRnn]] = {
    # In double precision no pixel hangs on the order in which products are added up.
    "clip": lambda folders, device: build_tiny(folders, device=device, dtype="float64"),
    "siglip": lambda folders, device: build_tiny(
        (save_tiny_siglip(folders[0].parent / "siglip"), folders[1]), device=device, dtype="float64"
    ),
    "offline": lambda folders, device: load("offline", device=device),
}
"""A model on a device, by the family of its backbones."""
REFINERS: dict[str, Callable[[str], Refiner]] = {
    "none": lambda device: NoRefiner(0.4),
    "crf": lambda device: DenseCrf(iterations=2),
    "a crf each": lambda device: DenseCrf(iterations=2, compete=False),
    "crf in torch": lambda device: DenseCrf(iterations=2, engine="torch", device=device),
    "pamr": lambda device: Pamr(iterations=2, device=device),
    "grabcut": lambda device: GrabCut(),
    "random walker": lambda device: RandomWalker(),
    "superpixels": lambda device: RegionMatch(NoRefiner(0.4), Superpixels()),
}
"""A refiner for a model on a device."""
SINGLE = ("offline",)
"""Computed in single precision whatever is asked for: a pixel or two may differ."""


@pytest.fixture
def moves() -> Iterator[list[Move]]:
    """The pretended device, open for the test, and what was moved."""
    with pretended() as moves:
        yield moves


@pytest.fixture(scope="module")
def models(clip_folders: Folders) -> Callable[[str, str], ClipAsRnn]:
    """Build a model on a device, once."""
    made: dict[tuple[str, str], ClipAsRnn] = {}

    def build(name: str, device: str) -> ClipAsRnn:
        if (name, device) not in made:
            made[name, device] = BACKBONES[name](clip_folders, device)
        return made[name, device]

    return build


@pytest.fixture
def there(models: Callable[[str, str], ClipAsRnn], moves: list[Move]) -> ClipAsRnn:
    """The tiny CLIPs on the pretended device."""
    return models("clip", DEVICE)


def assert_same(there: Trace, here: Trace, *, exact: bool = True) -> None:
    """Two traces of one run on two devices."""
    assert there.stop == here.stop
    for a, b in zip(there.steps, here.steps, strict=True):
        np.testing.assert_array_equal(a.active, b.active)
        np.testing.assert_array_equal(a.kept, b.kept)
        np.testing.assert_allclose(a.probs, b.probs, atol=1e-6 if exact else 1e-3)
        if exact:
            np.testing.assert_allclose(a.masks, b.masks, atol=1e-6)
            np.testing.assert_array_equal(a.prompted, b.prompted)
    assert (there.labels == here.labels).mean() > 0.995


@pytest.mark.parametrize("name", BACKBONES)
def test_a_run_is_the_same_there(
    models: Callable[[str, str], ClipAsRnn], moves: list[Move], photo: np.ndarray, name: str
) -> None:
    there, here = (models(name, device)(photo, WORDS) for device in (DEVICE, "cpu"))
    assert moves
    assert_same(there, here, exact=name not in SINGLE)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(clip_folders: Folders, moves: list[Move], photo: np.ndarray, dtype: str) -> None:
    trace = build_tiny(clip_folders, device=DEVICE, dtype=dtype)(photo, WORDS)
    assert moves
    np.testing.assert_allclose(trace.steps[0].probs.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", REFINERS)
def test_every_refiner(there: ClipAsRnn, photo: np.ndarray, name: str) -> None:
    model = replace(there, refiner=REFINERS[name](DEVICE), filter=Threshold(0.0))
    assert model(photo, WORDS[:2]).refined.shape == (2, *photo.shape[:2])


@pytest.mark.parametrize("name", PROPOSERS)
def test_every_proposer(
    models: Callable[[str, str], ClipAsRnn], there: ClipAsRnn, photo: np.ndarray, name: str
) -> None:
    ours, theirs = (change(model, proposer=name)(photo, WORDS) for model in (there, models("clip", "cpu")))
    assert_same(ours, theirs)


@pytest.mark.parametrize("name", PROMPTS)
def test_every_prompter(there: ClipAsRnn, photo: np.ndarray, name: str) -> None:
    prompt: Prompt = PROMPTS[name]()
    for prompter in (prompt, prompt.as_released()):
        assert replace(there, prompter=prompter)(photo, WORDS[:2]).steps


def test_sigmoid(there: ClipAsRnn, photo: np.ndarray, clip_folders: Folders) -> None:
    siglip = BACKBONES["siglip"](clip_folders, DEVICE).proposer.backbone
    classifier = replace(there.classifier, backbone=siglip, score="sigmoid", ensemble="embeddings")
    assert replace(there, classifier=classifier)(photo, WORDS).steps


@pytest.mark.parametrize("ensemble", ENSEMBLES)
@pytest.mark.parametrize("fit", FITS)
def test_every_way_to_classify(there: ClipAsRnn, photo: np.ndarray, ensemble: str, fit: str) -> None:
    model = replace(there, classifier=replace(there.classifier, ensemble=ensemble, fit=fit, skip_blocks=1))
    assert model(photo, WORDS).steps


@pytest.mark.parametrize("name", PROBES)
def test_every_probe_is_recorded_and_edited(
    models: Callable[[str, str], ClipAsRnn], moves: list[Move], photo: np.ndarray, name: str
) -> None:
    there = models("offline" if name == "affinity.similarity" else "clip", DEVICE)
    model = replace(there, refiner=REFINERS["superpixels"](DEVICE), filter=Threshold(0.0))
    with record(name) as seen:
        plain = model(photo, WORDS[:2])
    with edit(name, changed), record(name) as edited:
        model(photo, WORDS[:2])
    assert plain.steps
    assert (seen[name].shape, seen[name].dtype) == (edited[name].shape, edited[name].dtype)
    assert not np.array_equal(seen[name], edited[name])


def test_sam(there: ClipAsRnn, photo: np.ndarray, tmp_path: Path) -> None:
    everything: dict[str, Any] = {"predicted_iou": -1e9, "stability": -1.0, "box_overlap": 1.0}
    regions = load_sam(str(save_tiny_sam(tmp_path)), device=DEVICE, points_per_side=3, **everything)
    model = replace(there, refiner=RegionMatch(NoRefiner(0.4), regions), filter=Threshold(0.0))
    assert model(photo, WORDS[:2]).passes["regions"] == 1


def test_prepared_runs_and_other_queries(
    models: Callable[[str, str], ClipAsRnn], there: ClipAsRnn, photo: np.ndarray
) -> None:
    ways = [model.prepare(photo, WORDS[:3]) for model in (there, models("clip", "cpu"))]
    for changes in ({}, {"filter": Threshold(0.0), "min_steps": 2}, {"background": ("grass",)}):
        assert_same(*(prepared.run(**changes) for prepared in ways))
    assert_same(*(prepared.ask(WORDS).run() for prepared in ways))


def test_many_images(models: Callable[[str, str], ClipAsRnn], there: ClipAsRnn, photo: np.ndarray) -> None:
    images = photo, photo[:, ::-1].copy(), photo[:50].copy()
    asked = WORDS, WORDS[:2], WORDS[1:]
    jobs = [Job(image, [Request(queries)]) for image, queries in zip(images, asked, strict=True)]
    made = [list(run_many(model, jobs, together=2, workers=0)) for model in (there, models("clip", "cpu"))]
    for (ours,), (theirs,) in zip(*made, strict=True):
        assert isinstance(ours, list) and isinstance(theirs, list)
        assert_same(ours[0], theirs[0])


# --- what crosses over ----------------------------------------------------------------------------

IMAGE = Counter([("up", "backbones/vit"), ("down", "stages/proposer/base"), ("down", "stages/classifier")])
"""Once an image: its pixels; the evidence of all texts in one piece; the classifier's texts."""
STEP = Counter([("up", "stages/affinity"), ("down", "stages/affinity")])
STEP += Counter({("up", "stages/classifier"): 2, ("down", "stages/classifier"): 1})
"""In every step: activations and soft masks; embeddings, texts and their logits."""
BATCH = Counter([("up", "backbones/vit"), ("down", "stages/classifier")])
"""With every batch of prompted images: their pixels, and the embeddings."""


def crossings(moves: list[Move]) -> Counter[tuple[str, str]]:
    """Moves by kind and by the file that asked for them."""
    return Counter((move.kind, move.where) for move in moves)


def times(counts: Counter[Any], number: int) -> Counter[Any]:
    return Counter({key: value * number for key, value in counts.items()})


@pytest.mark.parametrize("queries", [2, 5])
def test_moves_do_not_grow_with_queries(
    there: ClipAsRnn, moves: list[Move], photo: np.ndarray, queries: int
) -> None:
    """Texts are cached by their text, so they are encoded before the clock starts."""
    alone = replace(there.proposer, compete=False)  # masks do not change from step to step
    model = replace(there, proposer=alone, filter=Threshold(0.0), min_steps=3, max_steps=3, batch=8)
    model(photo, WORDS)
    moves.clear()
    trace = model(photo[::-1].copy(), WORDS[:queries])
    assert (len(trace.steps), trace.passes["image encode"]) == (3, queries)
    assert crossings(moves) == IMAGE + times(STEP, 3) + BATCH


def test_moves_grow_with_steps_and_batches(there: ClipAsRnn, moves: list[Move], photo: np.ndarray) -> None:
    model = replace(there, filter=Threshold(0.0), min_steps=2, max_steps=2, batch=2)
    prepared = model.prepare(photo, WORDS)
    moves.clear()
    trace = prepared.run()
    batches = sum(ceil(new / 2) for new in encodes(trace))
    assert crossings(moves) == times(STEP, 2) + times(BATCH, batches)
    moves.clear()
    prepared.run(filter=Threshold(0.1), refiner=DenseCrf(iterations=1))
    assert crossings(moves) == times(STEP, len(trace.steps)), "a rerun encodes nothing"


def test_texts_cross_over_once_a_batch(there: ClipAsRnn, moves: list[Move]) -> None:
    for number in (1, 20):
        moves.clear()
        there.proposer.backbone.encode_text([f"query {index} of {number}" for index in range(number)])
        kinds = Counter(move.kind for move in moves)
        assert (kinds["up"], kinds["down"]) == (2, 0), "tokens and their mask"


def encodes(trace: Trace) -> list[int]:
    """How many prompted images each step saw for the first time."""
    seen: set[bytes] = set()
    counts = []
    for step in trace.steps:
        new = {image.tobytes() for image in step.prompted} - seen
        counts.append(len(new))
        seen |= new
    return counts
