"""One call: every row of the settings table, vocabularies by name, many images, errors of one line."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import carlab
from carlab.errors import ImageError, QueryError, SettingError
from carlab.queries import BACKGROUNDS
from carlab.recurrence import ClipAsRnn
from carlab.settings import SETTINGS, change, current
from carlab.tasks import calls
from carlab.trace import Trace

VALUES: dict[str, Any] = {
    "theta": 0.05,
    "eta": 0.3,
    "proposer": "maskclip",
    "affinity": False,
    "box": 0.7,
    "prompter": "blur",
    "background_weight": 0.5,
    "keep_best": True,
    "max_steps": 1,
    "batch": 2,
    "refiner": "none",
    "score": "softmax",
    "refer": True,
    "regions": "superpixels",
    "background": "man-made",
}
WORDS = ["cat", "dog", "sofa"]


@pytest.fixture
def loaded(tiny: ClipAsRnn, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, dict]]]:
    """The tiny model in the place of every preset; what was loaded."""
    made: list[tuple[str, dict]] = []

    def load(preset: str, **options: Any) -> ClipAsRnn:
        made.append((preset, options))
        return tiny

    calls._loaded.cache_clear()
    monkeypatch.setattr(calls, "load", load)
    yield made
    calls._loaded.cache_clear()


def test_every_row_of_the_table_is_tried_here() -> None:
    assert set(VALUES) == {row.key for row in SETTINGS.values()}


@pytest.mark.parametrize("name", VALUES)
def test_every_setting_is_an_argument(name: str, loaded: list, tiny: ClipAsRnn, photo: np.ndarray) -> None:
    trace = carlab.segment(photo, WORDS, **{name: VALUES[name]})
    assert trace == change(tiny, **{name: VALUES[name]})(photo, WORDS)
    assert loaded == [("offline", {})]


def test_the_call_of_the_issue(loaded: list, tiny: ClipAsRnn, photo: np.ndarray) -> None:
    trace = carlab.segment(photo, WORDS, theta=0.5, prompter="blur", device="cpu")
    assert trace.threshold == 0.5
    assert current(change(tiny, prompter="blur"))["prompter"] == "blur"
    assert loaded == [("offline", {"device": "cpu"})]


def test_another_setting_loads_nothing_again(loaded: list, photo: np.ndarray) -> None:
    for theta in (0.1, 0.2):
        carlab.segment(photo, WORDS, theta=theta)
    assert len(loaded) == 1


def test_a_background_is_a_list_or_a_name(loaded: list, photo: np.ndarray) -> None:
    assert carlab.segment(photo, WORDS, background=["sky"]).background == ("sky",)
    assert carlab.segment(photo, WORDS, background="release").background == BACKGROUNDS["release"]
    assert carlab.segment(photo, WORDS, background="sky, sea").background == ("sky", "sea")


def test_a_name_that_is_no_setting_is_said(loaded: list, photo: np.ndarray) -> None:
    with pytest.raises(
        SettingError, match=r"expected settings out of proposer_backbone, .*theta.*, got 'teta'"
    ):
        carlab.segment(photo, WORDS, teta=0.5)
    assert not loaded


@pytest.mark.parametrize("call", [carlab.segment_many, carlab.segment])
def test_both_take_the_same_settings(call: Callable[..., Any], loaded: list, photo: np.ndarray) -> None:
    given = [photo] if call is carlab.segment_many else photo
    with pytest.raises(SettingError, match="teta"):
        call(given, WORDS, teta=0.5)


def test_many_images_as_one_by_one(loaded: list, tiny: ClipAsRnn, photo: np.ndarray, tmp_path: Path) -> None:
    images = [photo, tmp_path / "missing.png", photo[:, ::-1]]
    first, second, third = carlab.segment_many(images, WORDS, theta=0.1, workers=0)
    assert isinstance(second, ImageError)
    model = change(tiny, theta=0.1)
    for made, image in ((first, photo), (third, images[2])):
        assert isinstance(made, Trace)
        alone = model(image, WORDS)
        assert made.found == alone.found
        np.testing.assert_allclose(made.scores, alone.scores, atol=1e-5)


def test_many_images_take_an_endless_stream(loaded: list, photo: np.ndarray) -> None:
    def forever() -> Iterator[np.ndarray]:
        while True:
            yield photo

    traces = carlab.segment_many(forever(), WORDS, workers=0)
    assert isinstance(next(traces), Trace)


def test_queries_that_cannot_be_used_end_it(loaded: list, photo: np.ndarray) -> None:
    with pytest.raises(QueryError):
        list(carlab.segment_many([photo], [], workers=0))
