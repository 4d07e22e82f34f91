"""Words and phonemes laid side by side: any input gives words in order, and what is spoken otherwise is still found."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piperd import alignment
from piperd.alignment import Phone

EACH = 10
"""Samples of each phoneme here."""
ALONE = {
    "the": "ðə", "cat": "kˈæt", "sat": "sˈæt", "on": "ˈɔn", "mat": "mˈæt", "for": "fɔːɹ", "a": "ˈeɪ", "while": "wˈaɪl",
    "in": "ˈɪn", "1999": "nˈaɪntiːnhˈʌndɹɪd nˈaɪnti nˈaɪn", "we": "wiː", "met": "mˈɛt", "at": "æt", "all": "ˈɔːl",
    "Bob": "bˈɑːb", "&": "ˈænd", "50%": "fˈɪfti pɚsˈɛnt", "of": "ʌv", "it": "ɪt", "don't": "dˈoʊnt", "[[x y]]": "x y",
}  # fmt: skip
"""What espeak makes of each word by itself; of anything else nothing."""


def phones(sentence: str) -> list[Phone]:
    return [Phone(symbol, at * EACH, (at + 1) * EACH) for at, symbol in enumerate(sentence)]


def align(text: str, sentence: str) -> dict[str, str]:
    """Each word and the phonemes that it got."""
    spans = alignment.tokens(text)
    alone = [ALONE.get(text[first:last].strip(",.!?()"), "") for first, last in spans]
    found = alignment.align(text, spans, [alignment.sounds(each) for each in alone], phones(sentence))
    assert found is not None
    return {text[first:last]: sentence[start // EACH : end // EACH] for first, last, start, end in found}


@pytest.mark.parametrize(
    ("text", "sentence", "expected"),
    [
        ("the cat sat", "ðə kˈæt sˈæt.", {"the": "ðə", "cat": "kˈæt", "sat": "sˈæt"}),
        # joined, and both of them otherwise than alone
        ("sat on the mat.", "sˈæt ɔnðə mˈæt.", {"sat": "sˈæt", "on": "ɔn", "the": "ðə", "mat": "mˈæt"}),
        ("for a while", "fɚɹə wˈaɪl", {"for": "fɚɹ", "a": "ə", "while": "wˈaɪl"}),
        # the stress belongs to the word behind it, the length to the one before it
        ("at all", "æɾˈɔːl", {"at": "æɾ", "all": "ˈɔːl"}),
        ("we met", "wiːmˈɛt", {"we": "wiː", "met": "mˈɛt"}),
        # one word spoken as several
        ("in 1999 we met", "ɪn nˈaɪntiːnhˈʌndɹɪd nˈaɪnti nˈaɪn wiː mˈɛt",
         {"in": "ɪn", "1999": "nˈaɪntiːnhˈʌndɹɪd nˈaɪnti nˈaɪn", "we": "wiː", "met": "mˈɛt"}),
        ("50% of it", "fˈɪfti pɚsˈɛnt ʌv ɪt", {"50%": "fˈɪfti pɚsˈɛnt", "of": "ʌv", "it": "ɪt"}),
        # signs that are spoken are words, those that are not are none
        ("Bob & the cat", "bˈɑːb ænd ðə kˈæt", {"Bob": "bˈɑːb", "&": "ænd", "the": "ðə", "cat": "kˈæt"}),
        ("the cat ... sat", "ðə kˈæt. sˈæt", {"the": "ðə", "cat": "kˈæt", "sat": "sˈæt"}),
        # pauses belong to no word, and no punctuation to its letters
        ("(the cat), all!", "ðə kˈæt, ˈɔːl!", {"the": "ðə", "cat": "kˈæt", "all": "ˈɔːl"}),
        ("we don't", "wiː dˈoʊnt", {"we": "wiː", "don't": "dˈoʊnt"}),
        ("the [[x y]] sat", "ðə x y sˈæt", {"the": "ðə", "[[x y]]": "x y", "sat": "sˈæt"}),
        # a word that nothing is known of takes what stands between its neighbours
        ("the zebra sat", "ðə zˈiːbɹə sˈæt", {"the": "ðə", "zebra": "zˈiːbɹə", "sat": "sˈæt"}),
        ("zebra sat", "zˈiːbɹə sˈæt", {"zebra": "zˈiːbɹə", "sat": "sˈæt"}),
        ("the zebra", "ðə zˈiːbɹə", {"the": "ðə", "zebra": "zˈiːbɹə"}),
        # a phoneme more goes with what it is spoken together with
        ("the cat", "ðə skˈæt", {"the": "ðə", "cat": "skˈæt"}),
        ("the cat", "ðəs kˈæt", {"the": "ðəs", "cat": "kˈæt"}),
        ("the cat", "ðə s kˈæt", {"the": "ðə s", "cat": "kˈæt"}),
        # and where nothing stands there, a part of the neighbour's time, by their letters
        ("the cat Zed sat", "ðə kætætæ sˈæt", {"the": "ðə", "cat": "kæt", "Zed": "ætæ", "sat": "sˈæt"}),
        ("Zed", "kˈæt", {"Zed": "kˈæt"}),
    ],
)  # fmt: skip
def test_each_word_gets_its_phonemes(text: str, sentence: str, expected: dict[str, str]) -> None:
    """Whatever espeak joins, splits or speaks otherwise than alone."""
    assert align(text, sentence) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("then—nothing … or?", ["then", "nothing", "or?"]),
        ("a well-known o'clock", ["a", "well-known", "o'clock"]),
        ("say [[ h ə ]]'s name", ["say", "[[ h ə ]]'s", "name"]),
        ("[[ unclosed", ["[[", "unclosed"]),
        ("می‌خوانم، سلام", ["می‌خوانم،", "سلام"]),
        ("你好，世界", ["你", "好", "世", "界"]),
        ("東京タワーへ", ["東", "京", "タワーへ"]),
        ("नमस्ते cafe\u0301", ["नमस्ते", "cafe\u0301"]),
        ("ok👩‍👩‍👧 🎉", ["ok👩‍👩‍👧", "🎉"]),
        ("", []),
    ],
)
def test_what_is_taken_for_a_word(text: str, expected: list[str]) -> None:
    """What spaces and dashes part; a Chinese sign is a word, and a run of kana."""
    assert [text[first:last] for first, last in alignment.tokens(text)] == expected


def test_a_long_detour_is_found() -> None:
    """Where espeak speaks far more than was expected of one word and far less of another, the others keep theirs."""
    long, short = "ɑ" * 40, "s" * 40
    text, sentence = "we oh met hiss all", f"wi {long} mɛt s ɔl"
    expected = [alignment.sounds(each) for each in ("wi", "ɑ", "mɛt", short, "ɔl")]
    found = alignment.align(text, alignment.tokens(text), expected, phones(sentence))
    assert found is not None
    assert [sentence[start // EACH : end // EACH] for _, _, start, end in found] == sentence.split()


@pytest.mark.parametrize(("pause", "end"), [(" ", 20), (",", 15), (alignment.END, 15), (None, 15)])
def test_the_way_to_the_next_phoneme_is_part_of_a_word_unless_a_pause_comes(pause: str | None, end: int) -> None:
    """Piper's pads: before a pause they are silence, or what dies away."""
    spoken = [Phone("ɔ", 0, 7), Phone("n", 10, 15)]
    if pause is not None:
        spoken += [Phone(pause, 20, 25), Phone("ə", 30, 40), Phone(alignment.END, 50, 60)]
    text = "on a" if pause is not None else "on"
    found = alignment.align(text, alignment.tokens(text), [("ɔ", "n"), ("ə",)][: len(text.split())], spoken)
    assert found is not None
    assert found[0] == (0, 2, 0, end)


def test_nothing_heard_of_words_is_told_from_no_words() -> None:
    """The one must be estimated, the other has nothing to be estimated."""
    assert alignment.align("cat", [(0, 3)], [("k", "æ", "t")], phones(" . ")) is None
    assert alignment.align("...", [(0, 3)], [()], phones("kæt")) == []


sentences = st.text(alphabet="aeðəkˈæt s,.ɔːn̩1 -'", max_size=60) | st.text(max_size=40)
texts = st.text(alphabet="ab [].,'—&5你あ\u0301", max_size=40) | st.text(max_size=40)


@given(texts, st.data())
def test_any_phonemes_give_words_in_order(text: str, data: st.DataObject) -> None:
    """Each word once, in order, in the sound, and no two at a time; no word is empty where there is room for all."""
    spans = alignment.tokens(text)
    expected = [alignment.sounds(data.draw(sentences)) for _ in spans]
    steps = data.draw(st.lists(st.integers(0, 5000), max_size=60))
    symbols = data.draw(st.lists(st.text(max_size=2), min_size=len(steps), max_size=len(steps)))
    edges = [sum(steps[:at]) for at in range(len(steps) + 1)]
    spoken = [Phone(symbol, edges[at], edges[at + 1]) for at, symbol in enumerate(symbols)]
    found = alignment.align(text, spans, expected, spoken)
    if found is None:
        return
    places = [at for first, last, _, _ in found for at in (first, last)]
    times = [at for _, _, start, end in found for at in (start, end)]
    assert places == sorted(places)
    assert all(first < last for first, last, _, _ in found)
    assert times == sorted(times)
    assert all(0 <= at <= edges[-1] for at in times)
    words = [span for span, known in zip(spans, expected, strict=True) if known or text[slice(*span)].isalnum()]
    assert len(found) >= len(words)


@given(st.lists(st.sampled_from(sorted(ALONE)), min_size=1, max_size=20), st.data())
def test_words_spoken_as_alone_are_found_exactly(words: list[str], data: st.DataObject) -> None:
    """Whichever of the spaces between them are lost, and whatever stress is."""
    sentence, expected = "", []
    for word in words:
        alone = "".join(sign for sign in ALONE[word] if sign not in "ˈˌ" or data.draw(st.booleans()))
        sentence += data.draw(st.sampled_from([" ", ", ", ""])) if sentence else ""
        expected.append((len(sentence) * EACH, (len(sentence) + len(alone)) * EACH))
        sentence += alone
    text = " ".join(words)
    spans = alignment.tokens(text)
    found = alignment.align(text, spans, [alignment.sounds(ALONE[word]) for word in words], phones(sentence))
    assert found is not None
    assert [(start, end) for _, _, start, end in found] == expected


@settings(max_examples=50)
@given(st.text(alphabet="ab ", min_size=1, max_size=40), st.text(alphabet="ab ", min_size=1, max_size=40))
def test_the_way_is_the_cheapest(wanted: str, heard: str) -> None:
    """As cheap as a plain table without shortcuts finds it."""
    one, other = alignment.sounds(wanted), alignment.sounds(heard)
    found = alignment._matches(one, other)
    kept = [(one[at], symbol) for at, symbol in zip(found, other, strict=True) if at >= 0]
    left_out = [symbol for at, symbol in enumerate(one) if at not in found]
    cost = sum(alignment._price(*pair) for pair in kept) + sum(map(_drop, left_out))
    cost += alignment.GAP * (len(other) - len(kept))
    assert cost == _cheapest(one, other)


def _drop(symbol: str) -> int:
    return alignment.LOST_BREAK if symbol == alignment.BREAK else alignment.GAP


def _cheapest(wanted: tuple[str, ...], heard: tuple[str, ...]) -> int:
    row = [alignment.GAP * at for at in range(len(heard) + 1)]
    for symbol in wanted:
        new = [row[0] + _drop(symbol)]
        for at, other in enumerate(heard):
            new.append(
                min(row[at] + alignment._price(symbol, other), row[at + 1] + _drop(symbol), new[-1] + alignment.GAP)
            )
        row = new
    return row[-1]
