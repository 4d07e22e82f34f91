"""Which encoding a file is in: bytes become text, or a `JobRefused`. Pure: it opens nothing and logs nothing.

UTF-8 is nearly always right, so it is tried first. For all else the detector library names the encodings that fit;
in a sentence or two it can't tell them apart (``é`` and ``й`` are one byte), so what they make of the words decides.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from unicodedata import category, name

import charset_normalizer
import charset_normalizer.api

from piperd.errors import Code, JobRefused

# The library tells the program's log what it tries; none of that is for the operator.
charset_normalizer.api.logger.setLevel("CRITICAL")

SAMPLE = 32 << 10
"""Bytes that the detector gets to see: it takes about 0.1 s for them, whatever the size of the file."""
LINE = 4 << 10
"""Bytes of one line in the sample."""
CONTROLS_ALLOWED = 0.02
"""Share of control characters above which a file is no text; old exports have a few, programs and pictures many."""
MARKED_FAULTS_ALLOWED = 0.005
"""The same share, with broken characters, for a file that says itself that it is Unicode."""
DAMAGE_ALLOWED = 0.25
"""Share of broken sequences among all beyond ASCII up to which a file is damaged UTF-8 rather than something else:
in texts of other encodings hardly any sequence is UTF-8 by chance."""
CHAOS_ALLOWED = 0.4
"""The library's measure of disorder above which a reading is no text. Its default, 0.2, refuses plain French."""
FAULT = "\ufffd"

# Ties go to the one named first. Turkish and central European letters differ from western ones in few places, so
# western comes before them; Chinese and Korean take nearly any pair of bytes, so they come last.
ENCODINGS = {
    "cp1252": "Windows-1252 (western)",
    "cp1256": "Windows-1256 (Arabic, Persian)",
    "cp1255": "Windows-1255 (Hebrew)",
    "cp1251": "Windows-1251 (Cyrillic)",
    "cp1253": "Windows-1253 (Greek)",
    "cp1250": "Windows-1250 (central European)",
    "cp1254": "Windows-1254 (Turkish)",
    "koi8_r": "KOI8-R (Cyrillic)",
    "cp932": "Shift JIS (Japanese)",
    "gb18030": "GB 18030 (Chinese)",
    "big5": "Big5 (Chinese)",
    "euc_kr": "EUC-KR (Korean)",
}
# Lead bytes of the characters in everyday use; the rest of each table are rare signs.
_EVERYDAY = {
    "cp932": (0x81, 0x97),
    "gb18030": (0xA1, 0xD7),
    "big5": (0xA1, 0xC6),
    "euc_kr": (0xA1, 0xC8),
}
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What a text may have: tab, line feed, vertical tab, form feed, carriage return, DOS end of file, escape.
_HARMLESS = frozenset(b"\t\n\v\f\r\x1a\x1b")
_CONTROLS = bytes(byte for byte in (*range(0x20), 0x7F) if byte not in _HARMLESS)
_CONTROL = re.compile(f"[{re.escape(_CONTROLS.decode())}{FAULT}]")
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_CUT = re.compile(rb"[\x00-\x2f]")
_WORD = re.compile(r"[^\s\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e\u2010-\u203a«»…·،؛؟、。，！？：；「」『』（）]+")
_CJK = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "IDEOGRAPHIC"})
_LATIN_ONLY = 0.75


def decode(data: bytes) -> tuple[str, str | None]:
    """The text, and a warning in words where its encoding was guessed or it is damaged.

    Raises `JobRefused` (``not_text``) for binary content.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark) and (encoding != "utf-32" or len(data) % 4 == 0):
            return _marked(data.removeprefix(mark) if encoding == "utf-8" else data, encoding)
    if b"\0" in data:
        raise _not_text("it contains NUL bytes")
    if len(data) - len(data.translate(None, _CONTROLS)) > max(4, len(data) * CONTROLS_ALLOWED):
        raise _not_text("it is full of control characters")
    try:
        return data.decode(), None
    except UnicodeDecodeError:
        pass
    return _damaged(data) or _guessed(data)


def _marked(data: bytes, encoding: str) -> tuple[str, str | None]:
    """Decode what says itself what it is; programs and music may begin like that by chance."""
    text = data.decode(encoding, "replace")
    if len(_CONTROL.findall(text)) > max(1, len(text) * MARKED_FAULTS_ALLOWED):
        raise _not_text(f"it begins like {encoding.upper()} but is not")
    return text, _damage(text, encoding) if FAULT in text else None


def _damaged(data: bytes) -> tuple[str, str] | None:
    """UTF-8 with some faults: a text cut off in the middle, or a quotation pasted in."""
    text = data.decode("utf-8", "replace")
    faults = text.count(FAULT)
    beyond_ascii = len(data.translate(None, bytes(range(0x80))))
    if faults > (beyond_ascii - faults) / 2 * DAMAGE_ALLOWED:  # a sound sequence has at least two bytes
        return None
    return text, _damage(text, "utf-8")


def _damage(text: str, encoding: str) -> str:
    return f"The file is damaged: {text.count(FAULT)} places are not {encoding.upper()} and were left out."


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one encoding makes of the sample."""

    encoding: str
    text: str
    chaos: float
    """The library's measure of disorder, 0 to 1."""
    coherence: float
    """The library's measure of how well letters are distributed as in some language, 0 to 1; 0 for short texts."""

    @property
    def rank(self) -> tuple[float, float, int]:
        order = list(ENCODINGS).index(self.encoding)
        return round(self.chaos + _oddity(self.text, self.encoding), 2), -round(self.coherence, 1), order


def _guessed(data: bytes) -> tuple[str, str]:
    sample = _sample(data)
    if _only_signs(sample):
        return _read_as(data, "cp1252")
    found = charset_normalizer.from_bytes(sample, cp_isolation=list(ENCODINGS), threshold=CHAOS_ALLOWED)
    readings = [
        _Reading(encoding, sample.decode(encoding, "replace"), match.chaos, match.coherence)
        for match in found
        for encoding in {match.encoding, *(same.encoding for same in match.submatch)}
        if encoding in ENCODINGS
    ]
    if not readings:
        raise _not_text("its encoding can't be told")
    best = min(readings, key=lambda reading: reading.rank)
    return _read_as(data, best.encoding)


def _only_signs(sample: bytes) -> bool:
    """Whether the sample is ASCII but for quotes, dashes, pounds and the like: the detector takes those for dirt."""
    text = sample.decode("cp1252", "replace")
    return not any(not character.isascii() and (character.isalpha() or character == FAULT) for character in set(text))


def _read_as(data: bytes, encoding: str) -> tuple[str, str]:
    text = data.decode(encoding, "replace")
    left_out = f"; {text.count(FAULT)} places that don't fit were left out" if FAULT in text else ""
    return text, f"The file is not UTF-8; it was read as {ENCODINGS[encoding]}, the best guess{left_out}."


def _sample(data: bytes) -> bytes:
    """Some lines that have more than ASCII, long ones cut where no character of two bytes can be."""
    lines: list[bytes] = []
    size = end = 0
    while size < SAMPLE and (telling := _BEYOND_ASCII.search(data, end)):
        at = telling.start()
        begin = max(end, at - LINE, data.rfind(b"\n", end, at) + 1)
        end = data.find(b"\n", at, at + LINE)
        if end < 0:
            # no encoding in the list has bytes up to "/" inside a character
            cuts = [cut.end() for cut in _CUT.finditer(data, at, at + LINE)]
            end = cuts[-1] if cuts and at + LINE < len(data) else min(at + LINE, len(data))
        lines.append(data[begin:end])
        size += end - begin
    return b"\n".join(lines)


def _oddity(text: str, encoding: str) -> float:
    """Share of words beyond ASCII that no one would write so: 0 to 1."""
    words = [word for word in _WORD.findall(text) if not word.isascii()]
    return sum(_odd(word, encoding) for word in words) / len(words) if words else 0.0


def _odd(word: str, encoding: str) -> bool:
    everyday = _EVERYDAY.get(encoding)
    if everyday and any(not _is_everyday(character, encoding, *everyday) for character in word):
        return True
    letters = [character for character in word if character.isalpha()]
    scripts = {_script(letter) for letter in letters}
    if len(scripts) > 1 and not scripts <= _CJK:
        return True
    if "LATIN" in scripts:
        foreign = sum(not letter.isascii() for letter in letters)
        if foreign > 1 and (foreign == len(letters) or (foreign > 2 and foreign >= _LATIN_ONLY * len(letters))):  # noqa: PLR2004 - "été"
            return True
    if any(before.islower() and after.isupper() and not (before + after).isascii() for before, after in pairwise(word)):
        return True
    # letters that stand only at the end of a word, or never at its beginning
    return _has_foreign_body(word) or any(letter in "ςךםןףץة" for letter in letters[:-1]) or word[0] in "ؤئءة"


def _is_everyday(character: str, encoding: str, low: int, high: int) -> bool:
    encoded = character.encode(encoding, "replace")
    return (len(encoded) == 1 and encoded < b"\x80") or (len(encoded) == 2 and low <= encoded[0] <= high)  # noqa: PLR2004 - bytes


def _has_foreign_body(word: str) -> bool:
    """Whether a sign that is no letter stands between two letters, or a mark where there is nothing to be marked."""
    if category(word[0])[0] == "M":
        return True
    inner = word.strip("".join(character for character in set(word) if not character.isalpha()))
    return any(not character.isascii() and category(character)[0] not in "LM" and character not in "\u200c\u200d\u00ad"
               for character in inner)  # fmt: skip


@cache
def _script(letter: str) -> str:
    """The first word of its name, which is its script's: ``LATIN``, ``ARABIC``."""
    return name(letter, "").partition(" ")[0].partition("-")[0]


def _not_text(reason: str) -> JobRefused:
    return JobRefused(Code.NOT_TEXT, f"The file is not a text: {reason}.")
