"""The turns of the main loop: what they decide is committed first, and only then does anything follow from it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from piperd.job import JobState, advance

if TYPE_CHECKING:
    from collections.abc import Callable

    from piperd.job import Job
    from piperd.ledger import Ledger
    from piperd.script import Script

GATHERING = 0.02
"""Seconds after a commit before the next one, while more comes that can go into it."""


class Phase(StrEnum):
    """Where an open job is on its way; finer than its state."""

    WAITING = "waiting"
    SPEAKING = "speaking"
    RENDERING = "rendering"
    PUBLISHING = "publishing"
    DELIVERING = "delivering"
    """Its end is decided; the final status and the input's last move are due."""


@dataclass(slots=True)
class OpenJob:
    """A job that is not delivered yet, as the main loop holds it."""

    job: Job
    """Its texts are in memory only while the job runs, lest a long queue fill it; of one that an earlier run has left
    there is no spec at all until then."""
    arrived: float
    """Monotonic seconds."""
    phase: Phase = Phase.WAITING
    opened: float = 0.0
    """When it began to run, this time (monotonic seconds)."""
    attempt_no: int = 0
    """Tells the tasks of one attempt from those of an earlier one."""
    script: Script | None = None
    """What it has to say, while it runs."""
    unspoken: set[str] = field(default_factory=set)
    audio_s: float = 0.0
    """Seconds of audio that are known of, while it runs."""
    repairs: int = 0
    """How often entries of the store had to be spoken anew."""
    replaces: Job | None = None
    """The delivered job whose outputs this one may replace."""
    name_no: int = 1
    """Which number of its base name it has: 2 for ``story-2``."""
    base: str = ""
    tries: int = 0
    """Failed tries of the errand that is due, those that count against the job."""
    waits: int = 0
    """Failed tries since something last went well that are nobody's fault: a full disk, a share that is away."""
    withdrawing: bool = False
    """What lies under its name is being taken back; then it gets another one."""
    untidy: bool = False
    """An errand may have left something half done."""

    @property
    def job_id(self) -> str:
        return self.job.job_id


class Turn:
    """The ledger's transaction of this turn, or of several, and what is to be done once it is durable."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._after: list[Callable[[], None]] = []
        self._committed = 0.0
        self._urgent = False

    def after(self, action: Callable[[], None]) -> None:
        """Do this once the turn is durable."""
        self._after.append(action)

    def move(self, open_job: OpenJob, to: JobState, **changes: Any) -> Job:
        """Change a job's state, and whatever else changes with it."""
        return self.save(open_job, state=advance(open_job.job.state, to), **changes)

    def save(self, open_job: OpenJob, **changes: Any) -> Job:
        """Change a job within its state."""
        open_job.job = self.ledger.save(replace(open_job.job, **changes))
        return open_job.job

    def end(self, now: float, *, more: bool) -> None:
        """End a turn. Where `more` has come already, the next turns go into the same commit: one fsync for many jobs.

        Nothing that follows from them is done before, and nobody waits for it longer than `GATHERING`.
        """
        if self._urgent or not more or now - self._committed >= GATHERING:
            self._committed = now
            self.commit()

    def hurry(self) -> None:
        """What this turn decides does not wait for others."""
        self._urgent = True

    def commit(self) -> None:
        """Make durable what was decided, and do what follows from it."""
        self.ledger.commit()
        self._urgent = False
        actions, self._after = self._after, []
        for action in actions:
            action()
