"""A trace in the formats of other libraries, each imported only where it is asked for."""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from carlab.errors import SettingError

if TYPE_CHECKING:
    import fiftyone
    import pandas
    import supervision

    from carlab.trace.trace import Trace


def records(trace: "Trace") -> list[dict[str, Any]]:
    """Return a row of JSON values for each query.

    Parameters
    ----------
    trace
        A query that was dropped has the score with which it was dropped, and no pixels. `dropped_at` counts
        steps from 1, and is None for one that was kept.

    Examples
    --------
    >>> row = records(trace)[1]
    >>> row["query"], row["found"], row["dropped_at"], row["scores"]
    ('dog', False, 2, [0.8, 0.12])
    """
    found, dropped = set(trace.found), {drop.query: drop.step + 1 for drop in trace.drops}
    rows = []
    for index, query in enumerate(trace.queries):
        lasted = trace.scores[: dropped.get(index, len(trace.steps)), index]
        scores = [None if np.isnan(score) else round(float(score), 6) for score in lasted]  # JSON has no NaN
        rows.append(
            {
                "query": query,
                "found": query in found,
                "score": scores[-1],
                "dropped_at": dropped.get(index),
                "pixels": int(trace[query].sum()),
                "scores": scores,
            }
        )
    return rows


def to_dataframe(trace: "Trace") -> "pandas.DataFrame":
    """Return `records` as a data frame, with a row for each query.

    Raises SettingError if pandas is not installed.

    Parameters
    ----------
    trace
        Any.
    """
    return _library("pandas").DataFrame(records(trace))


def to_coco(trace: "Trace", image_id: int = 1, first_id: int = 1) -> dict[str, Any]:
    """Return `images`, `categories` and `annotations` in COCO's format, ready for `json.dump`.

    Parameters
    ----------
    trace
        Category i + 1 is queries[i], whether it was found or not.
    image_id, first_id
        Of the image, and of its first annotation, for those who join several.

    Examples
    --------
    >>> made = to_coco(trace)
    >>> [(one["category_id"], one["iscrowd"], one["segmentation"]["size"]) for one in made["annotations"]]
    [(1, 0, [48, 70])]
    """
    from pycocotools import mask as run_lengths

    height, width = trace.image.shape[:2]
    masks, boxes, queries, scores = _found_rows(trace)
    annotations = []
    for number, (mask, box, query, score) in enumerate(zip(masks, boxes, queries, scores, strict=True)):
        code = run_lengths.encode(np.asfortranarray(mask, dtype=np.uint8))
        annotations.append(
            {
                "id": first_id + number,
                "image_id": image_id,
                "category_id": int(query) + 1,
                "segmentation": {"size": [height, width], "counts": code["counts"].decode("ascii")},
                "area": int(mask.sum()),
                "bbox": [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])],
                "iscrowd": 0,
                "score": round(float(score), 6),
            }
        )
    categories = [{"id": index, "name": query} for index, query in enumerate(trace.queries, 1)]
    images = [{"id": image_id, "height": height, "width": width}]
    return {"images": images, "categories": categories, "annotations": annotations}


def to_supervision(trace: "Trace") -> "supervision.Detections":
    """Return boxes, masks, scores and names of what was found, as Roboflow's supervision takes them.

    Raises SettingError if supervision is not installed.

    Parameters
    ----------
    trace
        `class_id` is the index of the query; its name is in `data["class_name"]`.
    """
    masks, boxes, queries, scores = _found_rows(trace)
    names = np.array([trace.queries[query] for query in queries], dtype=str)
    return _library("supervision").Detections(
        xyxy=boxes, mask=masks, confidence=scores, class_id=queries, data={"class_name": names}
    )


def to_fiftyone(trace: "Trace") -> "fiftyone.Detections":
    """Return boxes, masks, scores and names of what was found, as FiftyOne takes them.

    Raises SettingError if fiftyone is not installed.

    Parameters
    ----------
    trace
        Boxes are relative to the image, and each mask is cut to its box.
    """
    library = _library("fiftyone")
    height, width = trace.image.shape[:2]
    detections = []
    for mask, box, query, score in zip(*_found_rows(trace), strict=True):
        left, top, right, bottom = box.astype(int)
        relative = [left / width, top / height, (right - left) / width, (bottom - top) / height]
        inside = mask[top:bottom, left:right]
        label = trace.queries[query]
        detections.append(
            library.Detection(label=label, bounding_box=relative, mask=inside, confidence=float(score))
        )
    return library.Detections(detections=detections)


def _found_rows(
    trace: "Trace",
) -> tuple[
    Bool[np.ndarray, "m h w"], Float[np.ndarray, "m 4"], Int[np.ndarray, " m"], Float[np.ndarray, " m"]
]:
    """Return mask, box (left, top, right, bottom, exclusive), index and score of what was found."""
    filled = trace.filled
    masks, queries = trace.refined[filled], trace.survivors[filled]
    boxes = np.array([_bounding_box(mask) for mask in masks], dtype=np.float64).reshape(-1, 4)
    return masks, boxes, queries, trace.scores[-1, queries].astype(np.float64)


def _bounding_box(mask: Bool[np.ndarray, "h w"]) -> tuple[int, int, int, int]:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _library(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise SettingError(f"expected {name} to be installed, got none; run: pip install {name}") from error
