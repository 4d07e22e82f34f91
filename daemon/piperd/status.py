"""What people read of a job: the status file. Its fields are stable and versioned."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from piperd import results
from piperd.job import JobState
from piperd.names import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from piperd.errors import Failure
    from piperd.job import Job, Voice


class StatusModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Progress(StatusModel):
    utterances: int = Field(description="Sentences, or pieces of long ones, that the job has.")
    spoken: int = Field(description="How many of them are spoken.")
    from_store: int = Field(description="How many of those had been spoken before, for this or another job.")


class Audio(StatusModel):
    file: str = Field(description="Name of the file, relative to the status file.")
    sha256: str
    bytes: int
    duration_s: float
    sample_rate: int = Field(description="Hertz.")
    loudness_lufs: float | None = Field(default=None, description="Integrated loudness (BS.1770); null for silence.")
    true_peak_dbtp: float | None = Field(
        default=None, description="Highest peak between samples too; null for silence."
    )


class ErrorStatus(StatusModel):
    code: str
    message: str
    hint: str
    field: str | None
    scene: str | None
    retryable: bool


class SceneStatus(StatusModel):
    id: str
    file: str | None = Field(default=None, description="Its own file, relative to the status file; null without one.")
    sha256: str | None = None
    bytes: int | None = None
    start_s: float = Field(description="Where it begins in the joined file.")
    duration_s: float
    voice: str
    fallback: bool = Field(default=False, description="True where silence stands in for speech.")
    error: ErrorStatus | None = Field(default=None, description="Why it could not be spoken.")
    captions: dict[str, str] = Field(default={}, description="Its own caption files, with its own times.")
    spoken_text: str | None = Field(default=None, description="How it was read, with `output.spoken_text`.")


class Status(StatusModel):
    """The status file, `<name>.json` in the outbox."""

    schema_: Literal[1] = Field(alias="schema")
    job_id: str
    source: str = Field(description="The input, relative to the inbox; bytes that are no text are shown escaped.")
    state: JobState
    degraded: bool = Field(default=False, description="True if a scene was replaced by silence.")
    accepted_at: str
    started_at: str | None
    finished_at: str | None
    wait_s: float | None = Field(description="Seconds from acceptance to the first start.")
    run_s: float = Field(description="Seconds of running, all attempts together.")
    attempt: int
    priority: int
    progress: Progress
    audio: Audio | None
    scenes: list[SceneStatus]
    captions: dict[str, str]
    warnings: list[str]
    error: ErrorStatus | None
    metadata: dict[str, Any]
    piperd: str = Field(description="Version of the program.")
    voices: dict[str, str] = Field(description="Each voice with its digest (SHA-256 over model and config).")


def document(job: Job, voices: Mapping[str, Voice], *, version: str) -> Status:
    """The status of a job. `voices` are those installed; the ones that the job uses are named with their digest."""
    spec = job.spec
    result = job.result if job.state is JobState.DONE else None
    scenes = spec.scenes if spec else ()
    used = sorted({scene.voice for scene in scenes})
    return Status(
        schema=1,
        job_id=job.job_id,
        source=printable(job.source),
        state=job.state,
        degraded=bool(result and job.fallbacks),
        accepted_at=timestamp(job.accepted_at),
        started_at=None if job.started_at is None else timestamp(job.started_at),
        finished_at=None if job.finished_at is None else timestamp(job.finished_at),
        wait_s=None if job.wait_s is None else round(job.wait_s, 3),
        run_s=round(job.run_s, 3),
        attempt=job.attempt,
        priority=job.priority,
        progress=Progress(utterances=job.utterances, spoken=job.spoken, from_store=job.from_store),
        audio=Audio(**_named(result["audio"], job.stem)) if result and result["audio"] else None,
        scenes=[_scene(job, index, place) for index, place in enumerate(result["scenes"])] if result else [],
        captions=_captions(result, job.stem) if result else {},
        warnings=[*(spec.warnings if spec else ()), *(result["warnings"] if result else ())],
        error=_error(job.failure),
        metadata=spec.metadata if spec else {},
        piperd=version,
        voices={name: voices[name].digest for name in used if name in voices},
    )


def _scene(job: Job, index: int, place: Mapping[str, Any]) -> SceneStatus:
    assert job.spec is not None
    scene = job.spec.scenes[index]
    return SceneStatus(
        **(_named(place["audio"], job.stem) if place["audio"] else {}),
        id=scene.id,
        voice=scene.voice,
        start_s=place["start_s"],
        duration_s=place["duration_s"],
        fallback=index in job.fallbacks,
        error=_error(job.fallbacks.get(index)),
        captions=_captions(place, job.stem),
        spoken_text=place.get("spoken_text"),
    )


def _named(file: Mapping[str, Any], stem: str) -> dict[str, Any]:
    """What is known of a file, under its published name."""
    return {**file, "file": results.published(stem, file["file"])}


def _captions(part: Mapping[str, Any], stem: str) -> dict[str, str]:
    return {kind: results.published(stem, file["file"]) for kind, file in part["captions"].items()}


def _error(failure: Failure | None) -> ErrorStatus | None:
    return ErrorStatus.model_validate(failure.as_dict()) if failure else None


def encode(status: Status) -> bytes:
    """The file's content: indented, for people."""
    return (status.model_dump_json(by_alias=True, indent=2) + "\n").encode()


def timestamp(unix: float) -> str:
    """RFC 3339 in UTC with milliseconds: ``2026-11-23T19:03:08.120Z``."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def schema() -> dict[str, Any]:
    """The JSON Schema of a status file."""
    return Status.model_json_schema()
