"""What the browser asks a Lab: words, regions, files, other images, in messages as it sends them."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from carlab.errors import SettingError
from carlab.figures.paper import OF_ONE
from carlab.photo import Photo
from carlab.recurrence import ClipAsRnn
from carlab.stages.filter import Threshold
from carlab.studies import region_scores, word_maps
from carlab.trace import Trace
from carlab.widgets import Lab, RecurrencePlayer
from carlab.widgets.files import FIGURE_FORMATS, file_of
from carlab.widgets.front import Front
from tests.conftest import WORDS
from tests.traces import make_trace

SECONDS = 60
BOX = {"kind": "box", "points": [[0.1, 0.2], [0.7, 0.9]], "count": 1}


@pytest.fixture
def lab(tiny: ClipAsRnn, photo: np.ndarray) -> Lab:
    lab = Lab(photo, WORDS[:3], model=replace(tiny, filter=Threshold(0.2)))
    assert lab.wait(SECONDS)
    return lab


def ask(front: Front, content: dict[str, Any], *buffers: bytes) -> None:
    """What a message of the browser does."""
    front._handle_custom_msg(content, [memoryview(one) for one in buffers])


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def sent_by(front: Front, monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], list[bytes]]]:
    sent: list[tuple[dict[str, Any], list[bytes]]] = []
    monkeypatch.setattr(front, "send", lambda content, buffers=None: sent.append((content, buffers)))
    return sent


@pytest.mark.parametrize("form", FIGURE_FORMATS)
@pytest.mark.parametrize("kind", OF_ONE)
def test_figures_are_sent_as_files(kind: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    player = RecurrencePlayer(make_trace(["cat", "dog"], kept=((0, 1), (0,)), picture=48))
    sent = sent_by(player.front, monkeypatch)
    ask(player.front, {"ask": "file", "kind": kind, "form": form})
    ((content, (data,)),) = sent
    assert content == {"file": f"carlab-{kind}.{form}"}
    assert data.startswith({"pdf": b"%PDF-", "svg": b"<?xml", "png": b"\x89PNG"}[form])


def test_the_page_is_sent_as_a_file() -> None:
    name, data = file_of(make_trace(["cat", "dog"], kept=((0, 1), (0,))), "page", "")
    assert name == "carlab.html"
    assert data.startswith(b"<!doctype html>")
    for kind, form in (("pickle", "pdf"), ("strip", "exe")):
        with pytest.raises(SettingError, match="expected a"):
            file_of(make_trace(["cat"], kept=((0,),)), kind, form)


def test_a_drawn_region_is_scored(lab: Lab, photo: np.ndarray) -> None:
    lab.player.front.region = BOX
    assert lab.wait(SECONDS)
    height, width = photo.shape[:2]
    y, x = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    region = ((y > 0.2) & (y < 0.9))[:, None] & ((x > 0.1) & (x < 0.7))
    expected = region_scores(lab.own_model, Photo.of(photo), WORDS[:3], region)
    np.testing.assert_allclose(lab.player.front.answer["scores"], expected.scores, atol=1e-4)
    first = lab.player.front.answer
    lab.controls.settings["theta"].value = 0.9  # says nothing about a region
    assert lab.wait(SECONDS)
    assert lab.player.front.answer is first
    lab.controls.settings["prompter"].value = ("grey",)
    assert lab.wait(SECONDS)
    assert lab.player.front.answer["prompted"] != first["prompted"]


def test_words_are_told_and_forgotten(lab: Lab, photo: np.ndarray) -> None:
    ask(lab.player.front, {"ask": "words"})
    assert lab.wait(SECONDS)
    told = lab.player.front.words
    said = word_maps(lab.own_model, Photo.of(photo), WORDS[:3])
    assert told["names"] == [*said.queries, *said.background] == [*WORDS[:3], "ground", "sky"]
    assert told["queries"] == 3
    maps = np.frombuffer(told["maps"], np.uint8).reshape(-1, *told["grid"])
    np.testing.assert_allclose(maps / 255, said.maps, atol=0.01)
    lab.controls.queries.value = "\n".join(WORDS[:2])
    assert lab.wait(SECONDS)
    assert lab.player.front.words == {}


def test_what_goes_wrong_is_said(lab: Lab) -> None:
    before = lab.player.front.answer
    lab.player.front.region = {"kind": "circle", "points": [[0, 0], [1, 1]]}
    assert lab.wait(SECONDS)
    assert "color:#d55e00" in lab.message.value
    assert lab.player.front.answer == before


def test_an_image_that_is_dropped_is_run(lab: Lab, photo: np.ndarray, tmp_path: Path) -> None:
    lab.player.front.region = BOX
    assert lab.wait(SECONDS)
    Image.fromarray(photo[::-1]).save(tmp_path / "turned.png")
    ask(lab.player.front, {"ask": "image", "name": "turned.png"}, (tmp_path / "turned.png").read_bytes())
    assert lab.wait(SECONDS)
    assert isinstance(lab.trace, Trace)
    np.testing.assert_array_equal(lab.trace.image, photo[::-1])
    assert [one["name"] for one in lab.strip.film] == ["image", "turned.png"]
    assert lab.strip.shot == 1
    assert (len(lab.runs), lab.player.front.region, lab.player.front.answer) == (1, {}, {})
    assert eventually(lambda: all("thumb" in one for one in lab.strip.film))
    ask(lab.player.front, {"ask": "image", "name": "b.png"}, b"no image")
    assert "color:#d55e00" in lab.message.value
    assert lab.trace.image is lab.photo.image
    lab.strip.shot = 0
    assert lab.wait(SECONDS)
    np.testing.assert_array_equal(lab.trace.image, photo)


def test_a_folder_is_a_strip(tiny: ClipAsRnn, photo: np.ndarray, tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(np.roll(photo, number, axis=1)).save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes(b"damaged")
    lab = Lab(tmp_path, WORDS[:2], model=tiny)
    assert lab.wait(SECONDS)
    assert lab.path == str(tmp_path / "0.png")
    assert eventually(lambda: sum("thumb" in one for one in lab.strip.film) == 2)
    assert [one["name"] for one in lab.strip.film] == ["0.png", "1.png", "2.png"]
    lab.strip.shot = 2
    assert lab.wait(SECONDS)
    assert lab.trace is not None
    np.testing.assert_array_equal(lab.trace.image, np.roll(photo, 2, axis=1))
    assert repr(str(tmp_path / "2.png")) in lab.player.front.code
    lab.strip.shot = 1
    assert "1.png" in lab.message.value
    assert "color:#d55e00" in lab.message.value
    with pytest.raises(Exception, match="expected"):
        Lab(tmp_path / "none", WORDS[:2], model=tiny)


def test_a_lab_without_arguments_has_a_sample(tiny: ClipAsRnn) -> None:
    from skimage import data

    lab = Lab(model=tiny)
    assert lab.wait(SECONDS)
    assert lab.trace is not None
    np.testing.assert_array_equal(lab.trace.image, data.astronaut())
    assert "flag" in lab.trace.queries
