"""Studies on the screen: charts have the numbers of the study, and a click opens the runs behind them."""

import numpy as np
import pytest

from carlab.recurrence import ClipAsRnn
from carlab.studies import Wording, counterfactual, leave_one_out, phase_diagram, vocabulary
from carlab.studies.removal import last_scores
from carlab.studies.screen import leave_one_out_chart, phase_chart, vocabulary_chart
from carlab.widgets import Compare, StudyView
from tests.hostile.strings import HOSTILE

QUERIES = ("cat", "dog", "red car")


def test_the_matrix_is_that_of_the_study_and_a_click_compares(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    study = leave_one_out(tiny, photo, QUERIES)
    (drawn,) = leave_one_out_chart(study).data
    np.testing.assert_allclose(np.array(drawn.z, float), study.scores - last_scores(study.base))
    said = {(word, query) for word, query, _ in study.changes}
    texts = np.array(drawn.text, dtype=object)
    for row, word in enumerate(study.removed):
        for column, query in enumerate(QUERIES):
            assert bool(texts[row, column]) == ((word, query) in said)
    view = StudyView(study)
    view.chart.clicked = {"curve": 0, "point": [1, 0], "x": 0, "y": 1, "count": 1}  # as the browser does
    assert view.chosen == 1
    (compared,) = view.below.children
    assert isinstance(compared, Compare)
    assert compared.other is study.base
    assert compared.trace is study.traces[1]
    view.chosen = -1
    assert view.below.children == ()


@pytest.mark.parametrize("etas", [(), (0.3, 0.5, 0.7)])
def test_phases_on_the_screen(etas: tuple[float, ...], tiny: ClipAsRnn, photo: np.ndarray) -> None:
    diagram = phase_diagram(tiny, photo, QUERIES, etas=etas)
    chart = phase_chart(diagram)
    if not etas:
        for query, bars in enumerate(chart.data[: len(QUERIES)]):
            kept = [(phase.low, phase.high) for phase in diagram.phases[0] if query in phase.kept]
            ends = [(low, low + wide) for low, wide in zip(bars.base or (), bars.x or (), strict=True)]
            np.testing.assert_allclose(ends, kept)
    view = StudyView(diagram)
    view.chart.clicked = {"curve": 0, "point": 3, "x": 0.31, "y": etas[1] if etas else 1, "count": 1}
    phase = diagram.at(0.31, 1 if etas else 0)
    expected = ", ".join(QUERIES[k] for k in phase.kept) or "nothing"
    assert f"kept {expected} after step {phase.steps}" in view.words.value


def test_the_plane_has_the_kept_set_at_every_point(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    diagram = phase_diagram(tiny, photo, QUERIES, etas=(0.3, 0.5))
    drawn = phase_chart(diagram).data[0]
    numbers, texts = np.array(drawn.z), np.array(drawn.text, dtype=object)
    for row in range(2):
        for column in range(0, numbers.shape[1], 37):
            middle = (drawn.x[column] + drawn.x[column + 1]) / 2
            kept = [QUERIES[k] for k in diagram.at(float(middle), row).kept]
            assert texts[row, column] == (", ".join(kept) or "nothing")


def test_wordings_on_the_screen(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    truth = np.zeros(photo.shape[:2], dtype=np.int64)
    truth[:30] = 1
    wordings = {"plain": Wording(), "pets": Wording(queries=("kitten", "puppy"))}
    study = vocabulary(tiny, [(photo, truth), (photo[::-1].copy(), truth)], ["cat", "dog"], wordings)
    (dots,) = vocabulary_chart(study).data
    np.testing.assert_allclose(dots.x, [100 * study.miou(name).value for name in study.names])
    assert "pets" in StudyView(study).children[-1].value


def test_a_counterfactual_is_both_runs_in_one_picture(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    study = counterfactual(tiny, photo, QUERIES, "dog", 0, stays=False)
    title, compared = StudyView(study).children
    assert "dog is dropped at step 1" in title.value
    assert (compared.other, compared.trace) == (study.before, study.after)


def test_any_text_is_text(tiny: ClipAsRnn, photo: np.ndarray) -> None:
    """No tag reaches plotly or the page."""
    some = [text for text in HOSTILE if "<" in text][:3]
    view = StudyView(leave_one_out(tiny, photo, some, background=()))
    for tick in view.chart.figure["layout"]["yaxis"]["ticktext"]:
        assert "<" not in tick
    assert "<script" not in view.children[-1].value
