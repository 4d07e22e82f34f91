"""Where everything lies in a job's audio, in frames. Reads and writes no file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from piperd.errors import Code, JobRefused, audio_too_long
from piperd.formats import most_frames

if TYPE_CHECKING:
    from piperd.engine import RenderItem, RenderPlan


@dataclass(slots=True)
class Span:
    """Where a scene lies, in frames; the pause behind its last utterance is not part of it."""

    start: int
    end: int

    @property
    def frames(self) -> int:
        return self.end - self.start


class Timeline:
    """Grows by one item at a time, in the plan's order."""

    def __init__(self, plan: RenderPlan) -> None:
        self._plan = plan
        self.frames = 0
        """Of the whole, so far."""
        self.spans: dict[int, Span] = {}
        """Of each scene that has an item, by its index."""

    def add(self, item: RenderItem, frames: int) -> None:
        """Take in an item whose utterance has so many frames at the plan's rate.

        Raises `JobRefused` with ``text_too_long`` where the audio becomes longer than is allowed, or than its file
        can hold.
        """
        lead, pause = (frames_of(seconds, self._plan.sample_rate) for seconds in (item.silence, item.pause_after))
        span = self.spans.setdefault(item.scene, Span(self.frames, self.frames))
        if lead + frames:
            span.end = self.frames + lead + frames
        self.frames += lead + frames + pause
        self._check(span)

    def _check(self, span: Span) -> None:
        plan = self._plan
        if plan.max_seconds is not None and self.frames > plan.max_seconds * plan.sample_rate:
            raise audio_too_long(plan.max_seconds)
        most = most_frames(plan.format, plan.encoding)
        longest = max(self.frames if plan.joined else 0, span.frames if plan.scene_files else 0)
        if most is not None and longest > most:
            raise JobRefused(
                Code.TEXT_TOO_LONG,
                f"The audio is longer than the {most / plan.sample_rate:,.0f} seconds that a {plan.format} file of "
                f"{plan.encoding} samples at {plan.sample_rate:,} Hz can hold.",
                "Ask for the format flac, for smaller samples or a lower rate, or split the text into several files.",
            )


def frames_of(seconds: float, rate: int) -> int:
    """Silence comes in whole frames."""
    return round(seconds * rate)
