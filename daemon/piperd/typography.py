"""What the characters of a text are to a caption: words or the signs between them, how long to say, how wide. Pure."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

import wcwidth

if TYPE_CHECKING:
    from collections.abc import Iterator

# What people say though it is no letter: `&` and `5 %`, `§ 7`, `C++`. Currencies come by their category.
_NAMED = frozenset("%‰&+=#@§©®™°№±×÷−√∞≈≠≤≥←↑→↓↔")
_JOINERS = frozenset("\u200c\u200d")
# Characters that stand for themselves in the pattern of a word; the others by what they do there.
_SIGNS = {
    **dict.fromkeys(".:/()", ""),
    "\\": "/",
    **dict.fromkeys("'’‘ʼ‐‑-_·", "l"),
    **dict.fromkeys(",–٫٬", "n"),
    **dict.fromkeys('"״׳', "g"),
}
_HAN = re.compile(
    "[\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3041-\u309f\u3100-\u312f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
_KATAKANA = re.compile("[\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f]")
_SOUTH_EAST = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\ua9e0-\ua9ff\uaa60-\uaa7f]")
_EMOJI = re.compile("[\u231a-\u23ff\u2600-\u27bf\u2b50\u2b55\U0001f000-\U0001faff]")
_HEBREW = re.compile("[\u05d0-\u05ea]")
_HANGUL = re.compile("[\uac00-\ud7a3]")

# Over the classes of `_kind`. Katakana: the whole run, mostly one foreign word. Han and hiragana: each character,
# since where their words end takes a dictionary. Thai, Lao, Khmer and Burmese: what stands between spaces.
_WORD = re.compile(
    r"KM*(?:KM*)*"
    r"|HM*"
    r"|E[EM]*"
    r"|(?:[LB]M*\.){2,}(?![LBD])"  # U.S., e.g.
    r"|[LBD][LBDM]*"
    r"(?:(?:://?|[.l/]|(?<=D)[n:](?=D)|(?<=[BM])[gl](?=B))[LBD][LBDM]*|\([LBD][LBDM]*\))*"
)


@lru_cache(maxsize=4096)
def shown(character: str) -> str:
    """What a caption shows of a character: itself, a space for all white space and line ends, or nothing.

    Control characters, lone surrogates and invisible marks have no place in a caption: they could end it, or turn
    its direction. The joiners stay: Persian and emoji are written with them.
    """
    category = unicodedata.category(character)
    if character.isspace() or category in {"Zl", "Zp"}:
        return " "
    return "" if category in {"Cc", "Cs"} or (category == "Cf" and character not in _JOINERS) else character


@lru_cache(maxsize=4096)
def _kind(character: str) -> str:
    """What a character is in the pattern of a word.

    Han (with hiragana), Katakana, heBrew, other Letters and what is said like one, Digits, Marks, Emoji; or one of
    `_SIGNS`, or Other.
    """
    if character in _SIGNS:
        return _SIGNS[character] or character
    category = unicodedata.category(character)
    if category[0] == "M" or character in _JOINERS or "\U0001f3fb" <= character <= "\U0001f3ff":
        return "M"
    for kind, script in (("H", _HAN), ("K", _KATAKANA), ("B", _HEBREW)):
        if script.match(character):
            return kind
    if category[0] == "N":
        return "D"
    if category[0] == "L" or category == "Sc" or character in _NAMED:
        return "L"
    return "E" if category == "So" and _EMOJI.match(character) else "O"


def words(text: str) -> Iterator[tuple[int, int]]:
    """Each word: its first character and the one behind its last, without the punctuation around it.

    Signs inside stay (``don't``, ``well-known``, ``3.5``, ``example.com``), and so does the full stop that belongs to
    an abbreviation with others (``U.S.``). A sign that is spoken by its name is a word (``&``, ``%``); a dash is none.
    """
    for found in _WORD.finditer("".join(map(_kind, text))):
        yield found.span()


@lru_cache(maxsize=4096)
def effort(character: str) -> float:
    """How long a character takes to say, in letters; 0 for what has no sound. Rough: for sharing out known times."""
    kind = _kind(character)
    if kind == "L":
        if _HANGUL.match(character):
            return 2.5
        return 1.0 if character.isalpha() else 6.0
    return {"H": 3.0, "K": 2.0, "B": 1.3, "D": 4.0, "E": 6.0}.get(kind, 0.0)


def columns(text: str) -> int:
    """How wide a text is on a screen: Chinese characters count two, marks none."""
    return len(text) if text.isascii() else max(0, wcwidth.wcswidth(text))


def graphemes(text: str) -> Iterator[str]:
    """What readers take for one character, together with its marks and joiners."""
    return iter(text) if text.isascii() else wcwidth.iter_graphemes(text)


def unspaced(character: str) -> bool:
    """Its script has no spaces between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese."""
    return _kind(character) in {"H", "K"} or _SOUTH_EAST.match(character) is not None


def direction(text: str) -> str:
    """``rtl`` where most words run from right to left, else ``ltr``; ``""`` where nothing runs from right to left."""
    right = left = 0
    for start, end in words(text):
        strong = next((kind for each in text[start:end] if (kind := unicodedata.bidirectional(each)) in _STRONG), "")
        right += strong in _RIGHT
        left += strong == "L"
    if not right and not any(unicodedata.bidirectional(each) in _RIGHT for each in text):
        return ""
    return "rtl" if right >= left else "ltr"


_RIGHT = frozenset({"R", "AL"})
_STRONG = _RIGHT | {"L"}
