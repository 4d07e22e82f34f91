"""Markdown becomes what a person would read aloud."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from piperd import text
from piperd.errors import JobRefused
from piperd.markup import prose


@pytest.mark.parametrize(
    ("markdown", "spoken"),
    [
        ("", ""),
        ("Plain *words*, **bold**, ~~gone~~ and `code`.", "Plain words, bold, gone and code."),
        ("A [link](http://x.y 'title') and [another][1].\n\n[1]: http://x.y", "A link and another."),
        ("# Title\nText", "Title.\n\nText"),
        ("Why?\n===\n\nText", "Why?\n\nText"),
        ("## «Why?»", "«Why?»"),
        ("# 你好", "你好。"),
        ("#", ""),
        ("One\ntwo  \nthree", "One\ntwo\nthree"),
        ("- one\n- two\n\n  more\n  1. three", "one\n\ntwo\n\nmore\n\nthree"),
        ("- [ ] open\n- [x] done", "open\n\ndone"),
        ("> quoted\n> words\n\nText", "quoted\nwords\n\nText"),
        ("Text\n\n```py\ncode\n```\n\n    code\n\nMore", "Text\n\nMore"),
        ("See ![a picture](a.png) this", "See  this"),
        ("![a picture](a.png)", ""),
        ("<div>\nhtml\n</div>\n\nText <b>bold</b><br>next <!-- no -->", "Text bold\nnext"),
        ("a\n\n***\n\nb", "a\n\nb"),
        ("Salt &amp; pepper \\*", "Salt & pepper *"),
        ("Noted[^1].\n\n[^1]: The note.", "Noted.\n\nThe note."),
        ("| a | b |\n|---|---|\n| 1 | 2! |\n| | 3 |", "a, b.\n\n1, 2!\n\n3."),
        ("---\ntitle: x\n---\nText", "Text"),
        ("---\na: b\n# comment\n...\nText", "Text"),
        ("---\r\ntitle: x\r\n---\r\nText", "Text"),
        ("---\n# Title\n---\nText", "Title.\n\nText"),
        ("---\n\nText\n\n---\n\nMore", "Text\n\nMore"),
        ("---\ntitle: never closed", "title: never closed"),
        ("[[wiki]]", "[[wiki]]"),
    ],
)
def test_prose(markdown: str, spoken: str) -> None:
    """Markup is gone; headings, items, quotes and rows are paragraphs; what can't be read aloud is skipped."""
    assert prose(markdown) == spoken


@pytest.mark.parametrize(
    "markdown",
    [
        ">" * 10_000,
        "> " * 10_000 + "a",
        "[" * 10_000,
        "![" * 10_000,
        "[" * 5_000 + "a" + "]" * 5_000,
        "- " * 5_000 + "a",
        "[a](" * 10_000,
        "`" * 10_000 + "a",
        "*a **b " * 5_000,
        "<" * 10_000,
        "<!-- " * 10_000,
        "&" * 10_000,
        "\n".join("  " * depth + "- a" for depth in range(200)),
    ],
)
def test_hostile_markup(markdown: str) -> None:
    """No nesting and no run of signs is too much for it."""
    prose(markdown)


def test_deep_lists_are_read() -> None:
    """Lists in lists are read down to a depth beyond what people write."""
    assert prose("\n".join("  " * depth + f"- a{depth}" for depth in range(25))).endswith("a24")


@given(st.text(st.sampled_from("ab1 \n\t#*_`~[]()!<>&;|-=+.:\\\"'^é你\0\ufeff")) | st.text())
@example("---\n---")
@example("| a\n|-\n|")
def test_never_fails_otherwise(markdown: str) -> None:
    """Whatever the text, it is read or refused; and what is read can be tidied."""
    with contextlib.suppress(JobRefused):
        text.tidy(prose(markdown))


@given(st.lists(st.from_regex(r"[a-z]{1,9}( [a-z]{1,9}){0,5}\.", fullmatch=True), min_size=1, max_size=9))
def test_plain_text_is_kept(paragraphs: list[str]) -> None:
    """Text without markup comes back as it is."""
    plain = "\n\n".join(paragraphs)
    assert prose(plain) == plain


def test_pauses_that_are_asked_for_stay() -> None:
    """A pause is no link and no footnote; in a heading it works as well."""
    assert prose("# One [pause 2s]\n\nTwo [pause 300ms] *three*.") == "One [pause 2s].\n\nTwo [pause 300ms] three."
