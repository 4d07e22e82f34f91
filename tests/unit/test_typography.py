"""What counts as a word, as a column, as a direction."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piperd.typography import columns, direction, effort, graphemes, shown, words


def found(text: str) -> list[str]:
    return [text[start:end] for start, end in words(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(Hello, “world”!)", "Hello world"),
        ("don't rock ’n’ roll", "don't rock n roll"),
        ("a well-known re-entry-", "a well-known re-entry"),
        ("the U.S. and e.g. Mr. X. in D.C.", "the U.S. and e.g. Mr X in D.C."),
        ("U.S.A", "U.S.A"),
        ("It is 3.5, or 1,000.", "It is 3.5 or 1,000"),
        ("one,two", "one two"),
        ("at 17:45: go", "at 17:45 go"),
        ("10–20 A–B 2026-11-24", "10–20 A B 2026-11-24"),
        ("www.example.com/a_b and https://x.org/y.", "www.example.com/a_b and https://x.org/y"),
        ("me@example.com", "me@example.com"),
        ("and/or word(s) f(x)", "and/or word(s) f(x)"),
        ("yes—no... maybe…so -- end", "yes no maybe so end"),
        ("$5 5% C++ #1 @me R&D 20 °C ~ | * ■", "$5 5% C++ #1 @me R&D 20 °C"),
        ("— … ... !? () ''", ""),
        ("Hi😀 👨‍👩‍👧", "Hi 😀 👨‍👩‍👧"),
        ("naïve e\u0301te\u0301", "naïve e\u0301te\u0301"),
        ("«می‌خواهم» بروم، باشد؟", "می‌خواهم بروم باشد"),
        ('צה״ל צה"ל "שלום"', 'צה״ל צה"ל שלום'),
        ("你好，世界。", "你 好 世 界"),
        ("「コンピューター」を使う", "コンピューター を 使 う"),
        ("ภาษาไทย ดี", "ภาษาไทย ดี"),
        ("한국어를 배워요.", "한국어를 배워요"),
        ("हिन्दी भाषा।", "हिन्दी भाषा"),
        ("l’homme aujourd'hui", "l’homme aujourd'hui"),
    ],
)
def test_words(text: str, expected: str) -> None:
    """Without the punctuation around them, with the signs inside them."""
    assert found(text) == expected.split()


@given(st.text())
def test_words_hold_all_letters_once(text: str) -> None:
    """Each letter and digit is in exactly one word; no word has white space in it or is empty."""
    spans = list(words(text))
    assert all(start < end for start, end in spans)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    inside = {index for start, end in spans for index in range(start, end)}
    assert all(index in inside for index, each in enumerate(text) if each.isalnum())
    assert not any(text[index].isspace() for index in inside)
    assert all(any(effort(each) for each in text[start:end]) for start, end in spans)


@pytest.mark.parametrize(
    "text", ["a." * 50_000, "a" * 100_000, "1," * 50_000, "(" * 100_000, "a(b" * 30_000, "://" * 30_000]
)
def test_words_are_found_in_linear_time(text: str) -> None:
    """No text makes the pattern go back again and again: these would take hours."""
    assert sum(end - start for start, end in words(text)) <= len(text)


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("abc", 3),
        ("你好", 4),
        ("ｱ", 1),
        ("e\u0301", 1),
        ("می\u200cخ", 3),
        ("한글", 4),
        ("👨‍👩‍👧", 2),
        ("กำ", 2),
        ("", 0),
    ],
)
def test_columns(text: str, width: int) -> None:
    """Wide characters count two, marks and joiners none, an emoji of several characters two."""
    assert columns(text) == width


@given(st.text())
def test_graphemes_lose_nothing(text: str) -> None:
    """They are the text, cut."""
    assert "".join(graphemes(text)) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello there.", ""),
        ("你好", ""),
        ("سلام.", "rtl"),
        ("Piper یک سامانه است.", "rtl"),
        ("The word سلام means hello.", "ltr"),
        ("שלום 123", "rtl"),
        ("Hello سلام", "rtl"),
        ("؟", "rtl"),
    ],
)
def test_direction(text: str, expected: str) -> None:
    """Most words decide; at a draw, right to left, since from left to right is what players take it for anyway."""
    assert direction(text) == expected


@pytest.mark.parametrize(
    ("character", "expected"), [("\t", " "), ("\u2029", " "), ("\u202e", ""), ("\u200c", "\u200c"), ("a", "a")]
)
def test_shown(character: str, expected: str) -> None:
    """White space is a space, what steers or can't be written is nothing, Persian's joiner stays."""
    assert shown(character) == expected
