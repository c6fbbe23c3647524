"""The lists of classes that ship with carlab."""

from importlib.resources import files
from pathlib import Path

import pytest

from carlab.datasets import Dataset, Sample
from carlab.datasets.layout import read_names
from carlab.datasets.semantic import semantic
from carlab.queries import check_background, check_queries

SIZES = {"voc": 20, "coco": 80, "context59": 59, "context459": 459, "ade150": 150, "ade847": 847}
STUFF = {"voc": 0, "coco": 0, "context59": 21, "context459": 26, "ade150": 25, "ade847": 29}


def find(identity: str) -> Sample:
    raise AssertionError(identity)


def dataset(name: str) -> Dataset:
    return semantic(name, "val", ["a"], find, read_names(name), background=True)


def test_each_list_has_a_size_here() -> None:
    shipped = {Path(file.name).stem for file in files("carlab.datasets").joinpath("names").iterdir()}
    assert shipped == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_sizes_and_stuff(name: str) -> None:
    names = read_names(name)
    assert len(set(names.classes)) == len(names.classes) == SIZES[name]
    assert sum(names.stuff) == STUFF[name]


@pytest.mark.parametrize("name", SIZES)
def test_plain_and_released_words_are_all_valid_and_different_queries(name: str) -> None:
    plain = dataset(name)
    for data in (plain, plain.as_released()):
        assert check_queries(data.queries) == data.queries
        for part in data.passes:
            asked = [data.queries[index] for index in part.classes]
            background = part.background or ()
            assert check_background(background, asked) == background


@pytest.mark.parametrize("name", SIZES)
def test_the_passes_ask_for_every_class_once_and_stuff_competes_with_the_things(name: str) -> None:
    data = dataset(name)
    for version in (data, data.as_released()):
        assert sorted(index for part in version.passes for index in part.classes) == list(range(SIZES[name]))
        things, *stuff = version.passes
        assert things.background is None
        for part in stuff:
            assert part.background == tuple(version.queries[index] for index in things.classes)


def test_only_the_words_change_in_the_release() -> None:
    data = dataset("voc").as_released()
    assert data.classes == dataset("voc").classes
    assert data.queries[14] == "person with clothes,people,human"
    assert dataset("voc").queries[14] == "person"


def test_a_data_set_of_one_pass_has_no_stuff() -> None:
    assert len(dataset("voc").passes) == 1
    assert len(dataset("ade150").passes) == 2


def test_ade_is_as_its_official_list_has_it(shared: Path) -> None:
    lines = (shared / "data" / "ADEChallengeData2016" / "objectInfo150.txt").read_text().splitlines()[1:]
    assert read_names("ade150").classes == tuple(line.split("\t")[-1].strip() for line in lines)
