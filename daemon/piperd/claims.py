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
    then: Callable[[], None] | None
    """What was waiting for this."""


class Claims:
    """Finds what was claimed and is nobody's, and brings it where it belongs."""

    def __init__(self, place: Path, parts: Parts, post: Callable[[Orphans], None]) -> None:
        """`place` is the inbox."""
        self._place = place
        self._parts = parts
        self._post = post

    def look(self, then: Callable[[], None] | None = None) -> None:
        """Have the courier look; `then` is run on its thread once all that was found is sorted out."""

        def action() -> None:
            self._post(Orphans(list(inbox.orphans(self._place, self._parts.instance)), then))

        self._parts.courier.send("", "find_orphans", action)

    def sort_out(self, orphans: Orphans) -> None:
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
        if orphans.then is not None:
            self._parts.courier.send("", "start", orphans.then)
