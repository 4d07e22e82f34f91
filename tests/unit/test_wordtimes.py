"""What is shown is what was written, and each of its words is timed, whatever the voice has told."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from piperd.wordtimes import LEAD_S, LONGEST_LINE, TAIL_S, Line, Spoken, lines

RATE = 1_000
"""Hertz: a sample is a millisecond."""
TEXTS = st.text(st.sampled_from("abcXYZ 129.,;!?'—-…()[]%&سلا你好ก\u0301\u200c😀"), max_size=60)


def spoken(text: str, start_s: float = 0.0, duration_s: float = 2.0, **more: Any) -> Spoken:
    fields: dict[str, Any] = {"written": (), "words": None, "rate": RATE, "scene": "1", "goes_on": False}
    return Spoken(text=text, start_s=start_s, duration_s=duration_s, **(fields | more))


def only(*utterances: Spoken) -> Line:
    (line,) = lines(utterances)
    return line


def timed(line: Line) -> list[tuple[str, float, float]]:
    return [(line.text[each.start : each.end], round(each.start_s, 3), round(each.end_s, 3)) for each in line.words]


def parts(line: Line) -> list[str]:
    return [line.text[each.start : each.end] for each in line.words]


@st.composite
def utterances(draw: st.DrawFn) -> list[Spoken]:
    """A timeline of utterances with rewritten stretches and words, some of them nonsense."""
    found = []
    at = draw(st.floats(0, 400_000))
    for _ in range(draw(st.integers(0, 6))):
        text = draw(TEXTS)
        places = st.integers(-2, len(text) + 3)
        samples = st.integers(-500, 6_000)
        stretches = st.lists(st.tuples(places, places, TEXTS), max_size=4)
        told = st.lists(st.tuples(places, places, samples, samples), max_size=8)
        duration = draw(st.floats(0, 5))
        found.append(
            spoken(
                text,
                at,
                duration,
                written=tuple(draw(stretches if draw(st.booleans()) else stretches.map(sorted))),
                words=draw(st.none() | told.map(tuple) | told.map(sorted).map(tuple)),
                scene=draw(st.sampled_from("12")),
                goes_on=draw(st.booleans()),
            )
        )
        at += duration + draw(st.floats(0, 2))
    return found


@given(utterances())
@example([spoken("11", duration_s=1.0, words=((0, -1, 0, 1), (0, 1, 0, 2)))])
@example([spoken("11", duration_s=1.0, words=((-1, 9, -5, 9_000),), written=((5, 2, "a"), (-3, -1, "b")))])
def test_words_are_in_order_and_inside_their_line(timeline: list[Spoken]) -> None:
    """No time is negative or runs backwards or lies outside of what was spoken, however wrong the voice's are."""
    at = 0.0
    for line in lines(timeline):
        assert line.start_s <= line.end_s
        at = max(at, line.start_s)
        for word in line.words:
            assert word.start < word.end
            assert at - 1e-6 <= word.start_s <= word.end_s <= line.end_s + 1e-6
            at = word.end_s
        for one, other in pairwise(line.words):
            assert one.end <= other.start


@st.composite
def rewritten(draw: st.DrawFn) -> tuple[list[Spoken], str]:
    """The pieces of a sentence, cut at spaces, some words of which are spoken otherwise; and the sentence."""
    words = draw(
        st.lists(st.tuples(st.text("abcd.'%", min_size=1, max_size=6), st.text("efg h", max_size=12) | st.none()))
    )
    pieces: list[Spoken] = []
    text, written, begun = "", [], False
    for index, (word, respelling) in enumerate(words):
        text += " " if begun else ""
        begun = True
        if respelling is not None:
            written.append((len(text), len(text) + len(respelling), word))
        text += word if respelling is None else respelling
        if index == len(words) - 1 or draw(st.integers(0, 4)) == 0:
            goes_on = index < len(words) - 1
            pieces.append(spoken(text, 3.0 * len(pieces), written=tuple(written), goes_on=goes_on))
            text, written, begun = "", [], False
    return pieces, " ".join(word for word, _ in words)


@given(rewritten())
@example(([], ""))
def test_the_sentence_is_shown_as_it_was_written(sentence: tuple[list[Spoken], str]) -> None:
    """Its pieces are joined, and what was rewritten for the voice is put back."""
    pieces, written = sentence
    assert [line.text for line in lines(pieces)] == ([written] if written else [])


@given(TEXTS, st.floats(0.01, 100))
def test_estimates_leave_no_word_out(text: str, duration_s: float) -> None:
    """Without durations all words of a sentence have times of some length, and they say that they are estimated."""
    for line in lines([spoken(text, duration_s=duration_s)]):
        assert not line.exact
        assert all(word.start_s < word.end_s for word in line.words)
        heard = {index for word in line.words for index in range(word.start, word.end)}
        assert all(index in heard for index, each in enumerate(line.text) if each.isalnum())


def test_the_voices_times_are_taken() -> None:
    """A word has the time that the voice gave it, to the sample, in the joined file."""
    line = only(spoken("Hello, world.", 10.0, words=((0, 5, 50, 400), (7, 12, 500, 1_200))))
    assert line.exact
    assert timed(line) == [("Hello", 10.05, 10.4), ("world", 10.5, 11.2)]


def test_punctuation_in_a_words_range_takes_no_time() -> None:
    """Whether the voice counts the comma to the word or not, the word is as long."""
    line = only(spoken("Hello, world.", words=((0, 6, 50, 400), (7, 13, 500, 1_200))))
    assert timed(line) == [("Hello", 0.05, 0.4), ("world", 0.5, 1.2)]


def test_words_that_the_voice_joins_share_its_time() -> None:
    """`at the` spoken as one word: two and three letters of it."""
    line = only(spoken("Look at the sea.", words=((0, 4, 0, 400), (5, 11, 400, 900), (12, 15, 900, 1_500))))
    assert timed(line) == [("Look", 0.0, 0.4), ("at", 0.4, 0.6), ("the", 0.6, 0.9), ("sea", 0.9, 1.5)]


def test_a_word_left_out_lies_between_its_neighbours() -> None:
    """What the voice did not tell of has the time that is left."""
    line = only(spoken("Look at the sea.", words=((0, 4, 0, 400), (8, 11, 800, 900), (12, 15, 900, 1_500))))
    assert line.exact
    assert timed(line)[1] == ("at", 0.4, 0.8)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (((0, 4, 0, 500), (8, 11, 500, 800)), [("Look", 0.0, 0.333), ("at", 0.333, 0.5), ("the", 0.5, 0.8)]),
        (((5, 7, 0, 600), (8, 11, 600, 800)), [("Look", 0.0, 0.4), ("at", 0.4, 0.6), ("the", 0.6, 0.8)]),
        (((0, 4, 0, 400), (5, 7, 400, 800)), [("Look", 0.0, 0.4), ("at", 0.4, 0.56), ("the", 0.56, 0.8)]),
    ],
    ids=["inside", "first", "last"],
)
def test_a_word_without_room_shares_its_neighbours_time(
    words: tuple[tuple[int, int, int, int], ...], expected: list[tuple[str, float, float]]
) -> None:
    """Where the voice leaves a word out and no time for it, it was said in one breath with its neighbour."""
    assert timed(only(spoken("Look at the", duration_s=0.8, words=words))) == expected


def test_several_spoken_words_for_one_written() -> None:
    """`$5` lasts from `five` to the end of `dollars`."""
    line = only(
        spoken(
            "It costs five dollars.",
            written=((9, 21, "$5"),),
            words=((0, 2, 0, 200), (3, 8, 200, 600), (9, 13, 600, 900), (14, 21, 950, 1_500)),
        )
    )
    assert line.text == "It costs $5."
    assert timed(line)[2] == ("$5", 0.6, 1.5)


def test_several_written_words_in_one_stretch() -> None:
    """They share its time by how long they take to say."""
    text = "on the fourth of May now"
    spans = ((0, 2, 0, 100), (3, 6, 100, 200), (7, 13, 200, 600), (14, 16, 600, 700), (17, 20, 700, 1_000))
    line = only(spoken(text, written=((3, 20, "May 4"),), words=(*spans, (21, 24, 1_100, 1_300))))
    assert line.text == "on May 4 now"
    assert [word for word, _, _ in timed(line)] == ["on", "May", "4", "now"]
    (_, may, may_end), (_, four, four_end) = timed(line)[1:3]
    assert (may, four_end) == (0.1, 1.0)
    assert may_end == four == pytest.approx(0.1 + 0.9 * 3 / 7, abs=1e-3)


def test_a_part_of_a_word_rewritten() -> None:
    """A stretch inside a written word: the word spans it all."""
    line = only(
        spoken("pages ten to twenty", written=((6, 9, "10"), (9, 13, "–"), (13, 19, "20")), words=((0, 19, 0, 1_900),))
    )
    assert line.text == "pages 10–20"
    assert timed(line)[1][0] == "10–20"
    assert timed(line)[1][2] == 1.9


def test_phonemes_are_not_shown() -> None:
    """A word from a lexicon is shown as it was written, at the time of its phonemes."""
    line = only(
        spoken("Say [[təmˈɑːtoʊ]] now.", written=((4, 17, "tomato"),), words=((0, 3, 0, 200), (4, 17, 250, 700)))
    )
    assert line.text == "Say tomato now."
    assert timed(line)[1] == ("tomato", 0.25, 0.7)


def test_what_is_not_spoken_is_shown_and_is_no_word() -> None:
    """A dropped emoji, and dots that are spoken as a comma."""
    line = only(spoken("Good, she said", written=((0, 0, "😀 "), (4, 5, "..."), (14, 14, " 🎉"))))
    assert line.text == "😀 Good... she said 🎉"
    assert parts(line) == ["Good", "she", "said"]


def test_signs_that_are_spoken_are_words() -> None:
    """`&` and `%` have names; a dash has none."""
    assert parts(only(spoken("Salt & pepper — 5 % of it"))) == ["Salt", "&", "pepper", "5", "%", "of", "it"]


def test_a_replacement_longer_than_an_utterance() -> None:
    """The first piece carries what was written, the next one nothing: the word lasts into it."""
    line = only(
        spoken("id one two", written=((3, 10, "12"),), goes_on=True, words=((0, 2, 0, 500), (3, 10, 500, 2_000))),
        spoken("three four ok", 2.0, written=((0, 10, ""),), words=((0, 10, 100, 900), (11, 13, 1_000, 1_900))),
    )
    assert line.text == "id 12 ok"
    assert timed(line) == [("id", 0.0, 0.5), ("12", 0.5, 2.9), ("ok", 3.0, 3.9)]


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["Hello there,", "my friend."], "Hello there, my friend."),
        (["今天天气很好，", "我们去公园。"], "今天天气很好，我们去公园。"),
        (["วันนี้อากาศ", "ดีมาก"], "วันนี้อากาศดีมาก"),
        (["I know—", "perhaps."], "I know—perhaps."),
        (["I know —", "perhaps."], "I know — perhaps."),
        (["a " + "x" * 120, "x" * 80], "a " + "x" * 200),
    ],
    ids=["English", "Chinese", "Thai", "dash", "spaced dash", "long word"],
)
def test_pieces_are_joined_as_they_were(pieces: list[str], text: str) -> None:
    """A space comes back only where the cut took one away."""
    line = only(*(spoken(each, 3.0 * index, goes_on=index == 0) for index, each in enumerate(pieces)))
    assert line.text == text


def test_sentences_and_scenes_stay_apart() -> None:
    """Short sentences are lines of their own, and a scene ends a line though its last piece would go on."""
    found = lines([spoken("Hi."), spoken("Ho.", 3.0, goes_on=True), spoken("He.", 6.0, scene="2", goes_on=True)])
    assert [(line.text, line.scene, line.start_s, line.end_s) for line in found] == [
        ("Hi.", "1", 0.0, 2.0),
        ("Ho.", "1", 3.0, 5.0),
        ("He.", "2", 6.0, 8.0),
    ]


def test_a_sentence_without_an_end_is_not_held() -> None:
    """A book without a full stop comes out in parts."""
    piece = "word " * 30 + "word"
    found = list(lines(spoken(piece, 2.5 * index, goes_on=True) for index in range(100)))
    assert all(len(line.text) < LONGEST_LINE + len(piece) + 1 for line in found)
    assert " ".join(line.text for line in found) == " ".join([piece] * 100)


@given(st.text(st.characters(exclude_categories=()), max_size=40))
@example("a\u2028b\x00c\x85\td\u200be\u202ef\ufeff\ud800\u00a0g")
def test_what_is_shown_is_clean(text: str) -> None:
    """One line of text: no control characters, no marks of direction, no half characters, single spaces."""
    for line in lines([spoken(text)]):
        line.text.encode()
        assert line.text == " ".join(line.text.split())
        assert not set(line.text) & set(
            "\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2069\ufeff\x00\x1b\u2028"
        )


def test_the_edges_are_silent() -> None:
    """An estimate leaves a little silence before and behind the speech, less where there is little of it."""
    assert timed(only(spoken("word"))) == [("word", LEAD_S, 2.0 - TAIL_S)]
    assert timed(only(spoken("Hi.", duration_s=0.4))) == [("Hi", 0.04, 0.24)]


def test_a_pause_is_counted_where_times_are_estimated() -> None:
    """After a comma the voice rests, so the next word comes later than letters alone would have it."""
    plain, paused = timed(only(spoken("one two"))), timed(only(spoken("one, two")))
    assert paused[1][1] - paused[0][2] > 0.3
    assert plain[1][1] == plain[0][2]
    assert timed(only(spoken("one two…"))) == plain
    (_, _, figure_end), (_, ones, _) = timed(only(spoken("3.5 ones")))
    assert figure_end == ones


@pytest.mark.parametrize("words", [(), ((5, 2, 9, 1),), ((0, 3, 700, 700),), ((3, 4, 0, 100),)])
def test_times_that_mean_nothing_are_estimates(words: tuple[tuple[int, int, int, int], ...]) -> None:
    """No words, a word that ends before it begins, one of no length, a space."""
    line = only(spoken("one two", words=words))
    assert not line.exact
    assert timed(line) == timed(only(spoken("one two")))
