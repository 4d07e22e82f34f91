"""From bytes to utterances: decoding, Markdown, tidying, sentences, pieces. Pure; it knows no voice but by language."""

from __future__ import annotations

import re
import unicodedata
from enum import IntEnum
from typing import TYPE_CHECKING

import sentencex

from piperd.decoding import FAULT, decode
from piperd.job import Utterance
from piperd.markup import prose
from piperd.writing import script_warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from piperd.job import Scene

__all__ = ["decode", "prose", "script_warning", "speakable", "tidy", "utterances"]

PIECE_LENGTH = 200
"""Characters: a worker's memory and the first sound's delay grow with the longest utterance (DESIGN §11)."""
WINDOW = 1_000
"""Characters in which sentences are looked for at a time: sentencex takes quadratic time in the number of sentences
in quotes or without spaces (6 ms for 4,000 Chinese characters, 33 s for 300,000)."""

_SURROGATES = re.compile("[\ud800-\udfff]+")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]+")
# What has no sound and only steers how a text looks: soft hyphens and invisible spaces, marks of direction,
# annotations and tags, noncharacters. The joiners U+200C and U+200D stay: Persian and emoji are written with them.
_UNSEEN = re.compile(
    r"[\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufdd0-\ufdef\ufeff\ufff9-\ufffb"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e007f"
    + "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(17))
    + "]+"
)
_PARAGRAPH_ENDS = str.maketrans({"\f": "\n\n", "\u2029": "\n\n", "\v": "\n", "\x85": "\n", "\u2028": "\n"})
_BRACKETS = re.compile(r"(\[|\])\1+")

_LETTER = re.compile(r"[^\W_]")
# Signs that espeak names in English, German or Persian though they stand alone; currencies and emoji come by their
# category. Not among them: `*`, `/`, `~`, `■` and the like, which it names too, but people draw with them.
_NAMED = frozenset("%&+=#@§©®™°№±×÷−¬√∞∑∂∫≈≠≤≥←↑→↓↔")
# A line drawn with such signs is no text.
_DRAWN = re.compile(r"([%&+=#@])\1{2,}")
_EMOJI = re.compile(
    "[\u2600-\u2604\u260e\u2614\u2615\u2639-\u263b\u2660-\u2667\u26a0\u26a1\u2764\U0001f300-\U0001faff]"
)

# Where a sentence may be cut, so that it sounds as if it were meant: after a clause or a bracket, before a bracket,
# around a dash; the signs of Chinese and Japanese have no space behind them.
_CLAUSE = re.compile(
    r"[;:,،؛][\"'”’»)\]]*(?=\s)"
    r"|[、，；：。！？][”’」』）]*"
    r"|—|(?<=\s)[–―-](?=\s)"
    r"|[)\]）」』][.,;:]?(?=\s)|\s(?=[(\[（「『])"
)
_JOINED = frozenset("\u200c\u200d")


class _Break(IntEnum):
    """What stands behind a piece."""

    NONE = 0
    SENTENCE = 1
    PARAGRAPH = 2


def tidy(text: str) -> tuple[str, tuple[str, ...]]:
    """The text as a voice can take it, and what was changed about it, in words for people.

    Paragraphs are parted by one blank line, all other white space is single spaces. NFC; no control characters, marks
    of direction, invisible characters, lone surrogates, nor doubled square brackets, which to Piper mean phonemes.
    """
    warnings = []
    text, surrogates = _SURROGATES.subn(FAULT, text)
    if surrogates:
        warnings.append("Characters that are only half there (lone surrogates) were left out.")
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_PARAGRAPH_ENDS)
    text, controls = _CONTROLS.subn("", text)
    if controls:
        warnings.append("Control characters were left out.")
    text = unicodedata.normalize("NFC", _UNSEEN.sub("", text))
    text, brackets = _BRACKETS.subn(r"\1", text)
    if brackets:
        warnings.append("Doubled square brackets were made single: what is in them is spoken as ordinary words.")
    return "\n\n".join(_paragraphs(text)), tuple(warnings)


def speakable(text: str) -> bool:
    """Whether there is anything to be heard of it: a letter, a digit, or a sign that has a name."""
    if _LETTER.search(text):
        return True
    return any(
        sign in _NAMED or unicodedata.category(sign) == "Sc" or _EMOJI.match(sign) for sign in set(_DRAWN.sub("", text))
    )


def utterances(scene: Scene, index: int, language: str, *, piece_length: int = PIECE_LENGTH) -> list[Utterance]:
    """Cut a scene's prose into utterances of at most `piece_length` characters (at least 1), in order.

    `language` is an ISO 639-1 code; for an unknown one sentences end as in English. What has nothing speakable is
    left out, but still parts what stands around it. There is no pause behind the last utterance.
    """
    spoken: list[tuple[str, _Break]] = []
    for piece, end in _script(scene.text, language, piece_length):
        if speakable(piece):
            spoken.append((piece, end))
        elif spoken and spoken[-1][1] < end:
            spoken[-1] = spoken[-1][0], end
    if spoken:
        spoken[-1] = spoken[-1][0], _Break.NONE
    pauses = {_Break.NONE: 0.0, _Break.SENTENCE: scene.sentence_pause, _Break.PARAGRAPH: scene.paragraph_pause}
    return [
        Utterance(
            text=piece,
            voice=scene.voice,
            scene=index,
            pause_after=pauses[end],
            speaker=scene.speaker,
            speed=scene.speed,
            noise_scale=scene.noise_scale,
            noise_w_scale=scene.noise_w_scale,
        )
        for piece, end in spoken
    ]


def _script(text: str, language: str, limit: int) -> Iterator[tuple[str, _Break]]:
    """All pieces, speakable or not, and what stands behind each."""
    for paragraph in _paragraphs(text):
        held: tuple[str, _Break] | None = None
        for sentence, whole in _sentences(paragraph, language, max(WINDOW, 2 * limit)):
            for piece in _pieces(sentence, limit):
                if held:
                    yield held
                held = piece, _Break.NONE
            if held and whole:
                held = held[0], _Break.SENTENCE
        if held:
            yield held[0], _Break.PARAGRAPH


def _paragraphs(text: str) -> Iterator[str]:
    """What blank lines part, each on one line with single spaces."""
    lines: list[str] = []
    for line in text.split("\n"):
        if words := line.split():
            lines.append(" ".join(words))
        elif lines:
            yield " ".join(lines)
            lines = []
    if lines:
        yield " ".join(lines)


def _sentences(paragraph: str, language: str, window: int) -> Iterator[tuple[str, bool]]:
    """Its sentences, stripped. False beside one: it is a part, the next one goes on with the sentence.

    The last sentence in a window may go on behind it, so it comes first in the next one. Where a sentence fills the
    window, a larger one is tried; beyond four of them half of it is handed out, so that what is left is never tiny.
    """
    start, size = 0, window
    while start < len(paragraph):
        end = start + size
        found = _segments(paragraph[start:end], language)
        if end < len(paragraph):
            if len(found) > 1:
                found.pop()
            elif size < 4 * window:
                size *= 2
                continue
            else:
                cut = _cut(paragraph, start, start + size // 2, end)
                yield paragraph[start:cut].strip(), False
                start = cut
                continue
        for sentence in found:
            start += len(sentence)
            if stripped := sentence.strip():
                yield stripped, True
        size = window


def _segments(text: str, language: str) -> list[str]:
    found: list[str] = sentencex.segment(language.partition("-")[0], text)
    # it promises to lose nothing; if it ever does, speak the text as one sentence
    return found if "".join(found) == text else [text]


def _pieces(sentence: str, limit: int) -> Iterator[str]:
    """Cut a sentence into parts of at most `limit` characters and of about the same length."""
    start = 0
    while (rest := len(sentence) - start) > limit:
        target = start + rest // -(-rest // limit)
        cut = _cut(sentence, start, target, start + limit)
        if piece := sentence[start:cut].strip():
            yield piece
        start = cut
        while sentence[start : start + 1].isspace():
            start += 1
    if piece := sentence[start:].strip():
        yield piece


def _cut(text: str, start: int, target: int, end: int) -> int:
    """The best place to cut near `target`, after `start` and not after `end`, which is inside the text."""
    # one more character is looked at, since a clause ends where a space follows
    clauses = [found.end() for found in _CLAUSE.finditer(text, start + (target - start) // 2, end + 1)]
    if near := [cut for cut in clauses if start < cut <= end]:
        return min(near, key=lambda cut: abs(cut - target))
    before = text.rfind(" ", start + 1, target + 1)
    after = text.find(" ", target, end + 1)
    if before > 0 and (after < 0 or target - before <= after - target):
        return before
    return after if after > 0 else _cut_word(text, start, target)


def _cut_word(text: str, start: int, target: int) -> int:
    """A place inside a word longer than a piece, at `target` or before it, where no character is torn apart."""
    for cut in range(max(target, start + 1), start, -1):
        here, before = text[cut], text[cut - 1]
        if here not in _JOINED and before not in _JOINED and unicodedata.category(here) not in {"Mn", "Mc", "Me", "Sk"}:
            return cut
    return max(target, start + 1)
