"""What comes next for every job in line: opened, spoken, rendered, handed to delivery, tried again. Main thread only.

Nothing here blocks: speech is the engine's, slow folders are the courier's.
"""

from __future__ import annotations

import shutil
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from piperd import engine as engines
from piperd import script
from piperd.errors import Code, Failure, JobRefused, audio_too_long, state_unusable
from piperd.job import RENDERING, JobState
from piperd.names import printable
from piperd.tasks import Task, Tasks, read_result, render_plan
from piperd.turn import OpenJob, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from piperd.delivery import Delivery
    from piperd.engine import Engine, EngineEvent
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
        max_audio: float,
        spoken_text: bool = False,
        disk_is_full: Callable[[], bool],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`max_audio` is in seconds; with `spoken_text` results tell how each scene was read.

        `disk_is_full` says whether the state folder has no room to work in.
        """
        self.voices = voices
        self.retry = retry
        self.max_audio = max_audio
        self.spoken_text = spoken_text
        self._disk_is_full = disk_is_full
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

    def dispatch(self, now: float) -> None:
        """Give the engine what it has room for: what is to be rendered first, since it ends a job."""
        while True:
            slots = self._engine.slots
            if self._to_render and (slots.idle or slots.ahead):
                self._render(self._to_render.popleft(), now)
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
                self._speak(self._running[pick.job_id], pick.index, now)

    def on_engine(self, event: EngineEvent, now: float) -> None:
        """Something has come of a task."""
        match event:
            case engines.Done():
                self._on_done(event, now)
            case engines.Failed():
                self._on_failed(event.ticket, event.failure, event.corrupt, now)
            case engines.Lost():
                self._on_failed(event.ticket, event.failure, (), now)
            case engines.Returned():
                self._on_returned(event)

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
            self._back_in_line(open_job, now)

    def render_again(self, open_job: OpenJob, now: float) -> None:
        """What was rendered did not outlive a power loss; what was spoken may have."""
        self._back_in_line(open_job, now)
        job = open_job.job
        self._scheduler.add(job.job_id, seq=job.seq, priority=job.priority, now=now)

    def cancel(self, job_id: str, now: float) -> bool:
        """End a job that waits or runs; False if it is past that."""
        open_job = self._delivery.open_jobs.get(job_id)
        if open_job is None or open_job.phase in {Phase.PUBLISHING, Phase.DELIVERING}:
            return False
        self._end(open_job, JobState.CANCELLED, Failure(Code.CANCELLED, "The job was cancelled."), now)
        return True

    def _open(self, open_job: OpenJob, now: float) -> None:
        """Begin with a job: cut it into utterances and see which of them are spoken already."""
        job = self._turn.ledger.get(open_job.job_id)
        assert job is not None
        assert job.spec is not None
        open_job.job = job
        open_job.opened = now
        try:
            performed, fallbacks = script.rehearse(job, self.voices, self.max_audio)
        except JobRefused as refused:
            self._end(open_job, JobState.FAILED, refused.failure, now)
            return
        except Exception:  # a fault of ours must cost this one job, not every start of the daemon from now on
            log.exception("text_not_cut", job_id=job.job_id, source=printable(job.source))
            failure = Failure(Code.SYNTHESIS_FAILED, "piperd failed while cutting this text; the log has the details.")
            self._end(open_job, JobState.FAILED, failure, now)
            return
        open_job.phase = Phase.SPEAKING
        open_job.attempt_no += 1
        open_job.script = performed
        open_job.audio_s = performed.pauses
        open_job.unspoken = self._store.hold(job.job_id, performed.sounds(fallbacks))
        self._running[job.job_id] = open_job
        found = sum(times for key, times in performed.times.items() if key not in open_job.unspoken)
        self._turn.move(
            open_job,
            JobState.RUNNING,
            attempt=1 + max(job.charges.get(key, 0) for key in (*performed.sounds(fallbacks), RENDERING)),
            started_at=job.started_at or self._wall(),
            wait_s=now - open_job.arrived if job.wait_s is None else job.wait_s,
            utterances=len(performed.utterances),
            from_store=found,
            spoken=found,
            fallbacks=fallbacks,
        )
        log.info("job_started", job_id=job.job_id, source=printable(job.source), utterances=len(performed.utterances))
        self._delivery.show(open_job)
        self._hand_out(open_job)

    def _hand_out(self, open_job: OpenJob) -> None:
        """Have the scheduler hand out what is not spoken yet: each sound once, at its first place."""
        assert open_job.script is not None
        self._scheduler.open(open_job.job_id, open_job.script.first_places(open_job.unspoken))
        self._render_if_spoken(open_job)

    def _speak(self, open_job: OpenJob, index: int, now: float) -> None:
        assert open_job.script is not None
        key = open_job.script.keys[index]
        if key not in open_job.unspoken:  # silence stands in for it by now
            return
        if self._store.has(key):  # another job was faster
            self._spoken(open_job, key, 0.0, now)
            return
        utterance = open_job.script.utterances[index]
        ticket = self._tasks.begin(Task(open_job.job_id, open_job.attempt_no, index, key))
        self._engine.speak(ticket, utterance, self.voices[utterance.voice], self._store.staging(ticket))

    def _spoken(self, open_job: OpenJob, key: str, audio_s: float, now: float) -> None:
        """A sound is in the store; `audio_s` is its length in seconds, 0 where that is not known here."""
        if key in open_job.unspoken and open_job.script is not None:
            open_job.unspoken.remove(key)
            times = open_job.script.times[key]
            open_job.audio_s += audio_s * times
            # progress is not written to the ledger each time: the store knows what is spoken
            open_job.job = replace(open_job.job, spoken=open_job.job.spoken + times)
            self._delivery.show(open_job)
        if open_job.audio_s > self.max_audio:
            self._end(open_job, JobState.FAILED, audio_too_long(self.max_audio).failure, now)
        else:
            self._render_if_spoken(open_job)

    def _render_if_spoken(self, open_job: OpenJob) -> None:
        if not open_job.unspoken and open_job.phase is Phase.SPEAKING:
            open_job.phase = Phase.RENDERING
            self._scheduler.remove(open_job.job_id)
            self._to_render.append(open_job.job_id)

    def _render(self, job_id: str, now: float) -> None:
        open_job = self._running.get(job_id)
        if open_job is None or open_job.phase is not Phase.RENDERING:
            return  # it ended while it waited
        assert open_job.script is not None
        folder = self._delivery.work_folder(job_id)
        plan = render_plan(open_job.job, open_job.script, self._store, self.voices, folder, self.max_audio)
        ticket = self._tasks.begin(Task(job_id, open_job.attempt_no, None, RENDERING))
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            self._engine.render(ticket, plan)
        except OSError as error:
            self._on_failed(ticket, state_unusable(error), (), now)

    def _on_done(self, done: engines.Done, now: float) -> None:
        task = self._tasks.end(done.ticket)
        if task is None:
            return
        open_job = self._current(task)
        try:
            if task.index is not None:
                self._store.commit(done.ticket, task.key)
            elif open_job is not None:
                self._rendered(open_job)
        except (OSError, ValueError) as error:
            self._fault(open_job, task.key, state_unusable(error), now)
            return
        log.debug(
            "utterance_spoken" if task.index is not None else "job_rendered",
            job_id=task.job_id,
            worker=done.worker,
            run_s=round(done.seconds, 3),
            audio_s=round(done.audio_s, 3),
        )
        if open_job is not None and task.index is not None:
            self._spoken(open_job, task.key, done.audio_s, now)

    def _rendered(self, open_job: OpenJob) -> None:
        """Raises OSError or ValueError where the result can't be read."""
        assert open_job.script is not None
        folder = self._delivery.work_folder(open_job.job_id)
        result = read_result(folder, open_job.script, spoken_text=self.spoken_text)
        self._leave(open_job)
        self._store.release(open_job.job_id)
        self._turn.save(open_job, result=result)
        self._delivery.publish(open_job)

    def _on_failed(self, ticket: int, failure: Failure, corrupt: tuple[str, ...], now: float) -> None:
        task = self._tasks.end(ticket)
        self._store.discard(ticket)
        open_job = self._current(task)
        if task is None or open_job is None:
            return
        if corrupt and open_job.repairs < MOST_REPAIRS:
            self._speak_again(open_job, corrupt, now)
        else:
            assert open_job.script is not None
            self._fault(open_job, task.key, open_job.script.blame(failure, task.index), now)

    def _speak_again(self, open_job: OpenJob, corrupt: tuple[str, ...], now: float) -> None:
        """Entries of the store did not pass their check: a torn write before a power loss, or a bad disk."""
        job = open_job.job
        log.warning("store_entries_corrupt", job_id=job.job_id, source=printable(job.source), entries=len(corrupt))
        open_job.repairs += 1
        try:
            for key in corrupt:
                self._store.drop(key)
        except OSError as error:
            self._fault(open_job, RENDERING, state_unusable(error), now)
            return
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

    def _fault(self, open_job: OpenJob | None, key: str, failure: Failure, now: float) -> None:
        """Something of a job went wrong: try it again later, if that may help and it has tries left."""
        if open_job is None:
            return
        job, spec = open_job.job, open_job.job.spec
        assert spec is not None
        if failure.code is Code.OUTPUT_FAILED and self._disk_is_full():
            open_job.waits += 1  # nobody's fault: it costs a wait, however long
            delay = self.retry.delay(open_job.waits)
        else:
            charged = job.charges.get(key, 0) + 1
            job = open_job.job = replace(job, charges={**job.charges, key: charged})
            if not failure.retryable or charged >= spec.attempts:
                if not self._let_silence_stand_in(open_job, key, failure):
                    self._end(open_job, JobState.FAILED, failure, now)
                return
            delay = self.retry.delay(charged)
        log.warning(
            "job_retried",
            job_id=job.job_id,
            source=printable(job.source),
            attempt=job.attempt,
            error=failure.message,
            delay_s=delay,
        )
        self._back_in_line(open_job, now)
        self._scheduler.add(job.job_id, seq=job.seq, priority=job.priority, now=now, not_before=now + delay)

    def _let_silence_stand_in(self, open_job: OpenJob, key: str, failure: Failure) -> bool:
        """Give up the scenes of an utterance, if the job allows that."""
        job, performed = open_job.job, open_job.script
        assert job.spec is not None
        assert performed is not None
        if job.spec.fallback != "silence" or key == RENDERING:
            return False
        lost = {index: failure.in_scene(job.spec.scenes[index].id) for index in performed.scenes_with(key)}
        log.warning(
            "scene_given_up",
            job_id=job.job_id,
            source=printable(job.source),
            scenes=[printable(job.spec.scenes[index].id) for index in sorted(lost)],
            code=failure.code.value,
            error=failure.message,
        )
        self._turn.save(open_job, fallbacks={**job.fallbacks, **lost})
        open_job.unspoken &= performed.sounds(open_job.job.fallbacks)
        self._render_if_spoken(open_job)
        return True

    def _back_in_line(self, open_job: OpenJob, now: float) -> None:
        """It starts over; what is spoken stays in the store, and is held there."""
        self._leave(open_job)
        run_s = open_job.job.run_s + now - open_job.opened
        self._turn.move(open_job, JobState.QUEUED, run_s=run_s, result=None)
        self._delivery.show(open_job)

    def _end(self, open_job: OpenJob, to: JobState, failure: Failure, now: float) -> None:
        """The job ends here, without audio. What the engine still has of it, nobody waits for."""
        self._leave(open_job)
        self._store.release(open_job.job_id)
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
        open_job = self._running.get(task.job_id) if task else None
        return open_job if open_job and task and open_job.attempt_no == task.attempt_no else None

    def _deadline(self, open_job: OpenJob) -> float:
        spec = open_job.job.spec
        assert spec is not None
        return open_job.opened + spec.timeout - open_job.job.run_s
