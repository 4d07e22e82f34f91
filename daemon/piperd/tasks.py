"""What the engine is given, and what it has in its hands: each task under its ticket. For the main thread alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from piperd.engine import RenderItem, RenderPlan

if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from pathlib import Path

    from piperd.job import Voice
    from piperd.script import Script
    from piperd.store import Store

SILENT_RATE = 22_050
"""Hertz, of a job in which silence stands in for everything."""


@dataclass(frozen=True, slots=True)
class Task:
    """An utterance that is spoken, or a job that is rendered."""

    job_id: str
    attempt_no: int
    """Of the job; a task of an earlier attempt no longer counts for it."""
    index: int | None
    """The utterance; None: rendering."""
    key: str
    """The utterance's address in the store."""


class Tasks:
    """Gives out tickets and remembers what they stand for."""

    def __init__(self) -> None:
        self._tickets = count(1)
        self._tasks: dict[int, Task] = {}

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def begin(self, task: Task) -> int:
        """A new ticket for a task that goes to the engine."""
        ticket = next(self._tickets)
        self._tasks[ticket] = task
        return ticket

    def end(self, ticket: int) -> Task | None:
        """The engine no longer has this task; None if it was ended before."""
        return self._tasks.pop(ticket, None)

    def of(self, job_id: str) -> list[int]:
        """The tickets of a job."""
        return [ticket for ticket, task in self._tasks.items() if task.job_id == job_id]


def render_plan(
    script: Script,
    silent: Container[int],
    store: Store,
    voices: Mapping[str, Voice],
    folder: Path,
    max_seconds: float,
) -> RenderPlan:
    """How to join a job whose utterances are in the store; silence stands in for the `silent` scenes."""
    rates = [voices[scene.voice].sample_rate for scene in script.spec.scenes if scene.voice in voices]
    return RenderPlan(
        items=[
            RenderItem(store.path(place.key) if place.key else None, place.pause, place.scene, place.silence)
            for place in script.timeline(silent)
        ],
        sample_rate=rates[0] if rates else SILENT_RATE,
        loudness=script.spec.loudness,
        folder=folder,
        max_seconds=max_seconds,
    )
