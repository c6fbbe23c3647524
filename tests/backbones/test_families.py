"""Every family against transformers' own forward pass, on tiny random weights."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

import carlab
from carlab.backbones import FrozenVlm, load_backbone
from carlab.backbones.base import SigmoidVlm
from carlab.backbones.vit import Vit
from carlab.errors import BackboneError, QueryError, SettingError
from carlab.photo import Photo
from carlab.recurrence import ClipAsRnn
from carlab.settings import current
from carlab.stages.affinity import Affinity
from carlab.stages.classifier import TemplateClassifier
from carlab.stages.filter import Threshold
from carlab.stages.proposer import GradCam, written
from tests.conftest import WORDS
from tests.oracle.test_closed_form import BACKGROUND, autograd_cams
from tests.tiny_clip import pixel_values, save_tiny_clip
from tests.tiny_open_clip import save_tiny_open_clip
from tests.tiny_siglip import SIGLIP_TOKENIZER, save_tiny_siglip

SIZES = [(64, 64), (48, 80), (112, 32)]
TOKENS = json.loads((Path(__file__).parent / "golden" / "siglip_tokens.json").read_text())


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    return {
        "clip": save_tiny_clip(root / "clip"),
        "clip-gelu": save_tiny_clip(root / "clip-gelu", act="gelu", seed=2),
        "siglip": save_tiny_siglip(root / "siglip"),
        "siglip2": save_tiny_siglip(root / "siglip2", version=2, patch=8, seed=1),
        "open_clip": save_tiny_open_clip(root / "open_clip"),
    }


@pytest.fixture(params=["clip", "clip-gelu", "siglip", "siglip2"])
def folder(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Path:
    return folders[request.param]


@pytest.fixture
def ours(folder: Path) -> Vit:
    return load_backbone(str(folder))


@pytest.fixture
def theirs(folder: Path) -> Any:
    """The same checkpoint as transformers itself reads it."""
    return AutoModel.from_pretrained(folder, attn_implementation="eager").eval().requires_grad_(False)


def crops(photo: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    tall = np.concatenate([photo, photo[::-1]])
    return np.stack([tall[: size[0], : size[1]], tall[7 : 7 + size[0], 10 : 10 + size[1]]])


def close(a: torch.Tensor, b: torch.Tensor, bound: float = 1e-5) -> None:
    torch.testing.assert_close(a, b, atol=bound, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_image_embeddings(ours: Vit, theirs: Any, photo: np.ndarray, size: tuple[int, int]) -> None:
    images = crops(photo, size)
    truth = theirs.get_image_features(
        pixel_values=pixel_values(ours, images), interpolate_pos_encoding=size != (64, 64)
    )
    close(ours.encode_images(images), normalize(truth.pooler_output, dim=-1))


@pytest.mark.parametrize("size", SIZES)
def test_trunk_then_tail(ours: Vit, theirs: Any, photo: np.ndarray, size: tuple[int, int]) -> None:
    """The image embedding; of CLIP, whose tail pools patches, their mean in place of the class token."""
    image = crops(photo, size)[0]
    out = theirs.vision_model(
        pixel_values=pixel_values(ours, image[None]), interpolate_pos_encoding=True, output_attentions=True
    )
    skip = 0
    truth = out.pooler_output[0]
    if hasattr(theirs, "visual_projection"):
        skip = 1
        patches = theirs.vision_model.post_layernorm(out.last_hidden_state[0, 1:])
        truth = theirs.visual_projection(patches.mean(0))
    trunk = ours.trunk(image)
    patch = ours.model.config.vision_config.patch_size
    assert trunk.grid == (size[0] // patch, size[1] // patch)
    close(ours.tail(trunk, trunk.activations), truth)
    attention = torch.stack([layer[0].mean(0)[skip:, skip:] for layer in out.attentions]).mean(0)
    close(trunk.relations, attention, 1e-6)
    # Not so close that any attention would do.
    assert (attention - attention.mean()).abs().max() > 1e-3


def test_text_embeddings(ours: Vit, theirs: Any, folder: Path) -> None:
    texts = ["a photo of a cat.", "A Red  Car!"]
    if folder.name == "siglip":  # transformers reads this vocabulary by sentencepiece alone
        inputs = {"input_ids": torch.tensor([TOKENS[text][:64] for text in texts])}
    elif folder.name == "siglip2":
        tokenizer = AutoTokenizer.from_pretrained(folder)
        inputs = tokenizer(texts, padding="max_length", max_length=64, return_tensors="pt")
        del inputs["attention_mask"]  # as the processors on the hub: the model is trained to read padding
    else:
        inputs = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    truth = theirs.get_text_features(**inputs).pooler_output
    close(ours.encode_text(texts), normalize(truth, dim=-1), 1e-6)


def test_logits(ours: Vit, theirs: Any, photo: np.ndarray) -> None:
    """Scale and bias included."""
    images = crops(photo, (64, 64))
    tokens = torch.randint(3, 200, (3, 64), generator=torch.Generator().manual_seed(0))
    tokens[:, -1] = 513 if hasattr(theirs, "visual_projection") else 1
    out = theirs(pixel_values=pixel_values(ours, images), input_ids=tokens)
    close(ours.logits(ours.encode_images(images), out.text_embeds), out.logits_per_image, 1e-4)
    assert isinstance(ours, SigmoidVlm) == hasattr(theirs, "logit_bias")


@pytest.mark.parametrize("skipped", [1, 2])
def test_skip_blocks(ours: Vit, theirs: Any, photo: np.ndarray, skipped: int) -> None:
    images = crops(photo, (64, 64))
    hidden = theirs.vision_model(
        pixel_values=pixel_values(ours, images), output_hidden_states=True
    ).hidden_states[-1 - skipped]
    normed = theirs.vision_model.post_layernorm(hidden)
    if hasattr(theirs, "visual_projection"):
        truth = theirs.visual_projection(normed[:, 0])
    else:
        truth = theirs.vision_model.head(normed)
    close(ours.encode_images(images, skip_blocks=skipped), normalize(truth, dim=-1))
    for impossible in (-1, 4):
        with pytest.raises(BackboneError, match=f"skip_blocks from 0 to 3 .*, got {impossible}"):
            ours.encode_images(images, skip_blocks=impossible)


def test_pixels_are_the_processors(ours: Vit, folder: Path, photo: np.ndarray, tmp_path: Path) -> None:
    """At the trained size nothing is resized, so the processor only scales and normalises."""
    image = crops(photo, (64, 64))[0]
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    truth = processor(images=image, return_tensors="pt")["pixel_values"]
    close(pixel_values(ours, image[None]), truth, 1e-6)
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in folder.iterdir():
        (moved / path.name).symlink_to(path)
    (moved / "preprocessor_config.json").unlink()
    config = json.loads((folder / "preprocessor_config.json").read_text())
    # [-1, 1] in other words.
    config |= {"rescale_factor": 1 / 127.5, "image_mean": [1.0, 1.0, 1.0], "image_std": [1.0, 1.0, 1.0]}
    (moved / "preprocessor_config.json").write_text(json.dumps(config))
    processor = AutoImageProcessor.from_pretrained(moved, backend="pil")
    truth = processor(images=image, return_tensors="pt")["pixel_values"]
    close(pixel_values(load_backbone(str(moved)), image[None]), truth, 1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_other_precisions(folder: Path, photo: np.ndarray, dtype: str) -> None:
    single, other = load_backbone(str(folder)), load_backbone(str(folder), dtype=dtype)
    images = crops(photo, (64, 64))
    a, b = (one.encode_images(images).double() for one in (single, other))
    assert cosine_similarity(a, b).min() > 0.999
    a, b = (one.encode_text(["a cat", "dog"]).double() for one in (single, other))
    assert cosine_similarity(a, b).min() > 0.999
    trunks = [one.trunk(photo) for one in (single, other)]
    assert trunks[1].activations.dtype == (torch.float64 if dtype == "float64" else torch.float32)
    a, b = (one.tail(t, t.activations).double() for one, t in zip((single, other), trunks, strict=True))
    assert cosine_similarity(a, b, dim=0) > 0.995


@pytest.mark.parametrize("background", [BACKGROUND, ()], ids=["background", "bare"])
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-4), ("float64", 1e-10)])
def test_closed_form_is_autograd(
    folder: Path, photo: np.ndarray, dtype: str, bound: float, background: tuple[str, ...]
) -> None:
    backbone = load_backbone(str(folder), dtype=dtype)
    proposer = GradCam(backbone, affinity=None)
    proposals = proposer.prepare(Photo.of(photo), WORDS, background)
    for queries in (WORDS, WORDS[:2], WORDS[1:4]):
        own = [proposals.evidence[text] for text in written(queries, proposer.template)]
        truth = autograd_cams(backbone, proposals.trunk, queries, background, proposer.template)
        assert truth.max() > 0
        assert np.abs(proposer.closed_form(own, proposals.context) - truth).max() <= bound * truth.max()


def test_products_in_a_batch_are_those_one_by_one(ours: Vit, photo: np.ndarray) -> None:
    """A GPU batches the vector-Jacobian products: that must go through every family's tail."""
    trunk = ours.trunk(photo)
    leaf = trunk.activations.detach().requires_grad_()
    logits = ours.logits(ours.tail(trunk, leaf)[None], ours.encode_text(["cat", "dog", "sofa"]))[0]
    rows = torch.eye(3)
    together = torch.autograd.grad(logits, leaf, rows, retain_graph=True, is_grads_batched=True)[0]
    alone = torch.stack([torch.autograd.grad(logits, leaf, row, retain_graph=True)[0] for row in rows])
    close(together, alone, 1e-6)


# --- the whole loop -------------------------------------------------------------------------------

FAMILIES = ("clip", "open_clip", "siglip", "siglip2")


RUNS = [
    (f, g, score)
    for f in FAMILIES
    for g in FAMILIES
    for score in ("softmax", "sigmoid")[: 1 + g.startswith("siglip")]
]


@pytest.mark.parametrize(("f", "g", "score"), RUNS)
def test_a_run_with_each_pair(
    folders: dict[str, Path], tiny: ClipAsRnn, photo: np.ndarray, f: str, g: str, score: str
) -> None:
    """The scores of every step are those of the classifier's own model for the prompted images."""
    proposer, classifier = (load_backbone(str(folders[name])) for name in (f, g))
    model = replace(
        tiny,
        proposer=GradCam(proposer, affinity=Affinity(0.4)),
        classifier=TemplateClassifier(classifier, templates=("a photo of a {}.",), score=score),
        filter=Threshold(0.19 if score == "softmax" else 0.15, keep_best=False),
    )
    trace = model(photo, WORDS)
    assert trace.provenance["proposer.backbone"] == proposer.name
    assert trace.provenance["classifier.sha256"] == classifier.sha256
    for step in trace.steps:
        images = classifier.encode_images(step.prompted)
        texts = classifier.encode_text([f"a photo of a {trace.queries[k]}." for k in step.active])
        logits = classifier.logits(images, texts)
        truth = logits.softmax(-1) if score == "softmax" else logits.sigmoid()
        np.testing.assert_allclose(step.probs, truth, atol=1e-5)
        assert step.cams.max() <= 1
        assert np.isfinite(step.masks).all()
    assert trace.masks(0).shape == (len(WORDS), *photo.shape[:2])


def test_presets_take_any_family(folders: dict[str, Path], photo: np.ndarray) -> None:
    f, g = str(folders["clip"]), str(folders["siglip"])
    model = carlab.load("paper/voc", proposer_backbone=f, classifier=g)
    assert model.classifier.score == "softmax"  # the preset's, until it is changed
    absolute = carlab.change(model, score="sigmoid", theta=0.1, refiner="none")
    assert current(absolute)["score"] == "sigmoid"
    assert absolute(photo, ["cat", "dog"]).settings["classifier"]["score"] == "sigmoid"
    released = carlab.load("reference/voc", proposer_backbone=g, classifier=g)  # crop, skip_blocks=1 and all
    assert released.classifier.backbone is released.proposer.backbone
    released = carlab.change(released, refiner="none")
    assert released(photo, ["cat", "dog"]).steps[0].probs.sum() == pytest.approx(2, abs=1e-5)


@pytest.mark.parametrize("name", ["clip", "open_clip", "offline"])
def test_a_sigmoid_needs_a_model_trained_with_it(folders: dict[str, Path], name: str) -> None:
    backbone = load_backbone(str(folders.get(name, name)))
    assert isinstance(backbone, FrozenVlm)
    with pytest.raises(SettingError, match="no absolute zero; take a SigLIP") as caught:
        TemplateClassifier(backbone, score="sigmoid")
    assert "\n" not in str(caught.value)


# --- SigLIP's texts, and its errors ---------------------------------------------------------------


def test_tokens_are_those_of_sentencepiece(folders: dict[str, Path]) -> None:
    """What transformers' SiglipTokenizer gave, with sentencepiece (see golden/make.py)."""
    tokenizer = load_backbone(str(folders["siglip"])).tokenizer
    assert tokenizer(list(TOKENS), 128).tolist() == list(TOKENS.values())


def test_tokens_are_those_of_transformers(folders: dict[str, Path]) -> None:
    texts = ["A photo of a Cat.", "", "to the  cat", "hot", "é 猫 <3", "x" * 63]
    tokenizer = load_backbone(str(folders["siglip2"])).tokenizer
    reference = AutoTokenizer.from_pretrained(folders["siglip2"])
    truth = reference(texts, padding="max_length", max_length=64)["input_ids"]
    assert tokenizer(texts, 64).tolist() == truth


@pytest.mark.parametrize("name", ["siglip", "siglip2"])
def test_too_many_tokens(folders: dict[str, Path], name: str) -> None:
    with pytest.raises(QueryError, match="expected at most 64 tokens, got [0-9]+ in 'x"):
        load_backbone(str(folders[name])).encode_text(["cat", "x" * 100])


def edit_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json"),
    "broken tokenizer": (
        lambda f: (f / "tokenizer.json").write_text("{}"),
        "siglip checkpoint that can be r",
    ),
    "another tokenizer": (
        lambda f: (f / "tokenizer.json").write_text(
            SIGLIP_TOKENIZER.read_text().replace('"</s>"', '"<end>"')
        ),
        "a tokenizer of SigLIP or SigLIP 2 with up to 300 tokens",
    ),
    "no preprocessor": (lambda f: (f / "preprocessor_config.json").unlink(), "preprocessor_config.json"),
    "strange numbers": (
        lambda f: edit_config(f, vision_config={"hidden_size": "big"}),
        "a siglip checkpoint that can be read",
    ),
    "NaFlex": (lambda f: edit_config(f, model_type="siglip2"), "clip, open_clip, siglip, got 'siglip2'"),
}


@pytest.mark.parametrize("problem", BROKEN)
def test_a_broken_siglip_is_one_clear_error(tmp_path: Path, problem: str) -> None:
    folder = save_tiny_siglip(tmp_path / "siglip")
    change, message = BROKEN[problem]
    change(folder)
    with pytest.raises(BackboneError, match=message) as caught:
        load_backbone(str(folder))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("expected")
