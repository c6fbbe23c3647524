"""PAMR, random walker, GrabCut and prompts to SAM, each against an independent implementation."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from skimage.segmentation import random_walker
from transformers import AutoModel
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil
from transformers.models.sam.processing_sam import SamProcessor

import carlab
from carlab.backbones.sam import load_sam
from carlab.errors import SettingError
from carlab.hooks import watching
from carlab.presets import match_regions
from carlab.recurrence import ClipAsRnn
from carlab.settings import REFINERS, SETTINGS, change, current
from carlab.stages.refiner import DenseCrf, NoRefiner
from carlab.stages.refiner.grabcut import GrabCut
from carlab.stages.refiner.pamr import Pamr
from carlab.stages.refiner.random_walker import RandomWalker
from carlab.stages.refiner.sam_prompt import SamPrompt, box_of
from carlab.widgets.lab.state import LabState
from tests.conftest import WORDS
from tests.tiny_sam import save_tiny_sam, save_tiny_sam2

LABELLING = (DenseCrf(), Pamr(), RandomWalker(), GrabCut())
SHARP = {"iterations": 30, "dilations": (1, 2)}


@pytest.fixture
def halves() -> tuple[np.ndarray, np.ndarray]:
    """An image of two colours with an edge at column 13, and a mask that blurs it."""
    image = np.zeros((12, 20, 3), np.uint8)
    image[:, 13:] = (200, 120, 40)
    image += np.random.default_rng(0).integers(0, 8, image.shape, dtype=np.uint8)
    ramp = np.clip(np.linspace(-0.4, 1.4, 20, dtype=np.float32), 0, 1)
    return image, np.repeat(ramp[None, None], 12, axis=1)


# --- what all share -------------------------------------------------------------------------------


@pytest.mark.parametrize("refiner", LABELLING[1:], ids=lambda one: type(one).__name__)
def test_masks_follow_the_edge(refiner: Any, halves: tuple[np.ndarray, np.ndarray]) -> None:
    image, soft = halves
    refiner = replace(refiner, **SHARP) if isinstance(refiner, Pamr) else refiner
    truth = np.arange(20) >= 13
    assert (refiner(image, soft)[0] == truth).mean() > 0.97
    assert (NoRefiner(0.5)(image, soft)[0] == truth).mean() < 0.9


@pytest.mark.parametrize("refiner", LABELLING, ids=lambda one: type(one).__name__)
def test_masks_that_compete_do_not_overlap(refiner: Any, photo: np.ndarray) -> None:
    _, columns = np.mgrid[:7, :9]
    left, right = np.exp(-((columns - 3) ** 2) / 9), np.exp(-((columns - 5) ** 2) / 9)
    soft = np.stack([left, right, np.zeros((7, 9))]).astype(np.float32)
    together = refiner(photo, soft)
    assert not (together[0] & together[1]).any()
    assert together[:2].any(axis=(1, 2)).all()
    assert not together[2].any(), "an empty mask stays empty"
    apart = replace(refiner, compete=False)(photo, soft)
    for k in (0, 1):
        np.testing.assert_array_equal(apart[k], refiner(photo, soft[k : k + 1])[0])
    small = replace(refiner, max_volume=2000)(photo, soft)
    assert small.shape == together.shape
    assert (small == together).mean() > 0.7
    none = refiner(photo, soft[:0])
    assert none.shape == (0, *photo.shape[:2])
    np.testing.assert_array_equal(refiner(photo, soft), together)  # the same every time


# --- PAMR -----------------------------------------------------------------------------------------


def pamr(image: np.ndarray, maps: np.ndarray, iterations: int, dilations: tuple[int, ...]) -> np.ndarray:
    """Pixel by pixel, as the paper's equations and released code have it."""
    h, w, _ = image.shape
    steps = [(d * r, d * c) for d in dilations for r in (-1, 0, 1) for c in (-1, 0, 1)]

    def at(array: np.ndarray, y: int, x: int) -> Any:
        return array[..., min(max(y, 0), h - 1), min(max(x, 0), w - 1)]

    colours = image.transpose(2, 0, 1).astype(float)
    around = [step for step in steps if step != (0, 0)]
    weights = np.zeros((len(around), h, w))
    for y in range(h):
        for x in range(w):
            seen = np.array([at(colours, y + r, x + c) for r, c in steps])
            spread = seen.std(axis=0, ddof=1)
            for k, (r, c) in enumerate(around):
                apart = np.abs(at(colours, y + r, x + c) - colours[:, y, x])
                weights[k, y, x] = -(apart / (1e-8 + 0.1 * spread)).mean()
    weights = np.exp(weights - weights.max(0))
    weights /= weights.sum(0)
    for _ in range(iterations):
        new = np.zeros_like(maps)
        for y in range(h):
            for x in range(w):
                for k, (r, c) in enumerate(around):
                    new[:, y, x] += weights[k, y, x] * at(maps, y + r, x + c)
        maps = new
    return maps


@pytest.mark.parametrize("dilations", [(1,), (2, 3)])
def test_pamr_pixel_by_pixel(dilations: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    image = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    soft = rng.random((2, 6, 8)).astype(np.float32)
    refiner = Pamr(background_power=2.0, iterations=2, dilations=dilations)
    labels = np.concatenate([(1 - soft.max(0, keepdims=True)) ** 2, soft]).astype(float)
    truth = pamr(image, labels, 2, dilations)
    np.testing.assert_allclose(refiner.inference(image)(soft, 6, 8), truth, atol=1e-5)
    np.testing.assert_array_equal(refiner(image, soft), truth.argmax(0) == np.array([1, 2])[:, None, None])


def test_pamr_is_set_as_peers_report_it() -> None:
    """SCLIP and NACLIP: ten iterations, dilations 8 and 16."""
    assert (Pamr().iterations, Pamr().dilations) == (10, (8, 16))


# --- random walker --------------------------------------------------------------------------------


def test_random_walker_is_scikit_images(halves: tuple[np.ndarray, np.ndarray]) -> None:
    image, soft = halves
    seeds = np.zeros((12, 20), int)
    seeds[1 - soft[0] > 0.8] = 1
    seeds[soft[0] > 0.8] = 2
    truth = random_walker(image, seeds, beta=130, mode="bf", channel_axis=-1)
    np.testing.assert_array_equal(RandomWalker()(image, soft)[0], truth == 2)


def test_every_label_has_a_seed(photo: np.ndarray) -> None:
    probs = np.full((3, 2, 4), 0.2, np.float32)
    probs[0, :, :2], probs[2, 1, 3] = 0.9, 0.3
    seeds = RandomWalker().seeds(probs)
    np.testing.assert_array_equal(seeds, [[2, 1, 0, 0], [1, 1, 0, 3]])
    assert RandomWalker(certain=0.0)(photo, np.array([[[0.1, 0.9]]], np.float32)).mean() == pytest.approx(0.5)


def test_random_walker_on_one_colour() -> None:
    flat = np.full((10, 12, 3), 50, np.uint8)
    assert RandomWalker()(flat, np.array([[[0.1, 0.9]]], np.float32)).mean() == pytest.approx(0.5)


# --- GrabCut --------------------------------------------------------------------------------------


def test_grabcut_is_opencvs(photo: np.ndarray) -> None:
    rows, columns = np.mgrid[:70, :90]
    soft = np.stack(
        [np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 500) for y, x in ((20, 25), (48, 65))]
    ).astype(np.float32)
    truth = []
    for one in soft:
        kinds = np.full((70, 90), cv2.GC_BGD, np.uint8)
        kinds[one > 0.1], kinds[one > 0.4], kinds[one > 0.9] = cv2.GC_PR_BGD, cv2.GC_PR_FGD, cv2.GC_FGD
        cv2.setRNGSeed(0)
        cv2.grabCut(
            cv2.cvtColor(photo, cv2.COLOR_RGB2BGR), kinds, None,
            np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK,
        )  # fmt: skip
        truth.append((kinds == cv2.GC_FGD) | (kinds == cv2.GC_PR_FGD))
    np.testing.assert_array_equal(GrabCut(compete=False)(photo, soft), truth)
    both = truth[0] & truth[1]
    first = truth[0] & (~both | (soft[0] >= soft[1]))
    np.testing.assert_array_equal(GrabCut()(photo, soft)[0], first)


def test_grabcut_without_object_or_background(photo: np.ndarray) -> None:
    for value, all_of_it in ((0.3, False), (0.95, True)):
        found = GrabCut()(photo, np.full((1, 7, 9), value, np.float32))
        assert found.all() == found.any() == all_of_it


def test_grabcut_without_opencv(monkeypatch: pytest.MonkeyPatch, tiny: ClipAsRnn) -> None:
    from carlab.stages.refiner import grabcut

    monkeypatch.setattr(grabcut, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"clip-as-rnn-lab\[opencv\]"):
        change(tiny, refiner="grabcut")
    assert current(tiny)["refiner"] == "none", "the others are still known by name"


# --- SAM ------------------------------------------------------------------------------------------

KINDS = ("SAM", "HQ-SAM", "SAM 2", "SAM 2 of video")
SOFT = np.zeros((3, 5, 7), np.float32)
SOFT[0, 1:4, 2:5], SOFT[0, 2, 3] = 0.6, 1.0
SOFT[2, 0, 0], SOFT[2, 4, 6] = 0.8, 0.9


@pytest.fixture(scope="module", params=KINDS)
def sam_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sam") / request.param
    if "2" not in request.param:
        return save_tiny_sam(folder, hq=request.param.startswith("HQ"))
    save_tiny_sam2(folder)
    if "video" in request.param:  # as on the hub, with a memory that is not read
        config = json.loads((folder / "config.json").read_text())
        config |= {"model_type": "sam2_video", "memory_attention_num_layers": 4}
        (folder / "config.json").write_text(json.dumps(config))
    return folder


Answer = Callable[[np.ndarray, Any, Any], np.ndarray]


def theirs(folder: Path) -> Answer:
    """As transformers' own processor and forward pass have it; of SAM 2 by its class for images."""
    if "2" in folder.name:
        from transformers import Sam2Model

        model = Sam2Model.from_pretrained(folder).eval()
        mean, std = torch.tensor([0.4, 0.45, 0.5]), torch.tensor([0.3, 0.2, 0.25])

        def answer(image: np.ndarray, box: Any, points: Any) -> np.ndarray:
            seen = torch.tensor(np.array(Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR)))
            pixels = ((seen / 255 - mean) / std).permute(2, 0, 1)[None]
            scale = torch.tensor([64 / image.shape[1], 64 / image.shape[0]])
            given = {}
            if box is not None:
                given["input_boxes"] = torch.tensor(box[None, None]).float() * scale.repeat(2)
            if len(points):
                given["input_points"] = torch.tensor(points[None, None]).float() * scale
            with torch.no_grad():
                out = model(pixel_values=pixels, **given)
            best = out.pred_masks[:, 0, out.iou_scores[0, 0].argmax()][None]
            # bilinear twice with nothing between is bilinear to the input's size and on to the image's
            grown = torch.nn.functional.interpolate(best, (64, 64), mode="bilinear")
            return (
                torch.nn.functional.interpolate(grown, image.shape[:2], mode="bilinear")[0, 0] > 0
            ).numpy()

        return answer
    model = AutoModel.from_pretrained(folder).eval()
    processor = SamProcessor(SamImageProcessorPil.from_pretrained(folder))

    def answer(image: np.ndarray, box: Any, points: Any) -> np.ndarray:
        given = {"input_points": [[list(map(list, points))]]} if len(points) else {}
        given |= {} if box is None else {"input_boxes": [[list(box)]]}
        inputs = processor(images=Image.fromarray(image), return_tensors="pt", **given)
        sizes = [inputs.pop(name) for name in ("original_sizes", "reshaped_input_sizes")]
        inputs = {key: value.float() if value.is_floating_point() else value for key, value in inputs.items()}
        with torch.no_grad():
            out = model(**inputs)
        (masks,) = processor.image_processor.post_process_masks(out.pred_masks, *sizes)
        return masks[0, out.iou_scores[0, 0].argmax()].numpy()

    return answer


def test_sam_is_prompted_as_its_own_processor_does(sam_folder: Path, photo: np.ndarray) -> None:
    sam, answer = load_sam(str(sam_folder)), theirs(sam_folder)
    box, points = np.array([12.0, 8.0, 60.0, 50.0]), np.array([[30.0, 20.0], [45.0, 40.0]])
    none = np.zeros((0, 2))
    prompts = [(box, points[:1]), (box, none), (None, points), (box, points)]
    ours = sam.prompted(photo, prompts)
    assert ours.shape == (4, *photo.shape[:2])
    for found, (given, places) in zip(ours, prompts, strict=True):
        truth = answer(photo, given, places)
        assert 0 < truth.mean() < 1
        assert (found == truth).mean() > 0.999
    assert len(np.unique(ours.reshape(4, -1), axis=0)) > 1


def test_box_and_peaks_of_a_mask_are_the_prompt() -> None:
    asked: list[Any] = []

    class Recorder:
        def prompted(self, image: np.ndarray, prompts: Any) -> np.ndarray:
            asked.extend(prompts)
            return np.ones((len(prompts), *image.shape[:2]), bool)

    image = np.zeros((50, 70, 3), np.uint8)
    final = SamPrompt(Recorder(), threshold=0.5, points=2)(image, SOFT)
    assert final.any(axis=(1, 2)).tolist() == [True, False, True]
    (box, points), (_, corners) = asked
    region = NoRefiner(0.5)(image, SOFT)[0]
    ys, xs = np.nonzero(region)
    np.testing.assert_array_equal(box, [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
    np.testing.assert_array_equal(box, box_of(region))
    np.testing.assert_array_equal(points, [[35, 25]])  # the middle of row 2, column 3
    np.testing.assert_array_equal(corners, [[65, 45], [5, 5]])  # the higher first
    asked.clear()
    SamPrompt(Recorder(), threshold=0.5, points=0)(image, SOFT)
    assert [len(points) for _, points in asked] == [0, 0]
    asked.clear()
    SamPrompt(Recorder(), threshold=0.5, box=False)(image, SOFT)
    assert [box for box, _ in asked] == [None, None]


def test_a_run_with_prompts_to_sam(sam_folder: Path, tiny: ClipAsRnn, photo: np.ndarray) -> None:
    model = change(tiny, refiner=f"sam:{sam_folder}", theta=0.0)
    assert current(model)["refiner"] == f"sam:{sam_folder}"
    assert model.refiner.threshold == tiny.mask_threshold
    told: list[tuple[str, int, int]] = []
    with watching(lambda *what: told.append(what)):
        trace = model(photo, WORDS)
    assert trace.refined.any()
    assert any(stage == "sam" for stage, _, _ in told)
    assert trace.settings["refiner"]["stage"] == "SamPrompt"
    assert trace.settings["refiner"]["sam"]["sha256"] == trace.provenance["refiner.sha256"]
    assert json.dumps(trace.settings)
    assert change(model, refiner="none").refiner == NoRefiner(tiny.mask_threshold)


def test_regions_need_a_sam_that_gives_them(tmp_path: Path, tiny: ClipAsRnn) -> None:
    folder = save_tiny_sam2(tmp_path / "sam2")
    with pytest.raises(SettingError, match="expected a SAM or HQ-SAM for regions.*refiner='sam:"):
        match_regions(tiny, str(folder))


# --- the table ------------------------------------------------------------------------------------

NAMES = [name for name in REFINERS if name != "sam"]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_runs_and_comes_back(
    name: str, tiny: ClipAsRnn, photo: np.ndarray, tmp_path: Path
) -> None:
    model = change(tiny, refiner=name)
    assert SETTINGS["refiner"].read(model) == name
    trace = model(photo, WORDS)
    assert trace.refined.shape[1:] == photo.shape[:2]
    loaded = carlab.Trace.load(trace.save(tmp_path / "t.safetensors"))
    assert loaded.settings["refiner"]["stage"] == type(model.refiner).__name__
    state = LabState(WORDS, "offline").but(refiner=name)
    code = state.code(None, own_model=True).removeprefix("import carlab\n\n").removesuffix("\ntrace")
    made: dict[str, Any] = {"carlab": carlab, "model": tiny, "image": photo}
    exec(code, made)  # noqa: S102 - what the Lab tells people to run
    assert made["trace"] == trace


@pytest.mark.parametrize("name", [name for name in NAMES if name != "none"])
def test_how_pixels_are_shared_is_taken_over(name: str, tiny: ClipAsRnn) -> None:
    crf = replace(tiny, refiner=DenseCrf(background_power=3.0, compete=False))
    refiner = change(crf, refiner=name).refiner
    assert (refiner.background_power, refiner.compete) == (3.0, False)
    assert change(crf, refiner=name, refer=False).refiner.compete
    matched = change(crf, regions="superpixels", refiner=name).refiner
    assert matched.base == refiner


@pytest.mark.parametrize(
    "make",
    [
        lambda: Pamr(iterations=0),
        lambda: Pamr(dilations=()),
        lambda: Pamr(dilations=(0,)),
        lambda: Pamr(background_power=0.0),
        lambda: RandomWalker(beta=0.0),
        lambda: RandomWalker(certain=2.0),
        lambda: RandomWalker(max_volume=0),
        lambda: GrabCut(low=0.5),
        lambda: GrabCut(high=1.5),
        lambda: GrabCut(iterations=0),
        lambda: SamPrompt(None, threshold=-1.0),
        lambda: SamPrompt(None, points=0, box=False),
    ],
)
def test_impossible_settings(make: Callable[[], object]) -> None:
    with pytest.raises(SettingError, match="expected"):
        make()


def test_names_that_are_no_refiner(tiny: ClipAsRnn) -> None:
    for wrong in ("x", "pamr:y", "sam2"):
        with pytest.raises(
            SettingError, match="a refiner out of crf, pamr, sam, grabcut, random-walker, none"
        ):
            change(tiny, refiner=wrong)
