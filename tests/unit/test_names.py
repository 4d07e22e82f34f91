"""Names: what people are shown, and what is written to a share."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from piperd.names import MAX_BYTES, MAX_CHARACTERS, printable, safe_stem

# lone surrogates are how Python shows file names that are no UTF-8
ANY_TEXT = st.text(st.characters(exclude_categories=()))
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # other tests may have the CPUs
AWKWARD = st.text(st.sampled_from('aé.. \u00a0<>:"/\\|?*\n\x1b\x85\u2028\ufeff\udcffCONcon1¹\u0301سلام\u200c😀' + BIDI))


def is_harmless(text: str) -> bool:
    return not any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} or c in BIDI for c in text)


@PATIENT
@given(ANY_TEXT | AWKWARD | st.binary())
def test_shown_names_are_harmless(name: str | bytes) -> None:
    """No name can end a line, drive a terminal or turn the reading order, and all can be written as UTF-8."""
    shown = printable(name)
    assert is_harmless(shown)
    shown.encode()
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"hello.txt", "hello.txt"),
        ("سلام\u200cدنیا.txt", "سلام\u200cدنیا.txt"),
        (b"caf\xe9.txt", r"caf\xe9.txt"),
        ("caf\udce9.txt", r"caf\xe9.txt"),
        ("a\x1b[31m\n.txt", r"a\x1b[31m\x0a.txt"),
        ("a\u202etxt.exe", r"a\u202etxt.exe"),
        ("a\x85b", r"a\u0085b"),
        (b"back\\slash", "back\\slash"),
    ],
)
def test_shown_names(name: bytes | str, shown: str) -> None:
    """Ordinary names stay as they are; the rest is shown escaped, bytes and characters alike."""
    assert printable(name) == shown


@PATIENT
@given(ANY_TEXT | AWKWARD)
@example("CON" + " " * 200 + "x")
@example("CON." + "x" * 200)
@example("e\u202e\u0301")
@example("😀" * 100)
def test_stems_fit_everywhere(name: str) -> None:
    """Whatever the name, its stem is one that Linux, Windows and macOS take, and is its own stem."""
    stem = safe_stem(name)
    assert 0 < len(stem) <= MAX_CHARACTERS
    assert len(stem.encode()) <= MAX_BYTES
    assert is_harmless(stem)
    assert not set(stem) & set('<>:"/\\|?*')
    assert not stem.startswith((".", " "))
    assert not stem.endswith((".", " "))
    assert stem.split(".")[0].rstrip().upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "COM¹", "LPT9"}
    assert unicodedata.is_normalized("NFC", stem)
    assert safe_stem(stem) == stem


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("hello", "hello"),
        ("سلام دنیا", "سلام دنیا"),
        ("cafe\u0301", "caf\u00e9"),
        ("News 12:30", "News 12_30"),
        ("../../etc/passwd", "_.._etc_passwd"),
        (".hidden", "hidden"),
        ("...", "untitled"),
        ("", "untitled"),
        ("\n\u202e", "untitled"),
        ("caf\udce9", "caf_"),
        ("trailing. .", "trailing"),
        ("con", "_con"),
        ("Aux.backup", "_Aux.backup"),
        ("com1 .x", "_com1 .x"),
        ("LPT²", "_LPT²"),
        ("CONSOLE", "CONSOLE"),
        ("a" * 300, "a" * 100),
        ("م" * 300, "م" * 100),
        ("😀" * 60, "😀" * 50),
    ],
)
def test_stems(name: str, stem: str) -> None:
    """Names keep what can be kept."""
    assert safe_stem(name) == stem
