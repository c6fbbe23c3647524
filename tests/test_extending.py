"""The changes that CONTRIBUTING.md marks *: each made from outside the package, with public names alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from typer.testing import CliRunner

import carlab
from carlab.backbones import FrozenVlm, Trunk
from carlab.backbones.registry import LOADERS
from carlab.cli.app import app
from carlab.datasets import DATASETS, Dataset, Pass, Sample, load_dataset
from carlab.datasets.registry import Reader
from carlab.figures.inspection import probe_figure
from carlab.figures.print import FIGURES
from carlab.hooks import PROBES, ProbeInfo, probe
from carlab.settings import REFINERS, SETTINGS
from carlab.stages.classifier import TemplateClassifier
from carlab.stages.filter import Threshold
from carlab.stages.prompter import PROMPTS, Blur, Prompt
from carlab.stages.proposer import Evidence, GradCam
from carlab.widgets import TraceWidget
from tests.conftest import WORDS
from tests.tiny_clip import tiny_options


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    """Every table as it was before the test."""
    tables: tuple[dict[str, Any], ...] = (PROMPTS, LOADERS, DATASETS, REFINERS, FIGURES, PROBES)
    before = [dict(table) for table in tables]
    yield
    for table, rows in zip(tables, before, strict=True):
        table.clear()
        table.update(rows)


# --- a prompter -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dim(Prompt):
    """Darken the outside."""

    rank = 3

    def draw(self, image: np.ndarray, region: np.ndarray) -> np.ndarray:
        return np.where(region[..., None], image, image // 4)


def test_a_prompter(photo: np.ndarray, tiny: carlab.ClipAsRnn, tmp_path: Path, clip_folders: Any) -> None:
    PROMPTS["dim"] = Dim
    model = carlab.change(tiny, prompter="dim+blur")
    assert model.prompter == Dim() + Blur()
    assert model(photo, WORDS).settings["prompter"]["prompts"][1]["stage"] == "Dim"
    assert SETTINGS["prompter"].read(model) == "blur+dim"
    assert "dim" in SETTINGS["prompter"].choices
    Image.fromarray(photo).save(tmp_path / "a.png")
    tiny_clips = tiny_options(clip_folders)
    command = [
        "segment",
        str(tmp_path / "a.png"),
        "-q",
        "cat",
        "--prompter",
        "dim",
        "-o",
        str(tmp_path / "o"),
    ]
    assert CliRunner().invoke(app, [*command, *tiny_clips, "--no-figures"]).exit_code == 0
    trace = carlab.Trace.load(tmp_path / "o" / "a.trace.safetensors")
    assert trace.settings["prompter"]["stage"] == "Dim"


# --- a CAM variant --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Positive(GradCam):
    """Gradients below zero count for nothing."""

    def gather(self, trunk: Trunk, texts: Sequence[str], background: Sequence[str] = ()) -> list[Evidence]:
        tokens = trunk.activations.numpy()
        return [
            one._replace(map=tokens @ np.maximum(one.gradient, 0))
            for one in super().gather(trunk, texts, background)
        ]


def test_a_cam_variant(photo: np.ndarray, tiny: carlab.ClipAsRnn) -> None:
    values = {field.name: getattr(tiny.proposer, field.name) for field in fields(tiny.proposer)}
    variant = replace(tiny, proposer=Positive(**values))
    shared = carlab.Photo.of(photo)
    plain, own = tiny(shared, WORDS), variant(shared, WORDS)
    assert own.settings["proposer"]["stage"] == "Positive"
    assert np.abs(plain.steps[0].cams - own.steps[0].cams).max() > 0.01
    with carlab.record("cam.*"):
        probes = variant(photo, WORDS).probes
    maps = probes["cam.activations"] @ np.maximum(probes["cam.gradients"], 0).T
    logits = np.append(probes["cam.logits"], np.logaddexp.reduce(probes["cam.background"])).astype(float)
    probs = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    cams = np.maximum(maps - maps @ probs[:, None], 0).T[: len(WORDS)]
    some = np.flatnonzero(cams.any(axis=1))  # a map that is zero everywhere is computed without background
    assert len(some)
    expected = (cams - cams.min(1, keepdims=True))[some] / np.ptp(cams, axis=1)[some, None]
    np.testing.assert_allclose(own.steps[0].cams.reshape(len(WORDS), -1)[some], expected, atol=1e-4)


# --- a backbone family ----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ColourNamer:
    """Knows three colours: a patch's embedding is its mean RGB, a text's is the colour that it names."""

    device: torch.device
    name: str = "colours, not CLIP"
    sha256: str = "0" * 64
    input_side: int = 32

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        names = ("red", "green", "blue")
        return torch.tensor([[float(name in text) for name in names] for text in texts])

    def trunk(self, image: np.ndarray) -> Trunk:
        rows, columns = (side // 10 * 10 for side in image.shape[:2])
        cells = image[:rows, :columns].reshape(rows // 10, 10, columns // 10, 10, 3).mean((1, 3)) / 255
        tokens = torch.tensor(cells.reshape(-1, 3), dtype=torch.float32)
        near = (-torch.cdist(tokens, tokens) / 0.1).softmax(-1)
        return Trunk(tokens, (rows // 10, columns // 10), near, "similarity")

    def tail(self, trunk: Trunk, activations: torch.Tensor) -> torch.Tensor:
        return activations.pow(2).mean(0)

    def encode_images(self, images: np.ndarray, *, skip_blocks: int = 0) -> torch.Tensor:
        return torch.tensor(images.mean((1, 2)) / 255, dtype=torch.float32)

    def logits(self, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        return 30 * (images - images.mean(-1, keepdim=True)) @ texts.T


def test_a_backbone_family() -> None:
    LOADERS["colours"] = lambda name, *, device, dtype, **options: ColourNamer(device)
    model = carlab.load("offline", proposer_backbone="colours:rgb", classifier="colours:rgb")
    assert isinstance(model.proposer.backbone, FrozenVlm)
    image = np.full((60, 80, 3), 90, np.uint8)
    image[10:40, 10:40] = (250, 20, 20)
    image[20:50, 50:70] = (20, 20, 250)
    trace = model(image, ["red", "blue", "green"], background=["grey"])
    assert trace.found == ("red", "blue")
    assert trace.labels[25, 25] == 1
    assert trace.labels[35, 60] == 2
    assert trace.provenance["proposer.backbone"] == "colours, not CLIP"


# --- a data set -----------------------------------------------------------------------------------


def test_a_data_set(tmp_path: Path, tiny: carlab.ClipAsRnn) -> None:
    from carlab.evaluate.run import Plan, evaluate

    def halves(root: Path, split: str) -> Dataset:
        """Every PNG of a folder; its left half is a cat, its right half a dog."""

        def find(identity: str) -> Sample:
            path = root / f"{identity}.png"
            shape = np.asarray(Image.open(path)).shape[:2]
            truth = np.where(np.arange(shape[1]) < shape[1] // 2, 1, 2)
            return Sample(identity, path, lambda: np.broadcast_to(truth, shape))

        ids = tuple(sorted(path.stem for path in root.glob("*.png")))
        names = ("cat", "dog")
        return Dataset("halves", "semantic", split, ids, find, names, names, (Pass((0, 1)),))

    for name in "ab":
        noise = np.random.default_rng(len(name)).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{name}.png")
    DATASETS["halves"] = Reader(halves, ("all",), "*.png")
    (summary,) = evaluate(load_dataset("halves", tmp_path), tiny, [Plan(tmp_path / "run", {})])
    assert len(summary.records) == 2
    assert 0 <= summary.headline[1] <= 1
    assert "halves" in CliRunner().invoke(app, ["datasets"]).stdout


# --- a probe --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Margin(Threshold):
    """Reports how far each score is above theta."""

    def __call__(self, probs: np.ndarray) -> np.ndarray:
        probe("filter.margin", np.diagonal(probs) - np.float32(self.theta))
        return super().__call__(probs)


def test_a_probe(photo: np.ndarray, tiny: carlab.ClipAsRnn) -> None:
    PROBES["filter.margin"] = ProbeInfo("q", "step", "score less theta")
    model = replace(tiny, filter=Margin(0.2))
    trace = model(photo, WORDS, record=["filter.*"])
    for step in trace.steps:
        np.testing.assert_allclose(step.probes["filter.margin"], step.scores - 0.2, atol=1e-6)
    assert probe_figure(trace, 0, "filter.margin").data[0].x[0] == "1. cat"
    assert "score less theta" in CliRunner().invoke(app, ["probes"]).stdout


# --- a widget -------------------------------------------------------------------------------------


class Kept(TraceWidget):
    """How many queries are kept in the step."""

    def build(self) -> None:
        from ipywidgets import Label

        self.text = Label()
        self.children = [self.text]
        self.refresh()

    def refresh(self) -> None:
        self.text.value = f"{int(self.trace.steps[self.step].kept.sum())} kept"


def test_a_widget() -> None:
    from carlab.widgets import RecurrencePlayer, linked
    from tests.traces import make_trace

    player, kept = RecurrencePlayer(make_trace()), Kept(make_trace())
    linked(player, kept)
    assert kept.text.value == "2 kept"
    player.step = 2
    assert kept.text.value == "1 kept"


# --- a score aggregation --------------------------------------------------------------------------


@dataclass(frozen=True)
class Cosine(TemplateClassifier):
    """Absolute scores: a query's own logit, not its share among the others."""

    def __call__(self, embeddings: np.ndarray, texts: np.ndarray, active: np.ndarray) -> np.ndarray:
        logits = self.backbone.logits(torch.from_numpy(embeddings), torch.from_numpy(texts[0, active]))
        return (1 / (1 + np.exp(-logits.numpy()))).astype(np.float32)


def test_a_score_aggregation(photo: np.ndarray, tiny: carlab.ClipAsRnn) -> None:
    """A query has the score that it would have alone: the others take nothing from it."""
    own = replace(tiny, classifier=Cosine(tiny.classifier.backbone, ("a {}",)))
    trace = own(photo, WORDS, record=["classify.*"])
    assert trace.settings["classifier"]["stage"] == "Cosine"
    images, texts = trace.steps[0].probes["classify.embeddings"], trace.probes["classify.texts"]
    for k in range(len(WORDS)):
        alone = own.classifier(images[k : k + 1], texts, np.array([k]))
        assert trace.steps[0].scores[k] == pytest.approx(alone[0, 0], abs=1e-6)
        assert tiny.classifier(images[k : k + 1], texts, np.array([k])) == 1
    assert not np.isclose(trace.steps[0].probs.sum(axis=1), 1).any()


# --- a figure -------------------------------------------------------------------------------------


def test_a_figure(tmp_path: Path) -> None:
    from tests.traces import make_trace

    def counts(trace: carlab.Trace) -> Figure:
        figure = Figure()
        figure.add_subplot().plot([int(step.kept.sum()) for step in trace.steps])
        return figure

    FIGURES["counts"] = counts
    path = make_trace().save(tmp_path / "t.safetensors")
    result = CliRunner().invoke(app, ["show", str(path), "--figures", str(tmp_path / "f")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "f" / "t.counts.png").is_file()


# --- a refiner ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Whole:
    """The whole image for every query."""

    def __call__(self, image: np.ndarray, masks: np.ndarray) -> np.ndarray:
        return np.ones((len(masks), *image.shape[:2]), bool)


def test_a_refiner(photo: np.ndarray, tiny: carlab.ClipAsRnn) -> None:
    REFINERS["whole"] = lambda model, refiner: Whole()
    model = carlab.change(tiny, refiner="whole")
    assert model.refiner == Whole()
    assert SETTINGS["refiner"].read(model) == "whole"
    assert SETTINGS["refiner"].read(carlab.change(model, refiner="none")) == "none"
    del REFINERS["whole"]
    assert SETTINGS["refiner"].read(model) is None
    assert model(photo, WORDS).refined.all()
