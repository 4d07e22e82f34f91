"""A set of names in eight bytes each: a folder with a hundred thousand files is to fit beside all else. Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PARTS = 256
"""Sorted one by one, so that no list of all is ever made."""


class NameSet:
    """Knows names by their hash in this process: of a million names, two share one with a chance of 1 to 30 million."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._parts = [array("q") for _ in range(PARTS)]
        for name in names:
            number = hash(name)
            self._parts[number % PARTS].append(number)
        for place, part in enumerate(self._parts):
            self._parts[place] = array("q", sorted(set(part)))

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __contains__(self, name: object) -> bool:
        number = hash(name)
        part = self._parts[number % PARTS]
        place = bisect_left(part, number)
        return place < len(part) and part[place] == number
