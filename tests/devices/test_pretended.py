"""The pretended device catches what a GPU would not forgive, and tells what crosses over to it and back."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from carlab.backbones import Trunk
from carlab.recurrence import ClipAsRnn
from carlab.stages.affinity import Affinity
from carlab.stages.classifier import TemplateClassifier
from carlab.stages.proposer import GradCam
from tests.conftest import WORDS, build_tiny
from tests.devices.pretended import DEVICE, Far, pretended

MIXED, NUMPY = "two devices", "numpy"
MIXTURES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "sum": lambda far, near: far + near,
    "in place": lambda far, near: far.add_(near),
    "product": lambda far, near: near @ far,
    "number there": lambda far, near: near * far[0, 0],
    "joined": lambda far, near: torch.cat([far, near]),
    "chosen": lambda far, near: torch.where(near > 0, far, far),
    "index there": lambda far, near: near[far.long()],
    "assigned": lambda far, near: far.__setitem__(torch.tensor([0]), near[:1]),
    "layer": lambda far, near: functional.linear(far, near),
}
CONVERSIONS: dict[str, Callable[[Tensor], Any]] = {
    "numpy": lambda far: far.numpy(),
    "asarray": np.asarray,
    "array": np.array,
    "ufunc": np.exp,
}
MOVES: dict[str, tuple[str, Callable[[Tensor], Any]]] = {
    "cpu": ("down", lambda far: far.cpu()),
    "list": ("down", lambda far: far.tolist()),
    "copied down": ("down", lambda far: torch.empty(2, 2).copy_(far)),
    "copied up": ("up", lambda far: far.copy_(torch.ones(2, 2))),
    "to": ("up", lambda far: torch.ones(2).to(far)),
    "made": ("up", lambda far: torch.tensor([1.0, 2.0], device=far.device)),
    "index": ("up", lambda far: far[torch.tensor([0])]),
    "item": ("wait", lambda far: far[0, 0].item()),
    "branch": ("wait", lambda far: bool(far.sum() > 0)),
    "nonzero": ("wait", lambda far: far.nonzero()),
    "mask": ("wait", lambda far: far[far > 0]),
    "masked assignment": ("wait", lambda far: far.__setitem__(far > 0, 1.0)),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_tensors_of_two_devices_do_not_meet(name: str) -> None:
    with pretended():
        far, near = torch.ones(2, 2).to(DEVICE), torch.ones(2, 2)
        with pytest.raises(RuntimeError, match=MIXED):
            MIXTURES[name](far, near)


@pytest.mark.parametrize("name", CONVERSIONS)
def test_numpy_does_not_see_it(name: str) -> None:
    with pretended(), pytest.raises(TypeError, match=NUMPY):
        CONVERSIONS[name](torch.ones(2, 2).to(DEVICE))


@pytest.mark.parametrize("name", MOVES)
def test_every_move_is_told(name: str) -> None:
    kind, move = MOVES[name]
    with pretended() as moves:
        far = torch.ones(2, 2).to(DEVICE)
        moves.clear()
        move(far)
        assert [one.kind for one in moves] == [kind]


def test_a_single_number_may_come_along_and_nothing_else_is_told() -> None:
    with pretended() as moves:
        far = torch.full((2, 3), 2.0, device=DEVICE)
        made = far * torch.tensor(3.0) + 1 - torch.zeros_like(far)
        assert (made.device.type, moves) == (DEVICE, [])
        assert made.cpu().tolist() == [[7.0] * 3] * 2


def test_values_and_gradients_are_those_of_the_cpu() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.LayerNorm(8), torch.nn.GELU())
    inputs, rows = torch.randn(4, 6), torch.eye(8)

    def products(device: str, batched: bool) -> list[list[float]]:
        leaf = inputs.to(device).requires_grad_()
        out = functional.normalize(network.to(device)(leaf).mean(0)[None], dim=-1)[0].squeeze_()
        if batched:
            made = torch.autograd.grad(out, leaf, rows.to(device), is_grads_batched=True)[0]
        else:
            made = torch.stack(
                [torch.autograd.grad(out, leaf, row, retain_graph=True)[0] for row in rows.to(device)]
            )
        return made.mean(dim=1).tolist()

    here = products("cpu", batched=False)
    with pretended():
        for batched in (False, True):
            np.testing.assert_allclose(products(DEVICE, batched), here, atol=1e-6)


def test_it_ends_with_the_block_and_does_not_reach_other_threads() -> None:
    caught: list[Exception] = []

    def elsewhere(far: Tensor) -> None:
        try:
            far + 1
        except RuntimeError as error:
            caught.append(error)

    with pretended():
        far = torch.ones(2).to(DEVICE)
        assert isinstance(far, Far)
        thread = Thread(target=elsewhere, args=(far,))
        thread.start()
        thread.join()
    elsewhere(far)
    assert len(caught) == 2
    with pytest.raises((RuntimeError, NotImplementedError)):
        torch.ones(2).to(DEVICE)


# --- stages with a mistake in them ----------------------------------------------------------------


@dataclass(frozen=True)
class UnmovedOffset(GradCam):
    """Adds a tensor that was made on the CPU."""

    def gather(self, trunk: Trunk, texts: Any, background: Any = ()) -> Any:
        noise = torch.full(trunk.activations.shape, 1e-6)
        return super().gather(replace(trunk, activations=trunk.activations + noise), texts, background)


@dataclass(frozen=True)
class Unfetched(Affinity):
    """Gives NumPy a tensor of the device."""

    def refine(self, cams: np.ndarray, transition: Tensor) -> np.ndarray:
        walk = np.asarray(transition)
        return (cams.reshape(len(cams), -1) @ walk).reshape(cams.shape)


@dataclass(frozen=True)
class Unsent(TemplateClassifier):
    """Scores embeddings that came back to the CPU against texts that did not."""

    def __call__(self, embeddings: np.ndarray, texts: np.ndarray, active: np.ndarray) -> np.ndarray:
        rows = self.backbone.encode_text([f"query {index}" for index in active])
        return (torch.from_numpy(embeddings) @ rows.T).softmax(-1).cpu().numpy()


@dataclass(frozen=True)
class UnmovedRefiner:
    """A refiner that computes on the device, with a kernel that stayed behind."""

    def __call__(self, image: np.ndarray, masks: np.ndarray) -> np.ndarray:
        kernel = torch.ones(1, 1, 3, 3) / 9
        soft = functional.conv2d(torch.from_numpy(masks)[:, None].to(DEVICE), kernel, padding=1)
        full = functional.interpolate(soft, image.shape[:2])[:, 0]
        return (full > 0.4).cpu().numpy()


def planted(model: ClipAsRnn) -> dict[str, tuple[ClipAsRnn, str]]:
    """The model with one mistake each, and what it must be told for."""
    proposer, classifier = model.proposer, model.classifier
    assert isinstance(proposer, GradCam) and isinstance(classifier, TemplateClassifier)
    return {
        "proposer": (replace(model, proposer=UnmovedOffset(proposer.backbone)), MIXED),
        "affinity": (replace(model, proposer=replace(proposer, affinity=Unfetched())), NUMPY),
        "classifier": (replace(model, classifier=Unsent(classifier.backbone)), MIXED),
        "refiner": (replace(model, refiner=UnmovedRefiner(), filter=replace(model.filter, theta=0.0)), MIXED),
    }


@pytest.mark.parametrize("name", ["proposer", "affinity", "classifier", "refiner"])
def test_a_planted_mistake_is_found(clip_folders: Any, photo: np.ndarray, name: str) -> None:
    model, message = planted(build_tiny(clip_folders))[name]
    if name != "refiner":  # which names the device itself
        model(photo, WORDS)  # nothing is wrong on a CPU
    with pretended():
        model, _ = planted(build_tiny(clip_folders, device=DEVICE))[name]
        with pytest.raises((RuntimeError, TypeError), match=message):
            model(photo, WORDS)
