"""Which word was spoken when: the words of a text laid beside the phonemes that a voice spoke, and their lengths. Pure.

espeak joins small words ("at the" is spoken as one), makes several of a number, and speaks a word in a sentence
otherwise than alone. So words are not counted but matched: the phonemes that each word has by itself, one after the
other, are aligned with those of the sentence (Needleman and Wunsch, 1970), and each word gets what was matched to it.
"""

from __future__ import annotations

import re
import unicodedata
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from piperd.spoken import Word

BREAK = " "
"""Stands in a sequence of phonemes for whatever parts the words: a space, a comma, the end of a sentence."""
END = "\n"
"""Stands behind the last phoneme of a sentence."""
UNKNOWN = -1
"""A phoneme that belongs to no word for now."""

SLACK = 12
"""Phonemes that sentence and words may be apart for a while, beyond their difference in number."""
MOST_CELLS = 200_000
"""Of the whole table, where the slack was not enough; more than about 0.1 s of work is not worth it."""
MATCH, ALIKE, GAP, LOST_BREAK, UNLIKE = 0, 2, 2, 1, 9
"""Costs: the same phoneme; a vowel for a vowel or a consonant for a consonant; a phoneme or break more or less; a
break that the sentence does not have, which is common; anything else, which is never better than leaving both out."""

# A word is what spaces part, or dashes, dots and the like that stand for a pause; phonemes in double square brackets
# stand for letters, whatever is in them. Chinese signs are words each, since nothing parts them; kana go by the run.
_PARTED = r"\s—―…、。，！？；：「」『』《》〈〉【】"
_HAN = r"\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_KANA = r"\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff"
_TOKEN = re.compile(rf"[{_HAN}][\ufe00-\ufe0f]?|[{_KANA}]+|(?:\[\[.*?\]\]|[^{_PARTED}{_HAN}{_KANA}])+")
_SPOKEN_SIGNS = frozenset("%&@#§‰")
"""Punctuation by its category, but a word to everybody who reads."""
_INSIDE = frozenset("'’-")
"""In a sequence of phonemes these are no pause."""
_STRESS = frozenset("ˈˌ")
_VOWELS = frozenset("aeiouyAEIOUæøœɐɑɒɔɘəɚɛɜɝɞɤɨɪɯɵɶʉʊʌʏᵻɩεɷ")


class Phone(NamedTuple):
    """A phoneme as it was spoken."""

    symbol: str
    start: int
    """Its first sample."""
    end: int
    """One behind its last; what lies between it and the next phoneme is the way there."""


class _Kind(Enum):
    SOUND = 0
    BREAK = 1
    BEFORE = 2
    """A mark that belongs to the phoneme behind it: stress."""
    AFTER = 3
    """A mark that belongs to the phoneme before it: length, nasality, tone."""


def tokens(text: str) -> list[tuple[int, int]]:
    """What may be words: first character and one behind the last, with the punctuation that clings to it."""
    return [found.span() for found in _TOKEN.finditer(text)]


def sounds(phonemes: Iterable[str]) -> tuple[str, ...]:
    """What a word is known by: its phonemes without marks, and a `BREAK` where it is spoken as several words."""
    found: list[str] = []
    for symbol in phonemes:
        kind = _kind(symbol)
        if kind is _Kind.SOUND:
            found.append(symbol)
        elif kind is _Kind.BREAK and found and found[-1] != BREAK:
            found.append(BREAK)
    return tuple(found[:-1] if found and found[-1] == BREAK else found)


def align(
    text: str, spans: Sequence[tuple[int, int]], expected: Sequence[Sequence[str]], phones: Sequence[Phone]
) -> list[Word] | None:
    """The words of `text` with the samples that they were spoken in, in order and without overlap.

    `spans` are its `tokens`, `expected` the `sounds` of each by itself, `phones` what was spoken. A token that has
    neither letter nor digit nor sound is no word. A word begins with its first phoneme and ends with its last; one
    that nothing was matched to shares the time of its neighbour. None where nothing of them was spoken.
    """
    words = [
        (_bare(text, start, end), known)
        for (start, end), known in zip(spans, expected, strict=True)
        if known or any(map(str.isalnum, text[start:end]))
    ]
    heard, places = _heard(phones)
    if not words or not heard:
        return None if words else []
    wanted: list[str] = []
    owners: list[int] = []
    for number, (_, known) in enumerate(words):
        apart = [BREAK] if wanted and known else []
        wanted += [*apart, *known]
        owners += [number] * (len(apart) + len(known))
    found = [owners[at] if at >= 0 else UNKNOWN for at in _matches(wanted, heard)]
    stretches: list[tuple[int, int] | None] = [None] * len(words)
    for owner, symbol, place in zip(_adopted(found, heard, len(words)), heard, places, strict=True):
        if symbol != BREAK:
            known_so_far = stretches[owner]
            stretches[owner] = (known_so_far[0] if known_so_far else place, place)
    times = [None if stretch is None else _time(*stretch, phones) for stretch in stretches]
    shared = _share(times, [end - start for (start, end), _ in words])
    return [(*span, *time) for (span, _), time in zip(words, shared, strict=True)]


def _bare(text: str, start: int, end: int) -> tuple[int, int]:
    """A token without the punctuation around it; all of it where that is all."""
    first, last = start, end
    while first < last and _clings(text[first]) and not text.startswith("[[", first):
        first += 1
    while last > first and _clings(text[last - 1]) and not text.endswith("]]", first, last):
        last -= 1
    return (first, last) if first < last else (start, end)


def _clings(sign: str) -> bool:
    return unicodedata.category(sign)[0] == "P" and sign not in _SPOKEN_SIGNS


@lru_cache(maxsize=1024)
def _kind(symbol: str) -> _Kind:
    category = unicodedata.category(symbol[:1] or BREAK)
    if symbol in _STRESS:
        return _Kind.BEFORE
    if symbol in _INSIDE or category[0] == "M" or category in {"Lm", "Sk"}:
        return _Kind.AFTER
    return _Kind.BREAK if category[0] in "PZC" else _Kind.SOUND


def _heard(phones: Sequence[Phone]) -> tuple[list[str], list[int]]:
    """The `sounds` of what was spoken, and where each stands in `phones`."""
    heard: list[str] = []
    places: list[int] = []
    for place, phone in enumerate(phones):
        kind = _kind(phone.symbol)
        if kind is _Kind.SOUND or (kind is _Kind.BREAK and heard and heard[-1] != BREAK):
            heard.append(phone.symbol if kind is _Kind.SOUND else BREAK)
            places.append(place)
    return heard, places


def _matches(wanted: Sequence[str], heard: Sequence[str]) -> list[int]:
    """For each of `heard` its counterpart's index in `wanted`, rising; `UNKNOWN` where it has none."""
    shorter = min(len(wanted), len(heard))
    head = tail = 0
    while head < shorter and wanted[head] == heard[head]:
        head += 1
    while tail < shorter - head and wanted[-1 - tail] == heard[-1 - tail]:
        tail += 1
    inner, outer = wanted[head : len(wanted) - tail], heard[head : len(heard) - tail]
    found, free = _path(inner, outer, SLACK)
    if not free and len(inner) * len(outer) <= MOST_CELLS:
        found, _ = _path(inner, outer, len(inner) + len(outer))
    middle = [at + head if at >= 0 else UNKNOWN for at in found]
    return [*range(head), *middle, *range(len(wanted) - tail, len(wanted))]


def _path(wanted: Sequence[str], heard: Sequence[str], slack: int) -> tuple[list[int], bool]:
    """The cheapest way through the table within a band around its diagonal, and whether it kept off the band's edges.

    A way steps over both (0), over one of `wanted` that was not heard (1), or over one of `heard` that was not
    wanted (2).
    """
    rows, columns = len(wanted), len(heard)
    low, high = min(0, columns - rows) - slack, max(0, columns - rows) + slack
    far = UNLIKE * (rows + columns + 1)
    prices = {symbol: [_price(symbol, other) for other in heard] for symbol in set(wanted)}
    cost = [GAP * column for column in range(columns + 1)]
    steps = [bytearray(b"\x02" * (columns + 1))]
    for row, symbol in enumerate(wanted, 1):
        price, drop = prices[symbol], LOST_BREAK if symbol == BREAK else GAP
        first, last = max(1, row + low), min(columns, row + high)
        step = bytearray(b"\x01" * (columns + 1))
        new = [far] * (columns + 1)
        if first == 1:
            new[0] = cost[0] + drop
        across, left = cost[first - 1], new[first - 1]
        for column in range(first, last + 1):
            above = cost[column]
            best, down, side = across + price[column - 1], above + drop, left + GAP
            if best <= down and best <= side:
                step[column] = 0
            elif down <= side:
                best = down
            else:
                best = side
                step[column] = 2
            new[column] = left = best
            across = above
        steps.append(step)
        cost = new
    return _walk(steps, columns, (low, high))


@lru_cache(maxsize=8192)
def _price(one: str, other: str) -> int:
    if one == other:
        return MATCH
    if BREAK in (one, other) or (one[:1] in _VOWELS) != (other[:1] in _VOWELS):
        return UNLIKE
    return ALIKE


def _walk(steps: Sequence[bytearray], columns: int, band: tuple[int, int]) -> tuple[list[int], bool]:
    """Go back through the table from its last corner to its first."""
    row, column = len(steps) - 1, columns
    found = [UNKNOWN] * columns
    free = True
    while row or column:
        free = free and band[0] < column - row < band[1]
        step = steps[row][column] if column else 1
        if step == 0:
            found[column - 1] = row - 1
        row -= step in (0, 1)
        column -= step in (0, 2)
    return found, free


def _adopted(found: Sequence[int], heard: Sequence[str], words: int) -> list[int]:
    """Each phoneme's word, also for those that were matched to none; breaks stay `UNKNOWN`.

    Such a run goes with what it is spoken together with; between breaks it is taken for a word that nothing else was
    matched to, if there is one.
    """
    owners = [UNKNOWN if symbol == BREAK else owner for owner, symbol in zip(found, heard, strict=True)]
    coming = [words] * (len(owners) + 1)
    for at in reversed(range(len(owners))):
        coming[at] = owners[at] if owners[at] != UNKNOWN else coming[at + 1]
    before, parted = UNKNOWN, True
    for at, symbol in enumerate(heard):
        if symbol == BREAK:
            parted = True
            continue
        if owners[at] == UNKNOWN and parted:
            end = next((end for end in range(at, len(heard)) if owners[end] != UNKNOWN or heard[end] == BREAK), at)
            if coming[at] - before > 1:
                before += 1
            elif owners[end] != UNKNOWN or before == UNKNOWN:
                before = coming[at]
        owners[at] = before if owners[at] == UNKNOWN else owners[at]
        before, parted = owners[at], False
    return owners


def _time(first: int, last: int, phones: Sequence[Phone]) -> tuple[int, int]:
    """Samples from one phoneme to another, with the marks that belong to them.

    What lies between two phonemes belongs to the one before it, but not before a pause: words would end 50 ms after
    they can last be heard, instead of 12 (medians of the default voice, over 29 such places spoken three times).
    """
    while first and _kind(phones[first - 1].symbol) is _Kind.BEFORE:
        first -= 1
    while last + 1 < len(phones) and _kind(phones[last + 1].symbol) is _Kind.AFTER:
        last += 1
    behind = phones[last + 1] if last + 1 < len(phones) else None
    paused = behind is None or (behind.symbol != BREAK and _kind(behind.symbol) is _Kind.BREAK)
    return phones[first].start, phones[last].end if behind is None or paused else behind.start


def _share(times: Sequence[tuple[int, int] | None], sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Words without a time get a part of that of the word before them, or behind the first ones, by their size."""
    groups: list[list[int]] = []
    for number in range(len(times)):
        if groups and (times[number] is None or all(times[other] is None for other in groups[-1])):
            groups[-1].append(number)
        else:
            groups.append([number])
    shared: list[tuple[int, int]] = []
    for group in groups:
        start, end = next((time for number in group if (time := times[number]) is not None), (0, 0))
        whole, done = sum(sizes[number] for number in group), 0
        for number in group:
            since, done = done, done + sizes[number]
            shared.append((start + (end - start) * since // whole, start + (end - start) * done // whole))
    return shared
