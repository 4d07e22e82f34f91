"""What lies in the outbox folders that jobs are to go to, listed no oftener than it may cost. One thread's own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Container

SHARE = 20.0
"""A listing is used for so many times as long as it took: its folder takes a twentieth of the time at most."""
FOLDERS = 64
"""Listings that are kept."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The base names in a folder, in folded case."""

    names: Container[str]
    fresh: bool
    """False where names that piperd has published since may be missing."""


class Listings:
    """A burst of files would have a folder listed for every few of them, and the folder grows with each."""

    def __init__(self, look: Callable[[str], Container[str]], clock: Callable[[], float] = time.monotonic) -> None:
        """`look` lists a folder; `clock` gives seconds."""
        self._look = look
        self._clock = clock
        self._kept: dict[str, tuple[float, Container[str]]] = {}

    def of(self, folder: str) -> Listing:
        """What lies in a folder."""
        began = self._clock()
        until, names = self._kept.get(folder, (began, ()))
        if began < until:
            return Listing(names, fresh=False)
        self._kept.pop(folder, None)  # or there would be two of it in memory
        names = self._look(folder)
        now = self._clock()
        if len(self._kept) >= FOLDERS:
            self._kept = {each: kept for each, kept in self._kept.items() if now < kept[0]}
        if len(self._kept) < FOLDERS:
            self._kept[folder] = (now + SHARE * (now - began), names)
        return Listing(names, fresh=True)
