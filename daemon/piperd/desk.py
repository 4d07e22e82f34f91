"""What comes next for every job: opened, spoken, rendered, handed to delivery, tried again. Main thread only.

Nothing here blocks: speech is the engine's, slow folders are the courier's.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from piperd import engine as engines
from piperd import script
from piperd.errors import Code, Failure
from piperd.job import Job, JobState
from piperd.names import printable
from piperd.tasks import Task, Tasks
from piperd.turn import OpenJob, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from piperd.delivery import Delivery
    from piperd.engine import Engine, EngineEvent
    from piperd.intake import Arrived, Parsed
    from piperd.job import Voice
    from piperd.scheduler import Retry, Scheduler
    from piperd.store import Store
    from piperd.turn import Turn

log = structlog.get_logger()

MOST_REPAIRS = 3
"""How often a job may find entries of the store corrupt before it fails: more is a broken disk."""


class Desk:
    """Leads each job from acceptance to delivery."""

    def __init__(
        self,
        turn: Turn,
        scheduler: Scheduler,
        engine: Engine,
        store: Store,
        delivery: Delivery,
        *,
        voices: Mapping[str, Voice],
        retry: Retry,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.voices = voices
        self.retry = retry
        self._turn = turn
        self._scheduler = scheduler
        self._engine = engine
        self._store = store
        self._delivery = delivery
        self._wall = wall
        self._tasks = Tasks()
        self._to_render: deque[str] = deque()
        self._running: dict[str, OpenJob] = {}

    @property
    def running(self) -> Mapping[str, OpenJob]:
        """Jobs that are being spoken or rendered."""
        return self._running

    @property
    def busy(self) -> bool:
        """Whether the engine has anything in its hands."""
        return bool(self._tasks)

    def accept(self, arrived: Arrived, now: float) -> None:
        """Take a batch of inputs into the ledger, the refused ones as failed."""
        for parsed in arrived.parsed:
            open_job = self._new(parsed, arrived.names.get(parsed.folder, frozenset()), now)
            job = open_job.job
            self._delivery.adopt(open_job)
            log.info(
                "job_accepted",
                job_id=job.job_id,
                source=printable(job.source),
                priority=job.priority,
                characters=sum(len(scene.text) for scene in parsed.spec.scenes) if parsed.spec else None,
            )
            open_job.job = self._turn.ledger.accept(job)
            if parsed.failure is not None:
                self._end(open_job, JobState.FAILED, parsed.failure, now)
                continue
            self._scheduler.add(job.job_id, seq=open_job.job.seq, priority=job.priority, now=now)
            self._delivery.show(open_job)

    def restore(self, job: Job, now: float) -> None:
        """Take up a job that an earlier run of the daemon left undelivered."""
        open_job = OpenJob(job, arrived=now, opened=now, base=job.stem)
        self._delivery.adopt(open_job)
        log.info("job_restored", job_id=job.job_id, source=printable(job.source), state=job.state.value)
        if job.state.final:
            self._delivery.deliver(open_job)
        elif job.result is not None and (self._delivery.work_folder(job.job_id) / "audio.wav").exists():
            self._delivery.publish(open_job)
        else:
            if job.state is JobState.RUNNING:  # the daemon's end is no fault of the job: the attempt does not count
                self._turn.move(open_job, JobState.QUEUED, attempt=max(0, job.attempt - 1), result=None)
            self._scheduler.add(job.job_id, seq=job.seq, priority=job.priority, now=now)
            self._delivery.show(open_job)

    def dispatch(self, now: float) -> None:
        """Give the engine what it has room for: what is to be rendered first, since it ends a job."""
        while True:
            slots = self._engine.slots
            if self._to_render and (slots.idle or slots.ahead):
                self._render(self._to_render.popleft())
                continue
            # a task waits in a worker's pipe only while there is enough for every worker:
            # the last ones of a job are better off with whoever is free first
            if not slots.idle and not (slots.ahead and self._scheduler.backlog(slots.ahead + 1) > slots.ahead):
                return
            pick = self._scheduler.next(now)
            if pick is None:
                return
            if pick.index is None:
                self._open(self._delivery.open_jobs[pick.job_id], now)
            else:
                self._speak(self._running[pick.job_id], pick.index)

    def on_engine(self, event: EngineEvent, now: float) -> None:
        """Something has come of a task, or a worker has come or gone."""
        match event:
            case engines.Done():
                self._on_done(event)
            case engines.Failed():
                self._on_failed(event, now)
            case engines.Lost():
                self._store.discard(event.ticket)
                if (open_job := self._current(self._tasks.end(event.ticket))) is not None:
                    self._fault(open_job, event.failure, now)
            case engines.Returned():
                self._on_returned(event)
            case engines.Started():
                pass
            case engines.WorkerReady():
                log.info("worker_ready", worker=event.worker, pid=event.pid, seconds=round(event.seconds, 3))
            case engines.WorkerDied():
                log.warning("worker_died", worker=event.worker, pid=event.pid, reason=event.reason)

    def tick(self, now: float) -> None:
        """Fail the jobs whose time is over."""
        for open_job in list(self._running.values()):
            if self._deadline(open_job) <= now:
                assert open_job.job.spec is not None
                allowed = open_job.job.spec.timeout
                failure = Failure(Code.TIMEOUT, f"The job ran longer than its timeout of {allowed:g} seconds.")
                self._end(open_job, JobState.FAILED, failure, now)

    def next_due(self) -> float | None:
        """When `tick` or `dispatch` has something to do by itself (monotonic seconds)."""
        due = [self._deadline(open_job) for open_job in self._running.values()]
        if (delayed := self._scheduler.next_due()) is not None:
            due.append(delayed)
        return min(due, default=None)

    def requeue_all(self, now: float) -> None:
        """The daemon is to stop: what runs goes back to the queue; what is spoken stays in the store."""
        for open_job in list(self._running.values()):
            job = open_job.job
            self._leave(open_job)
            self._turn.move(
                open_job, JobState.QUEUED, attempt=job.attempt - 1, run_s=job.run_s + now - open_job.opened, result=None
            )
            self._delivery.show(open_job)

    def _new(self, parsed: Parsed, names: frozenset[str], now: float) -> OpenJob:
        number, stem, before = self._delivery.free_name(parsed.folder, parsed.stem, names)
        job = Job(
            job_id=parsed.arrival.job_id,
            seq=0,
            source=parsed.arrival.source,
            claimed=parsed.arrival.claimed,
            folder=parsed.folder,
            stem=stem,
            state=JobState.QUEUED,
            priority=parsed.spec.priority if parsed.spec else 0,
            attempt=0,
            accepted_at=self._wall(),
            spec=parsed.spec,
        )
        return OpenJob(job, arrived=now, opened=now, base=parsed.stem, name_no=number, replaces=before)

    def _open(self, open_job: OpenJob, now: float) -> None:
        """Begin with a job: cut it into utterances and see which of them are spoken already."""
        job = self._turn.ledger.get(open_job.job_id)
        assert job is not None
        assert job.spec is not None
        open_job.job = job
        missing = sorted({scene.voice for scene in job.spec.scenes} - set(self.voices))
        open_job.opened = now
        if missing:
            failure = Failure(
                Code.VOICE_UNKNOWN,
                f"The voice {missing[0]!r} is no longer installed. Installed: {', '.join(sorted(self.voices))}.",
            )
            self._end(open_job, JobState.FAILED, failure, now)
            return
        open_job.phase = Phase.SPEAKING
        open_job.attempt_no += 1
        self._running[job.job_id] = open_job
        performed = open_job.script = script.Script.of(job.spec, self.voices)
        open_job.unspoken = {key for key in performed.times if not self._store.has(key)}
        found = sum(times for key, times in performed.times.items() if key not in open_job.unspoken)
        self._turn.move(
            open_job,
            JobState.RUNNING,
            attempt=job.attempt + 1,
            started_at=job.started_at or self._wall(),
            wait_s=now - open_job.arrived if job.wait_s is None else job.wait_s,
            utterances=len(performed.utterances),
            from_store=found,
            spoken=found,
        )
        log.info("job_started", job_id=job.job_id, source=printable(job.source), utterances=len(performed.utterances))
        self._delivery.show(open_job)
        self._hand_out(open_job)

    def _hand_out(self, open_job: OpenJob) -> None:
        """Have the scheduler hand out what is not spoken yet: each sound once, at its first place."""
        assert open_job.script is not None
        self._scheduler.open(open_job.job_id, open_job.script.first_places(open_job.unspoken))
        self._render_if_spoken(open_job)

    def _speak(self, open_job: OpenJob, index: int) -> None:
        assert open_job.script is not None
        key = open_job.script.keys[index]
        if self._store.has(key):  # another job was faster
            self._spoken(open_job, key)
            return
        utterance = open_job.script.utterances[index]
        ticket = self._tasks.begin(Task(open_job.job_id, open_job.attempt_no, index, key))
        self._engine.speak(ticket, utterance, self.voices[utterance.voice], self._store.staging(ticket))

    def _spoken(self, open_job: OpenJob, key: str) -> None:
        if key in open_job.unspoken and open_job.script is not None:
            open_job.unspoken.remove(key)
            # progress is not written to the ledger each time: the store knows what is spoken
            open_job.job = replace(open_job.job, spoken=open_job.job.spoken + open_job.script.times[key])
            self._delivery.show(open_job)
        self._render_if_spoken(open_job)

    def _render_if_spoken(self, open_job: OpenJob) -> None:
        if not open_job.unspoken and open_job.phase is Phase.SPEAKING:
            open_job.phase = Phase.RENDERING
            self._scheduler.remove(open_job.job_id)
            self._to_render.append(open_job.job_id)

    def _render(self, job_id: str) -> None:
        open_job = self._running.get(job_id)
        if open_job is None or open_job.phase is not Phase.RENDERING:
            return  # it ended while it waited
        spec = open_job.job.spec
        assert spec is not None
        assert open_job.script is not None
        folder = self._delivery.work_folder(job_id)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        plan = engines.RenderPlan(
            items=[
                engines.RenderItem(self._store.path(key), pause, scene)
                for key, pause, scene in open_job.script.timeline(spec)
            ],
            sample_rate=self.voices[spec.scenes[0].voice].sample_rate,
            loudness=spec.loudness,
            folder=folder,
        )
        ticket = self._tasks.begin(Task(job_id, open_job.attempt_no, None, ""))
        self._engine.render(ticket, plan)

    def _on_done(self, done: engines.Done) -> None:
        task = self._tasks.end(done.ticket)
        if task is None:
            return
        open_job = self._current(task)
        if task.index is None:
            log.debug("job_rendered", job_id=task.job_id, worker=done.worker, run_s=round(done.seconds, 3))
            if open_job is not None:
                self._rendered(open_job)
            return
        self._store.commit(done.ticket, task.key)
        log.debug(
            "utterance_spoken",
            job_id=task.job_id,
            worker=done.worker,
            run_s=round(done.seconds, 3),
            audio_s=round(done.audio_s, 3),
        )
        if open_job is not None:
            self._spoken(open_job, task.key)

    def _rendered(self, open_job: OpenJob) -> None:
        folder = self._delivery.work_folder(open_job.job_id)
        rendered = json.loads((folder / "result.json").read_bytes())
        spec = open_job.job.spec
        assert spec is not None
        self._leave(open_job)
        self._turn.save(open_job, result=script.result(rendered, len(spec.scenes)))
        self._delivery.publish(open_job)

    def _on_failed(self, failed: engines.Failed, now: float) -> None:
        task = self._tasks.end(failed.ticket)
        self._store.discard(failed.ticket)
        open_job = self._current(task)
        if task is None or open_job is None:
            return
        if failed.corrupt and open_job.repairs < MOST_REPAIRS:
            self._speak_again(open_job, failed.corrupt, now)
        else:
            self._fault(open_job, failed.failure, now)

    def _speak_again(self, open_job: OpenJob, corrupt: tuple[str, ...], now: float) -> None:
        """Entries of the store did not pass their check: a torn write before a power loss, or a bad disk."""
        job = open_job.job
        log.warning("store_entries_corrupt", job_id=job.job_id, source=printable(job.source), entries=len(corrupt))
        open_job.repairs += 1
        for key in corrupt:
            self._store.drop(key)
        open_job.phase = Phase.SPEAKING
        open_job.unspoken = set(corrupt)
        self._scheduler.add(job.job_id, seq=job.seq, priority=job.priority, now=now)
        self._hand_out(open_job)

    def _on_returned(self, event: engines.Returned) -> None:
        task = self._tasks.end(event.ticket)
        open_job = self._current(task)
        if task is None or open_job is None:
            return
        if task.index is None:
            self._to_render.appendleft(task.job_id)
        else:
            self._scheduler.put_back(task.job_id, task.index)

    def _fault(self, open_job: OpenJob, failure: Failure, now: float) -> None:
        """An attempt has failed: try again later, if that may help and attempts are left."""
        job = open_job.job
        assert job.spec is not None
        if not failure.retryable or job.attempt >= job.spec.attempts:
            self._end(open_job, JobState.FAILED, failure, now)
            return
        delay = self.retry.delay(job.attempt)
        log.warning(
            "job_retried",
            job_id=job.job_id,
            source=printable(job.source),
            attempt=job.attempt,
            error=failure.message,
            delay_s=delay,
        )
        self._leave(open_job)
        self._turn.move(open_job, JobState.QUEUED, run_s=job.run_s + now - open_job.opened)
        self._scheduler.add(job.job_id, seq=job.seq, priority=job.priority, now=now, not_before=now + delay)
        self._delivery.show(open_job)

    def _end(self, open_job: OpenJob, to: JobState, failure: Failure, now: float) -> None:
        """The job ends here, without audio. What the engine still has of it, nobody waits for."""
        self._leave(open_job)
        if failure.code is Code.TIMEOUT:
            for ticket in self._tasks.of(open_job.job_id):
                self._engine.cancel(ticket)
        run_s = open_job.job.run_s + (now - open_job.opened if open_job.job.state is JobState.RUNNING else 0.0)
        self._delivery.finish(open_job, to, failure, run_s=run_s)

    def _leave(self, open_job: OpenJob) -> None:
        """The job no longer runs here."""
        self._running.pop(open_job.job_id, None)
        self._scheduler.remove(open_job.job_id)
        open_job.attempt_no += 1
        open_job.phase = Phase.WAITING
        open_job.script = None
        open_job.unspoken = set()

    def _current(self, task: Task | None) -> OpenJob | None:
        """The job of a task, if the attempt that the task belongs to still runs."""
        if task is None:
            return None
        open_job = self._running.get(task.job_id)
        return open_job if open_job is not None and open_job.attempt_no == task.attempt_no else None

    def _deadline(self, open_job: OpenJob) -> float:
        spec = open_job.job.spec
        assert spec is not None
        return open_job.opened + spec.timeout - open_job.job.run_s
