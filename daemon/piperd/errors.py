"""Every way in which a job or a start can fail: its code, what to do about it, and whether to try again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Code(StrEnum):
    """Stable names of failures; they stand in status files and scripts depend on them."""

    UNSUPPORTED_TYPE = "unsupported_type"
    NOT_TEXT = "not_text"
    NOT_A_REGULAR_FILE = "not_a_regular_file"
    FILE_TOO_LARGE = "file_too_large"
    TEXT_EMPTY = "text_empty"
    TEXT_TOO_LONG = "text_too_long"
    UNSPEAKABLE_TEXT = "unspeakable_text"
    JOB_FILE_INVALID = "job_file_invalid"
    FOLDER_DEFAULTS_INVALID = "folder_defaults_invalid"
    VOICE_UNKNOWN = "voice_unknown"
    SPEAKER_UNKNOWN = "speaker_unknown"
    VOICE_BROKEN = "voice_broken"
    TIMEOUT = "timeout"
    WORKER_DIED = "worker_died"
    SYNTHESIS_FAILED = "synthesis_failed"
    OUTPUT_FAILED = "output_failed"
    CANCELLED = "cancelled"


# Our own faults may pass by themselves; a wrong input stays wrong however often it is tried.
RETRYABLE = frozenset({Code.WORKER_DIED, Code.SYNTHESIS_FAILED, Code.OUTPUT_FAILED})

HINTS = {
    Code.UNSUPPORTED_TYPE: "Save the text as .txt, .md or .json and drop that file.",
    Code.NOT_TEXT: "Save the text as plain text in UTF-8 and drop that file.",
    Code.NOT_A_REGULAR_FILE: "Drop a copy of the file itself, not a link, pipe or device.",
    Code.FILE_TOO_LARGE: "Split the text into several files, or raise limits.max_file_bytes.",
    Code.TEXT_EMPTY: "Write some text into the file and drop it again.",
    Code.TEXT_TOO_LONG: "Split the text into several files, or raise limits.max_text.",
    Code.UNSPEAKABLE_TEXT: "Write words or numbers; punctuation alone has no sound.",
    Code.JOB_FILE_INVALID: "See `piperd schema job` for all fields and their ranges.",
    Code.FOLDER_DEFAULTS_INVALID: "Mend the piperd.toml that is named; `piperd check` lists all that are broken.",
    Code.VOICE_UNKNOWN: "See `piperd voices` for the installed voices.",
    Code.SPEAKER_UNKNOWN: "See `piperd voices` for the speakers of each voice.",
    Code.VOICE_BROKEN: "Check the voice with `piperd voices verify`, and install it again.",
    Code.TIMEOUT: "Split the text, or raise the job's `timeout`.",
    Code.WORKER_DIED: "See the log for how the worker ended; memory is the usual reason.",
    Code.SYNTHESIS_FAILED: "See the log; if the text is ordinary, please report it.",
    Code.OUTPUT_FAILED: "Check the outbox: room, permissions, and whether the share is mounted.",
    Code.CANCELLED: "Drop the file again if it should be spoken after all.",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something failed, in words for the person who dropped the file."""

    code: Code
    message: str
    hint: str = ""
    field: str | None = None
    """The field of the job file at fault, dotted: ``scenes.2.speed``."""
    scene: str | None = None
    """The id of the scene at fault."""

    @property
    def retryable(self) -> bool:
        """True where another attempt may succeed without any change to the input."""
        return self.code in RETRYABLE

    def in_scene(self, scene: str) -> Failure:
        return replace(self, scene=scene)

    def as_dict(self) -> dict[str, str | bool | None]:
        """The `error` object of a status file."""
        return {
            "code": self.code.value,
            "message": self.message,
            "hint": self.hint or HINTS[self.code],
            "field": self.field,
            "scene": self.scene,
            "retryable": self.retryable,
        }

    @classmethod
    def from_dict(cls, data: dict[str, str | bool | None]) -> Failure:
        """Undo `as_dict`."""
        return cls(
            code=Code(str(data["code"])),
            message=str(data["message"]),
            hint=str(data["hint"]),
            field=data["field"] if isinstance(data["field"], str) else None,
            scene=data["scene"] if isinstance(data["scene"], str) else None,
        )


class JobRefused(Exception):  # noqa: N818 - the name an operator would say
    """The input can't become a job, or the job can't go on."""

    def __init__(
        self, code: Code, message: str, hint: str = "", *, field: str | None = None, scene: str | None = None
    ) -> None:
        super().__init__(message)
        self.failure = Failure(code, message, hint, field, scene)

    @classmethod
    def of(cls, failure: Failure) -> JobRefused:
        return cls(failure.code, failure.message, failure.hint, field=failure.field, scene=failure.scene)


def audio_too_long(allowed: float) -> JobRefused:
    """What is said of a job whose audio is longer than `allowed` seconds."""
    return JobRefused(
        Code.TEXT_TOO_LONG,
        f"The audio is longer than the {allowed:,g} seconds that limits.max_audio allows.",
        "Split the text into several files, or raise limits.max_audio.",
    )


def unspeakable_scene(text: str, index: int, scene: str) -> JobRefused:
    """What is said of a scene, by its place in the job and its id, in which there is nothing to be heard."""
    field = f"scenes.{index}.text"
    hint = 'Write some words into it, or leave it out; with `fallback` "silence" it becomes silence.'
    if not text.strip():
        return JobRefused(Code.TEXT_EMPTY, f"The scene {scene!r} has no text.", hint, field=field, scene=scene)
    message = f"The scene {scene!r} has nothing that can be spoken: no letter and no digit."
    return JobRefused(Code.UNSPEAKABLE_TEXT, message, hint, field=field, scene=scene)


def state_unusable(error: Exception) -> Failure:
    """What is said where the disk of the state folder does not do its part."""
    hint = "Check the room on the disk of the state folder."
    return Failure(Code.OUTPUT_FAILED, f"The state folder can't be worked in: {error}.", hint)


class ConfigurationError(Exception):
    """The daemon can't start as configured; the message is one sentence for the operator (exit code 2)."""
