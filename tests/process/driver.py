"""A pool of workers that misbehave on request, and the main loop that it would have."""

from __future__ import annotations

import queue
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from piperd import engine as engines
from piperd.engine.pool import Pool
from piperd.job import Utterance, Voice

if TYPE_CHECKING:
    from collections.abc import Callable

FAKE = Path(__file__).with_name("fake_worker.py")
PATIENCE = 20.0
ENDINGS = (engines.Done, engines.Failed, engines.Lost, engines.Returned)
Event = TypeVar("Event", bound=engines.EngineEvent)


class Driver:
    """A pool and the main loop that it would have."""

    def __init__(self, folder: Path, workers: int, mode: str = "good", **options: Any) -> None:
        """The pool's options, and `warm`, the voice that its workers load first."""
        self.folder = folder
        self.ahead = 0.0
        """Seconds that the pool's clock is ahead of the real one."""
        self.mail: queue.SimpleQueue[engines.Mail] = queue.SimpleQueue()
        command = (sys.executable, "-P", str(FAKE), mode)
        warm = options.pop("warm", voice("warm", "d"))
        self.pool = Pool(workers, post=self.mail.put, clock=self.clock, command=command, nice=0, **options)
        self.events: list[engines.EngineEvent] = []
        self.pool.start(warm)

    def clock(self) -> float:
        return time.monotonic() + self.ahead

    def turn(self, wait: float = 0.01) -> None:
        try:
            mail = self.mail.get(timeout=wait)
        except queue.Empty:
            pass
        else:
            self.events += self.pool.receive(mail)
        self.events += self.pool.tick(self.clock())

    def until(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"it did not come; heard: {self.events}"
            self.turn()

    def ready(self, workers: int) -> Driver:
        self.until(lambda: self.pool.slots.idle == workers)
        return self

    def speak(self, ticket: int, text: str, by: Voice | None = None) -> None:
        utterance = Utterance(text, "warm", 0, 0.0)
        self.pool.speak(ticket, utterance, by or voice("warm", "d"), self.folder / f"{ticket}.utt")

    def started(self, ticket: int) -> None:
        self.until(lambda: any(event.ticket == ticket for event in self.of(engines.Started)))

    def ending(self, ticket: int) -> engines.EngineEvent:
        """The one event that ends the task."""
        self.until(lambda: self.endings(ticket))
        return self.endings(ticket)[0]

    def endings(self, ticket: int) -> list[engines.EngineEvent]:
        return [event for event in self.events if isinstance(event, ENDINGS) and event.ticket == ticket]

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    def deaths(self) -> list[str]:
        return [event.reason for event in self.of(engines.WorkerDied)]

    def pids(self) -> set[int]:
        return {worker.pid for worker in self.pool.workers}


def voice(name: str, letter: str, model: Path = Path("m")) -> Voice:
    return Voice(name, model, Path("c"), letter * 64, "en", 22_050)
