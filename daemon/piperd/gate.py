"""Whether more files may be taken from the inbox: room on both disks, length of the queue. Main thread only.

What is not taken stays where it is, and waits. The outbox may be a share that hangs, so the courier looks at it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from piperd.job import Job

log = structlog.get_logger()

LOOK_INTERVAL = 5.0
"""Seconds between two looks at the disks."""
NEAR, CLEAR = 1.1, 1.2
"""Of the least that must be free: with less the store is to give way, until there is so much."""
MIB = 1 << 20
OUTBOX = "outbox"
UNSEEN = "the disk of the outbox has not been looked at yet"
STEPS = 20
"""A full queue opens again when a twentieth of it is free."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much the inbox may hand over, counted from the start of the daemon."""

    files: int
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is too much, or too little."""

    min_free: int
    """Bytes that must be free in outbox and state folder."""
    max_jobs: int
    """Jobs that are not delivered."""
    max_bytes: int
    """Their inputs together."""


@dataclass(frozen=True, slots=True)
class RoomSeen:
    """What the courier found: free bytes of a folder's disk, or None where it is out of reach."""

    folder: str
    free: int | None


def free_bytes(folder: Path) -> int | None:
    """Free bytes for ordinary users on a folder's disk; None where it is not there. A hanging share hangs this."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


class Gate:
    """Opens and closes the inbox."""

    def __init__(
        self,
        limits: Limits,
        *,
        outbox: Path,
        state: Path,
        errand: Callable[[Callable[[], None]], None],
        post: Callable[[RoomSeen], None],
        hold: Callable[[str], None],
        allow: Callable[[Allowance], None],
    ) -> None:
        """`errand` has something done where slowness harms nobody; `hold` gets the reason to take nothing, or none."""
        self.limits = limits
        self._outbox = outbox
        self._state = state
        self._errand = errand
        self._post = post
        self._hold = hold
        self._allow = allow
        self._free: dict[str, int | None] = {}
        self._looking = False
        self._next_look = 0.0
        self._received = Allowance(0, 0)
        self._open_bytes = 0
        self._given: Allowance | None = None
        self.reason = ""
        """Why no more files are taken, for people; empty while they are."""

    @property
    def disk_is_full(self) -> bool:
        """Whether the state folder has no room to work in, at this moment."""
        free = free_bytes(self._state)
        return free is None or free < max(self.limits.min_free, MIB)

    def shortage(self) -> int:
        """Bytes that are to be freed on the disk of the state folder before it is too full to take files, if any."""
        least, free = self.limits.min_free, free_bytes(self._state)
        return 0 if free is None or free >= least * NEAR else int(least * CLEAR) - free

    def came_in(self, size: int) -> None:
        """A file of so many bytes was handed over."""
        self._received = Allowance(self._received.files + 1, self._received.size + size)

    def opened(self, job: Job) -> None:
        """A job is to be delivered."""
        self._open_bytes += job.size

    def closed(self, job: Job) -> None:
        """A job is delivered."""
        self._open_bytes -= job.size

    def saw(self, seen: RoomSeen) -> None:
        """The courier is back from a look."""
        self._looking = False
        self._free[seen.folder] = seen.free

    def stand_still(self, reason: str) -> None:
        """Nothing can be accepted now, for a reason of the main loop's own; the next `tick` decides anew."""
        if reason != self.reason:
            log.warning("accepting_stopped", reason=reason)
            self.reason = reason
            self._hold(reason)

    def tick(self, open_jobs: int, now: float) -> None:
        """Look where a look is due, and open or close."""
        if now >= self._next_look:
            self._next_look = now + LOOK_INTERVAL
            self._free["state"] = free_bytes(self._state)
            if not self._looking:
                self._looking = True
                self._errand(lambda: self._post(RoomSeen(OUTBOX, free_bytes(self._outbox))))
        reason = self._why_not(self._free) if OUTBOX in self._free else UNSEEN
        if reason != self.reason:
            if reason not in {"", UNSEEN} and self.reason in {"", UNSEEN}:
                log.warning("accepting_stopped", reason=reason)
            elif not reason and self.reason != UNSEEN:
                log.info("accepting_resumed")
            self.reason = reason
            self._hold(reason)
        # what was received and is still open counts; the inbox may go on until the caps are reached
        allowance = Allowance(
            self._received.files + max(0, self.limits.max_jobs - open_jobs),
            self._received.size + max(0, self.limits.max_bytes - self._open_bytes),
        )
        if self._given is None or self._is_worth_telling(allowance, self._given):
            self._given = allowance
            self._allow(allowance)

    def next_due(self) -> float:
        """When `tick` has something to do (monotonic seconds)."""
        return self._next_look

    def _is_worth_telling(self, now: Allowance, given: Allowance) -> bool:
        """In steps, since all files that wait for a full queue are looked at again whenever there is room."""
        more_files, more_bytes = now.files - given.files, now.size - given.size
        steps = max(1, self.limits.max_jobs // STEPS), max(1, self.limits.max_bytes // STEPS)
        return more_files < 0 or more_bytes < 0 or more_files >= steps[0] or more_bytes >= steps[1]

    def _why_not(self, free: Mapping[str, int | None]) -> str:
        for folder, room in free.items():
            # an outbox that is away is waited for by those who need it
            if room is not None and room < self.limits.min_free:
                least = f"{self.limits.min_free / MIB:,.1f} MiB of limits.min_free_bytes"
                return f"folders.{folder} has {room / MIB:,.1f} MiB free, less than the {least}"
        return ""
