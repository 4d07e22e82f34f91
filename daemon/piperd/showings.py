"""Whose status file is to be brought up to date, and when: each soon, and then once in a while at most. Pure."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERVAL = 1.0
"""Seconds between two status files of one job that only show progress."""
AT_ONCE = float("-inf")


class Showings:
    """What it costs does not grow with the jobs that wait: the next one that is due is always at hand."""

    def __init__(self) -> None:
        self._shown: dict[str, float] = {}
        self._wanted: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def want(self, job_id: str) -> None:
        """Something has changed. A job that was not shown yet is due at once."""
        if job_id not in self._wanted:
            due = self._shown[job_id] + INTERVAL if job_id in self._shown else AT_ONCE
            self._wanted[job_id] = due
            heapq.heappush(self._heap, (due, job_id))

    def unwant(self, job_id: str) -> None:
        """What has changed is shown otherwise."""
        self._wanted.pop(job_id, None)

    def forget(self, job_id: str) -> None:
        """The job is no more."""
        self._wanted.pop(job_id, None)
        self._shown.pop(job_id, None)

    def due(self, now: float) -> Iterator[str]:
        """The jobs to be shown now (monotonic seconds), each once."""
        while (when := self.next_due()) is not None and when <= now:
            job_id = heapq.heappop(self._heap)[1]
            del self._wanted[job_id]
            self._shown[job_id] = now
            yield job_id

    def next_due(self) -> float | None:
        """When `due` has something to say (monotonic seconds)."""
        while self._heap and self._wanted.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)  # it was shown or forgotten since
        return self._heap[0][0] if self._heap else None
