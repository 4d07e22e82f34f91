"""How the end of a job reaches the folders: names, status files, outputs, and the input's last move.

Owned by the main thread; the courier's thread does the work, and what fails there is tried again, later and later.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import shutil
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import structlog

from piperd import __version__, inbox, results, status
from piperd.courier import PASSING
from piperd.errors import Code, Failure
from piperd.job import JobState
from piperd.ledger import stem_key
from piperd.mounts import Anchor
from piperd.names import printable
from piperd.outbox import FolderTakenError, NameTakenError, OutboxOfflineError, Output, numbered
from piperd.showings import Showings
from piperd.turn import OpenJob, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from piperd.courier import Courier, Returned
    from piperd.job import Job, Voice
    from piperd.outbox import Outbox
    from piperd.turn import Turn

log = structlog.get_logger()

LONGEST_DELAY = 60.0
"""Seconds between two tries of an errand, at most."""
MOVING_FROM = "moving_from"
"""In a job's result: the base name that its published files still have."""


class Delivery:
    """Brings jobs to the outbox, once each, and their inputs out of the inbox."""

    def __init__(
        self,
        *,
        turn: Turn,
        outbox: Outbox,
        courier: Courier,
        voices: Mapping[str, Voice],
        inbox_folder: Path,
        points: Mapping[str, str],
        work: Path,
        archive: Path | None,
        failed: Path | None,
        tries: int,
        opened: Callable[[Job], None],
        closed: Callable[[Job], None],
        delivered: Callable[[Job], None] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`archive` and `failed` take the inputs; None deletes them. `work` holds rendered files, one folder a job.
        `points` are the mount points on which folders lay at the last start.

        `opened` and `closed` are told of each job as it comes and goes; `delivered` is told with its spec, when nothing
        more is to be done for it and that is durable.
        """
        self.ended: Counter[JobState] = Counter()
        self._opened = opened
        self._closed = closed
        self._delivered = delivered
        self.voices = voices
        self._turn = turn
        self._outbox = outbox
        self._courier = courier
        self._inbox_folder = inbox_folder
        self._work = work
        self._archive = archive
        self._failed = failed
        self._anchors = {
            folder: Anchor(folder, points.get(str(folder), "")) for folder in (archive, failed) if folder is not None
        }
        self._tries = tries
        self._wall = wall
        self._open: dict[str, OpenJob] = {}
        self._later: list[tuple[float, int, str]] = []
        self._showings = Showings()

    @property
    def open_jobs(self) -> Mapping[str, OpenJob]:
        """All jobs that are not delivered."""
        return self._open

    def adopt(self, open_job: OpenJob) -> None:
        """From now on this job is to be delivered."""
        self._open[open_job.job_id] = open_job
        self._opened(open_job.job)

    def destination(self, job: Job) -> Path | None:
        """Where the input of an ended job moves; None: it is deleted."""
        return self._archive if job.state is JobState.DONE else self._failed

    def work_folder(self, job_id: str) -> Path:
        """Where the job's rendered files lie until they are published."""
        return self._work / job_id

    def clear_work(self) -> None:
        """Remove what an earlier run rendered for jobs that need it no more; what is not ours is left alone."""
        with contextlib.suppress(OSError):
            self._work.mkdir(exist_ok=True)
        for folder in self._work.iterdir() if self._work.is_dir() else ():
            if self._turn.ledger.get(folder.name) is None:
                log.warning("unknown_left_alone", path=printable(os.fsencode(folder)))
            elif folder.name not in self._open:
                shutil.rmtree(folder, ignore_errors=True)

    def show(self, open_job: OpenJob) -> None:
        """The status file is to be brought up to date, once a second at most."""
        self._showings.want(open_job.job_id)

    def publish(self, open_job: OpenJob) -> None:
        """Bring the rendered files to the outbox."""
        open_job.phase = Phase.PUBLISHING
        if open_job.withdrawing:  # it comes back when it has a name
            return
        job = open_job.job
        before = open_job.replaces
        replaces = {output.name: output.sha256 for output in self._outputs(before)} if before else {}
        content, replaced = self._status(open_job), before.job_id if before else None
        outputs = self._outputs(job)

        def action() -> None:
            # a name is whose status it has: another daemon may share the outbox, and have the same thing to say
            self._outbox.reserve(job.job_id, job.folder, job.stem, content, replaces_job=replaced)
            self._outbox.publish(job.job_id, job.folder, outputs, replaces)

        self._turn.after(partial(self._courier.send, job.job_id, "publish", action))

    def finish(self, open_job: OpenJob, to: JobState, failure: Failure | None, *, run_s: float) -> None:
        """The job's end is decided: write it down, then deliver."""
        spec = open_job.job.spec
        self.ended[to] += 1
        job = self._turn.move(open_job, to, failure=failure, finished_at=self._wall(), run_s=run_s)
        name = f"job_{to}"
        event = {"job_id": job.job_id, "source": printable(job.source), "wait_s": _ms(job.wait_s), "run_s": _ms(run_s)}
        if failure:
            log.warning(name, **event, code=failure.code.value, error=failure.message)
        else:
            voices = sorted({scene.voice for scene in spec.scenes}) if spec else []
            audio = job.result["duration_s"] if job.result else None
            log.info(name, **event, audio_s=audio, voice=",".join(voices))
        self.deliver(open_job)

    def deliver(self, open_job: OpenJob) -> None:
        """Write the final status and move the input to where it ends."""
        self._showings.unwant(open_job.job_id)
        job = open_job.job
        if job.result is not None and MOVING_FROM in job.result:
            self._rename_published(open_job, job.result[MOVING_FROM])
            return
        open_job.phase = Phase.DELIVERING
        if open_job.withdrawing:
            return
        untidy, open_job.untidy = open_job.untidy, False
        # a job that failed over its outputs may have published some of them
        unwanted = self._outputs(job) if job.state is not JobState.DONE else []
        stored = self._turn.ledger.get(job.job_id) if untidy else None
        left = results.most_files(stored.spec) if stored and stored.spec else 0
        into = self.destination(job)
        content = self._status(open_job)
        replaced = open_job.replaces.job_id if open_job.replaces else None

        def action() -> None:
            if untidy:
                self._outbox.clear(job.job_id, job.folder, left)
            if unwanted:
                self._outbox.withdraw(job.job_id, job.folder, job.stem, unwanted)
            self._outbox.write_status(job.job_id, job.folder, job.stem, content(), replaces_job=replaced, final=True)
            if into is not None:
                self._anchors[into].look()
            inbox.dispose(job.claimed, job.source, into, self._inbox_folder)
            shutil.rmtree(self.work_folder(job.job_id), ignore_errors=True)

        self._turn.after(partial(self._courier.send, job.job_id, "deliver", action))

    def returned(self, open_job: OpenJob, back: Returned, now: float) -> None:
        """The courier is back from an errand of this job."""
        if isinstance(back.error, FolderTakenError):
            self._leave_folder(open_job, back.error)
        elif isinstance(back.error, NameTakenError):
            self._rename(open_job, back.error)
        elif back.error is not None:
            self._failed_errand(open_job, back, back.error, now)
        elif back.errand == "withdraw":
            self._take_next_name(open_job, open_job.job.folder)
        elif back.errand == "publish":
            open_job.tries = open_job.waits = 0
            if open_job.job.state is JobState.DONE:
                self.renamed(open_job)
            else:
                self.finish(open_job, JobState.DONE, None, run_s=open_job.job.run_s + now - open_job.opened)
        elif back.errand == "deliver":
            job = self._turn.save(open_job, delivered=True)
            if self._delivered is not None:
                self._turn.after(partial(self._delivered, job))
            self._closed(job)
            del self._open[back.job_id]
            self._showings.forget(back.job_id)

    def renamed(self, open_job: OpenJob) -> None:
        """What was published has its new name, or is nowhere: then its status is all that can be delivered."""
        result = {name: value for name, value in (open_job.job.result or {}).items() if name != MOVING_FROM}
        self._turn.save(open_job, result=result)
        self.deliver(open_job)

    def _rename_published(self, open_job: OpenJob, stem: str) -> None:
        """The audio was published under a name that the status could not have: it follows its job's new name."""
        open_job.phase = Phase.PUBLISHING
        job = open_job.job
        before = self._outputs(replace(job, stem=stem))
        names = [(old.name, new) for old, new in zip(before, self._outputs(job), strict=True)]
        content = self._status(open_job)

        def action() -> None:
            self._outbox.reserve(job.job_id, job.folder, job.stem, content, replaces_job=None)
            self._outbox.rename(job.job_id, job.folder, stem, names)

        self._turn.after(partial(self._courier.send, job.job_id, "publish", action))

    def tick(self, now: float) -> None:
        """Try failed errands again, and write the status files that are due."""
        while self._later and self._later[0][0] <= now:
            _, _, job_id = heapq.heappop(self._later)
            if (open_job := self._open.get(job_id)) is not None:
                self._try_again(open_job)
        for job_id in self._showings.due(now):
            self._show(job_id)

    def _try_again(self, open_job: OpenJob) -> None:
        if open_job.withdrawing:
            self._withdraw(open_job)
        elif open_job.job.state.final:
            self.deliver(open_job)
        else:
            self.publish(open_job)

    def show_all(self) -> None:
        """Write the status files that wait for their time; the daemon is to stop."""
        for job_id in self._showings.due(float("inf")):
            self._show(job_id)

    def next_due(self) -> float | None:
        """When `tick` has something to do (monotonic seconds)."""
        due = [self._later[0][0]] if self._later else []
        if (showing := self._showings.next_due()) is not None:
            due.append(showing)
        return min(due, default=None)

    def _show(self, job_id: str) -> None:
        open_job = self._open.get(job_id)
        if open_job is None or open_job.phase is Phase.DELIVERING or open_job.withdrawing:
            return
        job = open_job.job
        content = self._status(open_job)
        replaced = open_job.replaces.job_id if open_job.replaces else None

        def action() -> None:
            self._outbox.write_status(job_id, job.folder, job.stem, content(), replaces_job=replaced, final=False)

        self._turn.after(partial(self._courier.lazily, job_id, "show", action))

    def _status(self, open_job: OpenJob) -> Callable[[], bytes]:
        """What the status file is to say. The courier composes it: most of those that show progress it never writes."""
        job, voices = open_job.job, self.voices
        if job.spec is None and (stored := self._turn.ledger.get(job.job_id)) is not None:
            content = status.encode(status.document(stored, voices, version=__version__))
            return lambda: content  # a long queue of specs must not fill the memory
        return lambda: status.encode(status.document(job, voices, version=__version__))

    def _outputs(self, job: Job) -> list[Output]:
        """The files that the job publishes, or has published; none where it was not rendered."""
        folder = self.work_folder(job.job_id)
        return [
            Output(folder / file, results.published(job.stem, file), digest)
            for file, digest in (results.files(job.result) if job.result else ())
        ]

    def _rename(self, open_job: OpenJob, error: NameTakenError) -> None:
        """Somebody else took the name: take back what lies under it, and then the next one.

        In this order, since after a crash the ledger alone knows under which name something of ours may lie.
        """
        job = open_job.job
        if open_job.withdrawing or not error.name.startswith((f"{job.stem}.", f"{job.stem}/")):
            return  # that was about a name which it has given up
        log.warning("name_taken", job_id=job.job_id, source=printable(job.source), name=printable(str(error)))
        if job.state is JobState.DONE:  # its audio is published, and follows the new name
            self._take_next_name(open_job, job.folder)
        else:
            open_job.withdrawing = True
            self._withdraw(open_job)

    def _withdraw(self, open_job: OpenJob) -> None:
        job = open_job.job
        action = partial(self._outbox.withdraw, job.job_id, job.folder, job.stem, self._outputs(job))
        self._turn.after(partial(self._courier.send, job.job_id, "withdraw", action))

    def _leave_folder(self, open_job: OpenJob, error: FolderTakenError) -> None:
        """What has the name of its folder is no folder, and nothing can lie there: it goes to the outbox itself."""
        job = open_job.job
        if job.folder:
            log.warning("folder_taken", job_id=job.job_id, source=printable(job.source), error=str(error))
            open_job.name_no = 0
            self._take_next_name(open_job, "")

    def _take_next_name(self, open_job: OpenJob, folder: str) -> None:
        """Nothing lies under the old name, or it is known from where it has to be fetched."""
        job = open_job.job
        open_job.withdrawing = False
        open_job.replaces = None
        stem = job.stem
        while (folder, stem) == (job.folder, job.stem) or self._turn.ledger.name_taken(folder, stem_key(stem)):
            open_job.name_no += 1
            stem = numbered(open_job.base, open_job.name_no)
        result = job.result
        if job.state is JobState.DONE and result is not None:
            result = {MOVING_FROM: job.stem, **result}
        self._turn.save(open_job, folder=folder, stem=stem, result=result)
        if open_job.job.state.final:
            self.deliver(open_job)
        elif job.result is not None:
            self.publish(open_job)
        else:
            self.show(open_job)

    def _failed_errand(self, open_job: OpenJob, back: Returned, error: Exception, now: float) -> None:
        job = open_job.job
        open_job.untidy = True
        passing = isinstance(error, OSError) and (isinstance(error, OutboxOfflineError) or error.errno in PASSING)
        # a share may be away for a week: what it says then is worth one line a job
        (log.debug if passing and open_job.waits else log.warning)(
            "errand_failed", job_id=job.job_id, source=printable(job.source), errand=back.errand, error=str(error)
        )
        if back.errand == "show":
            return  # the next status file says it all
        if passing:
            open_job.waits += 1
        else:  # this may be the job's own doing
            open_job.tries += 1
        if back.errand == "publish" and open_job.tries >= self._tries and job.state is JobState.RUNNING:
            failure = Failure(Code.OUTPUT_FAILED, f"The audio could not be written to the outbox: {error}.")
            open_job.tries = 0
            self.finish(open_job, JobState.FAILED, failure, run_s=job.run_s + now - open_job.opened)
            return
        delay = min(LONGEST_DELAY, 0.25 * 2 ** min(open_job.tries + open_job.waits, 8))
        heapq.heappush(self._later, (now + delay, job.seq, job.job_id))


def _ms(seconds: float | None) -> float | None:
    """Rounded for the log."""
    return None if seconds is None else round(seconds, 3)
