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
from piperd.engine.staff import Staff, Terms
from piperd.engine.wire import Answer, Order, Verb, Word
from piperd.errors import Code, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from piperd.engine import EngineEvent, Mail, RenderPlan
    from piperd.job import Utterance, Voice

COMMAND = (sys.executable, "-P", "-m", "piperd.engine.worker")
"""-P: a file `piper.py` in the daemon's working folder is not to be imported."""
NO_WORKER = 0
"""Workers are numbered from 1."""


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
        recycle_after: int = 0,
        max_rss: int = 0,
        nice: int = 5,
        voices_per_worker: int = 2,
        prefetch: bool = True,
        tuned: Path | None = None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        """`tuned` is the folder of the tuned copies of voices, None for the voices as they are.

        A worker is replaced after `recycle_after` utterances, and with more than `max_rss` bytes in memory; 0: never.
        `command` starts a worker; see `Terms.command`.
        """
        self._size = workers
        self._post = post
        self._clock = clock
        self._utterance_timeout = utterance_timeout
        self._render_timeout = render_timeout
        self._prefetch = prefetch
        self._tuned = tuned
        self._heard: queue.SimpleQueue[tuple[Child, Answer | Ended] | EngineEvent] = queue.SimpleQueue()
        terms = Terms(tuple(command), nice, voices_per_worker, start_timeout, recycle_after, max_rss)
        self._staff = Staff(terms, clock=clock, hear=self._hear, say=self._say)
        self._begun = False
        self._refused = 0
        """Tasks that were refused here and whose `Failed` is still on its way."""

    def start(self, warm: Voice | None) -> None:
        if self._begun:
            return
        self._begun = True
        self._staff.start(self._size, None if warm is None else self._files(warm))

    @property
    def slots(self) -> engines.Slots:
        if self._refused:  # nothing else would stop the caller from handing over all that it has
            return engines.Slots(0, 0)
        idle = sum(worker.idle for worker in self._staff.workers)
        ahead = sum(worker.has_room_ahead for worker in self._staff.workers) if self._prefetch else 0
        return engines.Slots(idle, ahead)

    @property
    def workers(self) -> Sequence[engines.WorkerView]:
        return [
            engines.WorkerView(
                worker=worker.number,
                pid=worker.child.pid,
                state=worker.state,
                voices=tuple(self._staff.name(digest) for digest in worker.voices),
                ticket=worker.tasks[0].ticket if worker.tasks else None,
            )
            for worker in sorted(self._staff.workers, key=lambda worker: worker.number)
        ]

    def speak(self, ticket: int, utterance: Utterance, voice: Voice, into: Path) -> None:
        files = self._files(voice)
        if (refusal := self._staff.refusal(voice.digest)) is not None:
            self._refuse(ticket, refusal)
            return
        order = Order(Verb.SPEAK, ticket, files, utterance, into)
        label = f"spoke with the voice {voice.name!r}"
        self._hand_over(Task(ticket, Verb.SPEAK, label, voice.digest, self._utterance_timeout), order)

    def render(self, ticket: int, plan: RenderPlan) -> None:
        path = plan.folder / "plan.json"
        path.write_bytes(wire.encode_plan(plan))
        task = Task(ticket, Verb.RENDER, "joined the audio", "", self._render_timeout)
        self._hand_over(task, Order(Verb.RENDER, ticket, path=path))

    def cancel(self, ticket: int) -> None:
        for worker in self._staff.workers:
            for place, task in enumerate(worker.tasks):
                if task.ticket != ticket or task.settled:
                    continue
                if place == 0:
                    # nothing can interrupt the model but death; it is returned when its file is at rest
                    self._staff.kill(worker, "its task was cancelled", asked=True)
                else:
                    task.settled = True
                    worker.child.send(Order(Verb.SKIP, ticket).encode())
                    self._say(engines.Returned(ticket))

    def resize(self, workers: int) -> None:
        self._staff.resize(workers)

    def receive(self, mail: Mail) -> Iterable[EngineEvent]:  # noqa: ARG002 - it only says that something was heard
        return list(self._take_in())

    def tick(self, now: float) -> Iterable[EngineEvent]:
        self._staff.tick(now)
        return ()

    def next_deadline(self) -> float | None:
        return self._staff.next_deadline()

    def stop(self, grace: float) -> Iterator[EngineEvent]:
        """See `Engine.stop`. Tasks that did not end in time come back as `Returned`."""
        return iter(self._stop(grace))

    def _stop(self, grace: float) -> list[EngineEvent]:
        # what waits in pipes is called back first, so that each worker has at most one task to finish
        for task in [task for worker in self._staff.workers for task in itertools.islice(worker.tasks, 1, None)]:
            self.cancel(task.ticket)
        self._staff.close()
        end = time.monotonic() + grace
        events: list[EngineEvent] = []
        while self._staff.workers:
            left = end - time.monotonic()
            if left <= 0:
                for worker in self._staff.workers:
                    self._staff.kill(worker, "the daemon stops", asked=True)
            try:
                heard = self._heard.get(timeout=max(left, 0.0) or None)
            except queue.Empty:
                continue
            events += self._understand(heard)
        return [*events, *self._take_in()]

    # ---- giving out tasks

    def _files(self, voice: Voice) -> wire.VoiceFiles:
        files = wire.VoiceFiles(voice.name, voice.digest, voice.model, voice.config, self._tuned)
        self._staff.known[voice.digest] = files
        return files

    def _refuse(self, ticket: int, failure: Failure) -> None:
        """End a task that no worker gets."""
        self._refused += 1
        self._say(engines.Failed(ticket, NO_WORKER, failure))

    def _hand_over(self, task: Task, order: Order) -> None:
        worker = self._choose(task)
        try:
            message = order.encode()
        except wire.TooLongError as error:
            self._refuse(task.ticket, Failure(Code.SYNTHESIS_FAILED, f"It can't be passed to a worker: {error}."))
            return
        worker.tasks.append(task)
        if len(worker.tasks) == 1:
            self._staff.set_due(worker)
        if not worker.child.send(message):
            self._staff.kill(worker, "it took no orders")

    def _choose(self, task: Task) -> Worker:
        """An idle worker, else one with room ahead; among those, one that has the voice, or room for it."""
        idle = [worker for worker in self._staff.workers if worker.idle]
        ahead = [worker for worker in self._staff.workers if worker.has_room_ahead] if self._prefetch else []
        candidates = idle or ahead
        if not candidates:
            raise RuntimeError(f"no slot for task {task.ticket}: a fault in piperd")
        # whoever loads a voice beyond its room drops another that may be asked for again
        return min(candidates, key=lambda worker: (not worker.has(task.digest), len(worker.voices), worker.due or 0.0))

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
            self._refused -= isinstance(heard, engines.Failed)
            yield heard
            return
        child, said = heard
        worker = self._staff.of(child)
        if isinstance(said, Ended):
            yield from self._staff.bury(worker, said)
        elif said.word is Word.READY:
            yield from self._staff.on_ready(worker, said)
        elif said.word is Word.LOADING:
            self._staff.on_loading(worker, said.voice)
        elif said.word is Word.LOADED:
            yield from self._staff.on_loaded(worker, said.voice)
        else:
            yield from self._on_task(worker, said)

    def _on_task(self, worker: Worker, said: Answer) -> Iterator[EngineEvent]:
        task = next((task for task in worker.tasks if task.ticket == said.ticket), None)
        if task is None:
            self._staff.kill(worker, "it answered to what it was not asked")
            return
        if said.word is Word.STARTED:
            task.started = True
            if task.settled:  # the skip came too late
                self._staff.kill(worker, "its task was cancelled", asked=True)
                return
            self._staff.set_due(worker)
            yield engines.Started(task.ticket, worker.number)
            return
        if said.word is Word.CORRUPT:
            task.corrupt += said.corrupt
            return
        worker.tasks.remove(task)
        self._staff.set_due(worker)
        if said.word is Word.SKIPPED:
            return
        worker.voices = said.voices
        worker.rss = said.rss
        worker.spoken += task.verb is Verb.SPEAK
        if not task.settled and said.failure is None:
            yield engines.Done(task.ticket, worker.number, said.seconds, said.audio_s)
        elif not task.settled and said.failure is not None:
            yield engines.Failed(task.ticket, worker.number, said.failure, tuple(task.corrupt))
        if said.failure is not None:
            yield from self._staff.on_failure(worker, said.failure)
        yield from self._staff.recycle()
