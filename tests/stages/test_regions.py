"""Region matching, superpixels and SAM: final masks put together from regions of the photo."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from carlab.backbones.sam import load_sam, suppress
from carlab.errors import BackboneError, SettingError
from carlab.figures.inspection import probe_figure
from carlab.hooks import edit, record, watching
from carlab.presets import NUMBERS, load, match_regions
from carlab.recurrence import ClipAsRnn
from carlab.settings import change
from carlab.stages import regions as module
from carlab.stages.filter import Threshold
from carlab.stages.refiner import DenseCrf, NoRefiner
from carlab.stages.regions import RegionMatch, Superpixels
from tests.conftest import WORDS
from tests.tiny_sam import save_tiny_sam

SHAPE = (6, 8)


class Fixed:
    """Regions that are given, and how often they were asked for."""

    def __init__(self, *regions: np.ndarray) -> None:
        self.regions, self.asked = np.array(regions, dtype=bool).reshape(-1, *regions[0].shape), 0

    def __call__(self, image: np.ndarray) -> np.ndarray:
        self.asked += 1
        return self.regions


def box(top: int, left: int, bottom: int, right: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    region = np.zeros(shape, dtype=bool)
    region[top:bottom, left:right] = True
    return region


def match(mask: np.ndarray, *regions: np.ndarray, **options: float) -> np.ndarray:
    refiner = RegionMatch(NoRefiner(0.5), Fixed(*regions), **options)
    photo = np.random.default_rng(0).integers(0, 256, (*mask.shape, 3)).astype(np.uint8)
    return refiner(photo, mask[None].astype(np.float32))[0]


def test_the_union_of_the_regions_that_fit_takes_the_place_of_the_mask() -> None:
    mask = box(1, 1, 5, 6)
    left, right, elsewhere = box(0, 1, 5, 3), box(1, 3, 5, 6), box(5, 6, 6, 8)
    np.testing.assert_array_equal(match(mask, left, right, elsewhere), left | right)


def test_a_union_that_agrees_too_little_leaves_the_mask() -> None:
    """A region that holds the mask, and much more, matches by IoM; the IoU refuses it."""
    mask, all_of_it = box(1, 1, 4, 4), box(0, 0, *SHAPE)
    np.testing.assert_array_equal(match(mask, all_of_it), mask)
    np.testing.assert_array_equal(match(mask, all_of_it, iou=0.1), all_of_it)
    np.testing.assert_array_equal(match(mask, box(1, 1, 4, 3)), mask)  # two thirds of it: IoU 0.67


def test_nothing_to_match() -> None:
    none = np.zeros((0, *SHAPE), dtype=bool)
    regions = Fixed(box(0, 0, 1, 1))
    refiner = RegionMatch(NoRefiner(0.5), regions)
    photo = np.zeros((*SHAPE, 3), np.uint8)
    assert refiner(photo, none.astype(np.float32)).shape == none.shape
    assert not refiner(photo, np.zeros((2, *SHAPE), np.float32)).any()
    assert not regions.asked, "no mask, no need for regions"
    regions.regions = none
    np.testing.assert_array_equal(
        refiner(photo, box(0, 0, 3, 3)[None].astype(np.float32))[0], box(0, 0, 3, 3)
    )


SIXTEENTHS = st.integers(0, 16).map(lambda k: k / 16)  # whose products are exact


@given(arrays(bool, SHAPE), arrays(bool, (5, *SHAPE)), SIXTEENTHS, SIXTEENTHS)
def test_matching_is_what_the_paper_writes(
    mask: np.ndarray, regions: np.ndarray, iom: float, iou: float
) -> None:
    """Against pixels counted one by one, as sets."""

    def pixels(region: np.ndarray) -> set[tuple[int, ...]]:
        return set(map(tuple, np.argwhere(region).tolist()))

    own, union = pixels(mask), set()
    for region in map(pixels, regions):
        if own and region and len(own & region) / min(len(own), len(region)) > iom:
            union |= region
    fits = bool(union) and len(own & union) / len(own | union) > iou
    assert pixels(match(mask, *regions, iom=iom, iou=iou)) == (union if fits else own)


@given(arrays(bool, SHAPE), arrays(bool, (4, *SHAPE)), SIXTEENTHS, SIXTEENTHS, SIXTEENTHS)
def test_matching_is_what_the_release_does(
    mask: np.ndarray, regions: np.ndarray, iom: float, iou: float, least: float
) -> None:
    """The steps of its `IoM`, `match_masks` and `get_sam_masks`, one region after the other."""
    shares = []
    for region in regions:
        common, area, own = (int(part.sum()) for part in (mask & region, region, mask))
        of_mask = common / own if own else 0.0
        of_region = common / area if area and of_mask >= least else 0.0
        shares.append(max(of_region, of_mask))
    chosen = [k for k, share in enumerate(shares) if share > iom] or [int(np.argmax(shares))]
    union = regions[chosen].any(axis=0)
    both = int((union | mask).sum())
    fits = bool(both) and int((union & mask).sum()) / both > iou
    found = match(mask, *regions, iom=iom, iou=iou, least_common=least, keep_best=True)
    np.testing.assert_array_equal(found, union if fits else mask)


def test_large_photos_are_matched_at_the_side_of_sam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_SIDE", 8)
    small, large = box(1, 1, 5, 6), box(2, 2, 10, 12, (12, 16))
    mask = large.copy()
    mask[2:4, 2:4] = False
    regions = Fixed(small)
    photo = np.zeros((12, 16, 3), np.uint8)
    final = RegionMatch(NoRefiner(0.5), regions)(photo, mask[None].astype(np.float32))
    np.testing.assert_array_equal(final[0], large)


def test_regions_are_sought_once_a_photo(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    regions = Fixed(np.ones(photo.shape[:2], dtype=bool))
    prepared = replace(tiny, refiner=RegionMatch(NoRefiner(0.1), regions)).prepare(photo, WORDS)
    traces = [prepared.run(filter=Threshold(theta)) for theta in (0.0, 0.2, 0.205)]
    assert len({trace.found for trace in traces}) > 1
    assert regions.asked == 1
    assert traces[0].passes["regions"] == 1
    prepared.run(refiner=RegionMatch(NoRefiner(0.2), regions, 0.1))
    assert regions.asked == 1, "another threshold needs the same regions"


def test_regions_are_a_probe(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    prepared = replace(tiny, refiner=RegionMatch(NoRefiner(0.1), Superpixels())).prepare(photo, WORDS)
    plain = prepared.run(filter=Threshold(0.0))
    assert not plain.probes
    with record("refine.regions"):
        traces = [prepared.run(filter=Threshold(0.0)) for _ in range(2)]
    for trace in traces:  # also where the masks themselves are remembered
        assert trace.probes["refine.regions"].shape[1:] == photo.shape[:2]
        assert probe_figure(trace, 0, "refine.regions").layout.images[0].sizex > 0
    with edit("refine.regions", np.zeros_like):
        edited = prepared.run(filter=Threshold(0.0))
    base = prepared.run(filter=Threshold(0.0), refiner=NoRefiner(0.1))
    np.testing.assert_array_equal(edited.refined, base.refined)
    np.testing.assert_array_equal(prepared.run(filter=Threshold(0.0)).refined, plain.refined)


def test_superpixels_part_the_photo_at_every_scale(photo: np.ndarray) -> None:
    fine, coarse = (Superpixels((scale,), smallest=0.003)(photo) for scale in (20.0, 2000.0))
    both = Superpixels((20.0, 2000.0), smallest=0.003)(photo)
    for regions in (fine, coarse):
        assert (regions.sum(axis=0) == 1).all()
        assert regions.any(axis=(1, 2)).all()
    assert len(fine) > len(coarse)
    np.testing.assert_array_equal(both, np.concatenate([fine, coarse]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Superpixels(()),
        lambda: Superpixels((0.0,)),
        lambda: Superpixels(smallest=-1.0),
        lambda: RegionMatch(NoRefiner(), Superpixels(), iom=1.2),
        lambda: RegionMatch(NoRefiner(), Superpixels(), iou=float("nan")),
        lambda: RegionMatch(NoRefiner(), Superpixels(), least_common=-0.1),
    ],
)
def test_impossible_settings(make: Callable[[], object]) -> None:
    with pytest.raises(SettingError, match="expected"):
        make()


# --- presets and changes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "iom"),
    [("voc", 0.6), ("coco", 0.7), ("context", 0.5), ("pc459", 0.6), ("ade847", 0.6), ("refcoco+", 0.5)],
)
def test_thresholds_of_the_presets(dataset: str, iom: float, clip_folders: tuple[Path, Path]) -> None:
    f, g = map(str, clip_folders)
    for kind, iou in (("paper", 0.7), ("reference", 0.9)):
        model = load(f"{kind}/{dataset}", proposer_backbone=f, classifier=g, regions="superpixels")
        assert (model.refiner.iom, model.refiner.iou) == (iom, iou)
        assert isinstance(model.refiner.base, DenseCrf)
    assert NUMBERS[dataset].iom == iom


def test_changes_of_the_regions(tiny: ClipAsRnn) -> None:
    matched = change(tiny, regions="superpixels", refiner="crf")
    assert matched.refiner == RegionMatch(DenseCrf(), Superpixels())
    assert change(matched, refiner="none", eta=0.7).refiner.base == NoRefiner(0.7)
    assert change(matched, refer=True).refiner.base == DenseCrf(compete=False)
    assert change(matched, regions="none").refiner == DenseCrf()
    assert change(tiny, regions="none") == tiny
    assert match_regions(matched, "superpixels") == matched
    with pytest.raises(
        BackboneError, match=r'expected "superpixels", a folder.*sam-hq-vit-huge.*got \'magic\''
    ):
        change(tiny, regions="magic")


# --- SAM ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[False, True], ids=["SAM", "HQ-SAM"])
def sam_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sam(tmp_path_factory.mktemp("sam"), hq=request.param)


EVERYTHING = {"points_per_side": 4, "predicted_iou": 0.0, "stability": 0.0, "box_overlap": 1.0}


def test_sam_gives_three_masks_a_point(sam_folder: Path, photo: np.ndarray) -> None:
    sam = load_sam(str(sam_folder), **EVERYTHING)
    masks = sam(photo)
    assert masks.shape == (3 * 4 * 4, *photo.shape[:2])
    assert len(np.unique(masks.reshape(len(masks), -1), axis=0)) > 10
    assert len(replace(sam, box_overlap=0.7)(photo)) < len(masks)
    assert replace(sam, predicted_iou=1e9)(photo).shape == (0, *photo.shape[:2])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(sam))(photo), masks)  # noqa: S301 - for Ray
    assert load_sam(str(sam_folder), **EVERYTHING) is sam


def test_points_are_asked_in_batches_of_any_size(sam_folder: Path, photo: np.ndarray) -> None:
    sam = load_sam(str(sam_folder), **EVERYTHING)
    together, apart = sam(photo), replace(sam, batch=5)(photo)
    assert (together == apart).mean() > 0.999


def test_sam_tells_how_far_it_is_and_can_be_stopped(sam_folder: Path, photo: np.ndarray) -> None:
    refine = RegionMatch(NoRefiner(0.5), replace(load_sam(str(sam_folder), **EVERYTHING), batch=5))
    masks = np.ones((1, *photo.shape[:2]), np.float32)
    told: list[tuple[str, int, int]] = []

    def stop(stage: str, done: int, of: int) -> None:
        told.append((stage, done, of))
        if done == 2:
            raise InterruptedError

    with watching(stop), pytest.raises(InterruptedError):
        refine(photo, masks)
    assert told == [("regions", done, 4) for done in (0, 0, 1, 2)]
    refine(photo, masks)  # nobody watches; what was stopped is not taken for an answer
    with watching(stop):
        refine(photo, masks)  # known
    assert len(told) == 4


def test_a_run_with_sam(sam_folder: Path, tiny: ClipAsRnn, photo: np.ndarray) -> None:
    model = match_regions(tiny, str(sam_folder))
    trace = model(photo, WORDS)
    assert trace.provenance["refiner.regions"] == f"SAM {sam_folder}"
    assert len(trace.provenance["refiner.sha256"]) == 64
    settings = trace.settings["refiner"]["regions"]
    assert (settings["points_per_side"], settings["sha256"]) == (64, trace.provenance["refiner.sha256"])
    assert json.dumps(trace.settings)


@given(arrays(np.int64, (7, 4), elements=st.integers(0, 9)), st.permutations(range(7)), SIXTEENTHS)
def test_suppression_against_pairs(corners: np.ndarray, ranks: list[int], threshold: float) -> None:
    """A box stays just when no better one that stayed overlaps it too much."""
    boxes = np.concatenate(
        [np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])], axis=1
    )

    def overlap(a: np.ndarray, b: np.ndarray) -> float:
        width, height = (max(0, min(a[2 + k], b[2 + k]) - max(a[k], b[k])) for k in (0, 1))
        areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
        union = sum(areas) - width * height
        return width * height / union if union else 0.0

    stay: list[int] = []
    for index in sorted(range(7), key=lambda index: -ranks[index]):
        if all(overlap(boxes[index], boxes[other]) <= threshold for other in stay):
            stay.append(index)
    found = suppress(torch.tensor(boxes).float(), torch.tensor(ranks).float(), threshold)
    assert found.tolist() == stay


BROKEN: dict[str, Callable[[Path], object]] = {
    "no weights": lambda f: (f / "model.safetensors").unlink(),
    "another model": lambda f: (f / "config.json").write_text(json.dumps({"model_type": "clip"})),
    "no preprocessor": lambda f: (f / "preprocessor_config.json").unlink(),
    "random bytes": lambda f: (f / "model.safetensors").write_bytes(bytes(range(256)) * 9),
}


@pytest.mark.parametrize("problem", BROKEN)
def test_a_broken_sam_is_one_clear_error(tmp_path: Path, problem: str) -> None:
    folder = save_tiny_sam(tmp_path / "sam")
    BROKEN[problem](folder)
    with pytest.raises(BackboneError, match="expected.*superpixels") as caught:
        load_sam(str(folder))
    assert "\n" not in str(caught.value)
