"""How a written sentence is read aloud: lexicon, emoji, the language's figures and words, pauses. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from piperd import english
from piperd.rewriting import Rewriting

if TYPE_CHECKING:
    from piperd.job import Voice
    from piperd.lexicon import Lexicon

# Pictures, by Unicode block, but for the circled digits among the dingbats; and signs that become pictures by the
# selector U+FE0F or in a keycap. They are joined by U+200D, and tinted.
_SIGN = r"[©®™‼⁉ℹ\u2194-\u21aaⓂ▪▫▶◀◻-◾⤴⤵⬅-⬇〰〽㊗㊙]"
_PICTURE = (
    r"(?:[\u231a\u231b\u2328\u23cf\u23e9-\u23fa\u2600-\u2775\u2794-\u27bf\u2b1b\u2b1c\u2b50\u2b55"
    r"\U0001f000-\U0001faff]\ufe0f?|[0-9#*]\ufe0f?\u20e3"
    rf"|{_SIGN}\ufe0f)\u20e3?"
)
_EMOJI = rf"{_PICTURE}(?:\u200d(?:{_PICTURE}|{_SIGN}))*+\u200d?"
EMOJI = re.compile(rf" ?{_EMOJI}(?: ?{_EMOJI})*+ ?")
"""A run of emoji with the spaces around it."""

# Three dots and the like, dashes; hyphens only where they stand alone, as people without a dash write them.
_ELLIPSIS = re.compile(r" ?(?:…|\.(?= ?[.…]))(?: ?[.…])*+ ?")
_DASH = re.compile(r" ?(?:[—―]|(?<= )–(?= )|(?<= )-{1,3}(?= )|(?<!-)--+(?!-))++(?: ?[—―])*+ ?")
_REGION = 2
_CLOSING = frozenset(".,;:!?)]}»”’\"'…。，、！？؟،؛")
_OPENING = frozenset("([{«“‘„¿¡")


def read(sentence: str, language: str, lexicon: Lexicon, *, normalize: bool) -> Rewriting:
    """What to say for a sentence. `language` may have a region: ``en``, ``en-GB``.

    Without `normalize` only the lexicon counts and emoji are dropped.
    """
    reading = Rewriting(sentence).change(lexicon.changes(sentence, language))
    if not sentence.isascii():
        reading = reading.rewrite(EMOJI, _drop)
    if not normalize:
        return reading
    if language.partition("-")[0] == "en":
        reading = english.read(reading, language)
    return reading.rewrite(_ELLIPSIS, _trail_off).rewrite(_DASH, _dash)


def locale(voice: Voice | None) -> str:
    """The voice's language, with the region that its name gives: ``en-GB`` for ``en_GB-alba-medium``."""
    if voice is None:
        return ""
    language, _, region = voice.name.partition("-")[0].partition("_")
    return f"{voice.language}-{region}" if language == voice.language and len(region) == _REGION else voice.language


def without_emoji(text: str) -> str:
    return EMOJI.sub(" ", text)


def _around(match: re.Match[str]) -> tuple[str, str]:
    text = match.string
    return text[match.start() - 1 : match.start()] if match.start() else "", text[match.end() : match.end() + 1]


def _drop(match: re.Match[str]) -> str:
    before, after = _around(match)
    return "" if not before or not after or after in _CLOSING or before in _OPENING else " "


def _trail_off(match: re.Match[str]) -> str:
    """A pause like that of a semicolon: espeak takes no notice of dots within a sentence and speaks on."""
    before, after = _around(match)
    if not before or before in _OPENING:
        return ""
    if after and after not in _CLOSING:
        return " " if before in _CLOSING else "; "
    if before in _CLOSING or after in {"!", "?", ",", ";", ":", "؟", "،", "！", "？", "。"}:
        return ""
    rest = match.string[match.end() :]
    return "." if all(sign in _CLOSING for sign in rest) else ";"


def _dash(match: re.Match[str]) -> str | None:
    before, after = _around(match)
    if not before or before in _OPENING:
        return ""
    if not after or after in _CLOSING:
        return "," if before not in _CLOSING else ""
    return " " if before in _CLOSING and before not in {"”", "’", '"', "'", ")", "»"} else ", "
