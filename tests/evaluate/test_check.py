"""The check of a model: a trained one passes; each fault fails the rows that measure it, and no others."""

import json
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from importlib.metadata import files
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import CLIPTokenizerFast

import benchmarks.random_clip  # noqa: F401 - names "random:..."
from carlab.backbones import load_backbone
from carlab.cache import Cache
from carlab.evaluate.check import Report, check_backbone
from carlab.evaluate.check.measures import permuted_gap, ranked_first
from carlab.evaluate.check.rows import CLIP_TOKENS
from carlab.evaluate.check.subjects import SUBJECTS
from carlab.recurrence import ClipAsRnn
from tests.stand_in import StandIn, stand_in
from tests.tiny_clip import byte_letters

CAPTION, GAP = "own caption ranked first", "own captions above permuted ones"
MAXIMA, INSIDE = "maximum of the mask in its region", "mask in its region, above other queries'"
PIXELS, OTHER_PIXELS = "mean and deviation of the pixels", "gap in another normalisation"
TOKENS, DECODED = "tokens of known texts", "tokens back to the text"
SYNONYM, CAPITALS = "synonym nearest of all", "the same in capitals nearest of all"
FINITE, ALIKE = "embeddings and logits finite", "mean cosine of images, of texts"
AGAIN = "distance of an image encoded again"
SCALE, LENGTHS = "logit scale", "length of the embeddings"


@pytest.fixture(scope="module")
def trained(offline: ClipAsRnn) -> StandIn:
    """What stands for a trained CLIP."""
    return stand_in(offline.proposer.backbone)


def row(report: Report, check: str) -> Any:
    return next(row for row in report.rows if row.check == check)


def test_a_trained_clip_passes(trained: StandIn) -> None:
    report = check_backbone(trained)
    assert report.failed == []
    assert report.family == "a model trained on captions"
    assert [row.check for row in report.rows if row.passed is None] == [TOKENS]


@pytest.mark.parametrize("seed", range(4))
def test_random_weights_fail(seed: int) -> None:
    failed = set(check_backbone(load_backbone("random:tiny/16", seed=seed)).failed)
    assert {CAPTION, GAP, INSIDE, SYNONYM, CAPITALS} <= failed


def test_random_weights_of_full_size_fail() -> None:
    failed = set(check_backbone(load_backbone("random:ViT-B/16"), masks=False).failed)
    assert {CAPTION, GAP, SYNONYM, CAPITALS} <= failed


def test_a_checkpoint_of_random_weights_fails(clip_folders: tuple[Path, Path]) -> None:
    """Its logit scale is that of the initialisation, 14.3."""
    report = check_backbone(load_backbone(str(clip_folders[0])))
    assert set(report.failed) - {MAXIMA} == {CAPTION, GAP, INSIDE, SYNONYM, SCALE}
    assert row(report, SCALE).found == "14.3"


class ConstantImages(StandIn):
    def encode_images(self, images: np.ndarray, *, skip_blocks: int = 0) -> Tensor:
        return super().encode_images(np.full_like(images, 99))


class ConstantTexts(StandIn):
    def encode_text(self, texts: Any) -> Tensor:
        return super().encode_text(["cat" for _ in texts])


class NanImages(StandIn):
    def encode_images(self, images: np.ndarray, *, skip_blocks: int = 0) -> Tensor:
        return super().encode_images(images) * float("nan")


class LongTexts(StandIn):
    def encode_text(self, texts: Any) -> Tensor:
        return 1.5 * super().encode_text(texts)


class NanTail(StandIn):
    def tail(self, trunk: Any, activations: Tensor) -> Tensor:
        return super().tail(trunk, activations) * float("nan")


class TurnedTrunk(StandIn):
    def trunk(self, image: np.ndarray) -> Any:
        return super().trunk(np.ascontiguousarray(image[::-1, ::-1]))


class LooksAtTheBatch(StandIn):
    def encode_images(self, images: np.ndarray, *, skip_blocks: int = 0) -> Tensor:
        embeddings = super().encode_images(images)
        return torch.nn.functional.normalize(embeddings - 0.5 * embeddings.mean(0), dim=-1)


class CaseMatters(StandIn):
    def encode_text(self, texts: Any) -> Tensor:
        return super().encode_text([text[::-1] if text.isupper() else text for text in texts])


class ShuffledTokens:
    """A tokenizer whose vocabulary is another model's: every word has a wrong number, always the same."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        order = torch.randperm(len(tokenizer), generator=torch.Generator().manual_seed(0)).tolist()
        self.order = [k if k in tokenizer.all_special_ids else new for k, new in enumerate(order)]

    def __call__(self, texts: list[str]) -> dict[str, list[list[int]]]:
        rows = self.tokenizer(texts)["input_ids"]
        return {"input_ids": [[self.order[token] for token in row] for row in rows]}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)


def with_tokens_shuffled(model: StandIn) -> StandIn:
    tokenizer = ShuffledTokens(model.tokenizer)
    sentences = replace(model.sentences, tokenizer=tokenizer, texts=Cache(2**24))
    return replace(model, tokenizer=tokenizer, sentences=sentences)


def with_rows_shuffled(model: StandIn) -> StandIn:
    order = torch.randperm(len(model.class_rows), generator=torch.Generator().manual_seed(0))
    return replace(model, class_rows=model.class_rows[order], class_bias=model.class_bias[order])


def with_scale(scale: float) -> Callable[[StandIn], StandIn]:
    return lambda model: replace(model, model=SimpleNamespace(logit_scale=torch.tensor(scale).log()))


def turned_into(kind: type[StandIn]) -> Callable[[StandIn], StandIn]:
    return lambda model: kind(**{field.name: getattr(model, field.name) for field in fields(StandIn)})


FAULTS: dict[str, tuple[Callable[[StandIn], StandIn], set[str]]] = {
    "rows of the projection shuffled": (with_rows_shuffled, {CAPTION, GAP, INSIDE}),
    "normalised as if pixels were 0 to 255": (
        lambda model: replace(model, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
        {CAPTION, GAP, INSIDE, PIXELS, OTHER_PIXELS, ALIKE},
    ),
    "not normalised": (lambda model: replace(model, mean=(0.0,) * 3, std=(1.0,) * 3), {PIXELS}),
    "tokens shuffled": (with_tokens_shuffled, {CAPTION, GAP, INSIDE, DECODED, SYNONYM}),
    "case matters": (turned_into(CaseMatters), {CAPITALS}),
    "constant images": (turned_into(ConstantImages), {CAPTION, GAP, ALIKE}),
    "constant texts": (turned_into(ConstantTexts), {CAPTION, GAP, INSIDE, SYNONYM, CAPITALS, ALIKE}),
    "NaN images": (turned_into(NanImages), {CAPTION, GAP, OTHER_PIXELS, FINITE, ALIKE, AGAIN, LENGTHS}),
    "texts not normalised": (turned_into(LongTexts), {LENGTHS}),
    "NaN in the tail": (turned_into(NanTail), {INSIDE}),
    "the trunk's image turned": (turned_into(TurnedTrunk), {INSIDE}),
    "the batch matters": (turned_into(LooksAtTheBatch), {AGAIN}),
    "logit scale without its exponential": (with_scale(4.6), {SCALE}),
    "all logits alike": (with_scale(0.0), {CAPTION, GAP, INSIDE, SCALE}),
}
"""What is broken, and the rows that must fail. The row of the maxima is left out: most regions are large and
in the middle, so a wrong mask may have its maximum there by luck."""


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_fails_its_rows_and_no_others(trained: StandIn, fault: str) -> None:
    breaks, rows = FAULTS[fault]
    assert set(check_backbone(breaks(trained)).failed) - {MAXIMA} == rows


def test_a_wrong_offline_backbone_fails_too(offline: ClipAsRnn) -> None:
    backbone: Any = offline.proposer.backbone
    order = torch.randperm(len(backbone.class_rows), generator=torch.Generator().manual_seed(0))
    wrong = replace(backbone, class_rows=backbone.class_rows[order], class_bias=backbone.class_bias[order])
    assert set(check_backbone(wrong, masks=False).failed) == {CAPTION, GAP}


@pytest.mark.parametrize("shift", [0, 1])
def test_known_tokens_of_clip(trained: StandIn, tmp_path: Path, shift: int) -> None:
    """transformers' own tokenizer on the few words needed, at CLIP's numbers, and one off."""
    tokenizer = clip_tokenizer(tmp_path, shift)
    config = SimpleNamespace(text_config=SimpleNamespace(vocab_size=49408))
    model = SimpleNamespace(logit_scale=trained.model.logit_scale, config=config)
    report = check_backbone(replace(trained, tokenizer=tokenizer, model=model), masks=False)
    assert report.failed == ([TOKENS] if shift else [])
    assert row(report, TOKENS).passed is (not shift)


def clip_tokenizer(folder: Path, shift: int) -> CLIPTokenizerFast:
    letters = [chr(code) for code in byte_letters()]
    numbers = {letter: k for k, letter in enumerate([*letters, *(f"{letter}</w>" for letter in letters)])}
    words = {"photo": 1125, "of": 539, "cat": 2368, "hello": 3306, "world": 1002}
    merges = list(dict.fromkeys(merge for word in words for merge in merges_of(word)))
    numbers |= {f"{word}</w>": number + shift for word, number in words.items()}
    for one, other in merges:
        numbers.setdefault(one + other, 20_000 + len(numbers))
    numbers |= {"<|startoftext|>": 49406, "<|endoftext|>": 49407}
    (folder / "vocab.json").write_text(json.dumps(numbers))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(merge) for merge in merges))
    return CLIPTokenizerFast.from_pretrained(folder)


def merges_of(word: str) -> Iterator[tuple[str, str]]:
    parts = [*word[:-1], f"{word[-1]}</w>"]
    for k in range(1, len(parts)):
        yield "".join(parts[:k]), parts[k]


class ProtocolAlone:
    """Has what `FrozenVlm` names, and nothing else."""

    def __init__(self, backbone: Any) -> None:
        methods = ("encode_text", "trunk", "tail", "encode_images", "logits")
        for name in ("name", "sha256", "device", "input_side", *methods):
            setattr(self, name, getattr(backbone, name))


def test_a_backbone_with_the_protocol_alone(trained: StandIn) -> None:
    report = check_backbone(ProtocolAlone(trained))
    assert report.failed == []
    unknown = {row.check for row in report.rows if row.passed is None}
    assert unknown == {PIXELS, OTHER_PIXELS, TOKENS, DECODED, SCALE, LENGTHS}


def test_bfloat16_is_no_noise() -> None:
    report = check_backbone(load_backbone("random:tiny/16", dtype="bfloat16"))
    assert row(report, AGAIN).passed and row(report, FINITE).passed


def test_images_come_with_the_package() -> None:
    """In the wheel itself: nothing is ever downloaded."""
    shipped = {str(path) for path in files("scikit-image") or ()}
    assert {f"skimage/data/{subject.file}" for subject in SUBJECTS} <= shipped
    assert len(SUBJECTS) == len({subject.caption for subject in SUBJECTS}) == 10


def test_regions_lie_on_their_objects() -> None:
    """The silhouette of the horse is its own truth; every region is a part of its image, not all of it."""
    horse = next(subject for subject in SUBJECTS if subject.query == "horse")
    image = horse.image()
    black, region = image[..., 0] < 128, horse.region(*image.shape[:2])
    assert (black & region).sum() / black.sum() > 0.95
    assert (black & region).sum() / region.sum() > 0.6
    for subject in SUBJECTS:
        if subject.query:
            assert 0.03 < subject.region(100, 120).mean() < 0.75


def test_gap_is_over_all_permutations_without_a_true_pair() -> None:
    logits = np.random.default_rng(0).normal(size=(4, 4))
    wrong = [order for order in permutations(range(4)) if all(i != j for i, j in enumerate(order))]
    mean = np.mean([logits[range(4), order].mean() for order in wrong])
    others = [logits[i, j] for i in range(4) for j in range(4) if i != j]
    assert permuted_gap(logits) == pytest.approx((np.diagonal(logits).mean() - mean) / np.std(others))
    assert permuted_gap(np.ones((4, 4))) == 0


def test_ties_and_nan_are_not_first() -> None:
    assert ranked_first(np.ones((3, 5))) == 0
    assert ranked_first(np.full((3, 5), np.nan)) == 0
    assert ranked_first(np.eye(3, 5)) == 3


def test_the_published_tokens() -> None:
    """Typed once more: the numbers of CLIP's vocabulary, as open_clip's copy of it gives them."""
    assert CLIP_TOKENS["a photo of a cat."] == [49406, 320, 1125, 539, 320, 2368, 269, 49407]
