"""Where a row of a caption may end, and how good a place that is. Pure.

Good places are those of Netflix's Timed Text Style Guide and the BBC's Subtitle Guidelines (3.4): behind punctuation,
before conjunctions and prepositions; bad ones part an article from its noun or a figure from its unit. Which words
are which is known for a few languages; elsewhere punctuation and balance decide.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from piperd.typography import columns, graphemes, unspaced

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# What a break costs by what it tears apart; only their order and rough proportions matter.
CLAUSE, PHRASE, CONJUNCTION, PREPOSITION, PLAIN, BOUND, INSIDE = 0.0, 1.0, 3.0, 5.0, 8.0, 15.0, 100.0
# A cue is rather cut than a row broken at the price of INSIDE.
SLICE = 40.0
"""Inside a word, behind a sign in it."""


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_CONJUNCTIONS = _words(
    """and but or nor so yet because although though while when whereas if unless until since that which who whose
    where und oder aber dass weil wenn denn sondern et ou mais donc que qui parce lorsque y o pero porque aunque
    و یا اما ولی که زیرا چون اگر تا"""
)
_PREPOSITIONS = _words(
    """of to in on at by for with from into onto over under after before between through during without within about
    against among around behind beyond mit von für zu nach bei aus dans avec pour sans sur con para por sin
    در به از با برای"""
)
# What is not torn from the word behind it.
_TIGHT = (
    _words(
        """a an the my your his her its our their this these those no not i you he she it we they is are was were be
        been has have had will would can could should may might must mr. mrs. ms. dr. prof. st. no.
        der die das ein eine einen den dem des le la les un une du de el los las una"""
    )
    | _CONJUNCTIONS
    | _PREPOSITIONS
)
_CLOSERS = "\"'”’»)]}」』）"
_CLAUSE_ENDS = tuple(";:!?…—–؛؟。！？；：")
_PHRASE_ENDS = tuple(",،、，")
# No row starts with these, nor ends with those: Japanese and Chinese typesetting; Thai vowels written before their
# consonant.
_NO_START = frozenset("ぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶーゝゞヽヾ々〻ๆฯ%‰℃°％")
_NO_END = frozenset("เแโใไເແໂໃໄ$£¥€＄￥")
_NO_START_KINDS = frozenset({"Pe", "Pf", "Po", "Pd", "Mn", "Mc", "Me"})
_NO_END_KINDS = frozenset({"Ps", "Pi"})
_SLICED_BEHIND = frozenset("/\\-_.?&=#@:,")
_INITIAL = re.compile(r"[^\W\d_]\.")


@dataclass(frozen=True, slots=True)
class Break:
    """A place where a row may end."""

    end: int
    """The character behind the row's last."""
    next: int
    """The next row's first."""
    cost: float


class Ruler:
    """How wide any part of a text is."""

    def __init__(self, text: str) -> None:
        self.edges: list[int] = []
        """Where a character begins, as readers count them."""
        self._columns = [0]
        for each in graphemes(text):
            self.edges.append(len(self._columns) - 1)
            self._columns += [self._columns[-1] + columns(each)] * len(each)

    def width(self, start: int, end: int) -> int:
        """Columns."""
        return self._columns[end] - self._columns[start]


def breaks(text: str, ruler: Ruler, width: int) -> list[Break]:
    """All places in order, the start and the end of the text included, none further apart than `width` columns."""
    found = [Break(0, 0, 0.0)]
    for each in [*_places(text, ruler), Break(len(text), len(text), 0.0)]:
        if ruler.width(found[-1].next, each.end) > width:
            start = found[-1].next
            found += _slices(text, ruler.edges[bisect_right(ruler.edges, start) : bisect_left(ruler.edges, each.end)])
        found.append(each)
    return found


def _places(text: str, ruler: Ruler) -> Iterator[Break]:
    for edge, following in pairwise([*ruler.edges[1:], len(text)]):
        last, first = text[edge - 1], text[edge]
        if text[edge:following] == " ":
            yield Break(edge, edge + 1, _cost(text, edge))
        elif " " in (last, first):
            continue  # a space that bears a mark, or the end of a break that has been counted
        elif last == "—" and first.isalnum():
            yield Break(edge, edge, CLAUSE)
        elif _between_signs(last, first):
            yield Break(edge, edge, _cost_unspaced(last, first))


def _between_signs(last: str, first: str) -> bool:
    """Whether a row may end between two characters where no space is."""
    if not (unspaced(last) or unspaced(first) or unicodedata.east_asian_width(last) in "WF"):
        return False
    if first in _NO_START or last in _NO_END:
        return False
    return unicodedata.category(first) not in _NO_START_KINDS and unicodedata.category(last) not in _NO_END_KINDS


def _cost_unspaced(last: str, first: str) -> float:
    if last in _CLAUSE_ENDS or last in "」』）":
        return CLAUSE
    if last in _PHRASE_ENDS:
        return PHRASE
    if unicodedata.east_asian_width(last) not in "WFH" or "ァ" <= last <= "ヿ" >= first >= "ァ":
        # where the words of Thai and its neighbours end is not known, and katakana is mostly one long word
        return INSIDE
    return PLAIN


def _cost(text: str, space: int) -> float:
    """Of a break at this space."""
    left = text[text.rfind(" ", 0, space) + 1 : space]
    behind = text.find(" ", space + 1)
    right = text[space + 1 : behind if behind > 0 else len(text)]
    bare = left.rstrip(_CLOSERS)
    if bare.endswith(_CLAUSE_ENDS):
        return CLAUSE
    if bare.endswith(_PHRASE_ENDS) or unspaced(left[-1]):
        return PHRASE
    if left.lower() in _TIGHT or _INITIAL.fullmatch(left) or (left[-1].isdigit() and not right[0].isupper()):
        return BOUND
    if right.lower() in _CONJUNCTIONS or unicodedata.category(right[0]) in _NO_END_KINDS or left != bare:
        return CONJUNCTION
    return PREPOSITION if right.lower() in _PREPOSITIONS else PLAIN


def _slices(text: str, edges: Sequence[int]) -> Iterator[Break]:
    """Places inside a word that is wider than a row: no character is torn apart."""
    for edge in edges:
        yield Break(edge, edge, SLICE if text[edge - 1] in _SLICED_BEHIND else INSIDE)
