"""The pool's workers: how many there are, how each starts, is replaced and ends. It gives out no tasks.

What comes of it are events for the log, which go the way of all that workers say.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from piperd import engine as engines
from piperd.engine.child import Child, Ended
from piperd.engine.crew import Worker
from piperd.engine.starts import Backoff, Breakers
from piperd.engine.wire import Answer, Order, Verb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from piperd.engine import EngineEvent
    from piperd.engine.wire import VoiceFiles
    from piperd.errors import Failure

STOP_PATIENCE = 10.0
"""Seconds that a worker with nothing in its hands may take to end when it is asked."""


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms workers are employed. Times are seconds."""

    command: Sequence[str]
    """Starts one; it gets four arguments: descriptor of its channel, pid of its parent, nice, `voices`."""
    nice: int
    voices: int
    """How many voices each may hold."""
    start_timeout: float
    recycle_after: int
    """Utterances after which a worker is replaced; 0: never."""
    max_rss: int
    """Bytes in memory above which it is; 0: never."""


class Staff:
    """The workers. `known` has, by digest, the voices that were asked for so far; its owner adds to it."""

    def __init__(
        self,
        terms: Terms,
        *,
        clock: Callable[[], float],
        hear: Callable[[Child, Answer | Ended], None],
        say: Callable[[EngineEvent], None],
    ) -> None:
        self.workers: list[Worker] = []
        self.known: dict[str, VoiceFiles] = {}
        self._terms = terms
        self._clock = clock
        self._hear = hear
        self._say = say
        self._wanted = 0
        self._hiring = False
        self._warm: VoiceFiles | None = None
        self._backoff = Backoff()
        self._breakers = Breakers()

    def start(self, workers: int, warm: VoiceFiles | None) -> None:
        """From now on there are to be so many, and each loads the voice `warm` first."""
        self._wanted = workers
        self._warm = warm
        self._hiring = True
        self.fill()

    def resize(self, workers: int) -> None:
        self._wanted = workers
        for closed in self._breakers.reset():
            self._say(closed)
        staying = [worker for worker in self.workers if not (worker.stopping or worker.killed)]
        # those first that would take the longest to be of use: not ready, then idle, then the least busy
        staying.sort(key=lambda worker: (worker.ready, len(worker.tasks)))
        for worker in staying[: max(0, len(staying) - workers)]:
            self.dismiss(worker)
        self.fill()

    def close(self) -> None:
        """No more are started; those that are there finish what they hold and end."""
        self._hiring = False
        for worker in self.workers:
            self.dismiss(worker)

    def refusal(self, digest: str) -> Failure | None:
        """Why no worker is asked for a voice, if that is so."""
        return self._breakers.refusal(digest)

    def of(self, child: Child) -> Worker:
        return next(worker for worker in self.workers if worker.child is child)

    def tick(self, now: float) -> None:
        """End what is late, start what is missing, give rested voices a try."""
        for worker in self.workers:
            if worker.due is not None and worker.due <= now:
                self._kill_overdue(worker)
        self.fill()
        self._try_rested_voices(now)

    def next_deadline(self) -> float | None:
        due = [worker.due for worker in self.workers if worker.due is not None]
        if self._hiring and self._missing() > 0:
            due.append(self._backoff.not_before)
        if (trial := self._breakers.next_trial()) is not None and any(worker.idle for worker in self.workers):
            due.append(trial)
        return min(due, default=None)

    # ---- starting

    def _missing(self) -> int:
        return self._wanted - sum(not (worker.stopping or worker.killed) for worker in self.workers)

    def fill(self) -> None:
        """Start as many workers as are missing, unless the last ones failed to start a moment ago."""
        now = self._clock()
        while self._hiring and self._missing() > 0 and now >= self._backoff.not_before:
            taken = {worker.number for worker in self.workers}
            number = next(number for number in itertools.count(1) if number not in taken)
            try:
                child = Child(self._terms.command, self._terms.nice, self._terms.voices, self._hear)
            except OSError as error:
                reason = f"could not be started: {error}"
                self._say(engines.WorkerDied(number, 0, reason))
                for event in self._start_failed(reason):
                    self._say(event)
                return
            self.workers.append(Worker(number, child, now, now + self._terms.start_timeout))
            # with a broken voice none would ever be ready, and without one it speaks all others
            broken = self._warm is not None and self._breakers.is_open(self._warm.digest)
            child.send(Order(Verb.WARM, voice=None if broken else self._warm).encode())

    def on_ready(self, worker: Worker, said: Answer) -> Iterator[EngineEvent]:
        """It has loaded its first voice, or one that was given a try."""
        worker.voices = said.voices
        first = not worker.ready
        worker.ready, worker.on_trial = True, False
        self._backoff.succeeded()
        self.set_due(worker)
        if first:
            yield engines.WorkerReady(worker.number, worker.child.pid, self._clock() - worker.born)
        if said.failure is not None:
            yield from self.on_failure(worker, said.failure)
        yield from self.recycle()

    def on_loading(self, worker: Worker, digest: str) -> None:
        worker.loading = digest
        self._label(worker, f"loaded the voice {self.name(digest)!r}")

    def on_loaded(self, worker: Worker, digest: str) -> Iterator[EngineEvent]:
        worker.loading = ""
        self._label(worker, f"spoke with the voice {self.name(digest)!r}")
        if (closed := self._breakers.loaded(digest)) is not None:
            yield closed

    def on_failure(self, worker: Worker, failure: Failure) -> Iterator[EngineEvent]:
        """If it came of loading a voice and may pass, it counts as a failed start. What lasts its tasks are told."""
        digest, worker.loading = worker.loading, ""
        if digest and failure.retryable:
            yield from self._load_failed(digest, failure.message)

    def name(self, digest: str) -> str:
        return self.known[digest].name if digest in self.known else digest

    def _label(self, worker: Worker, label: str) -> None:
        for task in itertools.islice(worker.tasks, 1):
            task.label = label

    def _start_failed(self, reason: str) -> Iterator[EngineEvent]:
        now = self._clock()
        if self._backoff.failed(now):
            yield engines.StartsFailed(self._backoff.failures, reason, self._backoff.not_before - now)

    def _load_failed(self, digest: str, reason: str) -> Iterator[EngineEvent]:
        """A worker could not load a voice. Where another has it, it was not the voice."""
        voice = self.known.get(digest)
        if voice is None or any(digest in worker.voices and worker.loading != digest for worker in self.workers):
            return
        opened = self._breakers.failed(voice, reason, self._clock())
        if opened is not None:
            self._backoff.forget()  # those that start without it are none the worse
            yield opened

    def _try_rested_voices(self, now: float) -> None:
        """Have an idle worker load a voice whose breaker is open: no task is risked for it."""
        for worker in self.workers:
            if worker.idle and (voice := self._breakers.to_try(now)) is not None:
                worker.on_trial = True
                worker.due = now + self._terms.start_timeout
                worker.child.send(Order(Verb.WARM, voice=voice).encode())

    # ---- ending

    def recycle(self) -> Iterator[EngineEvent]:
        """Replace a worker that has done enough: one at a time, and only while all others are at work."""
        at_work = all(worker.ready and not (worker.stopping or worker.killed) for worker in self.workers)
        if not (self._hiring and at_work) or self._missing():
            return
        terms = self._terms
        for worker in self.workers:
            if terms.recycle_after and worker.spoken >= terms.recycle_after:
                reason = f"it has spoken {worker.spoken} utterances"
            elif terms.max_rss and worker.rss > terms.max_rss:
                reason = f"it has {worker.rss} bytes in memory"
            else:
                continue
            self.dismiss(worker)
            self.fill()
            yield engines.WorkerRecycled(worker.number, worker.child.pid, reason)
            return

    def dismiss(self, worker: Worker) -> None:
        """Let it finish what it holds and end."""
        if worker.stopping or worker.killed:
            return
        worker.stopping = True
        if not worker.ready or worker.on_trial:
            self.kill(worker, "it is not needed any more", asked=True)
            return
        worker.child.send(Order(Verb.STOP).encode())
        self.set_due(worker)

    def kill(self, worker: Worker, reason: str, *, asked: bool = False) -> None:
        if not worker.killed:
            worker.killed, worker.asked = reason, asked
        worker.due = None
        worker.child.kill()

    def _kill_overdue(self, worker: Worker) -> None:
        worker.overdue = not worker.killed
        if worker.tasks:
            self.kill(worker, f"it {worker.tasks[0].label} for more than {worker.tasks[0].limit:g} s")
        elif worker.stopping:
            self.kill(worker, f"it did not stop within {STOP_PATIENCE:g} s")
        else:
            self.kill(worker, f"it was not ready within {self._terms.start_timeout:g} s")

    def set_due(self, worker: Worker) -> None:
        """Deadlines count from the start of the task in its hands. One that never starts is as bad as one too slow."""
        if worker.killed:
            worker.due = None
        elif worker.tasks:
            worker.due = self._clock() + worker.tasks[0].limit
        else:
            worker.due = self._clock() + STOP_PATIENCE if worker.stopping else None

    def bury(self, worker: Worker, ended: Ended) -> Iterator[EngineEvent]:
        """It is gone: say so if it was not asked to go, say what becomes of its tasks, and start another."""
        self.workers.remove(worker)
        worker.child.join()
        expected = worker.asked or (worker.stopping and ended.status == 0)
        if not expected:
            killed = f"killed: {worker.killed}" if worker.killed else ""
            yield engines.WorkerDied(worker.number, worker.child.pid, killed or ended.reason)
            if not worker.ready and not self._breakers.is_open(worker.loading):
                yield from self._start_failed(killed or ended.reason)
            yield from self._load_failed(worker.loading, killed or ended.cause)
        for task in worker.tasks:
            if not task.settled:
                yield worker.fate(task, ended)
        self.fill()
