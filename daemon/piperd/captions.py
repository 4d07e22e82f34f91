"""The files of captions: sentences with timed words in, SubRip, WebVTT or JSON out, bit by bit. Pure.

All of it is UTF-8 without a byte order mark, with line feeds. The text in it is a stranger's: nothing in it may end a
cue, begin a tag or turn the direction of what stands around it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from piperd.cues import Cue, cues
from piperd.wordtimes import Line, Spoken, Word, lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["FILES", "Cue", "Line", "Spoken", "Word", "cues", "lines", "srt", "vtt", "words"]

WORDS_SCHEMA = 1
# Embeddings: isolates are newer than many players. They hold for one row, since a row's end ends them.
_EMBED = {"rtl": ("\u202b", "\u202c"), "ltr": ("\u202a", "\u202c"), "": ("", "")}

_TAG = re.compile(r"<([^<>]*)>")
_BRACES = str.maketrans("{}", "()")
_ESCAPED = re.compile(r"\\(?=[Nnh])")
_WORD_JOINER = "\u2060"
_VTT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def srt(lines: Iterable[Line], *, shift_s: float = 0.0) -> Iterator[str]:
    """A SubRip file, cue by cue. `shift_s` is added to all times: minus its start, for a scene's own file."""
    for number, cue in enumerate(cues(lines, shift_s), 1):
        start, end = _clock(cue.start_ms, ","), _clock(cue.end_ms, ",")
        yield f"{number}\n{start} --> {end}\n{_directed(cue, _srt_text)}\n\n"


def vtt(lines: Iterable[Line], *, shift_s: float = 0.0) -> Iterator[str]:
    """A WebVTT file, cue by cue, its text escaped. `shift_s` is added to all times."""
    yield "WEBVTT\n"
    for cue in cues(lines, shift_s):
        start, end = _clock(cue.start_ms, "."), _clock(cue.end_ms, ".")
        yield f"\n{start} --> {end}\n{_directed(cue, _vtt_text)}\n"


def words(lines: Iterable[Line], *, shift_s: float = 0.0) -> Iterator[str]:
    """A JSON object, word by word. `shift_s` is added to all times.

    ``exact`` comes last, since only the last sentence settles it: false where a voice gave no times somewhere.
    """
    exact = True
    last = 0
    yield f'{{"schema": {WORDS_SCHEMA}, "words": ['
    parting = "\n"
    for line in lines:
        exact = exact and line.exact
        for word in line.words:
            start = max(last, round((word.start_s + shift_s) * 1_000))
            last = max(start + 1, round((word.end_s + shift_s) * 1_000))
            entry = {
                "word": line.text[word.start : word.end],
                "start_s": start / 1_000,
                "end_s": last / 1_000,
                "scene": line.scene,
            }
            yield parting + json.dumps(entry, ensure_ascii=False)
            parting = ",\n"
    yield f'\n], "exact": {json.dumps(exact)}}}\n'


FILES: dict[str, Callable[..., Iterator[str]]] = {"srt": srt, "vtt": vtt, "words": words}
"""The writer of each kind that a job can ask for (`formats.Captions`)."""


def _clock(milliseconds: int, mark: str) -> str:
    """``01:02:03,456``; the hours have as many digits as they need."""
    seconds, thousandths = divmod(milliseconds, 1_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{mark}{thousandths:03}"


def _directed(cue: Cue, escape: Callable[[str], str]) -> str:
    """The rows, each in the direction of its sentence.

    Most players lay out SubRip from left to right whatever stands in it, and WebVTT goes by the first letter of a
    row: both would put the full stop of a Persian sentence, or one that begins with an English name, on the wrong side.
    """
    opening, closing = _EMBED[cue.direction]
    return "\n".join(f"{opening}{row}{closing}" for row in escape("\n".join(cue.rows)).split("\n"))


def _srt_text(text: str) -> str:
    """SubRip has no way to escape what players take as markup, so that gets look-alikes.

    Tags get single quotation marks for their brackets, and so does the head of a long arrow; braces, which hide what
    they hold in players that use libass, become parentheses; a word joiner keeps a backslash from breaking the line.
    """
    text = _TAG.sub(r"‹\1›", text).replace("<", "‹").replace("-->", "--›").translate(_BRACES)
    return _ESCAPED.sub(r"\\" + _WORD_JOINER, text)


def _vtt_text(text: str) -> str:
    return text.translate(_VTT_ESCAPES)
