"""Tiny data sets in the exact layouts of the official ones."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (6, 8)


def labels(*regions: tuple[slice, slice, int], size: tuple[int, int] = SIZE) -> np.ndarray:
    """A label map of zeros with rectangles (rows, columns, value) painted in this order."""
    picture = np.zeros(size, dtype=np.int64)
    for rows, columns, value in regions:
        picture[rows, columns] = value
    return picture


def save_photo(path: Path, size: tuple[int, int] = SIZE) -> Path:
    """A grey photo."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size[::-1], (90, 120, 60)).save(path)
    return path


def save_labels(path: Path, values: np.ndarray, *, palette: bool = False) -> Path:
    """A picture of numbers: 8 bits, with a palette as VOC's and DAVIS's are, or 16 bits as a TIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(values.astype(np.uint16 if path.suffix == ".tif" else np.uint8))
    if palette:
        picture.putpalette([value * 7 % 256 for value in range(768)])
    picture.save(path)
    return path


def save_text(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    """A text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding=encoding)
    return path


def save_json(path: Path, content: Any) -> Path:
    """A JSON file."""
    return save_text(path, json.dumps(content))


def voc(root: Path, masks: Mapping[str, np.ndarray], split: str = "val") -> Path:
    """`VOC2012` with these masks."""
    home = root / "VOCdevkit" / "VOC2012"
    save_text(home / "ImageSets" / "Segmentation" / f"{split}.txt", *masks)
    for name, mask in masks.items():
        save_photo(home / "JPEGImages" / f"{name}.jpg", mask.shape)
        save_labels(home / "SegmentationClass" / f"{name}.png", mask, palette=True)
    return root


def polygon(rows: slice, columns: slice) -> list[float]:
    """The outline of a rectangle of pixels."""
    top, bottom, left, right = rows.start, rows.stop, columns.start, columns.stop
    return [float(value) for value in (left, top, right, top, right, bottom, left, bottom)]


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """Plain run lengths, column by column, written here by hand: the format, not the library."""
    counts, last = [0], False
    for value in mask.T.ravel().tolist():
        if value != last:
            counts.append(0)
            last = value
        counts[-1] += 1
    return {"size": list(mask.shape), "counts": counts}


def annotation(number: int, image: int, category: int, outline: Any, area: float, **more: Any) -> Any:
    """A row of COCO's annotations."""
    row = {"id": number, "image_id": image, "category_id": category, "segmentation": outline, "area": area}
    return row | more


def instances(annotations: Sequence[Any], images: Sequence[int] = (7,)) -> dict[str, Any]:
    """COCO instances over 80 categories whose ids have gaps, as the official ones do."""
    return {
        "images": [
            {"id": number, "file_name": f"{number:012d}.jpg", "height": SIZE[0], "width": SIZE[1]}
            for number in images
        ],
        "annotations": list(annotations),
        "categories": [{"id": 2 * place + 1, "name": f"class {place}"} for place in range(80)],
    }
