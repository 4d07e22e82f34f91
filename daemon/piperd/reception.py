"""How jobs come in: new ones from the inbox, and those that an earlier run of the daemon left. Main thread only."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from piperd.errors import Code, Failure
from piperd.job import Job, JobState
from piperd.ledger import stem_key
from piperd.names import printable
from piperd.outbox import numbered
from piperd.turn import OpenJob

if TYPE_CHECKING:
    from collections.abc import Callable

    from piperd.delivery import Delivery
    from piperd.intake import Arrived, InFlight, Parsed
    from piperd.listings import Listing
    from piperd.scheduler import Scheduler
    from piperd.turn import Turn

log = structlog.get_logger()

MOST_CRASHES = 10
"""How often the daemon may come to a sudden end while a job runs, before the job is taken for the reason."""


class Reception:
    """Writes jobs into the ledger and puts them in line."""

    def __init__(
        self,
        turn: Turn,
        scheduler: Scheduler,
        delivery: Delivery,
        in_flight: InFlight,
        *,
        replace_own: bool,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """With `replace_own` a job takes the name of a delivered one, and replaces what that has published."""
        self.replace_own = replace_own
        self._turn = turn
        self._scheduler = scheduler
        self._delivery = delivery
        self._in_flight = in_flight
        self._wall = wall

    def accept(self, arrived: Arrived, now: float) -> None:
        """Take a batch of inputs into the ledger, the refused ones as failed."""
        self._turn.hurry()  # or work might be begun that a crash would leave as nobody's
        for parsed in arrived.parsed:
            open_job = self._new(parsed, arrived.names[parsed.folder], now)
            job = open_job.job
            self._delivery.adopt(open_job)
            log.info(
                "job_accepted",
                job_id=job.job_id,
                source=printable(job.source),
                priority=job.priority,
                characters=sum(len(scene.text) for scene in parsed.spec.scenes) if parsed.spec else None,
            )
            accepted = self._turn.ledger.accept(job)
            # its texts are in the ledger until it runs
            open_job.job = replace(accepted, spec=job.spec.without_texts()) if job.spec else accepted
            self._in_flight.discard(job.job_id)
            if parsed.failure is not None:
                self._delivery.finish(open_job, JobState.FAILED, parsed.failure, run_s=0.0)
            else:
                self._queue(open_job, now)

    def restore(self, now: float) -> None:
        """Take up all jobs that an earlier run of the daemon left undelivered."""
        found: Counter[str] = Counter()
        for job in self._turn.ledger.undelivered():
            open_job = OpenJob(job, arrived=now, opened=now, base=job.stem, untidy=True)
            self._delivery.adopt(open_job)
            step = self._restore(open_job, now)
            found[step] += 1
            log.info("job_restored", job_id=job.job_id, source=printable(job.source), state=job.state.value, next=step)
        log.info("state_reconciled", jobs=found.total(), **found)

    def _restore(self, open_job: OpenJob, now: float) -> str:
        """What is next for it, in one word."""
        job = open_job.job
        if job.state.final:
            self._delivery.deliver(open_job)
            return "delivered"
        if job.result is not None:
            self._delivery.publish(open_job)
            return "published"
        if job.state is JobState.RUNNING:  # the daemon did not stop: it came to a sudden end
            crashes = job.crashes + 1
            if crashes >= MOST_CRASHES:
                failure = Failure(Code.WORKER_DIED, f"piperd itself ended suddenly {crashes} times while this job ran.")
                self._turn.save(open_job, crashes=crashes)
                self._delivery.finish(open_job, JobState.FAILED, failure, run_s=job.run_s)
                return "failed"
            self._turn.move(open_job, JobState.QUEUED, crashes=crashes)
        self._queue(open_job, now)
        return "queued"

    def _queue(self, open_job: OpenJob, now: float) -> None:
        job = open_job.job
        self._scheduler.add(job.job_id, seq=job.seq, priority=job.priority, now=now)
        self._delivery.show(open_job)

    def _free_name(self, parsed: Parsed, listing: Listing) -> tuple[int, str, Job | None]:
        """Number and base name for a new job, and the delivered job that it replaces, if the settings want that.

        `listing` says what lies in the outbox folder already. What was published since it was made, the ledger knows.
        """
        ledger, folder = self._turn.ledger, parsed.folder
        scene_files = parsed.spec is not None and parsed.spec.scene_files
        number = 1
        while True:
            candidate = numbered(parsed.stem, number)
            key = stem_key(candidate)
            if not ledger.name_taken(folder, key):
                own = ledger.last_published(folder, key) if self.replace_own or not listing.fresh else None
                before = own if self.replace_own else None
                lies = key in listing.names or (scene_files and f"{key}/" in listing.names)
                if not lies and (listing.fresh or own is None):
                    return number, candidate, None
                if before is not None:
                    return number, before.stem, before
            number += 1

    def _new(self, parsed: Parsed, listing: Listing, now: float) -> OpenJob:
        number, stem, before = self._free_name(parsed, listing)
        job = Job(
            job_id=parsed.arrival.job_id,
            seq=0,
            source=parsed.arrival.source,
            claimed=parsed.arrival.claimed,
            size=parsed.arrival.size,
            folder=parsed.folder,
            stem=stem,
            state=JobState.QUEUED,
            priority=parsed.spec.priority if parsed.spec else 0,
            attempt=0,
            accepted_at=self._wall(),
            spec=parsed.spec,
        )
        return OpenJob(job, arrived=now, opened=now, base=parsed.stem, name_no=number, replaces=before)
