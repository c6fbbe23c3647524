"""`carlab datasets`, and the words that a preset asks a data set in."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from carlab.cli.app import app
from carlab.cli.evaluate import load_data
from carlab.datasets import DATASETS
from tests.datasets.builders import labels, voc


def said(*words: str) -> list[str]:
    done = CliRunner().invoke(app, ["datasets", *words])
    assert done.exit_code == 0
    return done.output.splitlines()


def test_every_data_set_has_a_line_with_its_layout() -> None:
    head, *lines = said()
    assert head.split() == ["data", "set", "what", "--root", "must", "hold", "splits"]
    for line, (name, reader) in zip(lines, DATASETS.items(), strict=True):
        assert line.split()[0] == name
        assert reader.layout in line


def test_a_root_is_counted_and_what_it_lacks_is_named(tmp_path: Path) -> None:
    lines = said("--root", str(voc(tmp_path, {"a": labels(), "b": labels()})))
    rows = {tuple(line.split()[:2]): line.split(maxsplit=2)[2] for line in lines[1:]}
    assert rows["voc21", "val"] == "2"
    assert "train.txt" in rows["voc21", "train"]
    assert "--root" in rows["grefcoco", "unc/val"]
    assert len(rows) == sum(len(reader.splits) for reader in DATASETS.values())


@pytest.mark.parametrize(
    ("preset", "word"),
    [
        ("offline", "bird"),
        ("offline/voc", "bird"),
        ("paper/voc", "bird avian"),
        ("reference/voc", "bird avian"),
    ],
)
def test_presets_of_clip_ask_in_the_words_of_the_release(preset: str, word: str, tmp_path: Path) -> None:
    root = voc(tmp_path, {"a": labels()})
    data = load_data("voc21", root, None, preset)
    assert data.queries[2] == word
    assert data.classes[2] == "bird"
