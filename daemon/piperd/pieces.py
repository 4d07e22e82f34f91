"""Sentences that are too long, cut where it is heard least. Pure; it works on characters and knows no language."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from piperd.rewriting import Spans

# Where a sentence may be cut, so that it sounds as if it were meant: after a clause or a bracket, before a bracket,
# around a dash; the signs of Chinese and Japanese have no space behind them.
_CLAUSE = re.compile(
    r"[;:,،؛][\"'”’»)\]]*(?=\s)"
    r"|[、，；：。！？][”’」』）]*"
    r"|—|(?<=\s)[–―-](?=\s)"
    r"|[)\]）」』][.,;:]?(?=\s)|\s(?=[(\[（「『])"
)
_JOINED = frozenset("\u200c\u200d")
_PHONEMES = re.compile(r"\[\[[^\[\]]*\]\]")


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a sentence, as it is spoken."""

    text: str
    written: Spans = ()


def pieces(text: str, spans: Spans, limit: int) -> Iterator[Piece]:
    """Cut a spoken sentence into parts of at most `limit` characters and of about the same length.

    What is said in place of something else stays together, where it fits; where it does not, its first part carries
    what was written and the others nothing. Phonemes always stay together, even if they are longer than `limit`.
    """
    places = list(_places(text, spans, limit))
    rest = list(spans)
    for number, (start, end) in enumerate(places):
        following = places[number + 1][0] if number + 1 < len(places) else len(text) + 1
        own = []
        while rest and rest[0][0] < following:
            first, last, original = rest.pop(0)
            own.append((max(0, min(first, end) - start), max(0, min(last, end) - start), original))
            if last > following:
                rest.insert(0, (following, last, ""))
        yield Piece(text[start:end], tuple(own))


def cut(text: str, start: int, target: int, end: int) -> int:
    """The best place to cut near `target`, after `start` and not after `end`, which is inside the text."""
    # one more character is looked at, since a clause ends where a space follows
    clauses = [found.end() for found in _CLAUSE.finditer(text, start + (target - start) // 2, end + 1)]
    if near := [place for place in clauses if start < place <= end]:
        return min(near, key=lambda place: abs(place - target))
    before = text.rfind(" ", start + 1, target + 1)
    after = text.find(" ", target, end + 1)
    if before > 0 and (after < 0 or target - before <= after - target):
        return before
    return after if after > 0 else _cut_word(text, start, target)


def _places(text: str, spans: Spans, limit: int) -> Iterator[tuple[int, int]]:
    """First character of each piece and one behind its last, without the white space around it."""
    said = [(first, last) for first, last, _ in spans]
    phonemes = [found.span() for found in _PHONEMES.finditer(text)]
    start = 0
    while (rest := len(text) - start) > limit:
        target = start + rest // -(-rest // limit)
        place = _outside(cut(text, start, target, start + limit), start, start + limit, said)
        for first, last in phonemes:
            if first < place < last:
                place = first if first > start else last
        yield from _stripped(text, start, place)
        start = place
        while text[start : start + 1].isspace():
            start += 1
    yield from _stripped(text, start, len(text))


def _outside(place: int, start: int, end: int, stretches: Sequence[tuple[int, int]]) -> int:
    """The place itself, or the nearest one that is not inside one of these stretches, if there is one up to `end`."""
    for first, last in stretches:
        if first < place < last and (near := [side for side in (first, last) if start < side <= end]):
            return min(near, key=lambda side: abs(side - place))
    return place


def _stripped(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    part = text[start:end]
    if stripped := part.strip():
        first = start + len(part) - len(part.lstrip())
        yield first, first + len(stripped)


def _cut_word(text: str, start: int, target: int) -> int:
    """A place inside a word longer than a piece, at `target` or before it, where no character is torn apart."""
    for place in range(max(target, start + 1), start, -1):
        here, before = text[place], text[place - 1]
        if here not in _JOINED and before not in _JOINED and unicodedata.category(here) not in {"Mn", "Mc", "Me", "Sk"}:
            return place
    return max(target, start + 1)
