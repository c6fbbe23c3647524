"""Studies on a tiny CLIP, each claim against brute force: other runs, from scratch, or a loop written out."""

import json
from dataclasses import replace

import numpy as np
import pytest

from carlab.errors import QueryError, SettingError
from carlab.files.pictures import resize
from carlab.hooks import measure
from carlab.photo import Photo
from carlab.recurrence import ClipAsRnn
from carlab.stages.filter import Threshold
from carlab.studies import (
    Wording,
    counterfactual,
    leave_one_out,
    phase_diagram,
    vocabulary,
)
from carlab.studies.removal import last_scores
from carlab.trace import Trace
from carlab.trace.comparison import overlap_of

QUERIES = ("cat", "dog", "red car", "bottle")
BACKGROUND = ("ground", "sky")


@pytest.fixture(scope="module")
def model(tiny_double: ClipAsRnn) -> ClipAsRnn:
    """In double precision no pixel hangs on the last bit, so runs from scratch give the same sets."""
    return replace(tiny_double, background=BACKGROUND)


def photo_of_noise() -> np.ndarray:
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[:70, :90]
    picture = rng.integers(0, 120, (70, 90, 3))
    picture[(rows - 20) ** 2 + (columns - 25) ** 2 < 180] += np.array([130, 20, 0])
    return picture.astype(np.uint8)


def test_leave_one_out_is_a_run_from_scratch_without_each(model: ClipAsRnn, photo: np.ndarray) -> None:
    with measure() as cost:
        study = leave_one_out(model, photo, QUERIES)
    assert study.removed == (*QUERIES, *BACKGROUND)
    # One vector-Jacobian product a query, one for the background, and one for each background without a word.
    assert cost.passes["trunk"] == 1
    assert cost.passes["vjp"] == len(QUERIES) + 1 + len(BACKGROUND)
    base = model(photo.copy(), QUERIES)
    assert study.base.found == base.found
    for row, (word, made) in enumerate(zip(study.removed, study.traces, strict=True)):
        queries = [query for query in QUERIES if query != word]
        words = [one for one in BACKGROUND if one != word]
        alone = model(photo.copy(), queries, background=words)
        assert made.survivors.tolist() == alone.survivors.tolist()
        np.testing.assert_allclose(made.scores, alone.scores, atol=1e-6)
        np.testing.assert_array_equal(made.refined, alone.refined)
        for column, query in enumerate(QUERIES):
            if query == word:
                assert np.isnan(study.scores[row, column])
                assert np.isnan(study.iou[row, column])
                continue
            place = queries.index(query)
            np.testing.assert_allclose(study.scores[row, column], last_scores(alone)[place], atol=1e-6)
            assert study.kept[row, column] == (place in alone.survivors)
            a, b = set(np.flatnonzero(alone[query])), set(np.flatnonzero(base[query]))
            expected = len(a & b) / len(a | b) if a | b else 1.0
            assert study.iou[row, column] == pytest.approx(expected)


def test_leave_one_out_encodes_no_image_twice(model: ClipAsRnn, photo: np.ndarray) -> None:
    with measure() as cost:
        study = leave_one_out(model, photo, QUERIES)
    different = {image.tobytes() for trace in (study.base, *study.traces) for step in trace.steps
                 for image in step.prompted}  # fmt: skip
    assert cost.passes["image encode"] == len(different)


def test_changes_and_rows_agree_with_the_table(model: ClipAsRnn, photo: np.ndarray) -> None:
    study = leave_one_out(model, photo, QUERIES)
    before = [query in [study.base.queries[k] for k in study.base.survivors] for query in QUERIES]
    expected = {
        (word, query)
        for row, word in enumerate(study.removed)
        for column, query in enumerate(QUERIES)
        if query != word and study.kept[row, column] != before[column]
    }
    assert {(word, query) for word, query, _ in study.changes} == expected
    rows = json.loads(json.dumps(study.rows(), allow_nan=False))
    assert [row["without"] for row in rows] == list(study.removed)
    assert all(word in str(study) for word in study.removed)


def test_the_only_query_is_not_taken_away(model: ClipAsRnn, photo: np.ndarray) -> None:
    assert leave_one_out(model, photo, ["cat"]).removed == BACKGROUND


@pytest.mark.parametrize("keep_best", [False, True])
def test_phases_are_exact(keep_best: bool, model: ClipAsRnn, photo: np.ndarray) -> None:
    """At every break point, just below it, and inside: a run from scratch keeps what the diagram says."""
    one = replace(model, filter=Threshold(0.2, keep_best=keep_best))
    diagram = phase_diagram(one, photo, QUERIES)
    (phases,) = diagram.phases
    assert len(phases) > 2
    assert phases[0].low == 0
    assert phases[-1].high == 1
    shared = Photo.of(photo)
    for phase, following in zip(phases, [*phases[1:], None], strict=True):
        inside = [phase.low, (phase.low + phase.high) / 2]
        below = float(np.nextafter(np.float32(phase.high), np.float32(0)))
        for theta in [*inside, *([below] if following and below >= phase.low else [])]:
            trace = replace(one, filter=Threshold(theta, keep_best=keep_best))(shared, QUERIES)
            assert tuple(trace.survivors.tolist()) == phase.kept
            assert len(trace.steps) == phase.steps
            assert diagram.at(theta) == phase
        if following:
            assert following.low == phase.high


def test_no_phase_lies_between_break_points(model: ClipAsRnn, photo: np.ndarray) -> None:
    diagram, shared = phase_diagram(model, photo, QUERIES), Photo.of(photo)
    for theta in np.linspace(0, 1, 101):
        trace = replace(model, filter=Threshold(float(theta), keep_best=False))(shared, QUERIES)
        assert tuple(trace.survivors.tolist()) == diagram.at(float(theta)).kept


def test_a_grid_of_eta(model: ClipAsRnn, photo: np.ndarray) -> None:
    etas, thetas = (0.3, 0.5), (0.1, 0.2, 0.3)
    diagram = phase_diagram(model, photo, QUERIES, etas=etas)
    kept = diagram.kept(thetas)
    for row, eta in enumerate(etas):
        for column, theta in enumerate(thetas):
            one = replace(model, mask_threshold=eta, filter=Threshold(theta, keep_best=False))
            assert np.flatnonzero(kept[row, column]).tolist() == one(photo, QUERIES).survivors.tolist()
    assert len(str(diagram).splitlines()) == 1 + sum(map(len, diagram.phases))


def test_phases_need_a_theta(model: ClipAsRnn, photo: np.ndarray) -> None:
    def all_of_them(probs: np.ndarray) -> np.ndarray:
        return np.ones(len(probs), dtype=bool)

    with pytest.raises(SettingError, match="filter with a theta"):
        phase_diagram(replace(model, filter=all_of_them), photo, QUERIES)


def written_out(model: ClipAsRnn, image: np.ndarray, query: int, step: int, stays: bool, hold: bool):
    """The loop of the paper, stage by stage, with one answer of the filter replaced."""
    photo = Photo.of(image.copy())
    proposals = model.proposer.prepare(photo, QUERIES, BACKGROUND)
    texts = model.classifier.encode_text(QUERIES)
    active, sets = np.arange(len(QUERIES)), []
    for t in range(20):
        masks = model.proposer(proposals, active, t).masks
        regions = [resize(mask, *image.shape[:2]) > model.mask_threshold for mask in masks]
        drawn = np.stack([model.classifier.preprocess(model.prompter(image, region)) for region in regions])
        probs = model.classifier(model.classifier.encode_images(drawn), texts, active)
        kept = model.filter(probs)
        if t == step or (hold and stays and t > step):
            kept[active == query] = stays
        sets.append(active[kept].tolist())
        if not kept.any() or (kept.all() and t != step):
            return sets
        active = active[kept]
    raise AssertionError


@pytest.mark.parametrize(("stays", "hold"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("query", range(len(QUERIES)))
def test_counterfactual_is_the_loop_written_out(
    query: int, stays: bool, hold: bool, model: ClipAsRnn, photo: np.ndarray
) -> None:
    study = counterfactual(model, photo, QUERIES, QUERIES[query], 0, stays=stays, hold=hold)
    assert study.before == model(photo, QUERIES)
    made = [step.survivors.tolist() for step in study.after.steps]
    assert made == written_out(model, photo, query, 0, stays, hold)
    if study.before.steps[0].kept[query] == stays and not hold:
        assert study.comparison.agreement == 1


def test_counterfactual_says_what_was_forced(model: ClipAsRnn, photo: np.ndarray) -> None:
    study = counterfactual(model, photo, QUERIES, "dog", 0, stays=False)
    assert study.title == "dog is dropped at step 1"
    assert study.after.provenance["counterfactual"] == "step 1: dog is dropped"
    assert study.after.settings == study.before.settings
    assert study.title in str(study)
    json.dumps(study.rows(), allow_nan=False)
    for query, step in (("bus", 0), ("dog", 99)):
        with pytest.raises(SettingError, match="active in step"):
            counterfactual(model, photo, QUERIES, query, step, stays=True)


WORDINGS = {
    "plain": Wording(),
    "synonyms": Wording(queries=("kitten", "puppy")),
    "templates": Wording(templates=("{}", "a drawing of a {}")),
    "background": Wording(background=("wall",)),
}


def test_vocabulary_is_runs_one_by_one(model: ClipAsRnn, photo: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    images = [photo, photo[:, ::-1].copy(), photo_of_noise()]
    examples = [(image, rng.integers(-1, 3, image.shape[:2])) for image in images]
    classes = ["cat", "dog"]
    with measure() as cost:
        study = vocabulary(model, examples, classes, WORDINGS)
    assert cost.passes["trunk"] == len(images)
    traces: dict[str, list[Trace]] = {}
    for name, wording in WORDINGS.items():
        templates = wording.templates or model.classifier.templates
        changed = replace(model, classifier=replace(model.classifier, templates=templates))
        queries = wording.queries or classes
        traces[name] = [changed(image.copy(), queries, background=wording.background) for image in images]
    for row, (name, made) in enumerate(traces.items()):
        assert study.miou(name).value == pytest.approx(brute_miou(made, [truth for _, truth in examples]))
        for column, (one, first) in enumerate(zip(made, traces["plain"], strict=True)):
            kept, usual = set(one.survivors.tolist()), set(first.survivors.tolist())
            assert study.overlap[row, column].tolist() == [len(kept & usual), len(kept | usual)]
    low, value, high = (study.difference("synonyms")[k] for k in (1, 0, 2))
    assert low <= value <= high
    assert tuple(study.difference("plain")) == (0, 0, 0)
    values = [study.miou(name).value for name in study.names]
    assert study.spread == pytest.approx(max(values) - min(values))
    assert str(study).splitlines()[1].startswith("plain")


def brute_miou(traces: list[Trace], truths: list[np.ndarray]) -> float:
    """Set arithmetic over all pixels of all images; ignored pixels belong to no set."""
    values = []
    for label in range(3):
        true, found = set(), set()
        for number, (trace, truth) in enumerate(zip(traces, truths, strict=True)):
            for pixel in np.argwhere(truth >= 0).tolist():
                place = (number, *pixel)
                true |= {place} if truth[tuple(pixel)] == label else set()
                found |= {place} if trace.labels[tuple(pixel)] == label else set()
        if true | found:
            values.append(len(true & found) / len(true | found))
    return sum(values) / len(values)


def test_vocabulary_of_templates_encodes_no_image_again(model: ClipAsRnn, photo: np.ndarray) -> None:
    """Only texts depend on them."""
    truth = np.zeros(photo.shape[:2], np.int64)
    one = replace(model, filter=Threshold(0.0))
    with measure() as plain:
        vocabulary(one, [(photo, truth)], ["cat", "dog"], {"plain": Wording()})
    with measure() as both:
        vocabulary(
            one, [(photo, truth)], ["cat", "dog"], {key: WORDINGS[key] for key in ("plain", "templates")}
        )
    assert both.passes["image encode"] == plain.passes["image encode"]


def test_vocabulary_says_what_is_wrong(model: ClipAsRnn, photo: np.ndarray) -> None:
    truth = np.zeros(photo.shape[:2], np.int64)
    with pytest.raises(QueryError, match="expected 2 queries, one for each class, got 1 in 'short'"):
        vocabulary(model, [(photo, truth)], ["cat", "dog"], {"short": Wording(queries=("cat",))})
    with pytest.raises(SettingError, match="got none"):
        vocabulary(model, [], ["cat"], {"plain": Wording()})


def test_iou_of_masks() -> None:
    a, b = np.zeros((2, 3), bool), np.zeros((2, 3), bool)
    assert overlap_of(a, b) == 1
    a[0, :2] = b[0, 1:] = True
    assert overlap_of(a, b) == pytest.approx(1 / 3)
