"""Fixtures shared by all tests: a tiny real CLIP, the offline model, and ../shared where it is."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from carlab.backbones import load_backbone
from carlab.backbones.clip import Clip
from carlab.presets import load
from carlab.recurrence import ClipAsRnn
from carlab.stages.affinity import Affinity
from carlab.stages.classifier import TemplateClassifier
from carlab.stages.filter import Threshold
from carlab.stages.prompter import Blur, Circle
from carlab.stages.proposer import GradCam
from carlab.stages.refiner import NoRefiner
from tests.tiny_clip import save_tiny_clip
from tests.tiny_siglip import save_tiny_siglip

# On a busy machine an example takes long, or is made slowly: neither says anything of the code.
settings.register_profile("carlab", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("carlab")

WORDS = ("cat", "dog", "red car", "bottle", "train")


@pytest.fixture(scope="session")
def clip_folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Checkpoints of two tiny random CLIPs: a proposer and a classifier."""
    root = tmp_path_factory.mktemp("clips")
    return save_tiny_clip(root / "f", seed=0), save_tiny_clip(root / "g", patch=8, size=48, seed=1)


@pytest.fixture(scope="session")
def load_tiny(clip_folders: tuple[Path, Path]) -> Callable[..., Clip]:
    """Load the tiny proposer with options."""

    def loader(**options: object) -> Clip:
        return load_backbone(str(clip_folders[0]), **options)

    return loader


def build_tiny(folders: tuple[Path, Path], **options: object) -> ClipAsRnn:
    """A whole model on two checkpoints; theta lets some of five queries through."""
    f, g = (load_backbone(str(folder), **options) for folder in folders)
    return ClipAsRnn(
        proposer=GradCam(f, affinity=Affinity(0.4)),
        prompter=Circle() + Blur(),
        classifier=TemplateClassifier(g, templates=("a photo of a {}.", "a {}")),
        filter=Threshold(0.2, keep_best=False),
        refiner=NoRefiner(0.4),
        background=("ground", "sky"),
        batch=3,
    )


@pytest.fixture(scope="session")
def tiny(clip_folders: tuple[Path, Path]) -> ClipAsRnn:
    """A whole model on tiny random CLIPs."""
    return build_tiny(clip_folders)


@pytest.fixture(scope="session")
def tiny_double(clip_folders: tuple[Path, Path]) -> ClipAsRnn:
    """The same in double precision, where no pixel hangs on the last bit."""
    return build_tiny(clip_folders, dtype="float64")


@pytest.fixture(scope="session")
def tiny_sigmoid(tiny_double: ClipAsRnn, tmp_path_factory: pytest.TempPathFactory) -> ClipAsRnn:
    """That with a tiny random SigLIP as classifier, whose scores can be absolute."""
    folder = save_tiny_siglip(tmp_path_factory.mktemp("siglip"), seed=3)
    backbone = load_backbone(str(folder), dtype="float64")
    return replace(tiny_double, classifier=replace(tiny_double.classifier, backbone=backbone))


@pytest.fixture(scope="session")
def offline() -> ClipAsRnn:
    """The embedded default."""
    return load("offline")


@pytest.fixture
def photo() -> np.ndarray:
    """Coloured noise with two blobs, (70, 90, 3); the same every time."""
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[:70, :90]
    picture = rng.integers(0, 120, (70, 90, 3))
    picture[(rows - 20) ** 2 + (columns - 25) ** 2 < 180] += np.array([130, 20, 0])
    picture[(rows - 48) ** 2 + (columns - 65) ** 2 < 300] += np.array([0, 60, 130])
    return picture.astype(np.uint8)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden outputs and real photos, or a skip that says so."""
    folder = Path(os.environ.get("CARLAB_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "golden" / "cases.json").is_file():
        pytest.skip(f"no golden outputs at {folder}; set CARLAB_SHARED to run this")
    return folder
