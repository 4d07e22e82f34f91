"""What leaves the store, so that it keeps within its bound: what was not needed for the longest time. Pure."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LOW_WATER = 0.9
"""Down to this share of the bound, so that not every new entry costs an old one and a look at the whole store."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One spoken utterance in the store."""

    key: str
    size: int
    """Bytes."""
    used: float
    """When it was last needed (wall clock, seconds): it may be up to an hour behind."""


class Needs:
    """Which entries jobs need that have begun and are not rendered yet."""

    def __init__(self) -> None:
        self._of: dict[str, frozenset[str]] = {}
        self._times: Counter[str] = Counter()

    def __contains__(self, key: str) -> bool:
        return key in self._times

    def hold(self, job_id: str, keys: Iterable[str]) -> None:
        """A job needs these, and no others, until it is released."""
        wanted = frozenset(keys)
        self._times.update(wanted)  # first, since it may need again what it had
        self.release(job_id)
        self._of[job_id] = wanted

    def release(self, job_id: str) -> None:
        """A job needs nothing more."""
        for key in self._of.pop(job_id, ()):
            self._times[key] -= 1
            if not self._times[key]:
                del self._times[key]

    def all(self) -> frozenset[str]:
        """Every entry that is needed, as it stands now."""
        return frozenset(self._times)


class Eviction:
    """Size and bound of a store, and what may go from it."""

    def __init__(self, bound: int) -> None:
        """`bound` is in bytes; 0 sets none."""
        self._bound = bound
        self.size: int | None = None
        """Bytes; None until the store was looked through for the first time."""
        self.fruitless = True
        """Nothing has gone since the last look."""
        self._too_large = False
        self._floor: int | None = None
        self._oldest: deque[Entry] = deque()

    @property
    def excess(self) -> int:
        """Bytes that are to go."""
        if self.size is None:
            return 0
        goals = [int(self._bound * LOW_WATER)] if self._too_large else []
        goals += [] if self._floor is None else [self._floor]
        return max(0, self.size - min(goals, default=self.size))

    @property
    def blind(self) -> bool:
        """Something is to go, and nothing is known that may."""
        return self.excess > 0 and not self._oldest

    def set_bound(self, bound: int) -> None:
        """In bytes; 0 sets none."""
        self._bound = bound
        self.changed(0)

    def looked_through(self, size: int, oldest: Iterable[Entry]) -> None:
        """The whole store was looked through; `oldest` may go, the least recently used first."""
        self.size, self.fruitless = size, True
        self._oldest = deque(oldest)
        self.changed(0)

    def changed(self, by: int) -> None:
        """Entries came or went, of so many bytes."""
        if self.size is None:
            return
        self.size = max(0, self.size + by)
        if 0 < self._bound < self.size:
            self._too_large = True
        elif not self._bound or self.size <= self._bound * LOW_WATER:
            self._too_large = False

    def give_way(self, by: int) -> None:
        """The disk is short of so many bytes at this moment, whatever the bound is; 0 takes that back."""
        self._floor = max(0, self.size - by) if by and self.size is not None else None

    def evict(self, remove: Callable[[Entry], int], most: int) -> None:
        """Let up to `most` entries go, as long as there is too much.

        `remove` gives the bytes that it has freed: none, where the entry is needed or was used meanwhile.
        """
        for _ in range(most):
            if not self._oldest or not self.excess:
                return
            freed = remove(self._oldest.popleft())
            self.fruitless = self.fruitless and not freed
            self.changed(-freed)
