"""What is damaged, and the code that must read it: a result, or one error of carlab's, and nothing else."""

import json
import pickle
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from carlab.datasets import load_dataset
from carlab.errors import CarlabError
from carlab.evaluate.folder import RunFolder, claimed
from carlab.evaluate.page import write_report
from carlab.evaluate.report import TABLE_FORMATS, render
from carlab.evaluate.summary import Summary
from carlab.figures import overlay_figure, recurrence_figure, scores_figure
from carlab.figures.content import trace_content
from carlab.figures.inspection import probe_figure
from carlab.figures.page import page
from carlab.files.archive import write_archive
from carlab.files.images import load_image, load_labels
from carlab.trace import Trace, compare
from tests.datasets.builders import SIZE, annotation, instances, polygon, run_lengths, save_photo
from tests.torture.mutate import damaged_bytes, damaged_json, odd_array
from tests.traces import make_trace

Attempt = Callable[[np.random.Generator, Path], None]
"""Damages an input with a generator, in a folder, and reads it."""
SELDOM = 0.02
"""Share of the inputs for which slow figures are drawn too."""


def dumped(value: Any) -> bytes:
    """JSON, with what no JSON has."""
    return json.dumps(value).encode()


@cache
def seed_trace() -> Trace:
    """A trace with a probe of each kind of axes."""
    rng = np.random.default_rng(0)
    probes = {
        "cam.logits": rng.random(3),
        "cam.raw": rng.random((3, 6, 9)),
        "affinity.attention": rng.random((54, 54)),
        "classify.pictures": rng.integers(0, 9, (3, 8, 8, 3), dtype=np.uint8),
        "refine.regions": rng.random((2, 48, 70)) > 0.5,
        "classify.texts": rng.random((2, 3, 4)),
        "own.numbers": rng.random((2, 3)),
    }
    return make_trace(probes=probes)


def to_bytes(trace: Trace) -> bytes:
    """The file of a trace."""
    with TemporaryDirectory() as folder:
        return trace.save(Path(folder, "a")).read_bytes()


def attempt_trace(rng: np.random.Generator, folder: Path) -> None:
    """A trace whose metadata, one array, or any byte is damaged."""
    arrays, metadata = seed_trace().to_arrays()
    path = folder / "a.trace.safetensors"
    match rng.integers(3):
        case 0:
            said = damaged_json(rng, metadata)
            text = json.dumps(said)
            write_archive(path, arrays, {"x": 1})
            rewrite_metadata(path, text)
        case 1:
            names = list(arrays)
            for name in rng.choice(names, rng.integers(1, 3)):
                arrays[name] = odd_array(rng)
            write_archive(path, arrays, metadata)
        case _:
            write_archive(path, arrays, metadata)
            path.write_bytes(damaged_bytes(rng, path.read_bytes()))
    show_trace(Trace.load(path), slow=rng.random() < SELDOM)


def rewrite_metadata(path: Path, text: str) -> None:
    """Replace the JSON of an archive, be it valid or not."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = {"carlab": text}
    new = json.dumps(header).encode()
    path.write_bytes(len(new).to_bytes(8, "little") + new + content[8 + length :])


def show_trace(trace: Trace, *, slow: bool = False) -> None:
    """Everything that a person sees of a trace."""
    assert str(trace).isprintable() or "\n" in str(trace)
    trace._repr_html_()
    trace_content(trace)
    compare(trace, trace)
    trace.to_records()
    for t, step in enumerate(trace.steps):
        for name in {**trace.probes, **step.probes}:
            probe_figure(trace, t, name)
    if slow:
        page(trace)
        for draw in (overlay_figure, recurrence_figure, scores_figure):
            draw(trace)


DATA = {
    "name": "toy", "split": "val", "digest": "d", "images": 2,
    "classes": ["cat", "dog"], "queries": ["cat", "dog"],
    "background": True, "labels_given": False, "passes": [{"classes": [0, 1], "background": None}],
}  # fmt: skip
COST = {"seconds": {"trunk": 0.5}, "passes": {"trunk": 1}, "stop": ["fixed point"], "score": 0.5}
ASKED = {"texts": ["cat", "left cat"], "runs": [[0, 1]], "unread": []}
KINDS: dict[str, dict[str, Any]] = {
    "semantic": {
        "confusion": [[0, 0, 90], [1, 1, 9], [2, 1, 3]], "true": [0, 1], "kept": [[0, 1], [0]],
        "drops": [[1, 1, 0.1, 0.2]],
    },
    "referring": {
        "expressions": [[5, 9], [0, 4]], "objects": [[5, 9]], "released": [[5, 9]],
        "empty": [[False, False], [False, True]], **ASKED,
    },
    "video": {"video": "camel", "j": [0.5], "f": [0.4], **ASKED},
}  # fmt: skip


def seed_run(folder: Path, kind: str) -> Path:
    """A run of two images, one of which has a trace."""
    manifest = {
        "dataset": {**DATA, "kind": kind},
        "models": [{"filter": {"theta": 0.3}}],
        "provenance": {"preset": "p"},
    }
    with claimed(folder, manifest) as run:
        for name in ("a", "b"):
            run.put({"id": name, "digest": "0", **COST, **KINDS[kind]})
    queries = DATA["queries"] if kind == "semantic" else ASKED["texts"]
    make_trace(queries, kept=((0, 1), (0,))).save(RunFolder.read(folder).trace("a"))
    return folder


def attempt_run(rng: np.random.Generator, folder: Path) -> None:
    """A run whose manifest or record is damaged."""
    kind = str(rng.choice(list(KINDS)))
    run = folder / f"{kind}"
    if not run.exists():
        seed_run(run, kind)
    target = run / str(rng.choice(["manifest.json", "images/a.json"]))
    whole = target.read_bytes()
    damaged = (
        dumped(damaged_json(rng, json.loads(whole))) if rng.random() < 0.8 else damaged_bytes(rng, whole)
    )
    target.write_bytes(damaged)
    try:
        report(run, slow=rng.random() < 10 * SELDOM)
    finally:
        target.write_bytes(whole)


def report(run: Path, *, slow: bool = False) -> None:
    """Everything that `carlab report` makes of a run."""
    folder = RunFolder.read(run)
    summary = Summary.of(folder, folder.ids)
    for form in TABLE_FORMATS:
        text = render([summary, summary], form)
        assert text.replace("\n", "").isprintable(), repr(text)
    if slow:
        write_report([folder], [summary], run.parent / "page.html")


def refs() -> list[dict[str, Any]]:
    """Two references as the official pickles have them."""
    sentence = {"raw": "Left cat", "sent": "left cat", "sent_id": 1, "tokens": ["left", "cat"]}
    about = {"image_id": 7, "split": "val", "category_id": 1}
    return [{"ref_id": n, "ann_id": n, "sentences": [dict(sentence)], **about} for n in (1, 2)]


def attempt_refs(rng: np.random.Generator, folder: Path) -> None:
    """RefCOCO whose pickle, JSON or annotations are damaged."""
    made, content = refs(), annotations()
    by_json, part = rng.random() < 0.3, rng.integers(3)
    raw = dumped(made) if by_json else pickle.dumps(made, protocol=int(rng.integers(0, 5)))
    if part == 0:
        raw = damaged_bytes(rng, raw)
    elif part == 1:
        made = damaged_json(rng, made)
        raw = dumped(made) if by_json else pickle.dumps(made)
    else:
        content = damaged_json(rng, content)
    read_refs(raw, folder, content, suffix="json" if by_json else "p")


def annotations() -> dict[str, Any]:
    """Instances with an outline of each kind."""
    inside = np.zeros(SIZE, bool)
    inside[1:3] = True
    rows = [
        annotation(1, 7, 1, run_lengths(inside), 3),
        annotation(2, 7, 3, [polygon(slice(1, 4), slice(1, 4))], 9),
        annotation(3, 7, 3, {"size": list(SIZE), "counts": "11cS1"}, 9),
    ]
    content = instances(rows)
    content["categories"] = content["categories"][:3]
    return content


def read_refs(raw: bytes, folder: Path, content: Any = None, suffix: str = "p") -> None:
    """Read references, and the masks that they refer to."""
    home = folder / "data" / "refcoco"
    home.mkdir(parents=True, exist_ok=True)
    save_photo(folder / "train2014" / f"{7:012d}.jpg")
    for other in ("p", "json"):
        (home / f"refs(unc).{other}").unlink(missing_ok=True)
    (home / f"refs(unc).{suffix}").write_bytes(raw)
    (home / "instances.json").write_bytes(dumped(content or annotations()))
    for sample in (data := load_dataset("refcoco", folder, "unc/val")).ids:
        data.find(sample).truth()


def encoded(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


_RGB = np.random.default_rng(1).integers(0, 256, (9, 12, 3), dtype=np.uint8)
_DEEP = _RGB[..., 0].astype(np.uint16) * 257
PICTURES = [
    *(encoded(_RGB, kind) for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "GIF")),
    *(encoded(_DEEP, kind) for kind in ("PNG", "TIFF", "PPM")),
    encoded(_RGB[..., 0], "PNG"),
    encoded(_RGB, "TIFF", compression="tiff_lzw"),
]


def attempt_image(rng: np.random.Generator, folder: Path) -> None:
    """An image or a label map with damaged bytes."""
    content = damaged_bytes(rng, PICTURES[rng.integers(len(PICTURES))])
    path = folder / "a"
    path.write_bytes(content)
    for load in (load_image, load_labels):
        try:
            load(path)
        except CarlabError as error:
            check_message(error)


TARGETS: dict[str, Attempt] = {
    "trace": attempt_trace, "run": attempt_run, "refs": attempt_refs, "image": attempt_image,
}  # fmt: skip


def read_trace(content: bytes, folder: Path) -> None:
    """Read the bytes of a trace."""
    path = folder / "a.trace.safetensors"
    path.write_bytes(content)
    show_trace(Trace.load(path))


READERS: dict[str, tuple[Callable[[bytes, Path], Any], list[bytes]]] = {
    "trace": (read_trace, [to_bytes(seed_trace())]),
    "refs": (read_refs, [pickle.dumps(refs(), protocol) for protocol in range(5)]),
    "image": (lambda content, _: load_image(content), PICTURES),
}
"""What reads bytes alone, and bytes that are whole: for `tests.torture.guided`."""


def check_message(error: CarlabError) -> None:
    """One printable line that is not too long."""
    text = str(error)
    assert text.startswith("expected") and text.isprintable() and len(text) <= 400, text


def attempt(name: str, seed: int, folder: Path) -> bool:
    """Run one input; whether it could be read. Anything but an error of carlab's is raised."""
    try:
        TARGETS[name](np.random.default_rng(seed), folder)
    except CarlabError as error:
        check_message(error)
        return False
    return True
