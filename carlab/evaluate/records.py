"""The files of a run as types: its manifest, and the record of an image of each kind of data set."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
from msgspec import Meta

from carlab.files.schema import Count, Number, Share, Text, convert, parse, parse_plain

RUN_FORMAT = 1
"""Version of the layout; other versions are refused."""
MOST_CLASSES = 20_000

ClassNames = Annotated[list[Text], Meta(max_length=MOST_CLASSES)]
Area = Annotated[int, Meta(ge=0, le=2**32)]
Pair = tuple[Area, Area]
"""Area in common, and pixels in either."""
Indices = Annotated[list[Count], Meta(max_length=MOST_CLASSES)]


class RunPass(TypedDict):
    """A pass over an image: its classes, and the background that competes with them."""

    classes: Indices
    background: ClassNames | None


class RunData(TypedDict):
    """What was measured."""

    name: Text
    kind: Literal["semantic", "referring", "video"]
    split: Text
    digest: Text
    images: Count
    classes: ClassNames
    queries: ClassNames
    background: bool
    labels_given: bool
    passes: Annotated[list[RunPass], Meta(max_length=16)]


class Manifest(TypedDict):
    """A run: data, the settings of each model, versions and digests."""

    format: int
    dataset: RunData
    models: Annotated[list[dict[str, Any]], Meta(max_length=16)]
    provenance: dict[str, Text]


class _Any(TypedDict):
    """What every record has."""

    id: Text
    digest: NotRequired[Text]


class Failure(_Any):
    """The record of an image that failed."""

    error: Text


class _Scored(_Any):
    """What every record of an image that did not fail has."""

    score: Share | None
    seconds: dict[str, Number]
    passes: dict[str, Count]
    stop: list[Text]


class LabelRecord(_Scored):
    """Counts of a label map: label true, label predicted, pixels; classes true, kept by step, and dropped."""

    confusion: list[tuple[Count, Count, Area]]
    true: Indices
    kept: list[Indices]
    drops: list[tuple[Count, Count, Number, Number | None]]


class _Asked(_Scored):
    """The expressions, the rows of each run, and the rows that could not be read."""

    texts: list[Text]
    runs: list[list[Count]]
    unread: list[Count]


class ExpressionRecord(_Asked):
    """Counts of the masks of expressions and objects; whether truth and mask of an expression are empty."""

    expressions: list[Pair]
    objects: Annotated[list[Pair], Meta(min_length=1)]
    released: list[Pair]
    empty: list[tuple[bool, bool]]


class FrameRecord(_Asked):
    """J and F of each object of a frame."""

    video: Text
    j: Annotated[list[Share], Meta(min_length=1)]
    f: list[Share]


_KINDS: dict[str, Any] = {"semantic": LabelRecord, "referring": ExpressionRecord, "video": FrameRecord}


class _Version(msgspec.Struct):
    format: Any


def read_version(content: bytes) -> Any:
    """Return the version of a manifest; ValueError if it has none."""
    return parse(content, _Version).format


def read_manifest(content: bytes) -> Manifest:
    """Return a manifest; ValueError if it is none."""
    manifest: Manifest = parse_plain(content)
    convert(manifest, Manifest)  # a check: what is returned is as it was written
    data = manifest["dataset"]
    if "preset" not in manifest["provenance"]:
        raise ValueError("no preset in its provenance")
    if any(index >= len(data["classes"]) for part in data["passes"] for index in part["classes"]):
        raise ValueError("a pass over classes that there are not")
    return manifest


def read_record(content: bytes, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of an image of a data set, as its manifest describes it; ValueError if it is none."""
    record: dict[str, Any] = parse_plain(content)
    failed = isinstance(record, dict) and "error" in record
    convert(record, Failure if failed else _KINDS[data["kind"]])
    if not failed:
        _CHECKS[data["kind"]](record, len(data["classes"]))
    return record


def _check_labels(record: Mapping[str, Any], classes: int) -> None:
    labels = [label for true, predicted, _ in record["confusion"] for label in (true, predicted)]
    known = [*record["true"], *(index for step in record["kept"] for index in step)]
    known += [index for index, *_ in record["drops"]]
    if max(labels, default=0) > classes or max(known, default=-1) >= classes:
        raise ValueError("a class that the data set has not")


def _check_expressions(record: Mapping[str, Any], _: int) -> None:
    _check_rows(record)
    if not len(record["expressions"]) == len(record["empty"]) == len(record["texts"]):
        raise ValueError("expressions without their counts")
    if not len(record["objects"]) == len(record["released"]):
        raise ValueError("objects without their counts")


def _check_frame(record: Mapping[str, Any], _: int) -> None:
    _check_rows(record)
    if len(record["j"]) != len(record["f"]):
        raise ValueError("objects without their scores")


def _check_rows(record: Mapping[str, Any]) -> None:
    rows = [row for run in record["runs"] for row in run] + list(record["unread"])
    if not record["texts"] or max(rows, default=-1) >= len(record["texts"]):
        raise ValueError("a run of expressions that there are not")


_CHECKS = {"semantic": _check_labels, "referring": _check_expressions, "video": _check_frame}
