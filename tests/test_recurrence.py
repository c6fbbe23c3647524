"""The loop: stops, counts of passes, hooks, and what a prepared photo shares between runs."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations

import numpy as np
import pytest

import carlab
from carlab.backbones import Trunk
from carlab.errors import CarlabError, ProbeError, QueryError, SettingError
from carlab.hooks import PROBES, measure, open_edits, record, recorded_patterns, watching
from carlab.photo import Photo
from carlab.presets import match_regions
from carlab.recurrence import ClipAsRnn
from carlab.stages.affinity import Affinity
from carlab.stages.filter import Threshold
from carlab.stages.prompter import Contour
from carlab.stages.proposer import Evidence, GradCam
from carlab.stages.refiner import DenseCrf, NoRefiner
from tests.conftest import WORDS


def test_everything_kept_is_one_step(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    trace = replace(tiny, filter=Threshold(0.0))(photo, WORDS)
    assert (len(trace.steps), trace.stop, trace.survivors.tolist()) == (1, "fixed point", [0, 1, 2, 3, 4])


def test_nothing_present_is_an_answer(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    trace = replace(tiny, filter=Threshold(1.0, keep_best=False))(photo, WORDS)
    assert (trace.stop, trace.found, trace.refined.shape) == ("nothing present", (), (0, 70, 90))
    assert not trace.labels.any()
    assert {drop.step for drop in trace.drops} == {0}


def test_keep_best_always_leaves_one(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    trace = replace(tiny, filter=Threshold(1.0, keep_best=True))(photo, WORDS)
    assert len(trace.found) == 1
    assert trace.survivors[0] == np.nanargmax(trace.scores[0])


def test_step_limits(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    least = replace(tiny, filter=Threshold(0.0), min_steps=3)(photo, WORDS)
    assert (len(least.steps), least.stop) == (3, "fixed point")
    most = replace(tiny, filter=Threshold(0.2), max_steps=1)(photo, WORDS)
    assert len(most.steps) == 1
    assert most.stop == "step limit"
    assert len(most.refined) == len(most.survivors) < len(WORDS)


def test_each_thing_is_done_once(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    trace = tiny(photo, WORDS)
    assert trace.passes["trunk"] == trace.passes["affinity"] == 1
    assert trace.passes["vjp"] == len(WORDS) + 1
    assert trace.passes["image encode"] <= sum(len(step.active) for step in trace.steps)


def test_an_unchanged_mask_is_not_encoded_again(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    alone = replace(tiny.proposer, compete=False)  # masks then do not depend on who else is there
    trace = replace(tiny, proposer=alone, filter=Threshold(0.0), min_steps=4)(photo, WORDS)
    assert len(trace.steps) == 4
    assert trace.passes["image encode"] == len(WORDS)


def test_a_rerun_makes_no_trunk_pass_and_no_product(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    prepared = tiny.prepare(photo, WORDS)
    first = prepared.run()
    with measure() as cost:
        again = prepared.run()
        prepared.run(filter=Threshold(first.threshold + 1e-7, keep_best=True))
        prepared.run(refiner=DenseCrf())
    assert cost.passes == {}
    assert again.found == first.found
    with measure() as cost:
        prepared.run(proposer=replace(tiny.proposer, background_weight=0.5))
        prepared.run(prompter=Contour())
    assert set(cost.passes) == {"image encode"}


def test_a_run_tells_how_far_it_is(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    told: list[tuple[str, int, int]] = []
    prepared = replace(tiny, max_steps=1).prepare(photo, WORDS[:3])
    with watching(lambda *parts: told.append(parts)):
        prepared.run(batch=2)
    assert told == [("encode", 0, 3), ("encode", 2, 3), ("refine", 0, 1)]


def test_a_rerun_that_is_recorded_refines_once(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    """A refiner that matches to no regions has none to record: its masks stay remembered."""
    prepared = replace(tiny, refiner=DenseCrf(iterations=1)).prepare(photo, WORDS)
    with record("*"):
        first, again = prepared.run(), prepared.run()
    assert first.refined.any()
    assert "crf" in first.seconds and "crf" not in again.seconds


def test_a_rerun_is_a_run(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    """What is shared between runs must not be seen in the result."""
    prepared = tiny.prepare(photo, WORDS)
    prepared.run()
    changes = {
        "filter": Threshold(0.15, keep_best=True),
        "proposer": replace(tiny.proposer, background_weight=0.3, compete=False),
        "classifier": replace(tiny.classifier, fit="pad"),
        "prompter": Contour(width=3),
        "mask_threshold": 0.6,
        "background": ("grass",),
    }
    for name, value in changes.items():
        shared, fresh = prepared.run(**{name: value}), replace(tiny, **{name: value})(photo, WORDS)
        assert len(shared.steps) == len(fresh.steps), name
        for a, b in zip(shared.steps, fresh.steps, strict=True):
            np.testing.assert_allclose(a.cams, b.cams, atol=1e-5, err_msg=name)
            np.testing.assert_allclose(a.probs, b.probs, atol=1e-5, err_msg=name)
        assert shared.settings == fresh.settings
        assert shared.background == fresh.background


def test_a_query_does_not_compete_with_itself(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    assert tiny(photo, ["Sky", "cat"]).background == ("ground",)


def test_background_of_a_call(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    assert tiny(photo, ["cat"], background=["road"]).background == ("road",)
    assert tiny(photo, ["cat"], background=()).background == ()


def test_every_probe_fires_with_its_axes(tiny: ClipAsRnn, offline: ClipAsRnn, photo: np.ndarray) -> None:
    fired: set[str] = set()
    for model in (match_regions(tiny, "superpixels"), offline):
        trace = model(photo, WORDS, record=["*"])
        lengths = {
            "Q": len(WORDS),
            "B": len(trace.background),
            "h": 70,
            "w": 90,
            "p": trace.probes["classify.texts"].shape[0],
            "s": trace.steps[0].prompted.shape[1],
            "3": 3,
            "k": len(trace.survivors),
            "m": len(trace.probes.get("refine.regions", ())),
            "i": trace.steps[0].cams.shape[1],
            "j": trace.steps[0].cams.shape[2],
            "n": trace.steps[0].cams[0].size,
            "c": trace.probes["cam.activations"].shape[1],
            "d": trace.probes["classify.texts"].shape[2],
        }
        for step in trace.steps:
            for name, value in {**trace.probes, **step.probes}.items():
                axes = PROBES[name].axes.split()
                expected = {**lengths, "q": len(step.active)}
                if name == "cam.gradients":  # the background comes last, as one text
                    expected["Q"] += 1
                assert value.shape == tuple(expected[axis] for axis in axes), name
            assert all(PROBES[name].when == "step" for name in step.probes)
            fired |= step.probes.keys()
        assert all(PROBES[name].when in ("image", "end") for name in trace.probes)
        fired |= trace.probes.keys()
    assert fired == PROBES.keys()


def test_record_and_edit_around_a_run(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    plain = tiny(photo, WORDS)
    assert not plain.probes
    with carlab.record("filter.scores") as seen, carlab.edit("filter.scores", lambda s: s * 0):
        trace = tiny(photo, WORDS)
    assert trace.stop == "nothing present"
    np.testing.assert_array_equal(seen["filter.scores"], np.zeros(len(WORDS)))
    np.testing.assert_array_equal(trace.steps[0].probes["filter.scores"], seen["filter.scores"])
    assert tiny(photo, WORDS).found == plain.found


def test_editing_pictures_is_not_hidden_by_memory(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    prepared = tiny.prepare(photo, WORDS)
    before = prepared.run()
    with carlab.edit("classify.pictures", lambda pictures: pictures * 0):
        dark = prepared.run()
    after = prepared.run()
    assert np.abs(dark.steps[0].probs - before.steps[0].probs).max() > 1e-3
    np.testing.assert_array_equal(after.steps[0].probs, before.steps[0].probs)


def test_nothing_stays_behind_after_an_exception(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    def broken(_: np.ndarray) -> np.ndarray:
        raise RuntimeError("broken on purpose")

    with (
        pytest.raises(RuntimeError, match="on purpose"),
        carlab.record("*"),
        carlab.edit("classify.probs", broken),
    ):
        tiny(photo, WORDS)
    assert not open_edits.get()
    assert recorded_patterns() == ()
    assert tiny(photo, WORDS).steps


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda m, p: m(p, []), QueryError),
        (lambda m, p: m(p, "cat"), QueryError),
        (lambda m, p: m(p, ["x" * 10_000]), QueryError),
        (lambda m, p: m(p, ["cat"], background=["y " * 500]), QueryError),
        (lambda m, p: m(p, ["cat"], record=["no.such"]), ProbeError),
        (lambda m, p: replace(m, mask_threshold=2.0), SettingError),
        (lambda m, p: replace(m, min_steps=0), SettingError),
        (lambda m, p: replace(m, max_steps=1, min_steps=2), SettingError),
        (lambda m, p: replace(m, filter=Threshold(-0.1)), SettingError),
        (lambda m, p: replace(m.proposer, background_weight=-1.0), SettingError),
        (lambda m, p: replace(m.classifier, templates=()), SettingError),
        (lambda m, p: replace(m.classifier, fit="stretch"), SettingError),
        (lambda m, p: replace(m.classifier, templates=("a photo",)), QueryError),
    ],
)
def test_bad_input_is_one_clear_error(tiny: ClipAsRnn, photo: np.ndarray, call: object, error: type) -> None:
    with pytest.raises(error) as caught:
        call(tiny, photo)
    assert isinstance(caught.value, CarlabError)
    assert "expected" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_hundred_queries(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    names = [f"thing number {k}" for k in range(200)]
    trace = replace(tiny, filter=Threshold(0.005, keep_best=True))(photo, names)
    assert trace.steps[0].probs.shape == (200, 200)
    assert str(trace)


def test_a_stage_of_ones_own(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    """Anything with the right call can take a stage's place."""

    class FirstTwo:
        def __call__(self, probs: np.ndarray) -> np.ndarray:
            return np.arange(len(probs)) < 2

    assert replace(tiny, filter=FirstTwo())(photo, WORDS).found == WORDS[:2]


def test_settings_tell_stages_apart(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    trace = replace(tiny, refiner=NoRefiner(0.7))(photo, ["cat"])
    assert trace.settings["refiner"] == {"stage": "NoRefiner", "threshold": 0.7}
    assert trace.settings["prompter"]["prompts"][0]["stage"] == "Blur"
    assert trace.settings["classifier"]["stage"] == "TemplateClassifier"
    assert trace.provenance["proposer.sha256"] == tiny.proposer.backbone.sha256


# --- what runs share ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Squared(GradCam):
    """A CAM variant: it overrides one function."""

    power: float = 2.0

    def gather(self, trunk: Trunk, texts: Sequence[str], background: Sequence[str] = ()) -> list[Evidence]:
        evidence = super().gather(trunk, texts, background)
        return [one._replace(map=np.abs(one.map) ** self.power) for one in evidence]


def test_a_variant_never_gets_the_maps_of_another(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    fields_of = {field.name: getattr(tiny.proposer, field.name) for field in fields(tiny.proposer)}
    variants = [Squared(**fields_of), Squared(**fields_of, power=0.5), tiny.proposer]
    shared, prepared = Photo.of(photo), tiny.prepare(photo, WORDS)
    for variant in (*variants, *variants):
        fresh = replace(tiny, proposer=variant)(photo, WORDS)
        assert prepared.run(proposer=variant).settings == fresh.settings
        for trace in (prepared.run(proposer=variant), replace(tiny, proposer=variant)(shared, WORDS)):
            for step, expected in zip(trace.steps, fresh.steps, strict=True):
                np.testing.assert_allclose(step.cams, expected.cams, atol=1e-5)
    cams = [prepared.run(proposer=variant).steps[0].cams for variant in variants]
    assert all(np.abs(a - b).max() > 0.01 for a, b in combinations(cams, 2))


def test_what_was_encoded_before_a_cancel_stays(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    prepared = replace(tiny, batch=3, filter=Threshold(0.0)).prepare(photo, WORDS)

    def cancel(stage: str, done: int, of: int) -> None:
        if (stage, done, of) == ("encode", 3, 5):
            raise InterruptedError

    with measure() as cost, pytest.raises(InterruptedError), watching(cancel):
        prepared.run()
    assert cost.passes["image encode"] == 3
    assert prepared.run(max_steps=1).passes["image encode"] == 2


def test_a_trace_counts_the_passes_of_its_own_run(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    prepared = tiny.prepare(photo, WORDS)
    first, again = prepared.run(), prepared.run()
    assert first.passes["trunk"] == 1
    assert again.passes == {}
    assert "trunk" not in prepared.ask(WORDS[:2]).run().passes


def test_two_identical_runs_are_equal(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    prepared = tiny.prepare(photo, WORDS)
    first = prepared.run()
    assert first == prepared.run() == tiny(photo, WORDS)
    assert first != prepared.run(mask_threshold=0.7)


def test_models_share_a_photo(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    """Two models with the same backbones: the second makes no trunk pass and no product."""
    shared = Photo.of(photo)
    tiny(shared, WORDS)
    strict = replace(tiny, filter=Threshold(0.9, keep_best=True), name="strict")
    trace = strict(shared, WORDS)
    assert trace == strict(photo, WORDS)
    assert trace.passes.keys() <= {"image encode"}


def test_nine_values_of_lambda_keep_one_matrix(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    prepared = tiny.prepare(photo, WORDS)
    prepared.run()
    with measure() as cost:
        for box in range(1, 10):
            prepared.run(proposer=replace(tiny.proposer, affinity=Affinity(box / 10)))
    assert "affinity" not in cost.passes
    with measure() as cost:
        prepared.run(proposer=replace(tiny.proposer, affinity=Affinity(rounds=1)))
    assert cost.passes["affinity"] == 1


def test_stages_without_a_hash_are_refused(tiny: ClipAsRnn) -> None:
    class Listed(list):
        def __call__(self, probs: np.ndarray) -> np.ndarray:
            return probs.diagonal() > 0

    with pytest.raises(SettingError, match="hashed, got Listed"):
        replace(tiny, filter=Listed())


def test_a_function_as_a_stage_is_named_in_the_settings(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    """The same settings in every process: no memory address."""
    model = replace(tiny, prompter=lambda image, region: image)
    settings = model(photo, WORDS[:2]).settings
    assert settings["prompter"] == (
        "tests.test_recurrence.test_a_function_as_a_stage_is_named_in_the_settings.<locals>.<lambda>"
    )
    assert "0x" not in str(settings)
