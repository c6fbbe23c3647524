"""Tables and notebook output: what is said, how it lines up, and that text stays text."""

import re
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from wcwidth import ljust

from carlab.files.pictures import colour_hex, encoded, paint, shrink
from carlab.trace.show import (
    columns,
    ending,
    header,
    most_telling,
    outcome,
    painted,
    printable,
    shorten,
    times,
    trace_html,
    trace_text,
    verdict,
)  # fmt: skip
from tests.hostile.strings import CONTROL, HOSTILE
from tests.traces import make_trace

VOID = {"img"}
OTHER = (
    "می‌خواهم",
    "a\uffffb",
    "a\ufffeb",
    "a\ud800b",
    "e" + "\u0301" * 10_000,
    "\u2066isolated\u2069",
    "\U000e0041tag",
)
"""A joiner that a word needs, what XML forbids, half a letter, a heap of accents, marks that reorder."""


class Page(HTMLParser):
    """The elements of some HTML, checked to close in order, and the text in each table cell."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[tuple[dict, list[str]]] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append((dict(attrs), []))
        if tag in {"td", "th"}:
            self.rows[-1][1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.rows[-1][1][-1] += data


def table(text: str) -> list[str]:
    """The lines between the head of a table and the blank line after it."""
    return text.split("\n\n")[1].splitlines()[1:]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({}, "70 x 48 image"),
        ({"preset": "offline"}, "70 x 48 image · offline"),
        ({"proposer.backbone": "ViT-B/16"}, "70 x 48 image · ViT-B/16"),
        ({"classifier.backbone": "ViT-L/14"}, "70 x 48 image · ViT-L/14"),
        ({"proposer.backbone": "f", "classifier.backbone": "g"}, "70 x 48 image · f x g"),
        ({"proposer.backbone": "toy, not CLIP", "classifier.backbone": "toy, not CLIP"},
         "70 x 48 image · toy, not CLIP"),
        ({"preset": "\x1b[31mred"}, "70 x 48 image · \ufffd[31mred"),
    ],
)  # fmt: skip
def test_the_header_says_what_is_known(made: dict[str, str], said: str) -> None:
    assert header(make_trace(provenance=made)) == said


def test_not_clip_is_said_in_both() -> None:
    made = {"proposer.backbone": "offline (EfficientNet-Lite2 + MiniLM), not CLIP"}
    trace = make_trace(provenance=made)
    for shown in (trace_text(trace), trace_html(trace)):
        assert made["proposer.backbone"] in shown


def test_time_is_told_longest_first_and_only_where_it_was_spent() -> None:
    assert times(make_trace()) == ""
    spent = make_trace(seconds={"text": 0.004, "vjp": 0.006, "trunk": 1.0, "a\x1bb": 0.5})
    assert times(spent) == "seconds: trunk 1.00, a\ufffdb 0.50, vjp 0.01"
    assert trace_text(spent).splitlines()[-1] == f"  {times(spent)}"
    assert f">{times(spent)}<" in trace_html(spent)


@pytest.mark.parametrize(
    ("kept", "end"),
    [
        ([(0,), (0,)], "2 steps, fixed point, 1 trunk, 4 vjps"),
        ([()], "1 step, nothing present, 1 trunk, 4 vjps"),
        ([(0, 1)], "1 step, step limit, 1 trunk, 4 vjps"),
    ],
)
def test_why_it_ended(kept: list, end: str) -> None:
    assert ending(make_trace(kept=kept)) == end


def test_verdicts_do_not_claim_what_is_not_so() -> None:
    assert verdict(make_trace(theta=0.05), 2) == "dropped at step 1"  # another filter: 0.12 is above
    assert verdict(make_trace(scores=(0.8, 0.3)), 2).endswith("dropped at step 1, 0.000 below 0.300")
    below = make_trace(kept=[(0,)], scores=(0.2, 0.1))  # keep_best: the best stays all the same
    assert verdict(below, 0) == "kept"


def test_more_than_thirty_queries() -> None:
    trace = make_trace([f"thing {k}" for k in range(200)], kept=[(7, 90, 199), (7, 199)])
    rows = table(trace_text(trace))
    assert len(rows) == 31
    assert [row.split("  ")[1] for row in rows if row.endswith("kept")] == ["thing 7", "thing 199"]
    assert rows[-1] == "  ... and 170 more, dropped"
    assert any("thing 90 " in row and "step 2" in row for row in rows), "it lasted longer than the others"
    page = Page(trace_html(trace)).rows
    assert page[-1][1] == ["... and 170 more, dropped"]
    assert len(page) == 32


def test_who_is_left_out_though_kept_is_counted() -> None:
    trace = make_trace([f"thing {k}" for k in range(50)], kept=[range(40)])
    for shown in (trace_text(trace), trace_html(trace)):
        assert "... and 20 more, dropped but for 10" in shown
    assert "... (40 in all)" in outcome(trace)


def test_most_telling_are_survivors_then_the_last_to_fall_then_the_best() -> None:
    trace = make_trace("abcdef", kept=[(1, 3, 5), (3, 5), (3,), (3,)])
    trace.steps[0].probs[4, 4] = 0.29
    assert [most_telling(trace, most) for most in range(1, 7)] == [
        [3], [3, 5], [1, 3, 5], [1, 3, 4, 5], [0, 1, 3, 4, 5], [0, 1, 2, 3, 4, 5],
    ]  # fmt: skip


def test_a_score_that_is_no_number_hides_nothing() -> None:
    trace = make_trace(kept=[(0, 1)])
    trace.steps[0].probs[2, 2] = np.nan
    assert most_telling(trace, 2) == [0, 1]
    assert len(table(trace_text(trace))) == 3
    assert "dropped at step 1" in trace_html(trace)


@pytest.mark.parametrize(
    ("text", "wide"),
    [("cat", 3), ("猫と犬", 6), ("ＦＵＬＬ", 8), ("e\u0301", 1), ("ก็็็", 1), ("a\u20dd", 1), ("قطة", 3),
     ("🐈", 2), ("می\u200cخواهم", 7), ("", 0)],
)  # fmt: skip
def test_columns(text: str, wide: int) -> None:
    assert columns(text) == wide
    assert columns(ljust(text, 9)) == 9


@pytest.mark.parametrize("text", HOSTILE + CONTROL + OTHER, ids=lambda text: ascii(text)[:30])
def test_what_is_shown_is_short_and_harmless(text: str) -> None:
    shown = shorten(text)
    assert columns(shown) <= 40
    assert len(shown) <= 161
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]", shown)
    assert shorten(shown) == shown
    shown.encode()


def test_what_can_be_read_stays() -> None:
    for text in ("naïve 猫 👩‍🚀", OTHER[0], "$x^2$", "<b>", "{}"):
        assert shorten(text) == text
    assert printable("a\nb\x1b[0m\u202e\uffff") == "a\ufffdb\ufffd[0m\ufffd\ufffd"


def test_all_at_once_line_up() -> None:
    queries = (*HOSTILE[:20], *OTHER, *CONTROL[:3])
    lines = table(trace_text(make_trace(queries, kept=[range(len(queries))] * 2)))
    assert len(lines) == len(queries)
    assert len({columns(line) for line in lines}) == 1
    assert all(line.endswith("    0.800    0.800   kept") for line in lines)


@pytest.mark.parametrize("start", range(0, 60, 20))
def test_html_is_whole_whatever_the_queries(start: int) -> None:
    queries = (HOSTILE + CONTROL + OTHER)[start : start + 20]
    html = trace_html(make_trace(queries, kept=[range(0, len(queries), 2)] * 2))
    assert not re.search(r"<(script|svg|b>|!--)", html)
    assert not re.search(r"[\x00-\x1f\x7f\u202e\u2028]", html)
    assert [cells[1] for _, cells in Page(html).rows[1:]] == [shorten(query) for query in queries]
    html.encode()


def test_html_leaves_tex_and_direction_to_the_text() -> None:
    html = trace_html(make_trace(["$x^2$", "قطة", "dog"], kept=[(0, 1), (0, 1)]))
    assert html.startswith("<div class='tex2jax_ignore mathjax_ignore'")
    assert html.count("<td dir='auto'") == 3
    assert "found: <span dir='auto'>$x^2$</span>, <span dir='auto'>قطة</span> · 2 steps" in html


def test_html_takes_its_colours_from_the_page() -> None:
    html = trace_html(make_trace())
    assert re.findall(r"#[0-9a-f]{6}", html) == [colour_hex(0)]
    assert not re.search(r"[;' ](color|background-color):|rgb\(", html)
    assert html.count("background:") == 1


def test_html_greys_what_is_gone() -> None:
    rows = Page(trace_html(make_trace())).rows[1:]
    assert [float(attributes["style"].split(":")[1]) for attributes, _ in rows] == [1, 0.55, 0.55]
    assert [cells[-1] for _, cells in rows] == [verdict(make_trace(), query) for query in range(3)]
    assert rows[1][1][2:5] == ["0.800", "0.120", ""]


@pytest.mark.parametrize("size", [(48, 70), (640, 640), (900, 300), (2, 2000), (1, 1)])
def test_the_picture_is_the_image_painted(size: tuple[int, int]) -> None:
    trace = make_trace(size=size)
    data = b64decode(re.search(r"base64,([^']+)", trace_html(trace))[1])
    picture = np.asarray(Image.open(BytesIO(data)))
    assert max(picture.shape[:2]) == min(max(size), 640)
    np.testing.assert_array_equal(picture, painted(trace, 640))
    if max(size) <= 640:
        np.testing.assert_array_equal(picture, paint(trace.image, trace.labels))


def test_thumbnails_keep_proportions_and_do_not_enlarge() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (30, 60, 3), dtype=np.uint8)
    assert shrink(picture, 20).shape == (10, 20, 3)
    np.testing.assert_array_equal(shrink(picture, 60), picture)
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(encoded(picture)))), picture)
