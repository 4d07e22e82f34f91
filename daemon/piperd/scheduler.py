"""What to speak next: decisions over jobs and their utterances. It reads no clock: every question brings its `now`.

A job that waits is one `Entry`. It stands in the line of those that may run, ordered by priority and age, or among
the delayed, or, while all its utterances are being spoken, in neither.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

HIGHEST_PRIORITY = 9
STALE = 1000
"""Records of jobs that have ended, beyond as many as there are jobs, that are put up with before they are dropped."""

Rank = tuple[int, int, int, str]
"""Effective priority (negated), turn, order of acceptance, job id: smaller goes first."""


@dataclass(frozen=True, slots=True)
class Pick:
    """What a free worker should do."""

    job_id: str
    index: int | None
    """The utterance to speak; None: the job is to be opened first."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How to try again after a fault of ours."""

    backoff: float = 2.0
    """Seconds before the second attempt; doubled for each further one."""
    backoff_max: float = 300.0

    def delay(self, attempt: int) -> float:
        """Seconds to wait after the given attempt (1 for the first)."""
        return min(self.backoff_max, self.backoff * 2.0 ** min(attempt - 1, 30))


@dataclass(slots=True)
class Entry:
    job_id: str
    seq: int
    priority: int
    since: float
    """When it began to wait (monotonic seconds)."""
    not_before: float = 0.0
    """It is not handed out before (monotonic seconds)."""
    gained: int = 0
    """Priority steps gained by waiting."""
    turn: int = 0
    """When it was last served, in the order "fair"."""
    opened: bool = False
    missing: list[int] = field(default_factory=list)
    """Utterances still to be handed out, the next one last; an empty deque would take 760 bytes of each that waits."""
    queued: bool = False
    """In the line of those that may run."""

    @property
    def rank(self) -> Rank:
        return (-min(HIGHEST_PRIORITY, self.priority + self.gained), self.turn, self.seq, self.job_id)


class Scheduler:
    """Chooses the next utterance: by priority, then age ("fifo"), or by turns among equals ("fair")."""

    def __init__(self, *, order: str = "fifo", aging: float = 600.0) -> None:
        self._fair = order == "fair"
        self._aging = aging
        self._entries: dict[str, Entry] = {}
        self._line: list[Rank] = []
        self._delayed: list[tuple[float, str]] = []
        self._steps: list[tuple[float, str]] = []
        self._turns = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._entries

    def configure(self, *, order: str, aging: float) -> None:
        """Take new settings; jobs that wait keep what they have gained."""
        self._fair = order == "fair"
        self._aging = aging

    def add(self, job_id: str, *, seq: int, priority: int, now: float, not_before: float = 0.0) -> None:
        """A job waits from now on; it is not handed out before `not_before`."""
        entry = Entry(job_id, seq, priority, since=now, not_before=not_before)
        self._entries[job_id] = entry
        if self._aging:
            heapq.heappush(self._steps, (now + self._aging, job_id))
        if not_before > now:
            heapq.heappush(self._delayed, (not_before, job_id))
        else:
            self._enqueue(entry)

    def open(self, job_id: str, missing: Iterable[int]) -> None:
        """The job's utterances are known; those in `missing` must be spoken, in this order."""
        entry = self._entries[job_id]
        entry.opened = True
        entry.missing[:0] = reversed(list(missing))
        if not entry.missing:
            self._dequeue(entry)

    def put_back(self, job_id: str, index: int) -> None:
        """An utterance that was handed out must be spoken after all, before the others of its job."""
        if (entry := self._entries.get(job_id)) is not None:
            entry.missing.append(index)
            self._enqueue(entry)

    def remove(self, job_id: str) -> None:
        """The job has ended, or starts over by another `add`."""
        if (entry := self._entries.pop(job_id, None)) is not None:
            self._dequeue(entry)
            self._steps = self._without_stale(self._steps)
            self._delayed = self._without_stale(self._delayed)

    def next(self, now: float) -> Pick | None:
        """Hand out the next utterance, or say which job to open for it; None: nothing can be done now."""
        self._wake(now)
        self._age(now)
        if not self._line:
            return None
        entry = self._entries[self._line[0][3]]
        if not entry.opened:
            return Pick(entry.job_id, None)
        index = entry.missing.pop()
        if not entry.missing:
            self._dequeue(entry)
        elif self._fair:
            self._dequeue(entry)
            self._turns += 1
            entry.turn = self._turns
            self._enqueue(entry)
        return Pick(entry.job_id, index)

    def next_due(self) -> float | None:
        """When a delayed job may run (monotonic seconds)."""
        while self._delayed and self._delayed[0][1] not in self._entries:
            heapq.heappop(self._delayed)
        return self._delayed[0][0] if self._delayed else None

    def backlog(self, enough: int) -> int:
        """How many utterances could be handed out now, counted up to `enough` (an unopened job counts as one)."""
        count = 0
        for rank in self._line:
            count += max(1, len(self._entries[rank[3]].missing))
            if count >= enough:
                break
        return count

    def _wake(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            _, job_id = heapq.heappop(self._delayed)
            entry = self._entries.get(job_id)
            # the record may be older than the entry: the job may have come back by another add()
            if entry is not None and not entry.opened and entry.not_before <= now:
                self._enqueue(entry)

    def _age(self, now: float) -> None:
        while self._steps and self._steps[0][0] <= now:
            due, job_id = heapq.heappop(self._steps)
            entry = self._entries.get(job_id)
            # an entry that came back by another add() has a step of its own
            if entry is None or due < entry.since + self._aging * (entry.gained + 1):
                continue
            queued = entry.queued
            self._dequeue(entry)
            entry.gained += 1
            if queued:
                self._enqueue(entry)
            if entry.priority + entry.gained < HIGHEST_PRIORITY and self._aging:
                heapq.heappush(self._steps, (due + self._aging, job_id))

    def _without_stale(self, records: list[tuple[float, str]]) -> list[tuple[float, str]]:
        """Or what a day's jobs leave would be remembered until its time comes."""
        if len(records) <= 2 * len(self._entries) + STALE:
            return records
        kept = list({record for record in records if record[1] in self._entries})
        heapq.heapify(kept)
        return kept

    def _enqueue(self, entry: Entry) -> None:
        if not entry.queued:
            insort(self._line, entry.rank)
            entry.queued = True

    def _dequeue(self, entry: Entry) -> None:
        if entry.queued:
            del self._line[bisect_left(self._line, entry.rank)]
            entry.queued = False
