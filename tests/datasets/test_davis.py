"""DAVIS with and without the expressions of Ref-DAVIS."""

from pathlib import Path

import numpy as np
import pytest

from carlab.datasets import load_dataset
from carlab.errors import DatasetError
from tests.datasets.builders import labels, save_labels, save_photo, save_text

FIRST, SECOND = (slice(0, 2), slice(0, 3)), (slice(3, 6), slice(4, 8))
TEXTS = Path("davis_text_annotations")


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    """Two videos of two frames, in the layout of DAVIS 2017; the second has an object fewer."""
    home = tmp_path / "DAVIS"
    for video, regions in {"dogs-scale": (FIRST, SECOND), "camel": (FIRST,)}.items():
        mask = labels(*((*region, number) for number, region in enumerate(regions, 1)))
        for frame in ("00001", "00000"):
            save_photo(home / "JPEGImages" / "480p" / video / f"{frame}.jpg")
            save_labels(home / "Annotations" / "480p" / video / f"{frame}.png", mask, palette=True)
    for year in ("2016", "2017"):
        save_text(home / "ImageSets" / year / "val.txt", "dogs-scale", "camel")
    return tmp_path


def test_each_expression_means_the_object_of_its_number(davis: Path) -> None:
    lines = ('camel 1 "a brown camel"', 'dog-scale 2 "A small dog"', 'dogs-scale 1 "the 2nd café"')
    save_text(davis / "DAVIS" / TEXTS / "Davis17_annot1.txt", *lines, encoding="latin-1")
    data = load_dataset("ref-davis17", davis, "val/annot1")
    assert data.ids == ("dogs-scale/00000", "dogs-scale/00001", "camel/00000", "camel/00001")
    first, last = data[0], data[3]
    assert first.expressions == ("a small dog", "the 2nd café")  # one line calls the video by another name
    assert (first.objects, first.video, last.video) == (("annot1/2", "annot1/1"), "dogs-scale", "camel")
    expected = labels((*FIRST, 1), (*SECOND, 2))
    np.testing.assert_array_equal(first.truth(), [expected == 2, expected == 1])
    assert last.truth().shape == (1, 6, 8)


def test_the_split_names_who_wrote(davis: Path) -> None:
    texts = {"annot1": "one", "annot2": "two", "annot1_full_video": "three", "annot2_full_video": "three"}
    for name, text in texts.items():
        lines = (f'camel 1 "{text}"', f'dogs-scale 1 "{text}"')
        save_text(davis / "DAVIS" / TEXTS / f"Davis17_{name}.txt", *lines)
    everyone = load_dataset("ref-davis17", davis, "val")[0]
    assert everyone.expressions == ("one", "two", "three", "three")
    assert list(everyone.members.values()) == [[0], [1], [2], [3]]  # each annotator's is a run of its own
    assert everyone.truth().shape == (4, 6, 8)
    data = load_dataset("ref-davis17", davis, "val/annot2_full_video")
    assert (data[0].expressions, data.split) == (("three",), "val/annot2_full_video")
    (davis / "DAVIS" / TEXTS / "Davis17_annot2.txt").unlink()
    for split in ("val", "val/annot2"):
        with pytest.raises(DatasetError, match=r"Davis17_annot2\.txt"):
            load_dataset("ref-davis17", davis, split)


def test_in_2016_all_that_moves_is_one_object(davis: Path) -> None:
    save_text(davis / "DAVIS" / TEXTS / "Davis16_annot1.txt", 'camel "a camel"', 'dogs-scale "dogs"')
    sample = load_dataset("ref-davis16", davis, "val/annot1")[0]
    np.testing.assert_array_equal(sample.truth(), [labels((*FIRST, 1), (*SECOND, 1)).astype(bool)])


def test_without_words_the_name_of_the_video_is_asked(davis: Path) -> None:
    data = load_dataset("davis16", davis)
    assert [data[index].expressions for index in (0, 2)] == [("dogs scale",), ("camel",)]
    assert load_dataset("davis16", davis, "all").ids == (*data.ids[2:], *data.ids[:2])


def test_names_of_other_videos_distract(davis: Path) -> None:
    data = load_dataset("davis16-distractors", davis)
    seen = [(data[index].expressions, data[index].distractors) for index in (0, 2)]
    assert seen == [(("dogs scale",), ("camel",)), (("camel",), ("dogs scale",))]
    assert load_dataset("davis16", davis)[0].distractors == ()


def test_the_own_lists_of_davis_2016(davis: Path) -> None:
    lines = [f"/JPEGImages/480p/camel/{n}.jpg /Annotations/480p/camel/{n}.png" for n in ("00000", "00001")]
    save_text(davis / "DAVIS" / "ImageSets" / "480p" / "val.txt", *lines)
    assert load_dataset("davis16", davis).ids == ("camel/00000", "camel/00001")


@pytest.mark.parametrize("line", ["camel", "camel 1", 'camel 1 ""', 'camel 1 "/"'])
def test_lines_without_an_expression(line: str, davis: Path) -> None:
    save_text(davis / "DAVIS" / TEXTS / "Davis17_annot1.txt", line)
    with pytest.raises(DatasetError, match=r"Davis17_annot1\.txt"):
        load_dataset("ref-davis17", davis)


def test_a_video_without_an_expression(davis: Path) -> None:
    save_text(davis / "DAVIS" / TEXTS / "Davis17_annot1.txt", 'camel 1 "a camel"')
    with pytest.raises(DatasetError, match="dogs-scale"):
        load_dataset("ref-davis17", davis)


def test_a_frame_without_a_mask(davis: Path) -> None:
    (davis / "DAVIS" / "Annotations" / "480p" / "camel" / "00001.png").unlink()
    data = load_dataset("davis16", davis)
    with pytest.raises(DatasetError, match=r"camel.00001\.png"):
        data[3]
