"""The values that a job is made of, its states and the legal moves between them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from piperd.errors import Failure

RENDERING = "rendering"
"""What a failed join is charged to; no address in the store looks like it."""
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
SOUND_VERSION = 2
"""Raised when the way of speaking changes so that utterances in the store no longer sound the same."""


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return not MOVES[self]


MOVES: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.FAILED, JobState.CANCELLED}),
    # back to queued: a retry after a fault of ours, or a shutdown
    JobState.RUNNING: frozenset({JobState.QUEUED, JobState.DONE, JobState.FAILED, JobState.CANCELLED}),
    JobState.DONE: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}


class IllegalMoveError(Exception):
    """A job was to go where its state does not lead: a fault in piperd, never in an input."""


def advance(state: JobState, to: JobState) -> JobState:
    """The one way to change a job's state."""
    if to not in MOVES[state]:
        raise IllegalMoveError(f"a job can't go from {state} to {to}")
    return to


@dataclass(frozen=True, slots=True)
class Voice:
    """An installed Piper voice, as its config describes it."""

    name: str
    """For example ``en_US-joe-medium``: the model's file name without ``.onnx``."""
    model: Path
    config: Path
    digest: str
    """SHA-256 over model and config, hexadecimal: two voices with one digest sound the same."""
    language: str
    """ISO 639-1 code for sentence boundaries, from the espeak voice: ``en``, ``fa``."""
    sample_rate: int
    """Hertz."""
    speakers: dict[str, int] = field(default_factory=dict, hash=False)
    """Speaker names to numbers; empty for a voice with one speaker."""
    num_speakers: int = 1
    quality: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """A part of a job, with all its settings resolved."""

    id: str
    text: str
    """Prose: paragraphs are parted by a blank line. Markup has been stripped."""
    voice: str
    speaker: int | None = None
    speed: float = 1.0
    noise_scale: float | None = None
    """None: the voice's own."""
    noise_w_scale: float | None = None
    """None: the voice's own."""
    sentence_pause: float = 0.2
    """Seconds between sentences."""
    paragraph_pause: float = 0.6
    """Seconds between paragraphs."""
    pause_after: float = 1.0
    """Seconds of silence before the next scene."""


SCENE_FIELDS = tuple(each.name for each in fields(Scene))


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What is to be spoken and how; the ledger keeps it, so that the input file is no longer needed."""

    scenes: tuple[Scene, ...]
    name: str
    """The outputs' base name, not yet made safe for a file system."""
    priority: int = 5
    timeout: float = 21_600.0
    """Seconds of running time."""
    attempts: int = 3
    loudness: float | None = -16.0
    """LUFS; None leaves the level as the voice gives it."""
    fallback: str = "none"
    """``silence``: a scene that can't be spoken does not fail the job."""
    format: str = "wav"
    """Of the audio files: see `piperd.formats`."""
    encoding: str = "pcm16"
    """Of the samples in a WAV file."""
    sample_rate: int | None = None
    """Hertz; None: the voice's own, or the next one that the format can hold."""
    captions: tuple[str, ...] = ()
    """Of ``srt``, ``vtt`` and ``words``."""
    joined: bool = True
    """The whole job in one file."""
    scene_files: bool = False
    """A file for each scene."""
    normalize: bool = True
    """Numbers, dates, abbreviations and the like are written out before they are spoken."""
    lexicon: tuple[tuple[str, str, str], ...] = ()
    """Language (``*``: any), word or phrase, and what is spoken in its place; those that occur in the text."""
    metadata: dict[str, Any] = field(default_factory=dict, hash=False)
    warnings: tuple[str, ...] = ()

    def without_texts(self) -> JobSpec:
        """What a status tells of it: small, however long the texts are."""
        return replace(self, scenes=tuple(replace(scene, text="") for scene in self.scenes), lexicon=())

    def as_json(self) -> str:
        # asdict() would copy every value, which takes longer than all else at acceptance
        data = {each.name: getattr(self, each.name) for each in fields(self)}
        data["scenes"] = [{name: getattr(scene, name) for name in SCENE_FIELDS} for scene in self.scenes]
        return json.dumps(data, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> JobSpec:
        """Undo `as_json`."""
        data = json.loads(text)
        scenes = tuple(Scene(**scene) for scene in data.pop("scenes"))
        lexicon = tuple((language, word, spoken) for language, word, spoken in data.pop("lexicon"))
        warnings, captions = tuple(data.pop("warnings")), tuple(data.pop("captions"))
        return cls(scenes=scenes, lexicon=lexicon, warnings=warnings, captions=captions, **data)


@dataclass(frozen=True, slots=True)
class Job:
    """One input file and all that comes of it, as the ledger has it."""

    job_id: str
    seq: int
    """Order of acceptance."""
    source: bytes
    """Path of the input, relative to the inbox."""
    claimed: bytes
    """Where the input waits until the job has ended (absolute path)."""
    size: int
    """Bytes of the input."""
    folder: str
    """Subfolder of the outbox, ``""`` for the outbox itself."""
    stem: str
    """The outputs' base name, unique in its folder among all open jobs."""
    state: JobState
    priority: int
    attempt: int
    """Which try this is, or was: one more than its most unlucky utterance had before."""
    accepted_at: float
    """Unix seconds; this and the other wall times are for showing, never for deciding."""
    started_at: float | None = None
    finished_at: float | None = None
    wait_s: float | None = None
    """Seconds from acceptance to the first start."""
    run_s: float = 0.0
    """Seconds of running, all attempts together."""
    spec: JobSpec | None = None
    """None where the input could not be understood."""
    utterances: int = 0
    spoken: int = 0
    """How many of them are in the store."""
    from_store: int = 0
    """How many were there before this job came."""
    charges: dict[str, int] = field(default_factory=dict, hash=False)
    """How often each utterance, by its address in the store, has gone wrong; `RENDERING` stands for the joining."""
    fallbacks: dict[int, Failure] = field(default_factory=dict, hash=False)
    """Scenes, by index, that silence stands in for, and why."""
    crashes: int = 0
    """How often the daemon itself came to a sudden end while this job ran."""
    result: dict[str, Any] | None = field(default=None, hash=False)
    """What rendering gave: see `piperd.engine.render`."""
    failure: Failure | None = None
    delivered: bool = False
    """The final status is in the outbox and the input has left the inbox: nothing more to be done."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A sentence, or a piece of a long one: the unit that a worker speaks."""

    text: str
    """What is spoken: words, numbers already written out, and phonemes in double square brackets."""
    voice: str
    scene: int
    """Index of its scene in the job."""
    pause_after: float
    """Seconds of silence behind it; 0 between the pieces of one sentence."""
    speaker: int | None = None
    speed: float = 1.0
    noise_scale: float | None = None
    noise_w_scale: float | None = None
    pause_before: float = 0.0
    """Seconds of silence before it; only the first utterance of a scene may have some."""
    written: tuple[tuple[int, int, str], ...] = ()
    """Where `text` differs from what people wrote: stretches of it (first character, one behind the last), in order,
    and what stands in their place in captions. All else is spoken as it is written."""
    goes_on: bool = False
    """The next utterance goes on with the same sentence."""

    def key(self, voice_digest: str) -> str:
        """Hash of all that decides the sound: its address in the store (64 hexadecimal digits).

        Pauses, scene and what was written do not count: they matter only when the job is rendered.
        """
        sound = [
            SOUND_VERSION,
            voice_digest,
            self.text,
            self.speaker,
            self.speed,
            self.noise_scale,
            self.noise_w_scale,
        ]
        return hashlib.sha256(json.dumps(sound, ensure_ascii=False).encode()).hexdigest()


def new_job_id(unix_ms: int, randomness: bytes) -> str:
    """A ULID (github.com/ulid/spec): 48 bits of milliseconds and 80 random ones, so that ids sort by time.

    `randomness` has 10 bytes.
    """
    number = (unix_ms & (1 << 48) - 1) << 80 | int.from_bytes(randomness, "big")
    return "".join(CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))
