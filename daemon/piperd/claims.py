"""Claimed files that an earlier run of the daemon left in the inbox. Main thread only; the courier does the I/O."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog

from piperd import inbox
from piperd.names import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from piperd.parts import Parts

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Orphans:
    """Claims that were found: job id, source and where they lie."""

    found: Sequence[tuple[str, bytes, bytes]]


ERRANDS = frozenset({"find_orphans", "sort_out"})
LOOK_INTERVAL = 3600.0
"""Seconds between two looks."""
AFTER_FAULT = 60.0
"""Seconds before the next one, where something could not be brought back."""


class Claims:
    """Finds what was claimed and is nobody's, and brings it where it belongs."""

    def __init__(self, place: Path, parts: Parts, post: Callable[[Orphans], None]) -> None:
        """`place` is the inbox."""
        self._place = place
        self._parts = parts
        self._post = post
        self._next_look = float("inf")
        self._then: Callable[[], None] | None = None

    def next_due(self) -> float:
        """When `tick` has something to do (monotonic seconds)."""
        return self._next_look

    def tick(self, now: float) -> None:
        """Look again from time to time: what a share refused once must not stay out of sight for months."""
        if now >= self._next_look:
            self._next_look = now + LOOK_INTERVAL
            self.look()

    def failed(self, now: float) -> None:
        """Something could not be looked at, or not brought where it belongs."""
        self._next_look = min(self._next_look, now + AFTER_FAULT)

    def look(self, then: Callable[[], None] | None = None) -> None:
        """Have the courier look; `then` is run on its thread once all that was found is sorted out."""
        self._then = then or self._then

        def action() -> None:
            self._post(Orphans(list(inbox.orphans(self._place, self._parts.instance))))

        self._parts.courier.send("", "find_orphans", action)

    def sort_out(self, orphans: Orphans, now: float) -> None:
        """What was not accepted goes back, what was delivered goes where it belongs.

        Claims of this run are on their way to acceptance, those of open jobs are in use: both stay.
        """
        for job_id, source, claimed in orphans.found:
            job = self._parts.ledger.get(job_id)
            if job_id in self._parts.in_flight or (job is not None and not job.delivered):
                continue
            action: Callable[[], object]
            if not source:
                log.warning("unknown_left_alone", path=printable(claimed))
                continue
            if job is None:
                log.warning("claim_given_back", source=printable(source))
                action = partial(inbox.give_back, claimed, source, self._place)
            else:
                log.warning("claim_left_over", job_id=job_id, source=printable(source))
                action = partial(inbox.dispose, claimed, source, self._parts.delivery.destination(job), self._place)
            self._parts.courier.send(job_id, "sort_out", action)
        self._next_look = min(self._next_look, now + LOOK_INTERVAL)
        if self._then is not None:
            self._parts.courier.send("", "start", self._then)
            self._then = None
