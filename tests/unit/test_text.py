"""Text to utterances: nothing is lost, nothing is spoken twice, nothing is too long."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from piper.phonemize_espeak import EspeakPhonemizer

from piperd.job import Scene, Utterance
from piperd.text import PIECE_LENGTH, WINDOW, speakable, tidy, utterances

ANY_TEXT = st.text(st.characters(exclude_categories=()))
PROSE = st.lists(
    st.sampled_from(
        "aB1é\u0301\u200c\u200d😀س你好 \n.!?…,;:—–-()[]\"'“”«»،؛؟。，、*=%\t\r\u00a0\u00ad\u202e\ufeff\ud800\0\u2029"
    )
    | st.sampled_from(["Hello. ", "Mr. ", "word ", "\n\n", "[[", "]]", "你好。", "سلام. ", "long" * 20]),
    max_size=200,
).map("".join)
LANGUAGES = st.sampled_from(["en", "fa", "zh", "de", "xx", "", "en-us"])


def cut(
    text: str, language: str = "en", piece_length: int = PIECE_LENGTH, *, normalize: bool = False
) -> list[Utterance]:
    scene = Scene("1", text, "joe", sentence_pause=0.25, paragraph_pause=0.5)
    return utterances(scene, 3, language, piece_length=piece_length, normalize=normalize)


def spoken(text: str) -> list[tuple[str, float]]:
    return [(each.text, each.pause_after) for each in cut(text)]


def audible(text: str) -> str:
    return "".join(character for character in text if character.isalnum())


@given(ANY_TEXT | PROSE)
@example("a\u00ad\u0301")
@example("[\u200b[")
@example("\n \u0301")
def test_tidy_is_done_once(text: str) -> None:
    """A tidied text is not changed again, and there is nothing more to warn of."""
    once, _ = tidy(text)
    assert tidy(once) == (once, ())


@given(ANY_TEXT | PROSE)
def test_tidy_text_is_safe(text: str) -> None:
    """Nothing is left that the voice or its phonemiser chokes on, and no white space but spaces and blank lines."""
    tidied, _ = tidy(text)
    tidied.encode()
    assert "[[" not in tidied
    assert "]]" not in tidied
    assert unicodedata.is_normalized("NFC", tidied)
    for paragraph in tidied.split("\n\n"):
        assert paragraph == " ".join(paragraph.split())
        assert not any(unicodedata.category(character) == "Cc" for character in paragraph)


@pytest.mark.parametrize(
    ("text", "tidied", "warned"),
    [
        ("", "", ""),
        (" \r\n\t\n", "", ""),
        ("One\r\ntwo\rthree\nfour", "One two three four", ""),
        ("One\r\n \r\n\r\ntwo\f three", "One\n\ntwo\n\nthree", ""),
        ("One\u2029two\u2028three", "One\n\ntwo three", ""),
        ("word-\nbreak", "word- break", ""),
        ("soft\u00adhyphen", "softhyphen", ""),
        ("cafe\u0301", "café", ""),
        ("می\u200cروم \U0001f469\u200d\U0001f467", "می\u200cروم \U0001f469\u200d\U0001f467", ""),
        ("\ufeffa\u202eb\u2066c\u200bd", "abcd", ""),
        ("say [[ hh ə ]] now", "say [ hh ə ] now", "square brackets"),
        ("see [[this", "see [this", "square brackets"),
        ("see [this]", "see [this]", ""),
        ("a\x00b\x1b[1m", "ab[1m", "Control characters"),
        ("half \ud83d", "half \ufffd", "surrogates"),
    ],
)
def test_tidy(text: str, tidied: str, warned: str) -> None:
    """What is not for the ear goes; people are told where the sound may differ from what they wrote."""
    found, warnings = tidy(text)
    assert found == tidied
    assert len(warnings) == bool(warned)
    assert warned in "".join(warnings)


@pytest.mark.parametrize("text", ["a", "é", "ж", "س", "你", "5", "½", *"%&+=#@§©®™°№±×÷−√∞≈≠≤≥→€$£¥₹", "!a"])
def test_speakable(text: str) -> None:
    """What is called speakable, the phonemiser has sounds for."""
    assert speakable(text)
    assert any(EspeakPhonemizer().phonemize("en-us", text))


@pytest.mark.parametrize(
    "text", ["", " ", "...", "---", "!?", "…", "—", "***", "* * *", "___", "=====", "###", "~~~", "│──│", "«»",
             "\u200c", "[]", "😀", "❤️", "1️⃣", "👩\u200d👧", "🇩🇪", "[pause 2s]", "\u0301", "\ufffd", "。", "،"]
)  # fmt: skip
def test_unspeakable(text: str) -> None:
    """Punctuation and lines drawn with signs are not spoken."""
    assert not speakable(text)


def test_pauses() -> None:
    """Sentences and paragraphs are followed by their own pauses, the last one by none: the scene's comes there."""
    assert spoken("One. Two! Three?\n\nFour.") == [("One.", 0.25), ("Two!", 0.25), ("Three?", 0.5), ("Four.", 0.0)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("...", []),
        ("One.\n\n***\n\nTwo.", [("One.", 0.5), ("Two.", 0.0)]),
        ("***\n\nOne.\n\n***", [("One.", 0.0)]),
        ("One. «...»\n\nTwo.", [("One.", 0.5), ("Two.", 0.0)]),
        ("So.  Mr.\nSmith left.", [("So.", 0.25), ("Mr. Smith left.", 0.0)]),
    ],
)
def test_what_is_left_out(text: str, expected: list[tuple[str, float]]) -> None:
    """What can't be heard is left out, but still parts what stands around it."""
    assert spoken(text) == expected


def test_settings_reach_the_utterances() -> None:
    """Each utterance carries all that decides its sound."""
    scene = Scene("1", "Hello.", "joe", speaker=2, speed=1.5, noise_scale=0.1, noise_w_scale=0.2)
    assert utterances(scene, 3, "en") == [
        Utterance("Hello.", "joe", 3, 0.0, speaker=2, speed=1.5, noise_scale=0.1, noise_w_scale=0.2)
    ]


@settings(deadline=None)
@given(PROSE | ANY_TEXT, LANGUAGES, st.integers(1, 60))
def test_nothing_is_lost(text: str, language: str, length: int) -> None:
    """Every letter is spoken once, in order; no utterance is empty, unspeakable, ragged, too long or raw phonemes."""
    tidied, _ = tidy(text)
    found = cut(tidied, language, length)
    assert audible("".join(each.text for each in found)) == audible(tidied)
    for each in found:
        assert 0 < len(each.text) <= length
        assert speakable(each.text)
        assert each.text == " ".join(each.text.split())
        assert "[[" not in each.text
    assert not found or found[-1].pause_after == 0
    assert found == cut(tidied, language, length)


@given(st.lists(st.from_regex(r"[a-z]{1,20}[,;]?", fullmatch=True), min_size=1, max_size=300), st.integers(21, 80))
def test_words_stay_whole(words: list[str], length: int) -> None:
    """Where every word fits, the cuts are between words, and no piece is tiny."""
    found = cut(" ".join(words), piece_length=length)
    assert " ".join(each.text for each in found).split() == words
    assert all(len(before.text) + len(after.text) >= length / 2 for before, after in pairwise(found))


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("One two three, four five six seven", ["One two three,", "four five six seven"]),
        ("One two three (four five) six seven", ["One two three", "(four five)", "six seven"]),
        ("One two — three four five six", ["One two —", "three four five six"]),
        ("One two three four five six", ["One two three", "four five six"]),
        ("می\u200cروم خانه، بعد می\u200cآیم اینجا", ["می\u200cروم خانه،", "بعد می\u200cآیم اینجا"]),
        ("今天天气很好，我们去公园散步吧，好不好呢", ["今天天气很好，", "我们去公园散步吧，好不好呢"]),
        ("10:30 and 1,000 and 2,000 more", ["10:30 and 1,000", "and 2,000 more"]),
    ],
)
def test_cuts(text: str, pieces: list[str]) -> None:
    """Cuts are at clauses, brackets and dashes near the middle, else at spaces; never inside figures."""
    assert [each.text for each in cut(text, "en", 20 if text.isascii() or "—" in text else 18)] == pieces


def test_a_word_longer_than_a_piece() -> None:
    """It is cut into pieces of one length, with no silence between them."""
    found = cut("a" * 5_000)
    assert {len(each.text) for each in found} == {200}
    assert len(found) == 25
    assert not any(each.pause_after for each in found)


def test_characters_stay_whole() -> None:
    """No cut falls between a letter and its marks, or inside a joined character."""
    found = cut("e\u0323\u0302" * 90 + "👩\u200d👧" * 90, piece_length=50)
    assert not any(each.text[0] in "\u0323\u0302\u200d" or each.text[-1] == "\u200d" for each in found)


@pytest.mark.parametrize("words", [WINDOW // 5, WINDOW, 7 * WINDOW, 200_000])
def test_a_sentence_without_end(words: int) -> None:
    """A text without a full stop is cut into pieces of about one length, however long it is."""
    found = cut("word " * words)
    assert sum(len(each.text.split()) for each in found) == words
    assert all(PIECE_LENGTH // 2 < len(each.text) <= PIECE_LENGTH for each in found)
    assert not any(each.pause_after for each in found)


def test_sentences_across_windows() -> None:
    """Where a window ends makes no difference: every sentence is found as it is."""
    sentences = [f"This is the sentence {number} of {'many ' * (number % 7)}others." for number in range(3_000)]
    assert [each.text for each in cut(" ".join(sentences))] == sentences


@pytest.mark.parametrize(
    "text",
    ["......" * 100_000, "!?" * 100_000, ", " * 100_000, "[[" * 100_000, "(" * 100_000, "( " * 100_000, " - " * 100_000,
     "=" * 100_000, "\n" * 100_000, ". " * 100_000, "a" + "\u0301" * 100_000, "\u200d" * 100_000, '"a. ' * 20_000,
     "“a. " * 20_000, "你好。" * 20_000, "a.\n\n" * 20_000],
)  # fmt: skip
def test_hostile_runs(text: str) -> None:
    """No run of signs makes it slow (each of these takes far under a second) or is spoken too long."""
    found = cut(tidy(text)[0])
    assert all(len(each.text) <= PIECE_LENGTH for each in found)
