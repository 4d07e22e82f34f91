"""Which files have stopped changing: looks at a file over time become "ready", "wait" or "won't do".

It decides by what it is told and by the `now` it is given, in monotonic seconds; it never looks at a file itself.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from enum import Enum, auto

SHORTEST_PAUSE = 0.02
LONGEST_PAUSE = 5.0
"""Seconds between two looks at a file that waits for something other than time."""
PAUSE_SHARE = 0.25
"""A file that has waited for a time is looked at again after this share of it."""
SPARSE_FACTOR = 10
SPARSE_LIMIT = 10.0
"""Seconds. A file with holes must be quiet for so many times as long, but no longer than this: holes may mean a copy
that set the full size first, or only a file system that compresses or that allocates late."""


class Sign(Enum):
    """How a file came to notice."""

    FOUND = auto()
    """A scan met it, or it was created."""
    WRITTEN = auto()
    CLOSED = auto()
    """Whoever had it open for writing has closed it."""
    RENAMED_IN = auto()
    """It got its name by a rename, as programs do that want it to appear at once and whole."""


class Lease(Enum):
    """What the kernel said when asked for a read lease."""

    FREE = auto()
    """Granted: nobody has the file open for writing."""
    HELD = auto()
    """Refused: somebody has."""
    UNKNOWN = auto()
    """It can't be asked: another owner's file, or a file system that others write to as well."""


class Step(Enum):
    """What is to be done with a file that was looked at."""

    WAIT = auto()
    TAKE = auto()
    FAIL_EMPTY = auto()
    FAIL_KIND = auto()
    """It is no regular file with one name."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What changes when a file changes."""

    device: int
    inode: int
    size: int
    """Bytes."""
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a file."""

    fingerprint: Fingerprint
    lease: Lease = Lease.UNKNOWN
    links: int = 1
    regular: bool = True
    sparse: bool = False
    """Fewer blocks than its size needs."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file that is not taken yet, as shown to people."""

    source: bytes
    """Path relative to the inbox."""
    reason: str
    since: float
    """Monotonic seconds."""


@dataclass(slots=True, eq=False)
class _Candidate:
    path: bytes
    number: int
    since: float
    quiet: float
    changed: float
    turn: int = 0
    """Which entry of the heap is in force: earlier ones are stale, and 0 is none (kept back)."""
    due: float = 0.0
    reason: str = "seen just now"
    fingerprint: Fingerprint | None = None
    too_early: Fingerprint | None = None
    """With this fingerprint its content ended too early."""
    unclosed: bool = False
    renamed: bool = False


class Settler:
    """All files that may become jobs, each with its own clock: no one waits for another.

    `empty_grace` and `incomplete_grace` are seconds without a change after which an empty file, or one whose content
    ends too early, is not waited for any longer.
    """

    def __init__(self, *, empty_grace: float, incomplete_grace: float) -> None:
        self._empty_grace = empty_grace
        self._incomplete_grace = incomplete_grace
        self._candidates: dict[bytes, _Candidate] = {}
        self._heap: list[tuple[float, int, bytes]] = []
        self._numbers = 0
        self._turns = 0
        self._waiting: tuple[Waiting, ...] | None = ()

    def __contains__(self, path: bytes) -> bool:
        return path in self._candidates

    def __len__(self) -> int:
        return len(self._candidates)

    def note(self, path: bytes, sign: Sign, now: float, *, quiet: float, unclosed: bool = False) -> None:
        """Something was heard of a file. `quiet` is how many seconds without a change are enough for it.

        `unclosed`: it was written to under an earlier name and has not been closed since.
        """
        candidate = self._candidates.get(path)
        if candidate is None:
            self._numbers += 1
            candidate = _Candidate(path, self._numbers, since=now, quiet=quiet, changed=now)
            self._candidates[path] = candidate
            self._waiting = None
        elif sign is Sign.FOUND and candidate.fingerprint is not None:
            return  # known; its own clock says when to look again
        candidate.quiet = quiet
        candidate.changed = now
        match sign:
            case Sign.WRITTEN:
                candidate.unclosed, candidate.renamed = True, False
            case Sign.CLOSED:
                candidate.unclosed = candidate.renamed = False
            case Sign.RENAMED_IN:
                # whatever had the name before is gone
                candidate.unclosed, candidate.renamed, candidate.fingerprint = unclosed, not unclosed, None
            case Sign.FOUND:
                pass
        if sign is not Sign.WRITTEN or candidate.fingerprint is None:
            self._look_at(candidate, now)
        elif not candidate.turn or candidate.due > now + quiet:
            self._look_at(candidate, now + quiet)
        # else it is being written, and will be looked at soon enough: a copy brings thousands of such signs

    def look(self, path: bytes, look: Look, now: float) -> Step:
        """Somebody looked at a candidate: what is to be done with it. With WAIT it will be due again."""
        candidate = self._candidates[path]
        if look.fingerprint != candidate.fingerprint:
            # the first look after a rename sees what the rename brought; every other difference is a change
            if candidate.fingerprint is not None or not candidate.renamed:
                candidate.changed, candidate.renamed = now, False
            candidate.fingerprint = look.fingerprint
        step, until, reason = self._judge(candidate, look, now)
        if step is Step.WAIT:
            self._wait(candidate, until, reason, now)
        return step

    def ends_too_early(self, path: bytes, now: float) -> bool:
        """A candidate to be taken has content that ends too early: whether it is to be waited for."""
        candidate = self._candidates[path]
        until = candidate.changed + self._incomplete_grace
        if now >= until:
            return False
        candidate.too_early = candidate.fingerprint
        self._wait(candidate, until, "its content ends too early", now)
        return True

    def postpone(self, path: bytes, reason: str, now: float, *, until: float | None = None) -> None:
        """It can't be looked at or taken now, for the reason given; it will be due again, later and later.

        `until`: when the reason may have passed, if that is known.
        """
        candidate = self._candidates[path]
        candidate.renamed = False
        self._wait(candidate, until, reason, now)

    def keep_back(self, path: bytes, reason: str) -> None:
        """It is ready but not wanted now; it will not be due before `wake`."""
        candidate = self._candidates[path]
        candidate.turn = 0
        self._say(candidate, reason)

    def wake(self, now: float) -> None:
        """All that was kept back is due."""
        for candidate in self._candidates.values():
            if not candidate.turn:
                self._look_at(candidate, now)

    def assume_closed(self, now: float) -> None:
        """Events were lost: what was being written may have been closed unheard."""
        for candidate in self._candidates.values():
            if candidate.unclosed:
                candidate.unclosed, candidate.changed = False, now

    def clear(self) -> None:
        """Forget all: the inbox is out of sight."""
        self._candidates.clear()
        self._waiting = None

    def forget(self, path: bytes) -> None:
        """It is gone, or was taken."""
        if self._candidates.pop(path, None) is not None:
            self._waiting = None

    def forget_below(self, folder: bytes) -> None:
        """A folder is gone with all that was in it."""
        top = folder + b"/"
        for path in [path for path in self._candidates if path.startswith(top)]:
            self.forget(path)

    def due(self, now: float) -> list[bytes]:
        """The candidates to be looked at, in order of arrival."""
        found = []
        while (when := self.next_due()) is not None and when <= now:
            candidate = self._candidates[heapq.heappop(self._heap)[2]]
            # should the look fail for a reason that nobody thought of, it comes again
            self._look_at(candidate, now + LONGEST_PAUSE)
            found.append(candidate)
        found.sort(key=lambda candidate: candidate.number)
        return [candidate.path for candidate in found]

    def next_due(self) -> float | None:
        """When to call `due` again (monotonic seconds); None if nothing waits for time to pass."""
        while self._heap:
            when, turn, path = self._heap[0]
            candidate = self._candidates.get(path)
            if candidate is not None and candidate.turn == turn:
                return when
            heapq.heappop(self._heap)
        return None

    def waiting(self) -> tuple[Waiting, ...]:
        """All candidates with the reason why each waits, in order of arrival."""
        if self._waiting is None:
            every = sorted(self._candidates.values(), key=lambda candidate: candidate.number)
            self._waiting = tuple(Waiting(each.path, each.reason, each.since) for each in every)
        return self._waiting

    def _judge(self, candidate: _Candidate, look: Look, now: float) -> tuple[Step, float | None, str]:
        """The ladder of DESIGN §4: what to do, and for WAIT until when at most, and why."""
        if not look.regular:
            until = candidate.changed + candidate.quiet
            return (Step.FAIL_KIND, None, "") if now >= until else (Step.WAIT, until, "not a regular file")
        if look.lease is Lease.HELD:
            candidate.changed, candidate.renamed = now, False
            return Step.WAIT, None, "a program has it open for writing"
        # a lease that was granted knows better than a close that was never announced
        if candidate.unclosed and look.lease is not Lease.FREE:
            candidate.changed = now
            return Step.WAIT, None, "it was written to and not closed since"
        candidate.unclosed = False
        patience = candidate.changed + self._empty_grace
        if look.links > 1:
            reason = f"it has {look.links} names (hard links)"
            return (Step.FAIL_KIND, None, "") if now >= patience else (Step.WAIT, patience, reason)
        if look.fingerprint.size == 0:
            return (Step.FAIL_EMPTY, None, "") if now >= patience else (Step.WAIT, patience, "it is empty")
        return self._quiet_enough(candidate, look, now)

    def _quiet_enough(self, candidate: _Candidate, look: Look, now: float) -> tuple[Step, float | None, str]:
        if candidate.too_early == look.fingerprint:
            until = candidate.changed + self._incomplete_grace
            return (Step.TAKE, None, "") if now >= until else (Step.WAIT, until, "its content ends too early")
        if candidate.renamed and look.lease is Lease.FREE:
            return Step.TAKE, None, ""
        need, reason = candidate.quiet, "it changed just now"
        if look.sparse:
            need = max(need, min(SPARSE_FACTOR * need, SPARSE_LIMIT))
            reason = "it has holes, as if the rest were still to come"
        until = candidate.changed + need
        return (Step.TAKE, None, "") if now >= until else (Step.WAIT, until, reason)

    def _wait(self, candidate: _Candidate, until: float | None, reason: str, now: float) -> None:
        pause = max(candidate.quiet, SHORTEST_PAUSE, min(LONGEST_PAUSE, PAUSE_SHARE * (now - candidate.since)))
        self._look_at(candidate, now + pause if until is None else min(until, now + pause))
        self._say(candidate, reason)

    def _look_at(self, candidate: _Candidate, when: float) -> None:
        self._turns += 1
        candidate.turn, candidate.due = self._turns, when
        heapq.heappush(self._heap, (when, self._turns, candidate.path))

    def _say(self, candidate: _Candidate, reason: str) -> None:
        if candidate.reason != reason:
            candidate.reason = reason
            self._waiting = None
