"""When each word that people wrote is heard: spoken utterances in, sentences with timed words out. Pure.

It puts back what was written, joins the pieces of a sentence, and maps the times of the words that were spoken onto
the words that are shown. It holds one sentence at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from piperd.typography import effort, shown, unspaced, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    Span = tuple[float, float]

LONGEST_LINE = 1_000
"""Characters; a sentence that never ends is cut, so that it need not be held."""
LEAD_S, TAIL_S = 0.05, 0.2
"""Silence at the edges of an utterance where it has to be guessed: six of the default voice had 0.01 to 0.09 and 0.19
to 0.23 seconds."""
LEAD_SHARE, TAIL_SHARE = 0.1, 0.4
"""Not more than these shares of it ("Hi." is half a second)."""
FASTEST_S = 0.02
"""No letter is spoken faster: less room than that means that a word's time is in its neighbour's."""
# What a sign adds to the time of the letter before it where times are estimated, in letters.
_PAUSES = {
    **dict.fromkeys(",;:—–،؛、，；：", 4.0),
    **dict.fromkeys(".!?…؟。！？", 6.0),
}
_WORD_CUT = 50
"""Characters; a piece of this length without a space has been cut inside a word."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """One utterance in its place."""

    text: str
    """`Utterance.text`: what is spoken."""
    written: tuple[tuple[int, int, str], ...]
    """`Utterance.written`."""
    words: tuple[tuple[int, int, int, int], ...] | None
    """`spoken.Header.words`; None: times are estimated."""
    rate: int
    """Hertz that the samples in `words` count in."""
    start_s: float
    """Where its first sample lies in the joined file."""
    duration_s: float
    scene: str
    """Id of its scene."""
    goes_on: bool
    """The next utterance goes on with the same sentence."""


@dataclass(frozen=True, slots=True)
class Word:
    start: int
    """Its first character in the line's text."""
    end: int
    """The one behind its last."""
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence as it was written. Times are those of the joined file."""

    text: str
    """Single spaces; no control characters, no marks of direction."""
    words: tuple[Word, ...]
    """Those that are heard, in order."""
    scene: str
    start_s: float
    """Where its first utterance begins; the first word comes a little later."""
    end_s: float
    """Where its last utterance ends."""
    exact: bool
    """The voice gave the times of its words; else they are estimated."""


def lines(utterances: Iterable[Spoken]) -> Iterator[Line]:
    """Sentence by sentence. Those that show nothing are left out."""
    sentence: _Sentence | None = None
    for each in utterances:
        if sentence is not None and sentence.scene != each.scene:
            yield from sentence.line()
            sentence = None
        if sentence is None:
            sentence = _Sentence(each.scene, each.start_s)
        sentence.add(each)
        if not each.goes_on or len(sentence.characters) >= LONGEST_LINE:
            yield from sentence.line()
            sentence = None
    if sentence is not None:
        yield from sentence.line()


@dataclass(slots=True)
class _Sentence:
    scene: str
    start_s: float
    end_s: float = 0.0
    exact: bool = True
    characters: list[str] = field(default_factory=list)
    times: list[Span | None] = field(default_factory=list)
    """When each character is heard; None for what has no sound."""

    def add(self, spoken: Spoken) -> None:
        self.end_s = spoken.start_s + spoken.duration_s
        times, exact = _times(spoken)
        self.exact = self.exact and exact
        characters = list(_displayed(spoken, times))
        if characters and characters[0][0] == "":
            self._lengthen(characters[0][1])
        joined = not self.characters
        for character, time in characters:
            part = shown(character) if character else ""
            if not part or (part == " " and (not self.characters or self.characters[-1] == " ")):
                continue
            if not joined:
                if part != " " and self._parted(part):
                    self._append(" ", None)
                joined = True
            self._append(part, time)

    def line(self) -> Iterator[Line]:
        text = "".join(self.characters).rstrip()
        if not text:
            return
        found = []
        for start, end in words(text):
            if heard := [time for time in self.times[start:end] if time]:
                found.append(Word(start, end, heard[0][0], heard[-1][1]))
        yield Line(text, tuple(found), self.scene, self.start_s, max(self.start_s, self.end_s), self.exact)

    def _append(self, character: str, time: Span | None) -> None:
        self.characters.append(character)
        self.times.append(time)

    def _lengthen(self, rest: Span | None) -> None:
        """The last word's spoken form was too long for one utterance: here is the rest of it."""
        for index in range(len(self.times) - 1, -1, -1):
            if (time := self.times[index]) and rest:
                self.times[index] = time[0], rest[1]
                return

    def _parted(self, character: str) -> bool:
        """Whether a space stood where the sentence was cut before this character: cutting has taken it away."""
        last = self.characters[-1]
        if last == " " or unspaced(character) or unspaced(last) or last in "、，；：。！？":
            return False
        if last == "—" and self.characters[-2:-1] != [" "]:
            return False
        return len(self.characters) < _WORD_CUT or " " in self.characters[-_WORD_CUT:]


def _displayed(spoken: Spoken, times: Sequence[Span | None]) -> Iterator[tuple[str, Span | None]]:
    """Each character as written, and when it is heard. An empty one: a stretch in whose place nothing is shown."""
    at = 0
    for first, behind, written in spoken.written:
        start = min(max(first, at), len(spoken.text))
        end = max(start, min(behind, len(spoken.text)))
        yield from zip(spoken.text[at:start], times[at:start], strict=True)
        heard = [time for time in times[start:end] if time]
        whole = (heard[0][0], heard[-1][1]) if heard else None
        if not written:
            yield "", whole
        elif whole is None:
            yield from ((character, None) for character in written)
        else:
            shares = _spread([effort(character) for character in written], *whole)
            yield from zip(written, shares, strict=True)
        at = end
    yield from zip(spoken.text[at:], times[at:], strict=True)


def _times(spoken: Spoken) -> tuple[list[Span | None], bool]:
    """When each character of the spoken text is heard, and whether the voice has told."""
    efforts = [effort(character) for character in spoken.text]
    anchors = _anchors(spoken, efforts)
    if anchors:
        times: list[Span | None] = []
        for start, end, start_s, end_s in _stretches(anchors, efforts, spoken.duration_s):
            times += [None] * (start - len(times))
            times += _spread(efforts[start:end], start_s, end_s)
        times += [None] * (len(efforts) - len(times))
    else:
        start_s = min(LEAD_S, spoken.duration_s * LEAD_SHARE)
        end_s = spoken.duration_s - min(TAIL_S, spoken.duration_s * TAIL_SHARE)
        times = _spread(efforts, start_s, end_s, _pauses(spoken.text))
    at = spoken.start_s
    return [time and (at + time[0], at + time[1]) for time in times], bool(anchors)


def _anchors(spoken: Spoken, efforts: Sequence[float]) -> list[tuple[int, int, float, float]]:
    """The words that the voice has timed (characters, seconds in the utterance), so far as they make sense."""
    sane = []
    at, at_s = 0, 0.0
    for first, behind, sample, last in spoken.words or ():
        start = max(first, at)
        end = max(start, min(behind, len(efforts)))
        start_s = max(sample / spoken.rate, at_s)
        end_s = min(last / spoken.rate, spoken.duration_s)
        if end_s > start_s and any(efforts[start:end]):
            sane.append((start, end, start_s, end_s))
            at, at_s = end, end_s
    return sane


def _stretches(
    anchors: Sequence[tuple[int, int, float, float]], efforts: Sequence[float], duration_s: float
) -> Iterator[tuple[int, int, float, float]]:
    """The anchors, and what they have left out: in the time between them, or where there is none, in a neighbour's."""
    held: tuple[int, int, float, float] | None = None
    at, at_s = 0, 0.0
    for start, end, start_s, end_s in anchors:
        missing = sum(efforts[at:start])
        first = start
        if missing and start_s - at_s >= missing * FASTEST_S:
            if held:
                yield held
            held = at, start, at_s, start_s
        elif missing and held:
            held = held[0], start, held[2], start_s
        elif missing:
            first = at
        if held:
            yield held
        held = first, end, start_s, end_s
        at, at_s = end, end_s
    assert held is not None
    missing = sum(efforts[at:])
    if missing and duration_s - at_s >= missing * FASTEST_S:
        yield held
        held = at, len(efforts), at_s, duration_s
    elif missing:
        held = held[0], len(efforts), held[2], held[3]
    yield held


def _spread(
    efforts: Sequence[float], start_s: float, end_s: float, pauses: Sequence[float] | None = None
) -> list[Span | None]:
    """Share out a time by efforts; what has none gets no time. `pauses` are time that nothing gets."""
    silent = pauses or [0.0] * len(efforts)
    whole = sum(efforts) + sum(silent)
    times: list[Span | None] = []
    done, at = 0.0, start_s
    for each, pause in zip(efforts, silent, strict=True):
        done += each
        end = min(end_s, start_s + (end_s - start_s) * done / whole) if whole else start_s
        times.append((at, end) if each else None)
        if pause:
            done += pause
            end = min(end_s, start_s + (end_s - start_s) * done / whole)
        at = end
    return times


def _pauses(text: str) -> list[float]:
    """How long the voice rests at each character, in letters; not behind the last word."""
    last = len(text.rstrip().rstrip("".join(_PAUSES)))
    return [
        _PAUSES.get(character, 0.0)
        if index < last and (unspaced(text[index - 1]) or text[index + 1 : index + 2].isspace() or character in "—…")
        else 0.0
        for index, character in enumerate(text)
    ]
