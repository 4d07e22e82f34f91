"""What follows from starts that failed: a pause before the next for all, a breaker for the voice at fault.

Decisions only: every question brings its `now`, in seconds of the pool's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from piperd.engine import VoiceBreakerClosed, VoiceBreakerOpened
from piperd.errors import Code, Failure

if TYPE_CHECKING:
    from piperd.engine.wire import VoiceFiles

BACKOFF, BACKOFF_MAX = 0.5, 30.0
"""Seconds before the next start after one that failed; doubled each time."""
TELL_FIRST, TELL_AGAIN = 5, 20
"""After how many failures in a row the log is told: that is after 8 s, then every 10 minutes."""
MOST_FAILURES = 5
"""Failed starts in a row after which a voice is left alone."""
REST = 600.0
"""Seconds until it gets another try."""
HINT = "Check it with `piperd voices verify`, install it again, and reload piperd (SIGHUP)."


class Backoff:
    """When the next worker may be started."""

    def __init__(self) -> None:
        self.not_before = 0.0
        self.failures = 0

    def failed(self, now: float) -> bool:
        """Workers that start together fail together: one step for all. True where the log should tell of it."""
        if now < self.not_before:
            return False
        self.not_before = now + min(BACKOFF_MAX, BACKOFF * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return self.failures == TELL_FIRST or self.failures % TELL_AGAIN == 0

    def succeeded(self) -> None:
        self.failures = 0

    def forget(self) -> None:
        """What failed will not be tried again: the next start need not wait."""
        self.not_before, self.failures = 0.0, 0


@dataclass(slots=True)
class _Breaker:
    voice: VoiceFiles
    failures: int = 0
    reason: str = ""
    retry_at: float | None = None
    """When it is open: when the voice is tried again."""
    on_trial: bool = False


class Breakers:
    """Which voices are left alone, by digest: a voice that was mended is another one."""

    def __init__(self) -> None:
        self._breakers: dict[str, _Breaker] = {}

    def is_open(self, digest: str) -> bool:
        breaker = self._breakers.get(digest)
        return breaker is not None and breaker.retry_at is not None

    def failed(self, voice: VoiceFiles, reason: str, now: float) -> VoiceBreakerOpened | None:
        """A worker could not load it. Opens after `MOST_FAILURES` in a row, or after one where it was on trial."""
        breaker = self._breakers.setdefault(voice.digest, _Breaker(voice))
        breaker.failures += 1
        breaker.reason = reason
        if breaker.retry_at is not None and not breaker.on_trial:  # one that had begun before
            return None
        if breaker.failures < MOST_FAILURES:
            return None
        breaker.retry_at, breaker.on_trial = now + REST, False
        return VoiceBreakerOpened(voice.name, breaker.failures, reason, REST)

    def loaded(self, digest: str) -> VoiceBreakerClosed | None:
        """A worker has loaded it: all is forgiven."""
        breaker = self._breakers.pop(digest, None)
        return None if breaker is None or breaker.retry_at is None else VoiceBreakerClosed(breaker.voice.name, "loaded")

    def refusal(self, digest: str) -> Failure | None:
        """What is said to those that ask for a voice whose breaker is open."""
        if not self.is_open(digest):
            return None
        breaker = self._breakers[digest]
        message = (
            f"The voice {breaker.voice.name!r} is not used for now: {breaker.failures} workers in a row could not load "
            f"it, the last one: {breaker.reason}."
        )
        return Failure(
            Code.VOICE_BROKEN, message, f"{HINT} By itself piperd tries it again every {REST / 60:g} minutes."
        )

    def next_trial(self) -> float | None:
        """When `to_try` has something."""
        return min((each.retry_at for each in self._breakers.values() if each.retry_at is not None), default=None)

    def to_try(self, now: float) -> VoiceFiles | None:
        """A voice that has rested: one worker is to load it. The next time is a rest later, whatever comes of it."""
        for breaker in self._breakers.values():
            if breaker.retry_at is not None and breaker.retry_at <= now:
                breaker.retry_at, breaker.on_trial = now + REST, True
                return breaker.voice
        return None

    def reset(self) -> list[VoiceBreakerClosed]:
        """Somebody may have mended something: all are tried anew."""
        was_open = [each.voice.name for each in self._breakers.values() if each.retry_at is not None]
        self._breakers.clear()
        return [VoiceBreakerClosed(name, "reloaded") for name in was_open]
