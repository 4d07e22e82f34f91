"""Markdown read as prose: what a person would read aloud of it. Pure; it never follows a link or opens an image."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

from piperd.errors import Code, JobRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from markdown_it.token import Token

MAX_NESTING = 60
"""Levels of lists and quotes; text nested deeper is left out. Time and stack grow with it on hostile input only."""
MAX_BRACKETS = 8
"""Levels of links and images in one another; brackets nested deeper are read as plain text."""

# A rule (`---`) may open a text too: only what begins with a key, or is empty, is taken for front matter.
_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(?=[\w\"'-][^\r\n]*:|---|\.\.\.)")
_FRONT_MATTER_END = re.compile(r"^(?:---|\.\.\.)[ \t]*\r?$", re.MULTILINE)
_FOOTNOTE_MARK = re.compile(r"\[\^[^\]\s]{1,64}\]:?")
_TASK_MARK = re.compile(r"\A\[[ xX]\]\s")
_ENDED = re.compile(r"[.!?…:;。！？：；؟۔؛।॥‽][\"'”’»)\]）」』]*\Z")
_CJK_END = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]\Z")

# Block by block and without the core rule `inline`: the tokens of all words of a large file would take hundreds of
# megabytes at once.
_BLOCKS = MarkdownIt("commonmark", {"maxNesting": MAX_NESTING}).enable("table").disable("inline")
_WORDS = MarkdownIt("commonmark", {"maxNesting": MAX_BRACKETS}).enable("strikethrough")


def prose(markdown: str) -> str:
    """The text to be spoken, its paragraphs parted by blank lines.

    Headings, list items, quotes and table rows are paragraphs. Left out are code blocks, images, HTML, front matter
    and the marks of footnotes. Raises `JobRefused` where the nesting is too deep to be read.
    """
    environment: dict[str, Any] = {}
    try:
        tokens = _BLOCKS.parse(_without_front_matter(markdown), environment)
        return "\n\n".join(_paragraphs(tokens, environment))
    except RecursionError:
        raise JobRefused(
            Code.NOT_TEXT, "The Markdown is nested too deep to be read.", "Drop the file as plain text (.txt)."
        ) from None


def _without_front_matter(markdown: str) -> str:
    begin = _FRONT_MATTER.match(markdown)
    end = _FRONT_MATTER_END.search(markdown, begin.end()) if begin else None
    return markdown[end.end() :] if end else markdown


def _paragraphs(tokens: Iterable[Token], environment: dict[str, Any]) -> Iterator[str]:
    heading = False
    row: list[str] | None = None
    for token in tokens:
        match token.type:
            case "heading_open":
                heading = True
            case "heading_close":
                heading = False
            case "tr_open":
                row = []
            case "tr_close" if row is not None:
                if row:
                    yield _ended(_listed(row))
                row = None
            case "inline":
                text = _spoken(token.content, environment)
                if not text:
                    continue
                if row is not None:
                    row.append(text)
                else:
                    yield _ended(text) if heading else text


def _spoken(content: str, environment: dict[str, Any]) -> str:
    """What is heard of a paragraph with its markup."""
    words: list[str] = []
    tokens: list[Token] = []
    _WORDS.inline.parse(_TASK_MARK.sub("", content), _WORDS, environment, tokens)
    for token in tokens:
        match token.type:
            case "text" | "text_special" | "code_inline":
                words.append(token.content)
            case "softbreak" | "hardbreak":
                words.append("\n")
            case "html_inline" if token.content[:3].lower() == "<br":
                words.append("\n")
    return _FOOTNOTE_MARK.sub("", "".join(words)).strip()


def _listed(cells: list[str]) -> str:
    """The cells of a row, with a pause after each."""
    *first, last = cells
    return " ".join([*(cell if _ENDED.search(cell[-8:]) else f"{cell}," for cell in first), last])


def _ended(text: str) -> str:
    """The text as a sentence, so that the voice comes to an end."""
    if _ENDED.search(text[-8:]):
        return text
    return f"{text}。" if _CJK_END.search(text[-1:]) else f"{text}."
