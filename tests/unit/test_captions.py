"""Caption files: other people's parsers read back what was written, whatever a stranger has put into the text."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import srt as srt_reader
import webvtt
from hypothesis import example, given
from hypothesis import strategies as st

from piperd import captions, formats
from piperd.captions import Line, Spoken, cues, lines, srt, vtt, words

MARKUP = ["-->", "<b>", "</b>", "<", ">", "&", "&lt;", "{\\an8}", "{y:i}", "\\N", "\\h", "NOTE", "STYLE", "WEBVTT"]
UNSEEN = ["\n\n", "\r", "\x0b", "\x85", "\u2028", "\u2029", "\0", "\x1b", "\ud800", "\u202e", "\u2066", "\ufeff", " "]
CLOCKS = ["00:00:01,000 --> 00:00:02,000", "00:01.000", "1"]
SPEECH = ["Hello", "it.", "سلام", "שלום", "你好。", "e\u0301", "😀"]
NASTY = st.lists(
    st.sampled_from([*MARKUP, *UNSEEN, *CLOCKS, *SPEECH]) | st.text(st.characters(exclude_categories=()), max_size=4),
    max_size=40,
).map("".join)
MARKS = re.compile("[\u202a-\u202c\u2060]")


def spoken(text: str, start_s: float = 0.0, duration_s: float = 2.0, **more: Any) -> Spoken:
    fields: dict[str, Any] = {"written": (), "words": None, "rate": 16_000, "scene": "1", "goes_on": False}
    return Spoken(text=text, start_s=start_s, duration_s=duration_s, **(fields | more))


def sentences(texts: list[str], start_s: float = 0.0) -> list[Line]:
    return list(lines(spoken(text, start_s + 2.2 * index) for index, text in enumerate(texts)))


def one(kind: str, text: str) -> str:
    """The rows of the only cue of a sentence."""
    written = "".join(captions.FILES[kind](sentences([text])))
    return written.split("\n", 2 if kind == "srt" else 3)[-1].rstrip("\n")


def test_every_kind_that_can_be_asked_for_has_a_writer() -> None:
    """What the job file allows is what can be written."""
    assert set(captions.FILES) == set(formats.CAPTION_SUFFIXES)


def test_srt_to_the_letter() -> None:
    """Numbers from 1, commas, line feeds, a blank line behind each cue."""
    assert "".join(srt(sentences(["Hello.", "Are you there?"]))) == (
        "1\n00:00:00,050 --> 00:00:02,170\nHello.\n\n2\n00:00:02,250 --> 00:00:04,200\nAre you there?\n\n"
    )


def test_vtt_to_the_letter() -> None:
    """The header, full stops in the times, a blank line before each cue."""
    assert "".join(vtt(sentences(["Hello.", "Are you there?"]))) == (
        "WEBVTT\n\n00:00:00.050 --> 00:00:02.170\nHello.\n\n00:00:02.250 --> 00:00:04.200\nAre you there?\n"
    )


def test_words_to_the_letter() -> None:
    """One JSON object; a word has its time, its scene, and no punctuation."""
    text = "(Hello, Bob!"
    timed = spoken(text, 3.0, words=((1, 6, 800, 8_000), (8, 11, 9_600, 16_000)), scene="intro")
    assert json.loads("".join(words(lines([timed])))) == {
        "schema": 1,
        "exact": True,
        "words": [
            {"word": "Hello", "start_s": 3.05, "end_s": 3.5, "scene": "intro"},
            {"word": "Bob", "start_s": 3.6, "end_s": 4.0, "scene": "intro"},
        ],
    }


@pytest.mark.parametrize("kind", ["srt", "vtt", "words"])
def test_nothing_said_is_a_whole_file(kind: str) -> None:
    """A file without any cue is still one that parsers take."""
    written = "".join(captions.FILES[kind]([]))
    if kind == "srt":
        assert list(srt_reader.parse(written)) == []
    elif kind == "vtt":
        assert len(webvtt.from_string(written)) == 0
    else:
        assert json.loads(written) == {"schema": 1, "exact": True, "words": []}


def test_exact_only_where_every_voice_gave_times() -> None:
    """One sentence without durations makes the whole file an estimate."""
    timed = spoken("Hi.", words=((0, 2, 0, 8_000),))
    later = replace(timed, start_s=3.0)
    for timeline, exact in (
        ([timed, later], True),
        ([timed, spoken("Hi.", 3.0)], False),
        ([spoken("Hi."), later], False),
        ([spoken("Hi,", goes_on=True), later], False),
    ):
        assert json.loads("".join(words(lines(timeline))))["exact"] is exact


@given(st.lists(NASTY, max_size=5))
@example(["a" * 41 + " 00:00:01,000 --> 00:00:02,000"])
@example(["1 " + "a" * 40 + " \n\n2\n00:00:01,000 --> 00:00:02,000\nb"])
def test_srt_is_read_back(texts: list[str]) -> None:
    """Another parser finds the same cues: numbers, times and rows."""
    made = sentences(texts)
    expected = list(cues(made))
    found = list(srt_reader.parse("".join(srt(made))))
    assert [each.index for each in found] == list(range(1, len(expected) + 1))
    for there, cue in zip(found, expected, strict=True):
        assert there.start == timedelta(milliseconds=cue.start_ms)
        assert there.end == timedelta(milliseconds=cue.end_ms)
        rows = MARKS.sub("", there.content).split("\n")
        assert [re.sub(r"[<‹]", "<", re.sub(r"[>›]", ">", row)) for row in rows] == [
            re.sub(r"[<‹]", "<", re.sub(r"[>›]", ">", row.replace("{", "(").replace("}", ")"))) for row in cue.rows
        ]


@given(st.lists(NASTY, max_size=5))
@example(["a" * 41 + " 00:00:01.000 --> 00:00:02.000"])
@example(["NOTE a"])
@example(["AT&T &amp; <c.x>b</c>"])
def test_vtt_is_read_back(texts: list[str]) -> None:
    """Another parser finds the same cues: times, and rows to the letter."""
    made = sentences(texts)
    expected = list(cues(made))
    found = webvtt.from_string("".join(vtt(made))).captions
    for there, cue in zip(found, expected, strict=True):
        assert there.start_in_seconds * 1_000 + int(there.start[-3:]) == cue.start_ms
        assert there.end_in_seconds * 1_000 + int(there.end[-3:]) == cue.end_ms
        assert "<" not in there.raw_text
        assert html.unescape(MARKS.sub("", there.raw_text)).split("\n") == list(cue.rows)


@given(st.lists(NASTY, max_size=5))
def test_no_markup_gets_through(texts: list[str]) -> None:
    """No text can end its cue, open a tag or an override, or hold control characters."""
    made = sentences(texts)
    for cue in srt_reader.parse("".join(srt(made))):
        assert not re.search(r"<|-->|[{}]|\\[Nnh]", cue.content)
    for written in ("".join(srt(made)), "".join(vtt(made)), "".join(words(made))):
        written.encode()
        for character in set(written) - set("\n\u202a\u202b\u202c\u2060\u200c\u200d"):
            assert unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    for block in "".join(vtt(made)).split("\n\n")[1:]:
        clock, *rows = block.rstrip("\n").split("\n")
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} --> \d\d:\d\d:\d\d\.\d{3}", clock)
        assert 1 <= len(rows) <= 2
        assert not any("<" in row or ">" in row for row in rows)


@given(st.lists(NASTY, max_size=5), st.floats(-20, 400_000))
def test_words_are_one_json_object(texts: list[str], shift_s: float) -> None:
    """Each word has its own time, in order, whatever is in the text and in whichever file."""
    found = json.loads("".join(words(sentences(texts), shift_s=shift_s)))
    at = 0.0
    for each in found["words"]:
        assert at <= each["start_s"] < each["end_s"]
        assert each["word"].strip() == each["word"] != ""
        at = each["end_s"]


@pytest.mark.parametrize(
    ("text", "srt_row", "vtt_row"),
    [
        ("Say <b>this</b>.", "Say ‹b›this‹/b›.", "Say &lt;b&gt;this&lt;/b&gt;."),
        ("5 < 6 > 4", "5 ‹ 6 › 4", "5 &lt; 6 &gt; 4"),
        ("6 > 4 is true", "6 > 4 is true", "6 &gt; 4 is true"),
        ("a --> b", "a --› b", "a --&gt; b"),
        ("R&D {\\an8}up", "R&D (\\an8)up", "R&amp;D {\\an8}up"),
        ("In C:\\New it is", "In C:\\\u2060New it is", "In C:\\New it is"),
    ],
)
def test_markup_is_shown_and_not_obeyed(text: str, srt_row: str, vtt_row: str) -> None:
    """WebVTT escapes; SubRip, which can't, shows look-alikes."""
    assert one("srt", text) == srt_row
    assert one("vtt", text) == vtt_row


@pytest.mark.parametrize("kind", ["srt", "vtt"])
@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("این خوب است!", "\u202b"),
        ("Piper یک سامانه متن به گفتار است.", "\u202b"),
        ("The word سلام means hello.", "\u202a"),
        ("سلام is what they say there.", "\u202a"),
    ],
)
def test_each_row_has_the_direction_of_its_sentence(kind: str, text: str, mark: str) -> None:
    """A full stop stands where the sentence ends, also in players that go by a row's first letter, or by none."""
    assert one(kind, text) == f"{mark}{text}\u202c"


def test_both_rows_are_embedded() -> None:
    """The end of a row ends an embedding: each row has its own, also one without a letter that runs to the left."""
    text = "سلام به همه دوستان خوب من که امروز با Piper Text To Speech آمدند."
    for kind in ("srt", "vtt"):
        rows = one(kind, text).split("\n")
        assert len(rows) == 2
        assert all(row[0] == "\u202b" and row[-1] == "\u202c" for row in rows)


def test_a_scene_has_its_own_times() -> None:
    """Shifted by its start, a scene's file begins at nought; what would lie before that is held at nought."""
    made = sentences(["Hello.", "Are you there?"], start_s=7_200.0)
    assert next(srt(made, shift_s=-7_200.0)).startswith("1\n00:00:00,050 --> 00:00:02,170\n")
    assert list(vtt(made, shift_s=-7_200.0))[1].startswith("\n00:00:00.050 --> 00:00:02.170\n")
    assert json.loads("".join(words(made, shift_s=-7_200.0)))["words"][0]["start_s"] == 0.05
    assert next(srt(made, shift_s=-7_201.0)).startswith("1\n00:00:00,000 --> 00:00:01,170\n")
    assert json.loads("".join(words(made, shift_s=-7_201.0)))["words"][0]["start_s"] == 0.0


@pytest.mark.parametrize(
    ("start_s", "clock"),
    [
        (59.95, "00:01:00,000"),
        (3_599.9504, "01:00:00,000"),
        (359_999.95, "100:00:00,000"),
        (3_599_999.95, "1000:00:00,000"),
    ],
)
def test_hours_have_as_many_digits_as_they_need(start_s: float, clock: str) -> None:
    """Milliseconds carry over, and a hundred hours are no end."""
    written = "".join(srt(sentences(["Hello."], start_s=start_s)))
    assert written.split("\n")[1].split(" --> ")[0] == clock
    (cue,) = srt_reader.parse(written)
    assert cue.content == "Hello."


def test_files_are_written_bit_by_bit() -> None:
    """Of a long text no more is held than two sentences: each cue is out before the next but one is asked for."""
    asked = 0

    def utterances() -> Any:
        nonlocal asked
        for index in range(50):
            asked += 1
            yield spoken(f"Sentence number {index}.", 2.2 * index)

    for writer, lag in ((srt, 2), (vtt, 2), (words, 1)):
        asked = 0
        for done, part in enumerate((part for part in writer(lines(utterances())) if "entence" in part), 1):
            assert part
            assert asked <= done + lag
        assert asked == 50
