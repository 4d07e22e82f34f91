"""What speaks utterances: the verbs and events of every engine, and the values they carry.

An engine holds no truth: the ledger and the store can always hand its work out again. All its methods are
called by the main thread alone; its own threads only post `Mail` to the main thread's mailbox, which gives it
back through `receive`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from piperd.errors import Failure
    from piperd.job import Utterance, Voice


@dataclass(frozen=True, slots=True)
class Mail:
    """Something that one of the engine's threads heard; only the engine understands it."""

    payload: Any


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """A worker has loaded its first voice and can speak."""

    worker: int
    pid: int
    seconds: float
    """From its start."""


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """A worker ended without being asked to. `Lost` tells of the task it held, if any."""

    worker: int
    pid: int
    reason: str
    """For example ``killed by SIGKILL`` or ``exit code 1``."""


@dataclass(frozen=True, slots=True)
class Started:
    """A worker has begun with a task."""

    ticket: int
    worker: int


@dataclass(frozen=True, slots=True)
class Done:
    """A task has ended well: its file or folder is complete (not yet on stable storage)."""

    ticket: int
    worker: int
    seconds: float
    """Of work, as the worker measured it."""
    audio_s: float
    """Seconds of audio that came of it; 0 where the text had nothing to speak."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A task has ended badly; the worker lives."""

    ticket: int
    worker: int
    failure: Failure
    corrupt: tuple[str, ...] = ()
    """File names in the store that did not pass their check while rendering: to be spoken anew."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker died or was killed with this task in its hands: the task is charged with it."""

    ticket: int
    worker: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class Returned:
    """The task was waiting in the pipe of a worker that ended, or was cancelled: nothing is charged."""

    ticket: int


@dataclass(frozen=True, slots=True)
class WorkerRecycled:
    """A worker has done enough: it finishes what it holds and ends, and its successor is being started."""

    worker: int
    pid: int
    reason: str
    """For example ``2000 utterances``."""


@dataclass(frozen=True, slots=True)
class StartsFailed:
    """Again and again no worker could be started, for no voice's fault. Told once in a while; jobs wait."""

    failures: int
    """In a row; workers that were started together count once."""
    reason: str
    """How the last one ended."""
    retry_s: float
    """Seconds until the next try."""


@dataclass(frozen=True, slots=True)
class VoiceBreakerOpened:
    """A voice ends the workers that load it. Until its breaker closes, tasks that ask for it fail at once."""

    voice: str
    failures: int
    """In a row."""
    reason: str
    """How the last one ended."""
    rest_s: float
    """Seconds until one worker tries it again."""


@dataclass(frozen=True, slots=True)
class VoiceBreakerClosed:
    """The voice is spoken with again: a worker has loaded it, or the settings were reloaded."""

    voice: str
    reason: str
    """``loaded`` or ``reloaded``."""


EngineEvent = (
    WorkerReady
    | WorkerDied
    | WorkerRecycled
    | StartsFailed
    | VoiceBreakerOpened
    | VoiceBreakerClosed
    | Started
    | Done
    | Failed
    | Lost
    | Returned
)


@dataclass(frozen=True, slots=True)
class Slots:
    """How many more tasks the engine would take now."""

    idle: int
    """Workers with nothing to do."""
    ahead: int
    """Busy workers with room for one more task in their pipe, so that they need not wait for the next."""


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker, as shown to people."""

    worker: int
    pid: int
    state: str
    """``starting``, ``idle``, ``speaking``, ``rendering`` or ``stopping``."""
    voices: tuple[str, ...]
    ticket: int | None


@dataclass(frozen=True, slots=True)
class RenderItem:
    """One stretch of the joined file: silence, a spoken utterance (or none), and the silence behind it."""

    file: Path | None
    """The utterance in the store; None: silence stands in for it."""
    pause_after: float
    """Seconds."""
    scene: int
    """Index of the scene; items of one scene stand together."""
    silence: float = 0.0
    """Seconds of silence before the utterance, or in its place."""
    text: str = ""
    """`Utterance.text`; empty where no captions are wanted."""
    written: tuple[tuple[int, int, str], ...] = ()
    """`Utterance.written`."""
    goes_on: bool = False
    """`Utterance.goes_on`."""


@dataclass(frozen=True, slots=True)
class RenderScene:
    """A scene of the job, as its files know it."""

    id: str
    name: str
    """Base name of its files: ``01-intro``."""


@dataclass(frozen=True, slots=True)
class RenderPlan:
    """How to make a job's files out of its utterances."""

    items: Sequence[RenderItem]
    sample_rate: int
    """Hertz, of the result."""
    loudness: float | None
    """LUFS of the whole; None leaves the level alone."""
    folder: Path
    """An existing empty folder on local disk; gets ``result.json`` and what that names: ``audio.wav``,
    ``audio.srt``, …, ``scenes/01-intro.wav``, …"""
    max_seconds: float | None = None
    """A longer result is refused (``text_too_long``)."""
    scenes: Sequence[RenderScene] = ()
    """All scenes of the job, by their index."""
    format: str = "wav"
    encoding: str = "pcm16"
    joined: bool = True
    scene_files: bool = False
    captions: tuple[str, ...] = ()
    title: str = ""
    """Tag of the files, with `job_id`, where the format has tags."""
    job_id: str = ""


class Engine(Protocol):
    """Speaks and renders. Every task ends in exactly one of Done, Failed, Lost or Returned."""

    def start(self, warm: Voice | None) -> None:
        """Begin; `warm` is the voice that workers load before they say that they are ready. Once is enough."""

    @property
    def slots(self) -> Slots: ...

    @property
    def workers(self) -> Sequence[WorkerView]: ...

    def speak(self, ticket: int, utterance: Utterance, voice: Voice, into: Path) -> None:
        """Speak into the file `into` (see `piperd.spoken`). There must be a slot."""

    def render(self, ticket: int, plan: RenderPlan) -> None:
        """Join, level and encode. There must be a slot."""

    def cancel(self, ticket: int) -> None:
        """End a task at once; it comes back as `Returned`. An unknown ticket is no error: it may just have ended."""

    def resize(self, workers: int) -> None:
        """Change the number of workers: more start at once, surplus ones finish what they hold.

        Called at every reload as well: voices that were given up for a while are tried anew.
        """

    def receive(self, mail: Mail) -> Iterable[EngineEvent]:
        """Take in what one of the engine's threads posted."""

    def tick(self, now: float) -> Iterable[EngineEvent]:
        """Enforce deadlines. `now` is monotonic seconds."""

    def next_deadline(self) -> float | None:
        """When `tick` must be called at the latest (monotonic seconds); None: nothing is due."""

    def stop(self, grace: float) -> Iterable[EngineEvent]:
        """End all workers: ask, wait at most `grace` seconds, kill. Returns when none is left."""
