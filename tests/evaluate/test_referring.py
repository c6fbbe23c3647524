"""A referring data set from its files to its numbers: one run for each object, one trunk pass for all."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carlab.datasets import load_dataset
from carlab.evaluate.folder import RunFolder
from carlab.metrics.referring import merge_released
from carlab.presets import load
from carlab.recurrence import ClipAsRnn
from carlab.settings import change
from tests.datasets.builders import annotation, instances, polygon, save_json
from tests.evaluate.helpers import run

SIZE = (70, 90)
WHERE = {
    11: (slice(0, 40), slice(0, 30)),
    12: (slice(10, 70), slice(50, 90)),
    13: (slice(20, 50), slice(20, 60)),
}
SENTENCES = {
    11: ("left cup", "blue cup", "the cup at the window"),
    12: ("right plate", "white plate", "plate"),
    13: ("spoon", "x" * 100, "the spoon between"),
}
"""Three objects with three sentences each; one is longer than the text encoder reads."""


@pytest.fixture
def root(tmp_path: Path, photo: np.ndarray) -> Path:
    rows = [annotation(number, 7, 1, [polygon(*region)], 9) for number, region in WHERE.items()]
    file = {"id": 7, "file_name": "7.png", "height": SIZE[0], "width": SIZE[1]}
    save_json(tmp_path / "annotations" / "instances_val2017.json", instances(rows) | {"images": [file]})
    said = [
        {"image_id": 7, "ann_id": number, "sentence": text}
        for number, texts in SENTENCES.items()
        for text in texts
    ]
    save_json(tmp_path / "annotations" / "referring_val2017.json", said)
    (tmp_path / "val2017").mkdir()
    Image.fromarray(photo).save(tmp_path / "val2017" / "7.png")
    return tmp_path


@pytest.mark.parametrize("preset", ["reference/refcoco+", "paper/refcoco+"])
def test_each_object_is_a_run_of_its_own(
    preset: str, root: Path, clip_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    model = load(preset, proposer_backbone=str(clip_folders[0]), classifier=str(clip_folders[1]))
    model = change(model, refiner="none")  # a CRF leaves little of random masks
    dataset = load_dataset("coco-referring", root)
    run(dataset, model, tmp_path / "run", keep_traces="all")
    folder = RunFolder.read(tmp_path / "run")
    record = folder.get("7")
    assert record is not None
    assert record["passes"]["trunk"] == 1
    assert record["texts"] == [text for texts in SENTENCES.values() for text in texts]
    assert (record["runs"], record["unread"]) == ([[0, 1, 2], [3, 4, 5], [6, 7, 8]], [7])
    assert len(folder.kept_traces("7")) == 3
    compare(change(model, refer=True), dataset[0].image, dataset[0].truth(), record)


def compare(model: ClipAsRnn, image: Path, truth: np.ndarray, record: dict[str, object]) -> None:
    """Each object run by hand, its masks compared pixel by pixel."""
    expressions, released, unions = [], [], []
    for place, texts in enumerate(SENTENCES.values()):
        read = [text for text in texts if len(text) < 77]
        trace = model(image, read)
        assert len(trace.queries) == len(read)
        masks = dict(zip((trace.queries[k] for k in trace.survivors), trace.refined, strict=True))
        true = truth[3 * place]
        own = [masks.get(text, np.zeros(SIZE, bool)) for text in texts]
        expressions += [[int((true & m).sum()), int((true | m).sum())] for m in own]
        union = own[0] | own[1] | own[2]
        unions.append([int((true & union).sum()), int((true | union).sum())])
        merged = merge_released(trace.refined, trace.steps[-1].scores[trace.steps[-1].kept].tolist())
        released.append([int((true & merged).sum()), int((true | merged).sum())])
    assert record["expressions"] == expressions
    assert record["objects"] == unions
    assert record["released"] == released
    assert any(above for above, _ in expressions), "nothing was found: the comparison says nothing"
