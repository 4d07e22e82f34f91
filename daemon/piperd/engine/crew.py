"""The pool's records: each worker with the tasks that it holds. They know what they are, and decide nothing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from piperd.engine import Lost, Returned
from piperd.engine.wire import Verb
from piperd.errors import Code, Failure

if TYPE_CHECKING:
    from piperd.engine.child import Child, Ended


@dataclass(slots=True, eq=False)
class Task:
    ticket: int
    verb: Verb
    label: str
    """What the worker does, for messages: ``spoke with the voice 'x'``."""
    digest: str
    limit: float
    """Seconds."""
    started: bool = False
    settled: bool = False
    """It has been returned; what the worker still says of it is not passed on."""
    corrupt: list[str] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Worker:
    number: int
    child: Child
    born: float
    due: float | None
    """When it is killed, on the pool's clock."""
    voices: tuple[str, ...] = ()
    loading: str = ""
    """Digest of the voice that it is loading now."""
    spoken: int = 0
    """Utterances so far."""
    rss: int = 0
    """Bytes in memory after its last task; 0 before."""
    tasks: deque[Task] = field(default_factory=deque)
    """The first is in its hands, the others wait in its pipe."""
    ready: bool = False
    on_trial: bool = False
    """It loads a voice whose breaker is open, and may die of it."""
    stopping: bool = False
    killed: str = ""
    """Why we killed it; empty: we did not."""
    asked: bool = False
    """We killed it for no fault of its own."""
    overdue: bool = False
    """It was killed for being late."""

    @property
    def idle(self) -> bool:
        return self.ready and not (self.on_trial or self.stopping or self.killed or self.tasks)

    @property
    def has_room_ahead(self) -> bool:
        busy_speaking = len(self.tasks) == 1 and self.tasks[0].verb is Verb.SPEAK
        return self.ready and busy_speaking and not (self.stopping or self.killed)

    def has(self, digest: str) -> bool:
        """Whether the voice will be there when its turn comes."""
        return digest in self.voices or any(task.digest == digest for task in self.tasks)

    def fate(self, task: Task, ended: Ended) -> Lost | Returned:
        """Charge its death to the task that it had begun; all others that it held are innocent."""
        begun = task is self.tasks[0] and task.started
        if not begun or (self.killed and not self.overdue):
            return Returned(task.ticket)
        if self.overdue:
            failure = Failure(Code.SYNTHESIS_FAILED, f"It did not end within {task.limit:g} s.")
        else:
            failure = Failure(Code.WORKER_DIED, f"A worker died while it {task.label}: {ended.cause}.")
        return Lost(task.ticket, self.number, failure)

    @property
    def state(self) -> str:
        if self.stopping or self.killed:
            return "stopping"
        if not self.ready or self.on_trial:
            return "starting"
        if not self.tasks:
            return "idle"
        return "speaking" if self.tasks[0].verb is Verb.SPEAK else "rendering"
