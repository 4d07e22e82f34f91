"""What is on the screen and when: sentences in, cues of at most two rows out. Pure; it knows no file format.

The figures are those of broadcasters: two rows of 42 characters, two frames between cues, half a second for reading
on (Netflix, Timed Text Style Guide, General Requirements); nothing hangs on for more than a second and a half after
the speech (BBC, Subtitle Guidelines 5.2).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from piperd.linebreaks import INSIDE, Ruler, breaks
from piperd.typography import direction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from piperd.linebreaks import Break
    from piperd.wordtimes import Line, Word

WIDTH = 42
"""Columns of a row."""
SHORTEST_MS = 1_000
GAP_MS = 80
"""Between cues, so that the eye notices the change: two frames of film."""
LINGER_MS = 500
"""How long a cue stays after the speech where nothing follows."""
CHAIN_MS = 500
"""A shorter gap would only flicker: the cue stays until `GAP_MS` before the next one."""

# In the unit of `linebreaks`: what one more cue costs, one of a single word, one shorter by a second than it should be,
# one that is full; and what a second of silence at its end is worth.
A_CUE, A_LONE_WORD, A_SHORT_SECOND, A_FULL_CUE, A_SILENT_SECOND = 30.0, 15.0, 20.0, 20.0, 20.0
LONGEST_SILENCE_S = 0.5
"""More than that makes no break better."""
UNEVEN = 0.25
"""What a column of difference between two rows costs."""


@dataclass(frozen=True, slots=True)
class Cue:
    start_ms: int
    end_ms: int
    rows: tuple[str, ...]
    """One or two."""
    direction: str
    """``rtl``, ``ltr``, or ``""`` where nothing in its sentence runs from right to left."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A cue before it is known what follows."""

    start_s: float
    end_s: float
    """Of its speech."""
    room_s: float
    """Where the sound ends if nothing follows."""
    rows: tuple[str, ...]
    direction: str


def cues(lines: Iterable[Line], shift_s: float = 0.0) -> Iterator[Cue]:
    """In order, none over another, each at least a millisecond long. `shift_s` is added to all times."""
    held: tuple[int, _Piece] | None = None
    for line in lines:
        for piece in _pieces(line):
            start = max(0, _ms(piece.start_s + shift_s))
            if held is not None:
                start = max(start, held[0] + 1)
                yield _cue(*held, shift_s, start)
            held = start, piece
    if held is not None:
        yield _cue(*held, shift_s, None)


def _ms(seconds: float) -> int:
    return round(seconds * 1_000)


def _cue(start: int, piece: _Piece, shift_s: float, following: int | None) -> Cue:
    """A cue that starts here; `following` is where the next one starts."""
    wanted = max(_ms(piece.end_s + shift_s) + LINGER_MS, start + SHORTEST_MS)
    if following is None:
        end = min(wanted, _ms(piece.room_s + shift_s))
    else:
        latest = max(following - GAP_MS, min(following, start + SHORTEST_MS))
        end = latest if latest - wanted < CHAIN_MS else wanted
    return Cue(start, max(end, start + 1), piece.rows, piece.direction)


def _pieces(line: Line) -> Iterator[_Piece]:
    """A sentence in as few cues as it fits into."""
    layout = _Layout(line)
    for first, last in pairwise(layout.cuts()):
        start_s, end_s = layout.heard(first, last)
        yield _Piece(start_s, end_s, line.end_s, layout.rows(first, last), layout.direction)


class _Layout:
    """A sentence with all the places where it may be broken, which go by their number."""

    def __init__(self, line: Line) -> None:
        self._line = line
        ruler = Ruler(line.text)
        self._breaks: Sequence[Break] = breaks(line.text, ruler, WIDTH)
        self._last = len(self._breaks) - 1
        self.direction = direction(line.text)
        # for each break: the columns before it and behind it, the first word behind it and when that is heard, how
        # many words there are up to it and when the last of them ends
        self._ends = [ruler.width(0, each.end) for each in self._breaks]
        self._starts = [ruler.width(0, each.next) for each in self._breaks]
        words = line.words
        starts, ends = [word.start for word in words], [word.end for word in words]
        self._first = [bisect_right(ends, each.next) for each in self._breaks]
        self._behind = [bisect_left(starts, each.end) for each in self._breaks]
        silent = line.end_s if words else line.start_s
        self._start_s = [
            _at(words[index], each.next) if index < len(words) else silent
            for index, each in zip(self._first, self._breaks, strict=True)
        ]
        self._end_s = [
            _at(words[index - 1], each.end) if index else line.start_s
            for index, each in zip(self._behind, self._breaks, strict=True)
        ]
        self._reach, self._middle = self._reaches()

    def cuts(self) -> list[int]:
        """The breaks that part the cues, the start and the end of the text among them: the cheapest way through."""
        if self._fits(0, self._last):
            return [0, self._last]
        costs, come_from = [0.0], [0]
        for end in range(1, self._last + 1):
            best, origin = float("inf"), end - 1
            for start in range(end - 1, -1, -1):
                if not self._fits(start, end):
                    break
                cost = costs[start] + self._cue_cost(start, end)
                if cost < best:
                    best, origin = cost, start
            costs.append(best + self._break_cost(end))
            come_from.append(origin)
        found = [self._last]
        while found[-1]:
            found.append(come_from[found[-1]])
        return found[::-1]

    def rows(self, first: int, last: int) -> tuple[str, ...]:
        """What stands between two breaks, in one row if it fits, else in two that are broken at the best place."""
        if self._width(first, last) <= WIDTH:
            return (self._text(first, last),)
        middles = [
            middle
            for middle in range(first + 1, last)
            if self._width(first, middle) <= WIDTH and self._width(middle, last) <= WIDTH
        ]
        middle = min(middles, key=lambda each: self._row_cost(first, each, last))
        return self._text(first, middle), self._text(middle, last)

    def heard(self, first: int, last: int) -> tuple[float, float]:
        """When the speech between two breaks begins and ends."""
        if self._first[first] < self._behind[last]:
            return self._start_s[first], self._end_s[last]
        at = self._end_s[first]
        return at, at

    def _cue_cost(self, start: int, end: int) -> float:
        """Of a cue from break to break, without the break at its end."""
        full = (self._ends[end] - self._starts[start]) / (2 * WIDTH)
        cost = A_CUE + A_FULL_CUE * full * full
        if (missing := SHORTEST_MS / 1_000 - self._end_s[end] + self._start_s[start]) > 0:
            cost += A_SHORT_SECOND * missing
        return cost + A_LONE_WORD if self._lone(start, end) else cost

    def _break_cost(self, number: int) -> float:
        silence = self._start_s[number] - self._end_s[number]
        return self._breaks[number].cost - A_SILENT_SECOND * min(max(0.0, silence), LONGEST_SILENCE_S)

    def _row_cost(self, first: int, middle: int, last: int) -> float:
        uneven = abs(self._width(first, middle) - self._width(middle, last))
        cost = self._breaks[middle].cost + UNEVEN * uneven
        return cost + A_LONE_WORD * (self._lone(first, middle) or self._lone(middle, last))

    def _lone(self, start: int, end: int) -> bool:
        """Whether a single word stands there."""
        return self._behind[end] - self._first[start] <= 1

    def _width(self, start: int, end: int) -> int:
        return self._ends[end] - self._starts[start]

    def _text(self, start: int, end: int) -> str:
        return self._line.text[self._breaks[start].next : self._breaks[end].end]

    def _reaches(self) -> tuple[list[int], list[int]]:
        """For each break the furthest one that a row can reach from it, and the furthest that tears no word."""
        furthest, whole = [], []
        reach = good = 0
        for start in range(self._last + 1):
            while reach < self._last and self._width(start, reach + 1) <= WIDTH:
                reach += 1
                if self._breaks[reach].cost < INSIDE:
                    good = reach
            furthest.append(reach)
            whole.append(good if good > start else reach)
        return furthest, whole

    def _fits(self, start: int, end: int) -> bool:
        """Whether two rows are enough. What does not fit never fits with more before it: `cuts` relies on that."""
        return self._reach[start] >= end or self._reach[self._middle[start]] >= end


def _at(word: Word, offset: int) -> float:
    """When a place in a word is heard, if it lies inside; else where the word begins or ends."""
    inside = min(max(offset, word.start), word.end)
    return word.start_s + (word.end_s - word.start_s) * (inside - word.start) / (word.end - word.start)
