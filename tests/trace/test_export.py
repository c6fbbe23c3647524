"""A trace in other libraries' formats, read back by those libraries."""

import json
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from carlab.errors import QueryError, SettingError
from carlab.files.pictures import colour, label_png
from carlab.trace import Trace
from carlab.trace.export import _library
from tests.traces import make_trace


@pytest.fixture
def trace() -> Trace:
    """Cat and sofa found, dog dropped."""
    return make_trace(kept=[(0, 2), (0, 2)])


@pytest.fixture
def hollow() -> Trace:
    """The sofa is kept to the end, and its final mask is empty."""
    made = make_trace(kept=[(0, 2), (0, 2)])
    made.refined[1] = False
    return made


def test_a_mask_by_its_query(trace: Trace) -> None:
    np.testing.assert_array_equal(trace["sofa"], trace.refined[1])
    assert not trace["dog"].any()
    assert ("sofa" in trace, "dog" in trace, "bus" in trace) == (True, False, False)
    assert list(trace) == ["cat", "sofa"]
    with pytest.raises(QueryError, match=r"out of 'cat', 'dog', 'sofa', got 'bus'"):
        trace["bus"]


def test_an_empty_mask_is_not_found(hollow: Trace) -> None:
    assert hollow.found == ("cat",)
    assert hollow.survivors.tolist() == [0, 2]
    assert "kept, but its final mask is empty" in str(hollow)
    assert "found: cat ·" in str(hollow)
    assert [row["found"] for row in hollow.to_records()] == [True, False, False]
    assert len(hollow.to_coco()["annotations"]) == 1


def test_a_single_query_is_said_to_be_always_1() -> None:
    alone = make_trace(["cat"], kept=[(0,)], scores=(1.0, 0.0))
    (note,) = alone.notes
    assert "distractors" in note
    assert note in str(alone)
    assert note.replace('"', "&#34;") in alone._repr_html_()
    assert make_trace(["cat", "dog"], kept=[(0,), (0,)], scores=(1.0, 0.0)).notes == ()
    absolute = {**alone.settings, "classifier": {"score": "sigmoid"}}
    assert replace(alone, settings=absolute).notes == ()


def test_records_are_json(trace: Trace) -> None:
    rows = json.loads(json.dumps(trace.to_records(), allow_nan=False))
    assert [row["dropped_at"] for row in rows] == [None, 1, None]
    assert [row["pixels"] for row in rows] == [int(trace[row["query"]].sum()) for row in rows]
    trace.steps[0].probs[1, 1] = np.nan
    json.dumps(trace.to_records(), allow_nan=False)


def test_coco_reads_the_masks(trace: Trace, tmp_path) -> None:
    first, second = trace.to_coco(7), trace.to_coco(8, first_id=3)
    joined = {name: first[name] + second[name] for name in ("images", "annotations")}
    (tmp_path / "made.json").write_text(json.dumps({**joined, "categories": first["categories"]}))
    coco = COCO(tmp_path / "made.json")
    assert coco.getImgIds() == [7, 8]
    assert sorted(coco.anns) == [1, 2, 3, 4]
    for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[8])):
        name = coco.cats[annotation["category_id"]]["name"]
        mask = coco.annToMask(annotation)
        np.testing.assert_array_equal(mask, trace[name])
        rows, columns = np.nonzero(mask)
        left, top, width, height = annotation["bbox"]
        assert (left, top) == (columns.min(), rows.min())
        assert (left + width - 1, top + height - 1) == (columns.max(), rows.max())
        assert annotation["area"] == mask.sum()
    results = coco.loadRes(second["annotations"])
    assert len(results.anns) == 2


FOUND = [make_trace(kept=[(0, 2), (0, 2)]), make_trace(kept=[()])]


@pytest.mark.parametrize("trace", FOUND)
def test_pandas(trace: Trace) -> None:
    pytest.importorskip("pandas")
    frame = trace.to_dataframe()
    assert frame["query"].tolist() == ["cat", "dog", "sofa"]
    assert frame["found"].sum() == len(trace.found)


@pytest.mark.parametrize("trace", FOUND)
def test_supervision(trace: Trace) -> None:
    pytest.importorskip("supervision")
    detections = trace.to_supervision()
    assert list(detections.data["class_name"]) == list(trace.found)
    np.testing.assert_array_equal(detections.mask, trace.refined)
    assert detections.xyxy.shape == (len(trace.found), 4)


@pytest.mark.parametrize("trace", FOUND)
def test_fiftyone(trace: Trace) -> None:
    pytest.importorskip("fiftyone")
    detections = trace.to_fiftyone().detections
    assert [one.label for one in detections] == list(trace.found)


def test_a_library_that_is_missing_is_named() -> None:
    with pytest.raises(SettingError, match="pip install no_such_library"):
        _library("no_such_library")


@pytest.mark.parametrize(("most", "mode"), [(3, "P"), (255, "P"), (256, "I;16")])
def test_label_maps_read_back(most: int, mode: str) -> None:
    labels = np.array([[0, 1], [most - 1, most]])
    with Image.open(BytesIO(label_png(labels, most))) as image:
        assert image.mode == mode
        np.testing.assert_array_equal(np.asarray(image), labels)
        if mode == "P":
            assert image.convert("RGB").getpixel((1, 0)) == colour(0)
