"""Where everything lies in a job's audio, in frames, and what is heard when. Reads and writes no file."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from piperd.captions import Spoken
from piperd.errors import Code, JobRefused, audio_too_long
from piperd.formats import most_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from piperd.engine import RenderItem, RenderPlan
    from piperd.spoken import Header


@dataclass(slots=True)
class Span:
    """Where a scene lies, in frames; the pause behind its last utterance is not part of it."""

    start: int
    end: int

    @property
    def frames(self) -> int:
        return self.end - self.start


@dataclass(slots=True)
class _Heard:
    """An utterance in its place, as small as can be: a book has ten thousand of them."""

    item: RenderItem
    start: int
    frames: int
    goes_on: bool
    rate: int
    words: array[int] | None
    """`Header.words` in one row."""

    def spoken(self, scene: str, rate: int) -> Spoken:
        words = self.words
        return Spoken(
            text=self.item.text,
            written=self.item.written,
            words=None if words is None else tuple(zip(*(words[place::4] for place in range(4)), strict=True)),
            rate=self.rate,
            start_s=self.start / rate,
            duration_s=self.frames / rate,
            scene=scene,
            goes_on=self.goes_on,
        )


class Timeline:
    """Grows by one item at a time, in the plan's order."""

    def __init__(self, plan: RenderPlan) -> None:
        self._plan = plan
        self.frames = 0
        """Of the whole, so far."""
        self.spans: dict[int, Span] = {}
        """Of each scene that has an item, by its index."""
        self._heard: dict[int, list[_Heard]] = {}
        """The utterances of each scene; kept where captions are wanted."""

    def add(self, item: RenderItem, frames: int, header: Header | None) -> None:
        """Take in an item whose utterance has so many frames at the plan's rate; `header` is that of its entry.

        Raises `JobRefused` with ``text_too_long`` where the audio becomes longer than is allowed, or than its file
        can hold.
        """
        lead, pause = (frames_of(seconds, self._plan.sample_rate) for seconds in (item.silence, item.pause_after))
        span = self.spans.setdefault(item.scene, Span(self.frames, self.frames))
        if lead + frames:
            span.end = self.frames + lead + frames
        if self._plan.captions:
            self._remember(item, self.frames + lead, frames, header)
        self.frames += lead + frames + pause
        self._check(span)

    def heard(self, scene: int | None) -> Iterator[Spoken]:
        """The utterances of a scene, or of all, for captions: those that have a sound, in their places in the whole."""
        for index in self._heard if scene is None else (scene,):
            for each in self._heard.get(index, ()):
                yield each.spoken(self._plan.scenes[index].id, self._plan.sample_rate)

    def _remember(self, item: RenderItem, start: int, frames: int, header: Header | None) -> None:
        heard = self._heard.setdefault(item.scene, [])
        if frames and header is not None:
            words = None if header.words is None else array("q", [number for word in header.words for number in word])
            heard.append(_Heard(item, start, frames, item.goes_on, header.sample_rate, words))
        elif heard:  # a sentence whose last piece has no sound ends before it
            heard[-1].goes_on &= item.goes_on

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
