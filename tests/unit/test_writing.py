"""Scripts: a text that the voice can't read is noticed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piperd.writing import LANGUAGES, SCRIPTS, script_warning


def test_every_script_of_a_language_is_known() -> None:
    """What the table of languages names, the table of letters can find."""
    assert set().union(*(scripts for _, scripts in LANGUAGES.values())) <= set(SCRIPTS.values())


def test_persian_text_for_an_english_voice() -> None:
    """The warning names script and language, so that the reader knows what to change."""
    warning = script_warning("سلام دنیا. این یک متن فارسی است.", "en")
    assert warning is not None
    assert warning.startswith("Most letters are Arabic script, but the voice speaks English (en): ")


@pytest.mark.parametrize(
    ("text", "language", "warned"),
    [
        ("Hello world", "en", False),
        ("Hello world", "en-gb", False),
        ("Tea is чай in Russian.", "en", False),
        ("Привет", "en", True),
        ("Привет", "de-AT", True),
        ("سلام", "fa", False),
        ("سلام", "ar", False),
        ("Hello", "fa", True),
        ("日本語です", "ja", False),
        ("日本語です", "zh", True),
        ("你好", "cmn", False),
        ("ｆｕｌｌ", "en", False),
        ("Добар дан, dobar dan", "sr", False),
        ("Привет", "xx", False),
        ("", "en", False),
        ("123 … 😀", "en", False),
        ("abcd где", "en", True),
    ],
)
def test_warnings(text: str, language: str, warned: bool) -> None:
    """A good part of foreign letters is needed for a warning, and a language that is known."""
    assert (script_warning(text, language) is not None) is warned


@given(st.text(), st.sampled_from([*LANGUAGES, "", "xx", "en_US"]))
def test_any_text(text: str, language: str) -> None:
    """Every text gives a sentence or nothing."""
    assert (script_warning(text, language) or "The end.").endswith(".")
