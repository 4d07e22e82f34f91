"""File names made fit to be shown to people, and to be written to any file system. Pure: it knows no folder."""

from __future__ import annotations

import re
import unicodedata

MAX_CHARACTERS = 100
MAX_BYTES = 200
"""In UTF-8: `-12.words.json` must still fit behind it into the 255 bytes that file systems allow."""
UNTITLED = "untitled"

# What can drive a terminal, end a line or turn the reading order of what stands around it: the controls (Cc), the
# line and paragraph separators, the marks and overrides of the bidirectional algorithm (UAX 9), the byte order mark
# and interlinear annotations. The joiners U+200C and U+200D stay: Persian and emoji are written with them.
_TREACHEROUS = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb"
_SURROGATE = r"\ud800-\udfff"
_SHOWN_ESCAPED = re.compile(f"[{_TREACHEROUS}{_SURROGATE}]")
_DROPPED = re.compile(f"[{_TREACHEROUS}]+")
_REPLACED = re.compile(rf'[<>:"/\\|?*{_SURROGATE}]')
_BLANK_START = re.compile(r"^[.\s]+")
_BLANK_END = re.compile(r"[.\s]+$")
# Windows keeps these to itself, with any extension; the superscript digits count as digits.
# learn.microsoft.com/windows/win32/fileio/naming-a-file
_RESERVED = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³]) *(\.|$)", re.IGNORECASE)


def printable(name: bytes | str) -> str:
    r"""A name as people may see it, on one line: bytes that are no UTF-8 become ``\xNN``, control and bidirectional
    characters ``\xNN`` or ``\uNNNN``; all else stays, backslashes too. What is printable already is not changed.
    """
    text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    return _SHOWN_ESCAPED.sub(_escape, text)


def safe_stem(name: str) -> str:
    """A base name that every file system and every share takes, as like `name` as can be.

    At most `MAX_CHARACTERS` and `MAX_BYTES`, in NFC, never empty, never hidden. Control and bidirectional characters
    are dropped; what Windows forbids, and bytes that were no UTF-8 (lone surrogates), become ``_``.
    """
    text = unicodedata.normalize("NFC", _REPLACED.sub("_", _DROPPED.sub("", name)))
    stem = _cut(_BLANK_START.sub("", text)) or UNTITLED
    return _cut(f"_{stem}") if _RESERVED.match(stem) else stem


def _cut(text: str) -> str:
    """Shorten to both limits, and leave no dot or white space at the end: Windows would drop it silently."""
    return _BLANK_END.sub("", text[:MAX_CHARACTERS].encode()[:MAX_BYTES].decode(errors="ignore"))


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    try:
        byte = character.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return f"\\u{ord(character):04x}"
    # one byte: a control, or a byte that was no UTF-8
    return f"\\x{byte[0]:02x}" if len(byte) == 1 else f"\\u{ord(character):04x}"
