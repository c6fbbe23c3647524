"""The page of runs: what it says, that no text becomes markup, and that it needs nothing beside it."""

import json
import re
from base64 import b64decode, b64encode
from hashlib import sha256
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from carlab.datasets.protocol import IGNORE, Pass
from carlab.errors import DatasetError, TraceError
from carlab.evaluate.folder import RunFolder
from carlab.evaluate.page import write_report
from carlab.evaluate.page.cards import Card, make_cards
from carlab.evaluate.page.sections import group_by_classes, leaves, page_runs
from carlab.evaluate.summary import Summary
from carlab.figures.content import as_json
from carlab.files.pictures import colour
from carlab.recurrence import ClipAsRnn
from carlab.trace import Trace
from carlab.trace.show import printable, shorten
from tests.hostile.strings import CONTROL, HOSTILE
from tests.runs import make_dataset, make_run
from tests.traces import make_trace

NAMES = HOSTILE + CONTROL


class Page(HTMLParser):
    """Tags with the names of their attributes, every address, and text by the tag around it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = [("page",)]
        self.attributes: list[tuple[str, str]] = []
        self.text: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *(name for name, _ in attrs)))
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text.append((self.tags[-1][0], data.strip()))

    @property
    def words(self) -> str:
        """All text that is shown."""
        shown = (text for tag, text in self.text if text and tag not in ("style", "script"))
        return " ".join(" ".join(shown).split())

    @property
    def pictures(self) -> list[np.ndarray]:
        found = [value for name, value in self.attributes if name == "src"]
        files = [Image.open(BytesIO(b64decode(value.partition(",")[2]))) for value in found]
        assert {file.format for file in files} <= {"WEBP"}
        return [np.asarray(file) for file in files]


def summed(*folders: RunFolder) -> tuple[tuple[RunFolder, ...], list[Summary]]:
    return folders, [Summary.of(folder, folder.ids) for folder in folders]


def written(path: Path, *folders: RunFolder) -> Page:
    return Page(write_report(*summed(*folders), path / "page.html").read_text(encoding="utf-8"))


def shown_cards(*folders: RunFolder) -> dict[tuple[str, str], Card]:
    return dict(make_cards(page_runs(*summed(*folders))).shown)


@pytest.fixture
def run(tiny: ClipAsRnn, tmp_path: Path) -> RunFolder:
    """Two images and a failure: one is right, in the other the dog is true but dropped."""
    right, wrong = make_trace(), make_trace(kept=[(0,), (0,)])
    truths = {"right": right.labels, "wrong": right.labels.copy(), "broken": right.labels}
    truths["wrong"][truths["wrong"] == 1] = 2
    truths["wrong"][:4] = IGNORE
    return make_run(
        tmp_path / "run",
        tiny,
        make_dataset(truths),
        {"right": [right], "wrong": [wrong], "broken": "expected an image, got none; give one"},
    )


def test_it_says_what_the_summary_says(run: RunFolder, tmp_path: Path) -> None:
    summary = Summary.of(run, run.ids)
    words = written(tmp_path, run).words
    for name in summary.metrics:
        value, low, high = (100 * number for number in summary.interval(name))
        shown = "" if np.isnan(low) else f" {low:.1f} to {high:.1f}"
        assert f"{name} 1 {value:.1f}{shown}" in words
    assert not np.isnan(summary.interval("pixel accuracy").low)
    for name, iou in summary.per_class().items():
        assert f"{name} {'not met' if np.isnan(iou) else f'{100 * iou:.1f}'}" in words
    assert "sofa not met" in words
    for step, kept in enumerate(summary.kept(), 1):
        assert f"step {step} {100 * kept.precision:.1f} {100 * kept.recall:.1f}" in words
    [(image, name, step, margin)] = summary.wrong_drops()
    assert f"1 {image} {name} {step} {margin:.3f}" in words
    assert "1 broken expected an image, got none; give one" in words
    assert "all 3 images" not in words and "2 of 3 images" in words and "1 failed" in words


def test_pictures_show_truth_and_prediction(run: RunFolder, tmp_path: Path) -> None:
    image, truth, prediction, *_ = written(tmp_path, run).pictures
    labels = np.asarray(Image.open(run.truth("wrong"))).astype(int)
    trace = Trace.load(run.trace("wrong"))

    def tint(picture: np.ndarray, region: np.ndarray) -> np.ndarray:
        """How the mean colour of a region was moved from the image's."""
        return np.asarray(picture[region].mean(0) - trace.image[region].mean(0))

    there, found = labels == 2, trace.labels == 1
    assert there.sum() > 50 and found.sum() > 50
    assert np.abs(tint(image, there)).max() < 12
    for picture, region, index in ((truth, there, 1), (prediction, found, 0)):
        wanted = 0.55 * (np.array(colour(index)) - trace.image[region].mean(0))
        assert np.abs(tint(picture, region) - wanted).max() < 25
    assert truth[:2].min() > 220  # not counted
    assert prediction[:2].min() < 220


def test_a_card_has_true_classes_and_dropped_queries(run: RunFolder, tmp_path: Path) -> None:
    cards = shown_cards(run)
    assert [identity for _, identity in cards] == ["wrong", "right"]
    worst, best = cards.values()
    assert [(entry.name, entry.true, entry.ious) for entry in worst.legend] == [
        ("cat", False, (0.0,)),
        ("dog", True, (0.0,)),
    ]
    [recurrence] = worst.views[0].recurrences
    content = recurrence.content
    assert [(query["name"], query.get("true", False)) for query in content["queries"]] == [
        ("cat", False),
        ("dog", True),
        ("sofa", False),
    ]
    assert [(query, step) for query, step, _ in content["drops"]] == [(1, 0), (2, 0)]
    assert content["drops"][0][2] == pytest.approx(0.3 - 0.12)
    assert [row[1] for row in content["scores"]] == [pytest.approx(0.12), None]
    assert [entry.ious for entry in best.legend] == [(1.0,)]
    written(tmp_path, run)
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    sent = re.search('id="image-1".*?<script type="application/json">(.*?)</script>', html, re.DOTALL)
    assert sent is not None
    assert json.loads(sent[1]) == as_json(content)


def test_no_text_becomes_markup(tiny: ClipAsRnn, tmp_path: Path) -> None:
    """Hostile names give the very tags and attributes that tame ones give."""
    pages = []
    for kind, names in {"tame": [f"name {k}" for k in range(len(NAMES))], "hostile": NAMES}.items():
        trace = make_trace(names, kept=[range(0, len(names), 2)])
        missed = make_trace(names, kept=[()])
        dataset = make_dataset(
            {names[0]: trace.labels, names[2]: trace.labels, names[3]: trace.labels},
            classes=names,
            name=names[1],
        )
        made = {names[0]: [trace], names[2]: [missed], names[3]: names[5]}
        folders = [
            make_run(tmp_path / kind / str(k), tiny, dataset, made, theta=0.3 + k / 10) for k in range(2)
        ]
        pages.append(written(tmp_path, *folders))
    tame, hostile = pages
    assert hostile.tags == tame.tags
    for name in NAMES:
        assert any(text == shorten(name).strip() for tag, text in hostile.text if tag == "bdi"), name
    assert printable(hostile.words) == hostile.words


def test_it_needs_nothing_beside_it(run: RunFolder, tmp_path: Path) -> None:
    page = written(tmp_path, run)
    addresses = [value for name, value in page.attributes if name in ("src", "href", "srcset", "action")]
    assert addresses and all(address.startswith(("data:image/webp;", "#")) for address in addresses)
    anchors = {value for name, value in page.attributes if name == "id"}
    assert {address[1:] for address in addresses if address[0] == "#"} <= anchors
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "url(" not in html and "@import" not in html
    policy = next(value for name, value in page.attributes if value.startswith("default-src"))
    script = re.search('<script type="module">(.*)</script>', html, re.DOTALL)
    assert script is not None
    digest = b64encode(sha256(script[1].encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; ") and f"script-src 'sha256-{digest}';" in policy


def test_runs_are_compared_to_the_first(tiny: ClipAsRnn, tmp_path: Path) -> None:
    good, bad = make_trace(), make_trace(kept=[()])
    dataset = make_dataset({"a": good.labels, "b": good.labels})
    first = make_run(tmp_path / "1", tiny, dataset, {"a": [good], "b": [bad]})
    second = make_run(tmp_path / "2", tiny, dataset, {"a": [good], "b": [good]}, theta=0.2)
    other = make_run(tmp_path / "3", tiny, make_dataset({"a": good.labels}, name="another"), {"a": [good]})
    words = written(tmp_path, first, second, other).words
    a, b = (Summary.of(folder, folder.ids).headline[1] for folder in (first, second))
    assert f"mIoU {100 * (b - a):+.1f}" in words
    assert "Not compared: expected runs of one protocol, got dataset 'toy' and 'another'" in words
    assert "models.0.filter.theta 1 0.3 2 0.2 3 0.3" in words
    cards = shown_cards(first, second, other).values()
    shared, alone = sorted(cards, key=lambda card: -len(card.views))[::2]
    assert [view.run.number for view in shared.views] == [1, 2]
    assert [view.run.number for view in alone.views] == [3]
    [table] = group_by_classes(page_runs(*summed(first, second, other)))
    assert len(table) == 3
    assert "class 0 50 100 1 2 3 2 − 1 background" in words  # over other images: not compared


@pytest.mark.parametrize("made", [{}, {"a": "expected an image, got none; give one"}])
def test_a_run_of_nothing_says_so(tiny: ClipAsRnn, tmp_path: Path, made: dict[str, str]) -> None:
    folder = make_run(tmp_path / "run", tiny, make_dataset({"a": np.zeros((4, 4), int)}), made)
    words = written(tmp_path, folder).words
    assert "No image scored yet : 1 in the split" in words and "No trace was kept" in words
    assert not re.search(r"\bnan\b", words, re.IGNORECASE)


def test_passes_without_queries_have_no_trace(tiny: ClipAsRnn, tmp_path: Path) -> None:
    """When labels are given, the only trace of an image may be that of the second pass."""
    trace = make_trace(["grass"], kept=[(0,)])
    classes, passes = ("cat", "dog", "grass"), (Pass((0, 1)), Pass((2,), ("cat", "dog"), stuff=True))
    dataset = make_dataset({"a": trace.labels * 3}, classes=classes, passes=passes, labels_given=True)
    folder = make_run(tmp_path / "run", tiny, dataset, {"a": [None, trace]})
    [card] = shown_cards(folder).values()
    assert [(entry.name, entry.ious) for entry in card.legend] == [("grass", (1.0,))]
    [recurrence] = card.views[0].recurrences
    assert [query["colour"] for query in recurrence.content["queries"]] == [card.legend[0].colour]
    assert "an upper bound" in written(tmp_path, folder).words


@pytest.mark.parametrize("kind", ["referring", "video"])
def test_expressions(tiny: ClipAsRnn, tmp_path: Path, kind: str) -> None:
    texts = ("the cat", "the dog")
    traces = [make_trace(texts[:1], kept=[(0,)]), make_trace(texts[1:], kept=[(0,)])]
    masks = np.stack([traces[0].refined[0], np.zeros_like(traces[0].refined[0])])
    sample = {"expressions": texts, "objects": ("1", "2"), "video": "v" if kind == "video" else None}
    dataset = make_dataset({"a": masks}, classes=(), kind=kind, samples={"a": sample}, passes=(Pass(()),))
    folder = make_run(tmp_path / "run", tiny, dataset, {"a": traces})
    [card] = shown_cards(folder).values()
    assert card.truth is None
    assert [(entry.name, entry.ious[0]) for entry in card.legend] == [("the cat", 1.0), ("the dog", 0.0)]
    assert [[query["name"] for query in part.content["queries"]] for part in card.views[0].recurrences] == [
        ["the cat"],
        ["the dog"],
    ]
    words = written(tmp_path, folder).words
    assert "IoU by class" not in words and "Kept queries" not in words
    assert f"50.0 {'J&F' if kind == 'video' else 'mIoU per expression'}" in words


def test_the_worst_and_the_best_of_many_in_a_small_page(tiny: ClipAsRnn, tmp_path: Path) -> None:
    picture = data.astronaut()[:375, :500]
    trace = make_trace(image=picture)
    truths = {}
    for k in range(24):  # the more is said to be something else, the worse
        truths[f"{k:02}"] = trace.labels.copy()
        truths[f"{k:02}"][:, : 12 * k] = 3
    folder = make_run(tmp_path / "run", tiny, make_dataset(truths), {name: [trace] for name in truths})
    scores = {record["id"]: record["score"] for record in Summary.of(folder, folder.ids).records}
    ranked = sorted(scores, key=lambda name: scores[name])
    page = written(tmp_path, folder)
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert len(html) < 5e6
    assert {max(picture.shape) for picture in page.pictures} == {420}
    shown = re.findall(r'id="image-\d+">\s*<h4><bdi>(\d+)</bdi>', html)
    assert shown == [*ranked[:10], *ranked[-10:]]
    assert "kept of 24 of 24 images. 20 of them are shown" in page.words


def test_the_same_runs_give_the_same_page(run: RunFolder, tmp_path: Path) -> None:
    written(tmp_path, run)
    first = (tmp_path / "page.html").read_bytes()
    written(tmp_path, run)
    assert (tmp_path / "page.html").read_bytes() == first


def test_damage_and_places_that_cannot_be_written_are_told(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="a place that can be written"):
        written(tmp_path / "missing", run)
    run.truth("right").write_bytes(b"not a picture")
    with pytest.raises(DatasetError, match="true labels"):
        written(tmp_path, run)
    run.trace("wrong").write_bytes(b"not a trace")
    with pytest.raises(TraceError, match="a trace written by carlab"):
        written(tmp_path, run)
    assert not (tmp_path / "page.html").exists()


def test_leaves_of_a_manifest() -> None:
    nested = {"a": 1, "b": {"c": [1, 2], "d": [{"e": None}, {"e": "x"}]}, "f": []}
    assert dict(leaves(nested)) == {"a": "1", "b.c": "1, 2", "b.d.0.e": "None", "b.d.1.e": "x", "f": ""}
