"""A stage of one's own that returns the wrong thing: one error that names the stage and what it returned."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from carlab.errors import SettingError
from carlab.recurrence import ClipAsRnn
from carlab.stages.base import Proposal

QUERIES = ["cat", "dog"]


def list_of_bools(probs):
    return [True] * len(probs)


def scores_themselves(probs):
    return np.diagonal(probs).copy()


def too_short(probs):
    return np.ones(1, dtype=bool)


def nothing(*_):
    return None


def floats(image, region):
    return image / 255


def grey(image, region):
    return image[..., 0]


def soft(image, masks):
    return np.zeros((len(masks), *image.shape[:2]), dtype=np.float32)


def patches(image, masks):
    return masks > 0.5


WRONG = {
    "filter": [
        (
            list_of_bools,
            r"which queries are kept as a bool array of shape \(2,\) from list_of_bools, got a list",
        ),
        (scores_themselves, "got a float32 array"),
        (too_short, r"got a bool array of shape \(1,\)"),
        (nothing, "got a NoneType"),
    ],
    "prompter": [
        (
            floats,
            r"prompted image as a uint8 array of shape \(any, any, 3\) from floats, got a float64 array",
        ),
        (grey, r"got a uint8 array of shape \(70, 90\)"),
    ],
    "refiner": [
        (soft, r"final masks as a bool array of shape \(\d, 70, 90\) from soft, got a float32 array"),
        (patches, "from patches, got a bool array"),
    ],
}


@pytest.mark.parametrize(
    ("stage", "wrong", "said"), [(name, *case) for name, cases in WRONG.items() for case in cases]
)
def test_a_function(stage: str, wrong: Any, said: str, tiny: ClipAsRnn, photo: np.ndarray) -> None:
    with pytest.raises(SettingError, match=said):
        replace(tiny, **{stage: wrong})(photo, QUERIES)


@dataclass(frozen=True)
class Proposer:
    """The tiny one, with something done to what it returns."""

    base: Any
    change: Any

    def prepare(self, *given):
        return self.base.prepare(*given)

    def __call__(self, *given):
        return self.change(*self.base(*given))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda cams, masks: masks, r"the pair \(activation maps, soft masks\) from Proposer, got a ndarray"),
        (lambda cams, masks: (cams, masks.astype(float)), "soft masks .* from Proposer, got a float64 array"),
        (lambda cams, masks: (cams, masks[:1]), r"soft masks as a float32 array of shape \(2, any, any\)"),
    ],
)
def test_a_proposer(change: Any, said: str, tiny: ClipAsRnn, photo: np.ndarray) -> None:
    with pytest.raises(SettingError, match=said):
        replace(tiny, proposer=Proposer(tiny.proposer, change))(photo, QUERIES)


def test_a_pair_will_do(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    pairs = replace(tiny, proposer=Proposer(tiny.proposer, lambda cams, masks: (cams, masks)))
    made = pairs(photo, QUERIES)
    assert made.found == tiny(photo, QUERIES).found
    assert isinstance(Proposal(made.steps[0].cams, made.steps[0].masks), tuple)


@dataclass(frozen=True)
class Classifier:
    """The tiny one, with one method that returns something else."""

    base: Any
    scores: Any = None
    embeddings: Any = None

    def encode_text(self, queries):
        return self.base.encode_text(queries)

    def preprocess(self, image):
        return self.base.preprocess(image)

    def encode_images(self, images):
        made = self.base.encode_images(images)
        return self.embeddings(made) if self.embeddings else made

    def __call__(self, *given):
        made = self.base(*given)
        return self.scores(made) if self.scores else made


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("scores", np.diagonal, r"the scores P_t as a float32 array of shape \(2, 2\) from Classifier"),
        ("embeddings", lambda made: made[0], "image embeddings .* from Classifier"),
        ("embeddings", list, "image embeddings .* got a list"),
    ],
)
def test_a_classifier(part: str, change: Any, said: str, tiny: ClipAsRnn, photo: np.ndarray) -> None:
    with pytest.raises(SettingError, match=said):
        replace(tiny, classifier=Classifier(tiny.classifier, **{part: change}))(photo, QUERIES)
