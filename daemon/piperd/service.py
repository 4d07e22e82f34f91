"""The daemon: builds the parts, runs the one loop that owns all state, and shuts down in order.

Everything else posts to the mailbox: inbox and courier threads, the engine's threads, signals.
"""

from __future__ import annotations

import os
import queue
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from piperd import claims, logs, parts, settings, staffing
from piperd import engine as engines
from piperd.announce import announce
from piperd.claims import Claims, Orphans
from piperd.courier import Returned
from piperd.errors import ConfigurationError
from piperd.gate import RoomSeen
from piperd.housekeeping import StockTaken
from piperd.intake import Arrived
from piperd.job import JobState
from piperd.names import printable
from piperd.outbox import RenderingLostError
from piperd.systemd import Notifier
from piperd.turn import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from piperd.job import Job
    from piperd.parts import EngineMaker
    from piperd.settings import Settings
    from piperd.turn import OpenJob

log = structlog.get_logger()

IDLE_WAIT = 60.0
"""Seconds that the loop sleeps at most."""
DRAIN_WAIT = 0.05
"""Seconds between two looks whether a drain has come to its end."""
SHOW_WAIT = 0.1
"""Seconds between two views for whoever watches."""
LEDGER_PAUSE = 0.25
"""Seconds between two tries to write the ledger."""
LEDGER_TRIES = 20
"""How many of them are made once the daemon was asked to stop."""
LEDGER_REMINDER = 240
"""Every how many of them the log is told again."""
INBOX_STOP = 5.0
COURIER_STOP = 10.0
"""Seconds that a hanging share may hold up the end."""


@dataclass(frozen=True, slots=True)
class Signalled:
    """A signal has come."""

    number: int


@dataclass(frozen=True, slots=True)
class View:
    """The daemon at one moment, for people."""

    active: int
    queued: int
    done: int
    failed: int
    """Since the start, like `done`."""
    workers: int
    """That are ready."""
    longest_wait_s: float
    """Of the jobs that are queued."""
    utterances: int
    """Of the jobs that run."""
    spoken: int
    waiting_files: int
    """In the inbox, not settled yet."""
    online: bool
    held: str
    """Why no files are taken, empty while they are."""


class LedgerUnwritableError(Exception):
    """The disk of the ledger takes nothing, and the daemon was asked to stop."""


class Service:
    """One daemon. `run` returns when it has ended."""

    def __init__(
        self,
        config: Settings,
        *,
        reload: Callable[[], Settings],
        drain: bool = False,
        show: Callable[[View], None] | None = None,
        delivered: Callable[[Job], None] | None = None,
        engine: EngineMaker | None = None,
        mailbox: queue.SimpleQueue[Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Raises `ConfigurationError` or `AlreadyRunningError` where the daemon can't start as it is configured.

        `reload` reads the settings again; `show` gets views while it runs, `delivered` each job that has ended.
        `engine` makes another engine than the local pool; `mailbox` may have something of an engine's in it already.
        """
        self._config = config
        self._reload = reload
        self._drain = drain
        self._show = show
        self._mailbox = mailbox if mailbox is not None else queue.SimpleQueue()
        self._received = 0
        self._asked_to_stop = False
        self._refusals = 0
        self._patience_left = LEDGER_TRIES
        self._stand_still: Callable[[str], None] = lambda _: None
        self._stopping = False
        self._hurry = False
        self._next_line = 0.0
        self._next_show = 0.0
        self._notifier = Notifier(os.environ if environment is None else environment)
        self._parts = parts.build(
            config, self._mailbox.put, engine=engine, delivered=delivered, ledger_waits=self._wait_for_the_ledger
        )
        self._stand_still = self._parts.gate.stand_still
        self._claims = Claims(config.folders.inbox, self._parts, self._mailbox.put)

    def post_signal(self, number: int, _frame: object = None) -> None:
        """A signal handler: it only leaves a note for the loop."""
        self._asked_to_stop |= number != signal.SIGHUP
        self._mailbox.put(Signalled(number))

    def run(self) -> int:
        """Work until told to stop, or with `drain` until nothing is left. Gives the exit code."""
        try:
            self._start()
            while not self._finished():
                self._turn_once(self._patience())
            self._shut_down()
        except LedgerUnwritableError as error:
            # all that was decided since the last commit is found again by the next start
            log.error("daemon_gave_up", error=str(error))  # noqa: TRY400 - the operator needs no traceback
            self._parts.inbox.stop(INBOX_STOP)
            for _ in self._parts.engine.stop(grace=0.0):
                pass
            self._parts.courier.stop(COURIER_STOP)
            self._close()
            return 1
        return int(self._drain and self._parts.delivery.ended[JobState.FAILED] > 0)

    @property
    def view(self) -> View:
        """How things stand."""
        now = time.monotonic()
        jobs = self._parts.delivery.open_jobs.values()
        waiting = [open_job for open_job in jobs if open_job.phase is Phase.WAITING]
        running = self._parts.desk.running.values()
        return View(
            active=len(jobs) - len(waiting),
            queued=len(waiting),
            done=self._parts.delivery.ended[JobState.DONE],
            failed=self._parts.delivery.ended[JobState.FAILED],
            workers=sum(worker.state not in {"starting", "stopping"} for worker in self._parts.engine.workers),
            longest_wait_s=round(max((now - open_job.arrived for open_job in waiting), default=0.0), 3),
            utterances=sum(open_job.job.utterances for open_job in running),
            spoken=sum(open_job.job.spoken for open_job in running),
            waiting_files=len(self._parts.inbox.view.waiting),
            online=self._parts.inbox.view.online,
            held=self._parts.gate.reason,
        )

    def _start(self) -> None:
        config = self._config
        log.info("daemon_started", pid=os.getpid(), inbox=str(config.folders.inbox), outbox=str(config.folders.outbox))
        self._parts.engine.start(self._parts.desk.voices.get(config.speech.voice))
        self._insist(self._parts.housekeeping.store.prepare)
        self._parts.courier.start()
        now = time.monotonic()
        self._parts.reception.restore(now)
        self._parts.turn.commit()
        self._parts.delivery.clear_work()
        self._parts.gate.tick(len(self._parts.delivery.open_jobs), now)
        # the inbox starts when they are sorted out, so that its first scan finds what goes back
        self._claims.look(then=self._parts.inbox.start)
        self._next_line = now + config.log.status_interval

    def _turn_once(self, patience: float) -> None:
        """One turn of the loop: hear what has come, decide, commit, act."""
        for event in self._events(patience):
            self._handle(event, time.monotonic())
        now = time.monotonic()
        for event in self._parts.engine.tick(now):
            self._on_engine(event, now)
        self._parts.desk.tick(now)
        self._parts.delivery.tick(now)
        self._parts.gate.tick(len(self._parts.delivery.open_jobs), now)
        self._claims.tick(now)
        if not self._stopping:
            self._parts.housekeeping.tick(now)
            self._parts.desk.dispatch(now)
        self._parts.turn.end(now, more=not (self._stopping or self._mailbox.empty()))
        self._tell(now)

    def _events(self, patience: float) -> list[Any]:
        """What has come; waits for the first at most `patience` seconds."""
        events = []
        try:
            events.append(self._mailbox.get(timeout=patience) if patience > 0 else self._mailbox.get_nowait())
            while True:
                events.append(self._mailbox.get_nowait())
        except queue.Empty:
            return events

    def _handle(self, event: Any, now: float) -> None:
        match event:
            case engines.Mail():
                for heard in self._parts.engine.receive(event):
                    self._on_engine(heard, now)
            case Arrived():
                self._received += len(event.parsed)
                for parsed in event.parsed:
                    self._parts.gate.came_in(parsed.arrival.size)
                self._parts.reception.accept(event, now)
            case Returned():
                self._on_returned(event, now)
            case RoomSeen():
                self._parts.gate.saw(event)
            case StockTaken():
                self._parts.housekeeping.stock_taken(event)
            case parts.InboxOnline():
                self._claims.look()
            case Orphans():
                self._claims.sort_out(event, now)
            case Signalled(number=signal.SIGHUP):
                self._take_new_settings()
            case Signalled():
                self._hurry = self._stopping
                self._stopping = True
                log.info("stop_requested", signal=signal.Signals(event.number).name, hurry=self._hurry)

    def _on_engine(self, event: engines.EngineEvent, now: float) -> None:
        announce(event)
        self._parts.desk.on_engine(event, now)
        if isinstance(event, engines.WorkerReady):
            self._notifier.ready()

    def _insist(self, action: Callable[[], None]) -> None:
        """Without this nothing can begin; a disk that is full may have room in a moment."""
        while True:
            try:
                action()
            except OSError as error:
                self._wait_for_the_ledger(error)
            else:
                return

    def _on_returned(self, event: Returned, now: float) -> None:
        open_job = self._parts.delivery.open_jobs.get(event.job_id)
        if isinstance(event.error, RenderingLostError) and open_job is not None:
            self._on_rendering_lost(open_job, now)
        elif open_job is not None:
            self._parts.delivery.returned(open_job, event, now)
        elif event.error is not None:
            log.warning("errand_failed", job_id=event.job_id, errand=event.errand, error=str(event.error))
            if event.errand in claims.ERRANDS:
                self._claims.failed(now)

    def _on_rendering_lost(self, open_job: OpenJob, now: float) -> None:
        job = open_job.job
        log.warning("rendering_lost", job_id=job.job_id, source=printable(job.source), state=job.state.value)
        if job.state.final:  # it was published, and somebody has removed it since
            self._parts.delivery.renamed(open_job)
        else:
            self._parts.desk.render_again(open_job, now)

    def _wait_for_the_ledger(self, error: Exception) -> None:
        """The disk refuses a write that all else follows from: nothing is done until it is accepted."""
        if self._refusals % LEDGER_REMINDER == 0:
            log.error("ledger_unwritable", error=str(error), hint="Make room on the disk of folders.state.")
            self._notifier.status("waiting: the ledger can't be written")
        self._stand_still("the ledger can't be written")
        self._refusals += 1
        self._notifier.watchdog()
        self._patience_left -= self._asked_to_stop
        if self._patience_left <= 0:
            raise LedgerUnwritableError(f"The ledger can't be written: {error}.")
        time.sleep(LEDGER_PAUSE)

    def _patience(self) -> float:
        """How long the loop may sleep, in seconds."""
        now = time.monotonic()
        due = [self._parts.desk.next_due(), self._parts.delivery.next_due(), self._parts.engine.next_deadline()]
        due += [self._parts.gate.next_due(), self._claims.next_due()]
        due.append(None if self._stopping else self._parts.housekeeping.next_due())
        due.append(now + DRAIN_WAIT if self._drain else None)
        due.append(now + SHOW_WAIT if self._show else None)
        due.append(self._next_line if self._config.log.status_interval else None)
        if (interval := self._notifier.watchdog_interval()) is not None:
            due.append(now + interval / 2)
        return max(0.0, min([now + IDLE_WAIT, *(when for when in due if when is not None)]) - now)

    def _finished(self) -> bool:
        if self._stopping:
            return True
        if not self._drain or self._parts.delivery.open_jobs:
            return False
        seen = self._parts.inbox.view
        return seen.idle and seen.handed_over == self._received and self._mailbox.empty()

    def _tell(self, now: float) -> None:
        """Keep systemd, the log and whoever watches informed."""
        self._notifier.watchdog()
        if self._show is not None and now >= self._next_show:
            self._next_show = now + SHOW_WAIT
            self._show(self.view)
        interval = self._config.log.status_interval
        if interval and now >= self._next_line:
            self._next_line = now + interval
            view = self.view
            self._notifier.status(
                f"{view.active} active, {view.queued} queued, {view.done} done, {view.failed} failed; "
                f"{view.workers} workers"
                + ("" if view.online else "; inbox offline")
                + (f"; takes no files: {view.held}" if view.held else "")
            )
            if view.active or view.queued or view.waiting_files:
                log.info(
                    "queue_status",
                    active=view.active,
                    queued=view.queued,
                    done=view.done,
                    failed=view.failed,
                    longest_wait_s=view.longest_wait_s,
                    workers=view.workers,
                    waiting_files=view.waiting_files,
                )

    def _take_new_settings(self) -> None:
        """Reload: all or nothing."""
        self._notifier.reloading()
        try:
            config = self._reload()
            installed = parts.find_voices(config)
            defaults = parts.defaults(config)
        except ConfigurationError as error:
            log.warning("reload_refused", error=str(error))
            self._notifier.ready()
            return
        old, self._config = self._config, config
        logs.configure(config.log.level, config.log.format)
        self._parts.desk.voices = self._parts.delivery.voices = self._parts.intake.voices = installed
        self._parts.intake.defaults = defaults
        self._parts.desk.retry = parts.retry(config)
        self._parts.desk.max_audio = config.limits.max_audio
        self._parts.desk.spoken_text = config.output.spoken_text
        self._parts.gate.limits = parts.limits(config)
        self._parts.housekeeping.bounds = parts.bounds(config)
        self._parts.reception.replace_own = config.output.on_collision == "replace"
        self._parts.scheduler.configure(order=config.pool.order, aging=config.pool.aging)
        self._parts.engine.resize(staffing.workers(config, running=len(self._parts.engine.workers)))
        log.info("settings_reloaded", need_restart=settings.changed_needs_restart(old, config))
        self._notifier.ready()

    def _shut_down(self) -> None:
        self._stopping = True
        self._notifier.stopping()
        # The inbox first: what it has claimed it hands over or gives back, and nothing new comes in behind it.
        self._parts.inbox.stop(INBOX_STOP)
        # Then the workers may finish what they speak: it is paid for, and the store keeps it.
        deadline = time.monotonic() + self._config.pool.stop_timeout
        while self._parts.desk.busy and not self._hurry and time.monotonic() < deadline:
            self._turn_once(min(0.2, self._patience()))
        # What is not finished goes back to the queue, before the workers go: their end is no fault of the jobs.
        self._parts.desk.requeue_all(time.monotonic())
        for _ in self._parts.engine.stop(grace=0.0 if self._hurry else 2.0):
            pass
        # The courier last, since all before may have given it errands; a hung share does not keep us.
        self._parts.delivery.show_all()
        self._turn_once(0.0)
        self._parts.courier.stop(1.0 if self._hurry else COURIER_STOP)
        self._turn_once(0.0)
        self._close()
        log.info("daemon_stopped", queued=len(self._parts.delivery.open_jobs))

    def _close(self) -> None:
        self._parts.ledger.close()
        os.close(self._parts.lock)
