"""The local engine: a capped number of worker processes, replaced when they die. It holds no truth about jobs.

All state belongs to the main thread. The threads that listen to the workers put what they hear into a queue and
post an empty `Mail`, at which the main thread takes the queue in. Death is data: it is charged to the one task
that the worker had in its hands.
"""

from __future__ import annotations

import itertools
import queue
import sys
import time
from typing import TYPE_CHECKING

from piperd import engine as engines
from piperd.engine import wire
from piperd.engine.child import Child, Ended
from piperd.engine.crew import Task, Worker
from piperd.engine.wire import Answer, Order, Verb, Word
from piperd.errors import Code, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from piperd.engine import EngineEvent, Mail, RenderPlan
    from piperd.job import Utterance, Voice

COMMAND = (sys.executable, "-P", "-m", "piperd.engine.worker")
"""-P: a file `piper.py` in the daemon's working folder is not to be imported."""
BACKOFF, BACKOFF_MAX = 0.5, 30.0
"""Seconds before the next start after one that failed; doubled each time."""
STOP_PATIENCE = 10.0
"""Seconds that a worker with nothing in its hands may take to end when it is asked."""


class Pool:
    """Workers on this machine; see `piperd.engine.Engine` for the verbs. Times are seconds.

    The thread that calls its methods must outlive the workers: the kernel ties their lives to the thread that
    started them, not to its process (PR_SET_PDEATHSIG).
    """

    def __init__(
        self,
        workers: int,
        *,
        post: Callable[[Mail], None],
        clock: Callable[[], float] = time.monotonic,
        utterance_timeout: float = 120.0,
        render_timeout: float = 3600.0,
        start_timeout: float = 60.0,
        nice: int = 5,
        prefetch: bool = True,
        tuned: Path | None = None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        """`tuned` is the folder of the tuned copies of voices, None for the voices as they are.

        `command` starts a worker; it gets three arguments: descriptor of its channel, pid of its parent, nice.
        """
        self._wanted = workers
        self._post = post
        self._clock = clock
        self._utterance_timeout = utterance_timeout
        self._render_timeout = render_timeout
        self._start_timeout = start_timeout
        self._nice = nice
        self._prefetch = prefetch
        self._tuned = tuned
        self._command = tuple(command)
        self._heard: queue.SimpleQueue[tuple[Child, Answer | Ended] | EngineEvent] = queue.SimpleQueue()
        self._workers: list[Worker] = []
        self._warm: wire.VoiceFiles | None = None
        self._names: dict[str, str] = {}
        self._running = False
        self._failed_starts = 0
        self._not_before = 0.0

    def start(self, warm: Voice | None) -> None:
        self._warm = None if warm is None else self._files(warm)
        self._running = True
        self._fill()

    @property
    def slots(self) -> engines.Slots:
        idle = sum(worker.idle for worker in self._workers)
        ahead = sum(worker.has_room_ahead for worker in self._workers) if self._prefetch else 0
        return engines.Slots(idle, ahead)

    @property
    def workers(self) -> Sequence[engines.WorkerView]:
        return [
            engines.WorkerView(
                worker=worker.number,
                pid=worker.child.pid,
                state=worker.state,
                voices=tuple(self._names.get(digest, digest) for digest in worker.voices),
                ticket=worker.tasks[0].ticket if worker.tasks else None,
            )
            for worker in sorted(self._workers, key=lambda worker: worker.number)
        ]

    def speak(self, ticket: int, utterance: Utterance, voice: Voice, into: Path) -> None:
        files = self._files(voice)
        order = Order(Verb.SPEAK, ticket, files, utterance, into)
        label = f"spoke with the voice {voice.name!r}"
        self._hand_over(Task(ticket, Verb.SPEAK, label, voice.digest, self._utterance_timeout), order)

    def render(self, ticket: int, plan: RenderPlan) -> None:
        path = plan.folder / "plan.json"
        path.write_bytes(wire.encode_plan(plan))
        task = Task(ticket, Verb.RENDER, "joined the audio", "", self._render_timeout)
        self._hand_over(task, Order(Verb.RENDER, ticket, path=path))

    def cancel(self, ticket: int) -> None:
        for worker in self._workers:
            for place, task in enumerate(worker.tasks):
                if task.ticket != ticket or task.settled:
                    continue
                if place == 0:
                    # nothing can interrupt the model but death; it is returned when its file is at rest
                    self._kill(worker, "its task was cancelled", asked=True)
                else:
                    task.settled = True
                    worker.child.send(Order(Verb.SKIP, ticket).encode())
                    self._say(engines.Returned(ticket))

    def resize(self, workers: int) -> None:
        self._wanted = workers
        staying = [worker for worker in self._workers if not (worker.stopping or worker.killed)]
        # those first that would take the longest to be of use: not ready, then idle, then the least busy
        staying.sort(key=lambda worker: (worker.ready, len(worker.tasks)))
        for worker in staying[: max(0, len(staying) - workers)]:
            self._dismiss(worker)
        self._fill()

    def receive(self, mail: Mail) -> Iterable[EngineEvent]:  # noqa: ARG002 - it only says that something was heard
        return list(self._take_in())

    def tick(self, now: float) -> Iterable[EngineEvent]:
        for worker in self._workers:
            if worker.due is not None and worker.due <= now:
                self._kill_overdue(worker)
        self._fill()
        return ()

    def next_deadline(self) -> float | None:
        due = [worker.due for worker in self._workers if worker.due is not None]
        if self._running and self._missing():
            due.append(self._not_before)
        return min(due, default=None)

    def stop(self, grace: float) -> Iterator[EngineEvent]:
        """See `Engine.stop`. Tasks that did not end in time come back as `Returned`."""
        return iter(self._stop(grace))

    def _stop(self, grace: float) -> list[EngineEvent]:
        self._running = False
        # what waits in pipes is called back first, so that each worker has at most one task to finish
        for task in [task for worker in self._workers for task in itertools.islice(worker.tasks, 1, None)]:
            self.cancel(task.ticket)
        for worker in self._workers:
            self._dismiss(worker)
        end = time.monotonic() + grace
        events: list[EngineEvent] = []
        while self._workers:
            left = end - time.monotonic()
            if left <= 0:
                for worker in self._workers:
                    self._kill(worker, "the daemon stops", asked=True)
            try:
                heard = self._heard.get(timeout=max(left, 0.0) or None)
            except queue.Empty:
                continue
            events += self._understand(heard)
        return [*events, *self._take_in()]

    # ---- starting and ending workers

    def _missing(self) -> int:
        return self._wanted - sum(not (worker.stopping or worker.killed) for worker in self._workers)

    def _fill(self) -> None:
        """Start as many workers as are missing, unless the last ones failed to start a moment ago."""
        now = self._clock()
        while self._running and self._missing() > 0 and now >= self._not_before:
            taken = {worker.number for worker in self._workers}
            number = next(number for number in itertools.count(1) if number not in taken)
            try:
                child = Child(self._command, self._nice, self._hear)
            except OSError as error:
                self._start_failed()
                self._say(engines.WorkerDied(number, 0, f"could not be started: {error}"))
                return
            self._workers.append(Worker(number, child, now, now + self._start_timeout))
            child.send(Order(Verb.WARM, voice=self._warm).encode())

    def _start_failed(self) -> None:
        """Workers that start together fail together: one step of the back-off for all of them."""
        now = self._clock()
        if now >= self._not_before:
            self._not_before = now + min(BACKOFF_MAX, BACKOFF * 2**self._failed_starts)
            self._failed_starts += 1

    def _dismiss(self, worker: Worker) -> None:
        """Let it finish what it holds and end."""
        if worker.stopping or worker.killed:
            return
        worker.stopping = True
        if not worker.ready:
            self._kill(worker, "it is not needed any more", asked=True)
            return
        worker.child.send(Order(Verb.STOP).encode())
        self._set_due(worker)

    def _kill(self, worker: Worker, reason: str, *, asked: bool = False) -> None:
        if not worker.killed:
            worker.killed, worker.asked = reason, asked
        worker.due = None
        worker.child.kill()

    def _kill_overdue(self, worker: Worker) -> None:
        worker.overdue = not worker.killed
        if worker.tasks:
            self._kill(worker, f"it {worker.tasks[0].label} for more than {worker.tasks[0].limit:g} s")
        elif worker.stopping:
            self._kill(worker, f"it did not stop within {STOP_PATIENCE:g} s")
        else:
            self._kill(worker, f"it was not ready within {self._start_timeout:g} s")

    def _set_due(self, worker: Worker) -> None:
        """Deadlines count from the start of the task in its hands. One that never starts is as bad as one too slow."""
        if worker.killed:
            worker.due = None
        elif worker.tasks:
            worker.due = self._clock() + worker.tasks[0].limit
        else:
            worker.due = self._clock() + STOP_PATIENCE if worker.stopping else None

    # ---- giving out tasks

    def _files(self, voice: Voice) -> wire.VoiceFiles:
        self._names[voice.digest] = voice.name
        return wire.VoiceFiles(voice.name, voice.digest, voice.model, voice.config, self._tuned)

    def _hand_over(self, task: Task, order: Order) -> None:
        worker = self._choose(task)
        try:
            message = order.encode()
        except wire.TooLongError as error:
            failure = Failure(Code.SYNTHESIS_FAILED, f"It can't be passed to a worker: {error}.")
            self._say(engines.Failed(task.ticket, worker.number, failure))
            return
        worker.tasks.append(task)
        if len(worker.tasks) == 1:
            self._set_due(worker)
        if not worker.child.send(message):
            self._kill(worker, "it took no orders")

    def _choose(self, task: Task) -> Worker:
        """An idle worker, else one with room ahead; among those, one that has the voice, else the longest at work."""
        idle = [worker for worker in self._workers if worker.idle]
        ahead = [worker for worker in self._workers if worker.has_room_ahead] if self._prefetch else []
        candidates = idle or ahead
        if not candidates:
            raise RuntimeError(f"no slot for task {task.ticket}: a fault in piperd")
        return min(candidates, key=lambda worker: (not worker.has(task.digest), worker.due or 0.0))

    # ---- taking in what workers say

    def _hear(self, child: Child, said: Answer | Ended) -> None:
        """Called by the threads of the workers."""
        self._heard.put((child, said))
        self._post(engines.Mail(None))

    def _say(self, event: EngineEvent) -> None:
        """An event of our own, which goes the way of all others so that their order holds."""
        self._heard.put(event)
        self._post(engines.Mail(None))

    def _take_in(self) -> Iterator[EngineEvent]:
        while True:
            try:
                heard = self._heard.get_nowait()
            except queue.Empty:
                return
            yield from self._understand(heard)

    def _understand(self, heard: tuple[Child, Answer | Ended] | EngineEvent) -> Iterator[EngineEvent]:
        if not isinstance(heard, tuple):
            yield heard
            return
        child, said = heard
        worker = next(worker for worker in self._workers if worker.child is child)
        if isinstance(said, Ended):
            yield from self._bury(worker, said)
        elif said.word is Word.READY:
            worker.ready = True
            worker.voices = said.voices
            self._failed_starts = 0
            self._set_due(worker)
            yield engines.WorkerReady(worker.number, child.pid, self._clock() - worker.born)
        else:
            yield from self._on_task(worker, said)

    def _on_task(self, worker: Worker, said: Answer) -> Iterator[EngineEvent]:
        task = next((task for task in worker.tasks if task.ticket == said.ticket), None)
        if task is None:
            self._kill(worker, "it answered to what it was not asked")
            return
        if said.word is Word.STARTED:
            task.started = True
            if task.settled:  # the skip came too late
                self._kill(worker, "its task was cancelled", asked=True)
                return
            self._set_due(worker)
            yield engines.Started(task.ticket, worker.number)
            return
        if said.word is Word.CORRUPT:
            task.corrupt += said.corrupt
            return
        worker.tasks.remove(task)
        self._set_due(worker)
        if said.word is Word.SKIPPED:
            return
        worker.voices = said.voices
        if task.settled:
            return
        if said.failure is None:
            yield engines.Done(task.ticket, worker.number, said.seconds, said.audio_s)
        else:
            yield engines.Failed(task.ticket, worker.number, said.failure, tuple(task.corrupt))

    def _bury(self, worker: Worker, ended: Ended) -> Iterator[EngineEvent]:
        self._workers.remove(worker)
        worker.child.join()
        expected = worker.asked or (worker.stopping and ended.status == 0)
        if not expected:
            if not worker.ready:
                self._start_failed()
            reason = f"killed: {worker.killed}" if worker.killed else ended.reason
            yield engines.WorkerDied(worker.number, worker.child.pid, reason)
        for place, task in enumerate(worker.tasks):
            if not task.settled:
                yield self._bring_back(worker, task, ended, in_hands=place == 0)
        self._fill()

    def _bring_back(self, worker: Worker, task: Task, ended: Ended, *, in_hands: bool) -> EngineEvent:
        """Charge a death to the task that the worker had begun; all others are innocent."""
        if not in_hands or not task.started or (worker.killed and not worker.overdue):
            return engines.Returned(task.ticket)
        if worker.overdue:
            failure = Failure(Code.SYNTHESIS_FAILED, f"It did not end within {task.limit:g} s.")
        else:
            failure = Failure(Code.WORKER_DIED, f"A worker died while it {task.label}: {ended.cause}.")
        return engines.Lost(task.ticket, worker.number, failure)
