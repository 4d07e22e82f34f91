"""The pool's records: each worker with the tasks that it holds. They know what they are, and decide nothing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from piperd.engine.wire import Verb

if TYPE_CHECKING:
    from piperd.engine.child import Child


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
    tasks: deque[Task] = field(default_factory=deque)
    """The first is in its hands, the others wait in its pipe."""
    ready: bool = False
    stopping: bool = False
    killed: str = ""
    """Why we killed it; empty: we did not."""
    asked: bool = False
    """We killed it for no fault of its own."""
    overdue: bool = False
    """It was killed for being late."""

    @property
    def idle(self) -> bool:
        return self.ready and not (self.stopping or self.killed or self.tasks)

    @property
    def has_room_ahead(self) -> bool:
        busy_speaking = len(self.tasks) == 1 and self.tasks[0].verb is Verb.SPEAK
        return self.ready and busy_speaking and not (self.stopping or self.killed)

    def has(self, digest: str) -> bool:
        """Whether the voice will be there when its turn comes."""
        return digest in self.voices or any(task.digest == digest for task in self.tasks)

    @property
    def state(self) -> str:
        if self.stopping or self.killed:
            return "stopping"
        if not self.ready:
            return "starting"
        if not self.tasks:
            return "idle"
        return "speaking" if self.tasks[0].verb is Verb.SPEAK else "rendering"
