"""`carlab.queries`: what passes comes out unchanged, what cannot be meant is refused."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carlab.errors import QueryError, invisible
from carlab.queries import (
    BACKGROUNDS,
    CAM_TEMPLATE,
    CLASSIFIER_TEMPLATES,
    check_background,
    check_queries,
    check_template,
)

LETTERS = st.characters(categories=("L", "N", "P", "S"), exclude_characters="\u2800")  # Braille without a dot
WORDS = st.text(LETTERS.filter(lambda letter: not invisible(letter)), min_size=1, max_size=12)
ANYTHING = st.none() | st.integers() | st.floats() | st.binary() | st.text() | st.lists(st.text(), max_size=3)


def complaint(error: QueryError) -> str:
    message = str(error)
    assert message.isprintable() and 30 < len(message) < 500, message
    return message


# Queries


@pytest.mark.parametrize(
    "queries",
    [
        ("cat",),
        ("cat", "cats", "ca t"),
        ("a man in a red jacket, on the left", "person with clothes,people,human"),
        ("قطة على السرير", "חתול", "猫", "кошка"),
        ("👩‍👩‍👧", "🦊", "❤️", "🏳️‍🌈"),
        ("{}", "{0.__class__}", "%s", "<script>alert(1)</script>", "../../etc"),
        ("x" * 10_000,),
        tuple(f"thing {index}" for index in range(200)),
    ],
)
def test_good_queries_pass_in_order(queries: tuple[str, ...]) -> None:
    for given_as in (queries, list(queries), iter(queries), np.array(queries)):
        assert check_queries(given_as) == queries


def test_outer_whitespace_goes_inner_stays() -> None:
    assert check_queries(["  red car\n", "\u3000cat\u00a0", "a  b\r\n"]) == ("red car", "cat", "a  b")


def test_items_are_plain_text() -> None:
    assert [type(query) for query in check_queries(np.array(["cat", "dog"]))] == [str, str]


@given(
    st.lists(
        WORDS, min_size=1, max_size=8, unique_by=lambda word: unicodedata.normalize("NFC", word).casefold()
    )
)
def test_checking_twice_changes_nothing(words: list[str]) -> None:
    once = check_queries(words)
    assert once == tuple(words) and check_queries(once) == once


@pytest.mark.parametrize(
    ("queries", "said"),
    [
        ("cat", "expected a list of texts, got the text 'cat'; write ['cat']"),
        (b"cat", "got the text 'cat'; write ['cat']"),
        ("x" * 5000, "..."),
        ("a\nb", r"'a\nb'"),
        ([], "empty list"),
        (iter(()), "empty list"),
        (None, "got NoneType for queries"),
        (7, "got int for queries"),
        ({"cat", "dog"}, "got a set; write sorted(queries)"),
        (frozenset(["cat"]), "got a frozenset"),
        (["cat", None], "got NoneType in queries[1]"),
        (["cat", 3], "got int in queries[1]"),
        (["cat", float("nan")], "got float in queries[1]"),
        (["cat", b"dog"], "got bytes in queries[1]"),
        (["cat", ["dog"]], "got list in queries[1]"),
        (["cat", ""], "only blanks in queries[1]"),
        (["cat", " \t\n"], "only blanks in queries[1]"),
        (["cat", "\u200b\u200d"], r"only blanks in queries[1], '\u200b\u200d'"),
        (["\ufeff"], "only blanks in queries[0]"),
        (["cat", "do\0g"], r"got U+0000 in queries[1], 'do\x00g'"),
        (["two\nlines"], "got U+000A in queries[0]"),
        (["tab\there"], "got U+0009"),
        (["\x1b[31mred"], "got U+001B"),
        (["delete\x7f"], "got U+007F"),
        (["half \ud83d emoji"], r"got U+D83D in queries[0], 'half \ud83d emoji'"),
        (["line\u2028separator"], "got U+2028"),
        (["x" * 5000 + "\0"], "got U+0000"),
    ],
)
def test_bad_queries_are_refused(queries: object, said: str) -> None:
    with pytest.raises(QueryError) as caught:
        check_queries(queries)
    assert said in complaint(caught.value)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("cat", "cat"),
        ("cat", " CAT "),
        ("straße", "STRASSE"),
        ("caf\u00e9", "cafe\u0301"),
        ("red  car", "red car"),
    ],
)
def test_duplicates_are_refused_by_position(first: str, second: str) -> None:
    with pytest.raises(QueryError) as caught:
        check_queries(["dog", first, "sheep", second])
    message = complaint(caught.value)
    assert f"{first!r} at position 1" in message and f"{second.strip()!r} at position 3" in message


@given(st.one_of(ANYTHING, st.lists(ANYTHING, max_size=4), st.sets(st.text(), max_size=2)))
def test_anything_gives_clean_queries_or_a_complaint(queries: object) -> None:
    try:
        texts = check_queries(queries)
    except QueryError as error:
        complaint(error)
    else:
        assert texts and len(set(texts)) == len(texts) == len(queries)
        for text, item in zip(texts, queries, strict=True):
            assert text == item.strip() != ""
            text.encode()  # a lone surrogate could not be


# Background


@pytest.mark.parametrize("nothing", [None, [], (), iter(())])
def test_background_may_be_empty(nothing: object) -> None:
    assert check_background(nothing, ("cat",)) == ()


def test_background_merges_repeats_and_leaves_queries_out() -> None:
    words = [" road", "Sky", "sky ", "CAT", "cats", "road", "red  car"]
    assert check_background(words, ("cat", "red car")) == ("road", "Sky", "cats")


def test_background_may_vanish_altogether() -> None:
    assert check_background(["cat", "Dog"], ("dog", "cat")) == ()


@given(st.lists(WORDS, max_size=8), st.lists(WORDS, max_size=8))
def test_background_is_set_arithmetic(words: list[str], queries: list[str]) -> None:
    def key(word: str) -> str:
        return unicodedata.normalize("NFC", word).casefold()

    kept = check_background(words + queries[:2], queries)
    assert {key(word) for word in kept} == {key(word) for word in words} - {key(query) for query in queries}
    assert len({key(word) for word in kept}) == len(kept)
    assert sorted(kept, key=words.index) == list(kept)


@pytest.mark.parametrize(
    ("background", "said"),
    [
        ("sky", "write ['sky']"),
        (3, "got int for background; write ['sky'] or BACKGROUNDS['all']"),
        ({"sky"}, "write sorted(background)"),
        (["sky", None], "got NoneType in background[1]"),
        (["sky", " "], "only blanks in background[1]"),
        (["s\0ky"], "U+0000 in background[0]"),
    ],
)
def test_bad_background_is_refused(background: object, said: str) -> None:
    with pytest.raises(QueryError) as caught:
        check_background(background, ("cat",))
    assert said in complaint(caught.value)


@pytest.mark.parametrize(
    ("name", "count", "first", "last"),
    [
        ("none", 0, None, None),
        ("release", 23, "ground", "bridge"),
        ("terrestrial", 32, "ground", "thicket"),
        ("aquatic-atmospheric", 44, "sea", "nimbus"),
        ("man-made", 36, "building", "terminal"),
        ("all", 112, "ground", "terminal"),
    ],
)
def test_vocabularies(name: str, count: int, first: str | None, last: str | None) -> None:
    words = BACKGROUNDS[name]
    assert len(words) == count
    assert (words[0], words[-1]) == (first, last) if words else first is None
    assert check_background(words, ()) == words  # clean, and without repeats


def test_vocabularies_are_the_named_ones() -> None:
    assert list(BACKGROUNDS) == ["none", "release", "terrestrial", "aquatic-atmospheric", "man-made", "all"]
    kinds = ("terrestrial", "aquatic-atmospheric", "man-made")
    assert set(BACKGROUNDS["all"]) == {word for kind in kinds for word in BACKGROUNDS[kind]}
    # What the paper's lists lack of the released one.
    assert set(BACKGROUNDS["release"]) - set(BACKGROUNDS["all"]) == {"helmet"}


def test_words_of_ones_own() -> None:
    assert check_background([" sky", "Sky", "sea"], ()) == ("sky", "sea")
    assert check_background(None, ()) == ()


# Templates


def test_templates_are_the_released_ones() -> None:
    assert CAM_TEMPLATE == CLASSIFIER_TEMPLATES[0] == "a clean origami {}."
    assert len(CLASSIFIER_TEMPLATES) == 15
    assert CLASSIFIER_TEMPLATES[1:6] == (
        "a photo of a {}.",
        "This is a photo of a {}",
        "There is a {} in the scene",
        "There is the {} in the scene",
        "a photo of a {} in the scene",
    )
    frames = ("a photo of a * {}.", "This is a photo of a * {}.", "There is a * {} in the scene.")
    sizes = ("small", "medium", "large")
    assert list(CLASSIFIER_TEMPLATES[6:]) == [frame.replace("*", size) for frame in frames for size in sizes]


@pytest.mark.parametrize("template", [*CLASSIFIER_TEMPLATES, "{}", "צילום של {}", "%s {} $x"])
def test_good_template_passes(template: str) -> None:
    assert check_template(template) == check_template(f" {template}\n") == template


@pytest.mark.parametrize(
    "template",
    [
        *(
            "",
            " ",
            "a photo",
            "{} and {}",
            "{{}}",
            "{0}",
            "{name}",
            "{}{",
            "}{}",
            "{ }",
            "}{",
            "{:>9}",
            "{!r}",
        ),
        *("{}\0", "{}\nx", "\ud800{}", "x" * 5000, None, 3, b"{}", ["{}"]),
    ],
)
def test_bad_template_is_refused(template: object) -> None:
    with pytest.raises(QueryError) as caught:
        check_template(template)
    complaint(caught.value)


@pytest.mark.parametrize("letter", ["\u3164", "\u115f", "\u1160", "\uffa0", "\u2800"])
def test_letters_that_are_drawn_as_nothing_are_refused(letter: str) -> None:
    """Alone, and inside a name: "cat" and "cat" with one would look the same."""
    for text in (letter, f"cat{letter}", f"red{letter}car"):
        with pytest.raises(QueryError, match=f"U\\+{ord(letter):04X}"):
            check_queries([text])


@pytest.mark.parametrize("text", ["\u200b\u200d", "\ufe0f", "\U000e0020 \U000e0021", "\u034f"])
def test_names_of_nothing_but_invisible_letters_are_refused(text: str) -> None:
    with pytest.raises(QueryError, match="only blanks"):
        check_queries([text])


def test_the_table_of_invisible_letters_is_unicodes() -> None:
    regex = pytest.importorskip("regex")
    known = regex.compile(r"\p{Default_Ignorable_Code_Point}")
    odd = [code for code in range(0x110000) if invisible(chr(code)) != bool(known.match(chr(code)))]
    assert not odd, [hex(code) for code in odd[:9]]


def test_more_queries_or_letters_than_anyone_has() -> None:
    with pytest.raises(QueryError, match="at most 10000 queries"):
        check_queries(map(str, range(10_001)))
    with pytest.raises(QueryError, match="at most 100000 letters"):
        check_queries(["x" * 100_001])
