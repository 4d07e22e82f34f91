"""What is on the screen: rows that fit, cues that never overlap, broken where readers would break them."""

from __future__ import annotations

from itertools import pairwise

import pytest
import wcwidth
from hypothesis import example, given
from hypothesis import strategies as st

from piperd.cues import CHAIN_MS, GAP_MS, LINGER_MS, SHORTEST_MS, WIDTH, Cue, cues
from piperd.linebreaks import BOUND, CLAUSE, CONJUNCTION, PHRASE, PLAIN, PREPOSITION, Ruler, breaks
from piperd.typography import columns
from piperd.wordtimes import Line, Spoken, Word, lines

OF_ALL_SCRIPTS = """a the and house, (if can) Dr. 5 kg wonderful — word—word سلام می‌خواهم 你好世界，今天天气很好。
    コンピューター 「日本語」 ภาษาไทยเป็นภาษา 👨‍👩‍👧🇩🇪 한국어 क्षि \u0301 ... https://example.com/a/very/long/path?with=a&more=of-it"""
WORDS = st.sampled_from([*OF_ALL_SCRIPTS.split(), "x" * 50, "e\u0301" * 60])
SENTENCES = st.lists(WORDS, min_size=1, max_size=40).map(" ".join)
LONG = (
    "The quick brown fox jumps over the lazy dog and then, because it was bored, it wandered off into the deep dark "
    "forest of the northern mountains, where nobody had ever lived."
)


def timeline(texts: list[str], a_letter: float = 0.06, pause: float = 0.2) -> list[Line]:
    found, at = [], 0.0
    for text in texts:
        duration = len(text) * a_letter
        found.append(Spoken(text, (), None, 16_000, at, duration, "1", goes_on=False))
        at += duration + pause
    return list(lines(found))


def line(start_s: float, end_s: float, text: str = "word") -> Line:
    """A sentence of one word, heard from then to then; its sound ends 0.2 seconds later."""
    return Line(text, (Word(0, len(text), start_s, end_s),), "1", start_s, end_s + 0.2, exact=True)


def rows(text: str, a_letter: float = 0.06) -> list[tuple[str, ...]]:
    return [cue.rows for cue in cues(timeline([text], a_letter))]


def clocks(found: list[Cue]) -> list[tuple[int, int]]:
    return [(cue.start_ms, cue.end_ms) for cue in found]


@given(st.lists(SENTENCES, max_size=5), st.sampled_from([0.0, 0.001, 0.06, 0.3]), st.sampled_from([0.0, 0.2, 3.0]))
def test_cues_are_in_order_and_never_overlap(texts: list[str], a_letter: float, pause: float) -> None:
    """At any speed, also at none: each lasts some time, and is gone when the next one comes."""
    made = timeline(texts, a_letter, pause)
    found = list(cues(made))
    assert all(0 <= cue.start_ms < cue.end_ms for cue in found)
    assert all(one.end_ms <= other.start_ms for one, other in pairwise(found))
    if found and a_letter:
        assert found[-1].end_ms <= max(round(made[-1].end_s * 1_000), found[-1].start_ms + 1)


@given(st.lists(SENTENCES, max_size=5), st.sampled_from([0.03, 0.06, 0.3]), st.sampled_from([0.0, 0.2, 3.0]))
def test_a_cue_is_read_at_leisure(texts: list[str], a_letter: float, pause: float) -> None:
    """A cue stays for a second, or until the next one where that comes earlier; the last until the sound ends."""
    made = timeline(texts, a_letter, pause)
    found = list(cues(made))
    for one, other in pairwise(found):
        assert one.end_ms >= min(one.start_ms + SHORTEST_MS, other.start_ms)
    if found:
        assert found[-1].end_ms >= min(found[-1].start_ms + SHORTEST_MS, int(made[-1].end_s * 1_000))


@given(st.lists(SENTENCES, max_size=4))
@example(["x" * 200])
@example(["👨‍👩‍👧" * 50])
@example(["a" * 41 + " \u0301" + "b" * 60])
def test_the_text_is_there_once_in_rows_that_fit(texts: list[str]) -> None:
    """All that was written, in order; at most two rows of 42 columns; a sentence begins a cue; no character torn."""
    made = timeline(texts)
    found = list(cues(made))
    at = 0
    for each in made:
        edges = {0}
        for grapheme in wcwidth.iter_graphemes(each.text):
            edges.add(max(edges) + len(grapheme))
        place = 0
        while place < len(each.text):
            cue = found[at]
            at += 1
            assert 1 <= len(cue.rows) <= 2
            for row in cue.rows:
                assert row.strip() == row != ""
                assert columns(row) <= WIDTH
                place += each.text[place] == " "
                assert each.text.startswith(row, place)
                assert place in edges
                place += len(row)
                assert place in edges
    assert at == len(found)


@given(SENTENCES)
def test_what_fits_into_a_row_or_a_cue_is_not_broken(text: str) -> None:
    """One row where the sentence has room in it; and words that fit into a row stay whole."""
    (made,) = timeline([text])
    found = rows(text)
    if columns(made.text) <= WIDTH:
        assert found == [(made.text,)]
    if made.text.isascii() and all(len(word) <= WIDTH for word in made.text.split()):
        assert [word for cue in found for row in cue for word in row.split()] == made.text.split()


@given(st.lists(st.text("abcdefg,", min_size=1, max_size=12), min_size=1, max_size=60).map(" ".join))
def test_no_more_cues_than_twice_what_is_needed(text: str) -> None:
    """Good places are paid with room, but not with any amount of it: on average a cue is half full."""
    assert len(rows(text)) <= 1 + 2 * len(text) / (2 * WIDTH - 12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello there.", [("Hello there.",)]),
        ("I think that this is just long enough now.", [("I think that this is just long enough now.",)]),
        (
            "Alice was tired of sitting by her sister, and of having nothing to do.",
            [("Alice was tired of sitting by her sister,", "and of having nothing to do.")],
        ),
        (
            "The committee will postpone the vote because members are absent.",
            [("The committee will postpone the vote", "because members are absent.")],
        ),
        (
            "It was built on the bank of the wonderful river Thames in London.",
            [("It was built on the bank", "of the wonderful river Thames in London.")],
        ),
        (
            LONG,
            [
                ("The quick brown fox jumps over the lazy", "dog and then, because it was bored,"),
                ("it wandered off into the deep dark", "forest of the northern mountains,"),
                ("where nobody had ever lived.",),
            ],
        ),
        (
            'He said: "I don\'t know—perhaps tomorrow—but you should go (if you can)."',
            [("He said: \"I don't know—perhaps tomorrow—", 'but you should go (if you can)."')],
        ),
        (
            "你好，世界。今天天气很好，我们一起去公园散步吧，然后去吃饭。",
            [("你好，世界。今天天气很好，", "我们一起去公园散步吧，然后去吃饭。")],
        ),
        (
            "ภาษาไทยเป็นภาษาที่มีระดับเสียงของคำแน่นอน หรือวรรณยุกต์เช่นเดียวกับภาษาจีน",
            [("ภาษาไทยเป็นภาษาที่มีระดับเสียงของคำแน่นอน", "หรือวรรณยุกต์เช่นเดียวกับภาษาจีน")],
        ),
        (
            "این یک جمله بلند فارسی است که باید در دو سطر نشان داده شود، و نه بیشتر از آن.",
            [("این یک جمله بلند فارسی است که باید", "در دو سطر نشان داده شود، و نه بیشتر از آن.")],
        ),
        (
            "Read www.example.com/fruit/basket-of-the-week?size=large&colour=red now.",
            [("Read www.example.com/fruit/basket-of-", "the-week?size=large&colour=red now.")],
        ),
    ],
    ids=["short", "42", "comma", "conjunction", "preposition", "long", "dash", "Chinese", "Thai", "Persian", "URL"],
)
def test_rows_end_where_readers_would_break_them(text: str, expected: list[tuple[str, ...]]) -> None:
    """Behind punctuation, before conjunctions and prepositions, evenly else."""
    assert rows(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "We went for a very long walk to see a house that stood on top of the hill behind Dr. Brown and his large dog.",
        "She weighed out 25 kg of flour and 12 kg of butter and 80 g of salt and 3 kg of sugar and 1 kg of dark cocoa.",
        "これは「とても長い日本語の文」であり、「括弧」や小さい文字、たとえばキャッシュカードなども、行頭に来ないことを確かめます。",
    ],
    ids=["articles", "units", "Japanese"],
)
def test_rows_do_not_end_behind_what_belongs_together(text: str) -> None:
    """No row ends with an article, a title, a figure before its unit or an opening bracket, or starts with a closer."""
    for cue in rows(text):
        for row in cue:
            assert row.split()[-1].lower() not in {
                "a",
                "the",
                "of",
                "his",
                "very",
                "dr.",
                "25",
                "12",
                "80",
                "3",
                "1",
            } - {"very"}
            assert row[0] not in "」、。ャッュ"
            assert row[-1] != "「"


def test_no_word_is_left_alone() -> None:
    """A cue or row of one word would be read as if it were more than the rest."""
    for end in range(60, len(LONG)):
        text = LONG[:end].rstrip() + "."
        for cue in rows(text):
            assert len(" ".join(cue).split()) > 1, text
            assert all(len(row.split()) > 1 for row in cue), text


def test_a_long_sentence_is_cut_where_the_voice_rests() -> None:
    """Of two places as good, the one with silence in it."""
    names = "Anna Berta Clara Dora Emma Frieda Greta Hanna Ida Jana Klara Lena Maria Nora Olga Paula Rosa Sara"
    spans, at, seconds = [], 0, 0.0
    for name in names.split():
        seconds += 0.6 if name == "Ida" else 0.0
        spans.append(Word(at, at + len(name), seconds, seconds + 0.4))
        at, seconds = at + len(name) + 1, seconds + 0.4
    found = list(cues([Line(names, tuple(spans), "1", 0.0, seconds, exact=True)]))
    assert [" ".join(cue.rows) for cue in found] == [names[: names.index(" Ida")], names[names.index("Ida") :]]
    assert found[1].start_ms == round(spans[8].start_s * 1_000)


def test_cues_are_timed_by_their_words() -> None:
    """A cue comes with its first word, wherever in the sentence that is."""
    (made,) = timeline([LONG])
    at = 0
    for cue in cues([made]):
        first = made.text.index(cue.rows[0], at)
        assert cue.start_ms == round(next(word for word in made.words if word.start == first).start_s * 1_000)
        at = first


def test_a_word_cut_in_two_is_timed_by_its_letters() -> None:
    """The second cue of a word wider than a screen comes when its part is heard."""
    text = "x" * 168
    found = list(cues([Line(text, (Word(0, 168, 1.0, 17.8),), "1", 1.0, 18.0, exact=True)]))
    assert [cue.rows for cue in found] == [("x" * 42, "x" * 42)] * 2
    assert [cue.start_ms for cue in found] == [1_000, 9_400]


@pytest.mark.parametrize(
    ("next_start", "end"),
    [
        (None, 2_200),  # the sound ends
        (9.0, 2_000 + LINGER_MS),
        (2.0 + (LINGER_MS + GAP_MS + CHAIN_MS) / 1_000, 2_000 + LINGER_MS),
        (3.0, 3_000 - GAP_MS),  # a gap of 0.5 seconds would flicker
        (2.3, 2_300 - GAP_MS),
        (2.0, 2_000),  # a second comes before the gap
        (1.05, 1_050),  # no room for a gap
    ],
)
def test_a_cue_ends_a_little_after_the_speech(next_start: float | None, end: int) -> None:
    """Half a second later, or with a small gap before the next one where that is near."""
    found = [line(1.0, 2.0)] + ([line(next_start, next_start + 5)] if next_start else [])
    assert clocks(list(cues(found)))[0] == (1_000, end)


@pytest.mark.parametrize(("next_start", "end"), [(9.0, 2_000), (2.04, 2_000), (1.9, 1_900), (1.5, 1_500)])
def test_a_short_word_stays_for_a_second(next_start: float, end: int) -> None:
    """Where there is room, the gap before the next one included."""
    assert clocks(list(cues([line(1.0, 1.2), line(next_start, next_start + 5)])))[0] == (1_000, end)


def test_cues_at_one_moment_come_one_after_the_other() -> None:
    """Words without any length still get a millisecond each."""
    assert clocks(list(cues([line(1.0, 1.0), line(1.0, 1.0), line(1.0, 1.0)]))) == [
        (1_000, 1_001),
        (1_001, 1_002),
        (1_002, 1_200),
    ]


def test_a_line_without_words_is_shown() -> None:
    """A sentence of emoji alone, none of which is spoken."""
    found = list(cues([line(1.0, 2.0), Line("🎉🎉", (), "1", 3.0, 4.0, exact=True), line(5.0, 6.0)]))
    assert clocks(found) == [(1_000, 3_000 - GAP_MS), (3_000, 4_000), (5_000, 6_200)]


def test_cues_of_one_sentence_are_about_as_full() -> None:
    """Where no place is better than another, the text is halved."""
    (first,), (second,) = ([len(" ".join(each))] for each in rows("word " * 19 + "word"))
    assert abs(first - second) <= 5


def test_a_lone_word_is_not_worth_a_comma() -> None:
    """Neither a row nor a cue of one word is made for the sake of a clause."""
    assert rows("Unfortunately, wonderful elephants remembered.") == [
        ("Unfortunately, wonderful", "elephants remembered.")
    ]
    text = " ".join(["word"] * 15) + " word, nonetheless"
    spans = [Word(5 * number, 5 * number + 4, 0.3 * number, 0.3 * number + 0.3) for number in range(16)]
    spans.append(Word(81, 92, 5.3, 6.3))  # after a rest of half a second
    *_, last = cues([Line(text, tuple(spans), "1", 0.0, 6.5, exact=True)])
    assert len(" ".join(last.rows).split()) > 1


def test_a_cue_is_not_cut_so_that_it_flits_by() -> None:
    """Where the end of a sentence is spoken very fast, more of it is taken into the last cue."""
    text = " ".join(["word"] * 20)
    spans, seconds = [], 0.0
    for number in range(20):
        lasts = 0.5 if number < 10 else 0.04
        spans.append(Word(5 * number, 5 * number + 4, seconds, seconds + lasts))
        seconds += lasts
    first, second = cues([Line(text, tuple(spans), "1", 0.0, seconds, exact=True)])
    assert round(seconds * 1_000) - second.start_ms >= 900
    assert first.start_ms == 0


def test_thai_is_cut_at_a_space_rather_than_in_a_word() -> None:
    """Two cues with whole phrases instead of one whose rows tear a word."""
    text = "ภาษาไทยเป็นภาษาที่มีระดับเสียงของคำแน่นอน หรือวรรณยุกต์เช่นเดียวกับภาษาจีน และออกเสียงแยกคำต่อคำ"
    assert [row for cue in rows(text) for row in cue] == text.split()


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("「日本語」です。", ["「日", "「日本", "「日本語」", "「日本語」で"]),
        ("あっ、きゃ", ["あっ、"]),
        ("ไทยเดิม", ["ไท", "ไทย", "ไทยเดิ"]),
        ("a b—c", ["a", "a b—"]),
        ("a \u0301b c", ["a \u0301b"]),
    ],
)
def test_where_a_row_may_end(text: str, places: list[str]) -> None:
    """Not before a closing sign or a small kana, not behind an opening sign, not before a mark."""
    found = breaks(text, Ruler(text), WIDTH)[1:-1]
    assert [text[: each.end] for each in found] == places


@pytest.mark.parametrize(
    ("text", "cost"),
    [
        ("no; it", CLAUSE),
        ("no,” it", PHRASE),
        ("went and", CONJUNCTION),
        ("went (if", CONJUNCTION),
        ("went to", PREPOSITION),
        ("went home", PLAIN),
        ("the house", BOUND),
        ("J. Smith", BOUND),
        ("Dr. Smith", BOUND),
        ("25 kg", BOUND),
        ("25 Smiths", PLAIN),
        ("of Rome", BOUND),
    ],
)
def test_what_a_break_tears_apart(text: str, cost: float) -> None:
    """Each kind of place has its price."""
    (place,) = breaks(text, Ruler(text), WIDTH)[1:-1]
    assert place.cost == cost
