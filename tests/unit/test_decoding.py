"""Decoding: bytes become the text that was meant, or are refused."""

from __future__ import annotations

import codecs
import contextlib
import logging
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from piperd.decoding import decode
from piperd.errors import Code, JobRefused

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = "Grüße, café — سلام دنیا, 你好 😀\n"
WESTERN = [
    "café",
    "naïve",
    "Où",
    "mañana",
    "DÉJÀ VU",
    "Le café est déjà fermé.",
    "L'été à la plage, où êtes-vous ?",
    "“Smart quotes” – that’s all.",
    "He said ‘no’… and left — quickly.",
    "It’s a naïve café.",
    "Schöne Grüße aus Köln, es ist spät.",
    "ÄRGER MIT ÜBUNGEN",
    "El niño comió una manzana. ¿Qué pasa?",
    "Não há razão para preocupação.",
    "Det er også på øya.",
    "È già così. Perché?",
    "Price: 5 €",
    "£5 and 10 ½",
    "Temperature 20°C",
    "Hyvää päivää, mitä kuuluu?",
]
ARABIC = [
    "سلام",
    "سلام دنيا",
    "سلام دنيا. امروز هوا خوب است و من به مدرسه مي\u200cروم.",
    "اين يك متن کوتاه فارسي است. چطور هستيد؟",
    "گفتم: «پنج چيز» را بياور.",
    "من و تو",
    "مرحبا",
    "مرحبا بالعالم. هذا نص عربي قصير.",
    "هو ذهب إلى المدرسة، ثم عاد إلى البيت.",
    "Hello سلام world",
    "Name: علي",
]


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        TEXT.encode("utf-16"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
        codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"),
    ],
    ids=["utf-8", "utf-8 marked", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"],
)
def test_unicode(data: bytes) -> None:
    """What is Unicode is read as it is, without a word."""
    assert decode(data) == (TEXT, None)


def test_empty() -> None:
    """Nothing is a text too; that it is empty is for others to say."""
    assert decode(b"") == ("", None)


@pytest.mark.parametrize(
    ("encoding", "text", "named"),
    [
        *(("cp1252", text, "Windows-1252") for text in WESTERN),
        *(("cp1256", text, "Windows-1256") for text in ARABIC),
        ("cp1251", "Привет, мир. Это короткий текст.", "Windows-1251"),
        ("cp1251", "привет, как дела? все хорошо.", "Windows-1251"),
        ("koi8_r", "Добрый день, как дела?", "KOI8-R"),
        ("cp1253", "Γειά σου Κόσμε. Αυτό είναι ένα κείμενο.", "Windows-1253"),
        ("cp1255", "שלום עולם. זה טקסט קצר.", "Windows-1255"),
        ("cp932", "こんにちは世界。これは短い文です。", "Shift JIS"),
        ("gb18030", "你好，世界。这是一个短句子。", "GB 18030"),
        ("big5", "你好，世界。這是一個短句子。", "Big5"),
        ("euc_kr", "안녕하세요. 짧은 문장입니다.", "EUC-KR"),
    ],
)
def test_guesses(encoding: str, text: str, named: str) -> None:
    """Older encodings come out right even in a sentence or a word, and the warning says which it was taken for."""
    decoded, warning = decode(text.encode(encoding))
    assert decoded == text
    assert warning is not None
    assert named in warning


@pytest.mark.parametrize("encoding", ["cp1252", "cp1256"])
@pytest.mark.parametrize(
    "spread",
    [
        lambda text: text * 40_000,
        lambda text: (text + "\n") * 40_000,
        lambda text: "Plain words. " * 200_000 + text,
        lambda text: "Plain words.\n" * 200_000 + text,
    ],
    ids=["one line", "lines", "late in a line", "late"],
)
def test_large_guesses(encoding: str, spread: Callable[[str], str]) -> None:
    """What tells the encoding may stand anywhere in a large file."""
    text = spread("Le café est déjà fermé. " if encoding == "cp1252" else "سلام دنيا. امروز هوا خوب است. ")
    assert decode(text.encode(encoding))[0] == text


@pytest.mark.parametrize(
    "data",
    [
        bytes(range(256)) * 9,
        b"text\0text",
        TEXT.encode("utf-16-le"),
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        bytes(range(1, 256)) * 9,
        b"\xff\xfe" + bytes(range(256)) * 9,
        b"\x01\x02\x03\x04\x05" * 99,
    ],
)
def test_binary(data: bytes) -> None:
    """What is no text is refused, also where it begins like one."""
    with pytest.raises(JobRefused) as refused:
        decode(data)
    assert refused.value.failure.code is Code.NOT_TEXT


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("سلام دنیا".encode()[:-1], "سلام دنی\ufffd"),
        ("Grüße, Grüße, Grüße ".encode() + b"\xfc", "Grüße, Grüße, Grüße \ufffd"),
    ],
)
def test_damaged(data: bytes, text: str) -> None:
    """A few broken bytes do not turn UTF-8 into something else: the rest is read, with a warning."""
    decoded, warning = decode(data)
    assert decoded == text
    assert warning is not None
    assert "damaged" in warning


def test_quiet(caplog: pytest.LogCaptureFixture) -> None:
    """The detector's own log lines do not come out, however much is logged."""
    caplog.set_level(logging.NOTSET)
    decode("Le café est déjà fermé.".encode("cp1252"))
    assert not caplog.records


@given(st.binary() | st.text().map(lambda text: text.encode("cp1252", "replace")))
@example(codecs.BOM_UTF16_LE + b"a")
@example(codecs.BOM_UTF32_LE + b"\xff" * 4)
@example(b"\xe9")
@example(b"\x81\x8d\x8f\x90\x9d" * 9)
def test_never_fails_otherwise(data: bytes) -> None:
    """Whatever the bytes, they are decoded or refused, each time alike."""
    with contextlib.suppress(JobRefused):
        assert decode(data) == decode(data)


@given(st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1))
def test_utf8_is_kept(text: str) -> None:
    """Every text in UTF-8 comes back unchanged."""
    assert decode(codecs.BOM_UTF8 + text.encode())[0] == text
