"""From bytes to utterances: decoding, Markdown, tidying, sentences, pieces. Pure; it knows no voice but by language."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import sentencex

from piperd.decoding import FAULT, decode
from piperd.job import Utterance
from piperd.lexicon import Lexicon
from piperd.markup import prose
from piperd.pieces import Piece, cut, pieces
from piperd.reading import locale, read, without_emoji
from piperd.writing import script_warning

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from piperd.job import Scene
    from piperd.lexicon import Entries

__all__ = ["decode", "locale", "prose", "script_warning", "speakable", "spoken_text", "tidy", "utterances"]

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
# Signs that espeak names in English, German or Persian though they stand alone; currencies come by their category.
# Not among them: `*`, `/`, `~`, `■` and the like, which it names too, but people draw with them.
_NAMED = frozenset("%&+=#@§©®™°№±×÷−¬√∞∑∂∫≈≠≤≥←↑→↓↔")
# A line drawn with such signs is no text.
_DRAWN = re.compile(r"([%&+=#@])\1{2,}")
# A silence that people ask for: [pause 2s], [pause 1.5], [pause 300ms]. What looks otherwise is text.
_PAUSE = re.compile(r" ?\[pause (?P<number>\d{1,6}(?:\.\d{1,6})?|\.\d{1,6}) ?(?P<unit>ms|s)?\] ?", re.IGNORECASE)
MAX_PAUSE = 60.0
"""Seconds of silence at one place."""
_ENDED = re.compile(r"[.!?…。！？؟۔।][\"'”’»)\]）」』]*\Z")
# Sentences seem to end behind these, which is seen when a figure or a small letter follows.
_ABBREVIATED = re.compile(
    r"(?:^|[\s(])(?:approx|vol|vols|no|nos|ca|fig|figs|sec|ed|eds|ch|pp|p|cf|incl|max|min|vs|v|tel|ext|est|dept|eq|apt|mon|tue|tues|wed|thu|thurs|fri)\.\Z",
    re.IGNORECASE,
)
_TITLED = re.compile(r"(?:^|[\s(])(?:Dr|Mr|Mrs|Ms|Messrs|Prof|Gen|Sen|Gov|Capt|Lt|Sgt|Rev|Mt|Ft|e\.g|i\.e|vs|cf)\.\Z")
_GOING_ON = re.compile(r"[\da-z(~]|[IVXL]+\b")


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
    text = without_emoji(_PAUSE.sub(" ", text))
    if _LETTER.search(text):
        return True
    return any(sign in _NAMED or unicodedata.category(sign) == "Sc" for sign in set(_DRAWN.sub("", text)))


def utterances(
    scene: Scene,
    index: int,
    language: str,
    *,
    lexicon: Entries = (),
    normalize: bool = True,
    piece_length: int = PIECE_LENGTH,
) -> list[Utterance]:
    """Cut a scene's prose into utterances of at most `piece_length` characters (at least 1), in order.

    `language` is an ISO 639-1 code, maybe with a region (``en-GB``); for an unknown one sentences end as in English.
    What has nothing speakable is left out, but still parts what stands around it. There is no pause behind the last
    utterance but one that is asked for; phonemes from the lexicon are never cut, however long.
    """
    lead = 0.0
    spoken: list[_Part] = []
    for part in _script(scene.text, _Reader(language, Lexicon.of(lexicon), normalize, piece_length)):
        if _LETTER.search(part.piece.text) or speakable(part.piece.text):
            spoken.append(part)
        elif spoken:
            last = spoken[-1]
            spoken[-1] = _Part(last.piece, max(last.end, part.end), _longer(last.pause, part.pause))
        else:
            lead = _longer(lead, part.pause)
    pauses = {_Break.NONE: 0.0, _Break.SENTENCE: scene.sentence_pause, _Break.PARAGRAPH: scene.paragraph_pause}
    return [
        Utterance(
            text=part.piece.text,
            voice=scene.voice,
            scene=index,
            # what people ask for replaces a shorter pause
            pause_after=max(part.pause, 0.0 if number == len(spoken) else pauses[part.end]),
            speaker=scene.speaker,
            speed=scene.speed,
            noise_scale=scene.noise_scale,
            noise_w_scale=scene.noise_w_scale,
            pause_before=lead if number == 1 else 0.0,
            written=part.piece.written,
            goes_on=part.end is _Break.NONE,
        )
        for number, part in enumerate(spoken, 1)
    ]


def spoken_text(parts: Iterable[Utterance]) -> str:
    """What is spoken, as one text: of a scene, or of a job."""
    return " ".join(each.text for each in parts)


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of a sentence, and what stands behind it."""

    piece: Piece
    end: _Break
    pause: float = 0.0
    """Seconds of silence that are asked for."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """How sentences are found, read and cut."""

    language: str
    lexicon: Lexicon
    normalize: bool
    limit: int

    def pieces(self, sentence: str) -> Iterator[Piece]:
        return pieces(*read(sentence, self.language, self.lexicon, normalize=self.normalize).spoken(), self.limit)


def _longer(first: float, second: float) -> float:
    """Two silences at one place."""
    return min(first + second, MAX_PAUSE)


def _script(text: str, reader: _Reader) -> Iterator[_Part]:
    """All pieces, speakable or not, and what stands behind each; an empty one where there is only a silence."""
    for paragraph in _paragraphs(text):
        held = _Part(Piece(""), _Break.NONE)
        for stretch, pause in _stretches(paragraph):
            for sentence, whole in _sentences(stretch, reader.language, max(WINDOW, 2 * reader.limit)):
                for piece in reader.pieces(sentence):
                    yield held
                    held = _Part(piece, _Break.NONE)
                if whole and held.piece.text:
                    held = _Part(held.piece, _Break.SENTENCE, held.pause)
            if pause is None:
                held = _Part(held.piece, _Break.PARAGRAPH, held.pause)
            else:
                end = held.end if not stretch or _ENDED.search(stretch[-8:]) else _Break.NONE
                held = _Part(held.piece, end, _longer(held.pause, pause))
        yield held


def _stretches(paragraph: str) -> Iterator[tuple[str, float | None]]:
    """What stands between the silences that are asked for, each with the seconds behind it; None at the end."""
    start = 0
    for mark in _PAUSE.finditer(paragraph):
        seconds = float(mark["number"]) / (1000 if (mark["unit"] or "").lower() == "ms" else 1)
        yield paragraph[start : mark.start()], seconds
        start = mark.end()
    yield paragraph[start:], None


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
                place = cut(paragraph, start, start + size // 2, end)
                yield paragraph[start:place].strip(), False
                start = place
                continue
        for sentence in found:
            start += len(sentence)
            if stripped := sentence.strip():
                yield stripped, True
        size = window


def _segments(text: str, language: str) -> list[str]:
    found: list[str] = sentencex.segment(language.partition("-")[0], text)
    # it promises to lose nothing; if it ever does, speak the text as one sentence
    return _rejoined(found) if "".join(found) == text else [text]


def _rejoined(sentences: list[str]) -> list[str]:
    """Without the ends behind abbreviations: "approx. 5" is no end."""
    joined: list[str] = []
    for sentence in sentences:
        end = joined[-1][-8:].rstrip() if joined else ""
        if end and (_TITLED.search(end) or (_GOING_ON.match(sentence) and _ABBREVIATED.search(end))):
            joined[-1] += sentence
        else:
            joined.append(sentence)
    return joined
