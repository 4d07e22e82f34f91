"""Doubles for tests, which keep the contracts of what they stand for: a scripted engine that speaks no sound."""

from __future__ import annotations

import array
import wave
from collections import deque
from typing import TYPE_CHECKING, Any

from piperd import engine as engines
from piperd import spoken
from piperd.engine import account
from piperd.engine.timeline import Timeline, frames_of
from piperd.errors import Code, Failure, JobRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from piperd.job import Utterance, Voice

SAMPLE_RATE = 22_050
SECONDS_A_CHARACTER = 0.06
"""About what an English voice takes."""


class ScriptedEngine:
    """An engine that answers at once, with a steady tone whose length fits the text.

    What is to go wrong is scripted: `faults` gives, for an utterance's text, what happens at its first, second, …
    try: ``"died"``, ``"failed"``, ``"corrupt"`` or ``"ok"``; a text that is not there always goes well.
    """

    def __init__(
        self,
        post: Callable[[engines.Mail], None],
        *,
        workers: int = 2,
        faults: dict[str, list[str]] | None = None,
        hold: bool = False,
        tone: Callable[[str, Path], float] | None = None,
        render: Callable[[engines.RenderPlan], float] | None = None,
    ) -> None:
        """With `hold`, tasks stay in hand until `let_go`.

        `tone` writes an utterance, where `speak_tone` is not to, `render` a job, where `render_tones` is not to.
        """
        self.spoken: list[str] = []
        """All texts spoken, in order."""
        self.hold = hold
        self._post = post
        self._tone = tone or speak_tone
        self._renderer = render or render_tones
        self._size = workers
        self._faults = {text: deque(script) for text, script in (faults or {}).items()}
        self._held: dict[int, Callable[[], engines.EngineEvent]] = {}
        self._stopped = False

    def start(self, warm: Voice | None) -> None:  # noqa: ARG002 - nothing to warm
        for worker in range(self._size):
            self._post(engines.Mail(engines.WorkerReady(worker, 0, 0.0)))

    @property
    def slots(self) -> engines.Slots:
        return engines.Slots(max(0, self._size - len(self._held)), 0)

    @property
    def workers(self) -> Sequence[engines.WorkerView]:
        tickets: list[int | None] = [*self._held]
        tickets += [None] * (self._size - len(tickets))
        return [
            engines.WorkerView(number, 0, "idle" if ticket is None else "speaking", (), ticket)
            for number, ticket in enumerate(tickets)
        ]

    def speak(self, ticket: int, utterance: Utterance, voice: Voice, into: Path) -> None:  # noqa: ARG002
        self._begin(ticket, lambda: self._speak(ticket, utterance, into))

    def render(self, ticket: int, plan: engines.RenderPlan) -> None:
        self._begin(ticket, lambda: self._render(ticket, plan))

    def cancel(self, ticket: int) -> None:
        if self._held.pop(ticket, None) is not None:
            self._post(engines.Mail(engines.Returned(ticket)))

    def resize(self, workers: int) -> None:
        self._size = workers

    def receive(self, mail: engines.Mail) -> Iterable[engines.EngineEvent]:
        payload = mail.payload
        if isinstance(payload, int):
            task = self._held.pop(payload, None)
            return [] if task is None else [_perform(payload, task)]
        return [payload]

    def tick(self, now: float) -> Iterable[engines.EngineEvent]:  # noqa: ARG002
        return ()

    def next_deadline(self) -> float | None:
        return None

    def stop(self, grace: float) -> Iterator[engines.EngineEvent]:  # noqa: ARG002
        tickets, self._held = list(self._held), {}
        return iter([engines.Returned(ticket) for ticket in tickets])

    def let_go(self) -> None:
        """Finish what is held, and hold nothing from now on. May be called from any thread."""
        self.hold = False
        for ticket in list(self._held):
            self._post(engines.Mail(ticket))

    def _begin(self, ticket: int, task: Callable[[], engines.EngineEvent]) -> None:
        self._held[ticket] = task
        if not self.hold:
            self._post(engines.Mail(ticket))

    def _speak(self, ticket: int, utterance: Utterance, into: Path) -> engines.EngineEvent:
        script = self._faults.get(utterance.text)
        fault = script.popleft() if script else "ok"
        self.spoken.append(utterance.text)
        if fault == "died":
            return engines.Lost(ticket, 0, Failure(Code.WORKER_DIED, "A worker died (scripted)."))
        if fault == "failed":
            return engines.Failed(ticket, 0, Failure(Code.SYNTHESIS_FAILED, "It could not be spoken (scripted)."))
        seconds = self._tone(utterance.text, into)
        if fault == "corrupt":
            into.write_bytes(into.read_bytes()[:-4])
        return engines.Done(ticket, 0, 0.0, seconds)

    def _render(self, ticket: int, plan: engines.RenderPlan) -> engines.EngineEvent:
        try:
            return engines.Done(ticket, 0, 0.0, self._renderer(plan))
        except CorruptTonesError as error:
            failure = Failure(Code.SYNTHESIS_FAILED, "Entries of the store are corrupt.")
            return engines.Failed(ticket, 0, failure, error.names)


def _perform(ticket: int, task: Callable[[], engines.EngineEvent]) -> engines.EngineEvent:
    """What goes wrong in a worker is an event, never an exception of the daemon's."""
    try:
        return task()
    except JobRefused as refused:
        return engines.Failed(ticket, 0, refused.failure)
    except OSError as error:
        return engines.Failed(ticket, 0, Failure(Code.OUTPUT_FAILED, f"It could not be written: {error}"))


class CorruptTonesError(Exception):
    """Entries of the store did not pass their check."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(f"{len(names)} entries are corrupt")
        self.names = names


def speak_tone(text: str, into: Path) -> float:
    """Write a steady tone whose length fits the text, as a spoken utterance; gives its seconds."""
    samples = array.array("f", [0.25]) * int(SAMPLE_RATE * SECONDS_A_CHARACTER * len(text))
    header, data = spoken.pack(samples.tobytes(), SAMPLE_RATE)
    into.write_bytes(header + data)
    return len(samples) / SAMPLE_RATE


def render_tones(plan: engines.RenderPlan) -> float:
    """Make a plan's files without levelling them; gives seconds of audio. Raises `CorruptTonesError`.

    What they hold is WAV with samples of 16 bits, whatever their format is called.
    """
    joined = array.array("h")
    timeline = Timeline(plan)
    corrupt = []
    for item in plan.items:
        try:
            header, samples = _tone(item, plan.sample_rate)
        except (OSError, spoken.CorruptError):
            assert item.file is not None
            corrupt.append(item.file.name)
            continue
        timeline.add(item, len(samples), header)
        joined.extend([0] * frames_of(item.silence, plan.sample_rate))
        joined.extend(samples)
        joined.extend([0] * frames_of(item.pause_after, plan.sample_rate))
    if corrupt:
        raise CorruptTonesError(tuple(corrupt))
    files: dict[int | None, dict[str, Any]] = {}
    if plan.joined:
        files[None] = _write(plan, account.audio_name(plan, None), joined)
    if plan.scene_files:
        (plan.folder / account.SCENES).mkdir()
        for index, span in timeline.spans.items():
            if span.frames:
                files[index] = _write(plan, account.audio_name(plan, index), joined[span.start : span.end])
    account.write(plan, timeline, files, dict.fromkeys(("loudness_lufs", "true_peak_dbtp", "gain_db")))
    return timeline.frames / plan.sample_rate


def _tone(item: engines.RenderItem, rate: int) -> tuple[spoken.Header | None, array.array[int]]:
    """An utterance at this rate."""
    if item.file is None:
        return None, array.array("h")
    header, content = spoken.unpack(item.file.read_bytes())
    samples = content.cast("B").cast("f")
    places = range(len(samples) * rate // header.sample_rate)
    return header, array.array("h", [int(samples[place * header.sample_rate // rate] * 32_767) for place in places])


def _write(plan: engines.RenderPlan, name: str, samples: array.array[int]) -> dict[str, Any]:
    with (plan.folder / name).open("wb") as raw, wave.open(raw, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(plan.sample_rate)
        file.writeframes(samples.tobytes())
    return account.facts(plan.folder, name)
