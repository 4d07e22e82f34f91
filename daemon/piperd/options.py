"""What can be set: every setting with its type, range, default and what it does. Values only: it reads nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_state_path
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from piperd.formats import HIGHEST_RATE, LOWEST_RATE, Captions, Encoding, Format
from piperd.machine import MIB
from piperd.manual import Allowed

PREFIX = "PIPERD_"
DELIMITER = "__"
MAX_WORKERS = 256


def _absolute(path: Path) -> Path:
    if not path.is_absolute() or "\0" in str(path):
        raise ValueError("no usable path")
    return path


def _in_home(name: str, description: str) -> Any:
    return Field(
        description=description,
        default_factory=lambda: Path.home() / "piperd" / name,
        json_schema_extra={"default": f"~/piperd/{name}"},
    )


Folder = Annotated[Path, AfterValidator(_absolute), Allowed("a path")]
VoicesOwn = Annotated[
    Annotated[float, Field(ge=0, le=2)] | None,
    BeforeValidator(lambda value: None if value == "voice" else value, json_schema_input_type=float | Literal["voice"]),
    Allowed('"voice" (the voice\'s own) or a number from 0 to 2'),
]
RateOrVoicesOwn = Annotated[
    Annotated[int, Field(ge=LOWEST_RATE, le=HIGHEST_RATE)] | None,
    BeforeValidator(lambda value: None if value == "voice" else value, json_schema_input_type=int | Literal["voice"]),
    Allowed(f'"voice" (the voice\'s own) or a whole number from {LOWEST_RATE} to {HIGHEST_RATE}'),
]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_values(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse `true` where a number belongs: Python would take it for 1."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("a truth value")
        return value


class Folders(Section):
    """Where files come from and go to. Absolute paths are best; none may lie inside another."""

    inbox: Folder = _in_home("inbox", "Texts and jobs are dropped here, also in subfolders.")
    outbox: Folder = _in_home("outbox", "Audio and status files appear here, in the inbox's subfolders.")
    archive: Folder = _in_home("archive", "Inputs whose job is done move here.")
    failed: Folder = _in_home("failed", "Inputs whose job has failed or was cancelled move here.")
    state: Folder = Field(
        description="The ledger of jobs and the spoken utterances; must be on a local disk, never on a share.",
        default_factory=lambda: user_state_path("piperd"),
        json_schema_extra={"default": "~/.local/state/piperd"},
    )
    after_done: Literal["archive", "delete"] = Field(
        default="archive", description="What becomes of an input whose job is done; failed ones are always kept."
    )


class Watch(Section):
    """How new files are noticed, and when they count as complete."""

    mode: Literal["auto", "events", "poll"] = Field(
        default="auto",
        description="Events of the kernel, or polling; auto polls on network and FUSE file systems only.",
    )
    settle: float = Field(
        default=0.3, ge=0, le=3600, description="Seconds that a file must stay unchanged before it is taken."
    )
    poll_interval: float = Field(default=2.0, ge=0.1, le=3600, description="Seconds between two looks where it polls.")
    rescan: float = Field(
        default=60.0,
        ge=1,
        le=86_400,
        description="Seconds between two complete looks, which find what no event announced.",
    )
    empty_grace: float = Field(
        default=10.0, ge=0, le=86_400, description="Seconds that an empty file is waited for before it fails."
    )
    incomplete_grace: float = Field(
        default=5.0,
        ge=0,
        le=86_400,
        description="Seconds that a JSON file which ends too early is waited for before it fails.",
    )
    ignore: tuple[str, ...] = Field(
        default=(), description='More names never to touch, as patterns like those of .gitignore: ["*.bak", "drafts/"].'
    )
    marker: str = Field(
        default="",
        description="Name of a file that must be in the inbox, or it counts as offline: so that the empty mount point "
        'of a missing share is not taken for an empty inbox. "" asks for none.',
    )


class Limits(Section):
    """What is too much: such inputs fail with a message, or wait."""

    max_file_bytes: int = Field(default=16 * MIB, ge=1, description="Size of an input file, in bytes.")
    max_text: int = Field(default=1_000_000, ge=1, description="Length of a job's text, in characters.")
    max_audio: float = Field(
        default=43_200.0, ge=1, le=31_536_000, description="Length of a job's audio with its pauses, in seconds."
    )
    max_queued_jobs: int = Field(
        default=20_000, ge=1, description="Jobs that may wait; with more, files stay in the inbox until there is room."
    )
    max_queued_bytes: int = Field(
        default=1024 * MIB, ge=1, description="Size of their inputs together, in bytes; with more, files stay too."
    )
    min_free_bytes: int = Field(
        default=1024 * MIB,
        ge=0,
        description="Bytes to be left free on the disks of outbox and state; with less, files stay in the inbox.",
    )


class Pool(Section):
    """The processes that speak."""

    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=MAX_WORKERS)] = Field(
        default="auto",
        description="How many speak at a time; auto takes the CPUs that piperd may use, held down by memory "
        "(300 MiB each).",
    )
    voices_per_worker: int = Field(
        default=2,
        ge=1,
        le=64,
        description="Voices that a worker keeps loaded, about 100 MB each; the least used goes first.",
    )
    utterance_timeout: float = Field(
        default=120.0,
        ge=1,
        le=86_400,
        description="Seconds after which a worker that is still at one sentence is killed.",
    )
    start_timeout: float = Field(
        default=60.0, ge=1, le=3600, description="Seconds that a worker may take to start and load its voice."
    )
    job_timeout: float = Field(
        default=21_600.0,
        ge=1,
        le=31_536_000,
        description="Seconds of running after which a job fails, unless the job says otherwise.",
    )
    order: Literal["fifo", "fair"] = Field(
        default="fifo",
        description="Among jobs of one priority: first in, first out, or in turns, sentence by sentence.",
    )
    aging: float = Field(
        default=600.0,
        ge=0,
        le=31_536_000,
        description="Seconds of waiting that raise a job's priority by one step; 0 is off.",
    )
    recycle_after: int = Field(
        default=2000, ge=0, description="Sentences after which a worker is replaced by a fresh one; 0 is off."
    )
    max_rss: int = Field(
        default=1024 * MIB, ge=0, description="Bytes of memory above which a worker is replaced; 0 is off."
    )
    nice: int = Field(default=5, ge=0, le=19, description="How far workers stand back for other programs.")
    stop_timeout: float = Field(
        default=60.0,
        ge=0,
        le=3600,
        description="Seconds that a stop waits for the sentences being spoken; the rest is kept.",
    )


class Retry(Section):
    """Another try after a fault that is not the input's."""

    attempts: int = Field(default=3, ge=1, le=10, description="Tries that a job has, unless the job says otherwise.")
    backoff: float = Field(
        default=2.0, ge=0, le=3600, description="Seconds before the second try; doubled for each further."
    )
    backoff_max: float = Field(default=300.0, ge=0, le=86_400, description="Seconds between two tries at most.")


class Speech(Section):
    """How it sounds, where a job does not say."""

    voice: str = Field(default="en_US-joe-medium", min_length=1, description="A name from `piperd voices`.")
    speed: float = Field(default=1.0, ge=0.25, le=4, description="2 is twice as fast.")
    noise_scale: VoicesOwn = Field(default=None, description="How much the voice varies.")
    noise_w_scale: VoicesOwn = Field(default=None, description="How much the length of sounds varies.")
    sentence_pause: float = Field(default=0.2, ge=0, le=60, description="Seconds of silence between sentences.")
    paragraph_pause: float = Field(default=0.6, ge=0, le=60, description="Seconds of silence between paragraphs.")
    scene_pause: float = Field(default=1.0, ge=0, le=60, description="Seconds of silence between the scenes of a job.")
    lexicon: tuple[Folder, ...] = Field(
        default=(), description="Files that say how words are spoken: see config/lexicon.toml. A later one counts more."
    )
    normalize: bool = Field(
        default=True, description="Write numbers, dates, abbreviations and the like in words before they are spoken."
    )


class Store(Section):
    """What was spoken, kept for when it is needed again."""

    max_bytes: int = Field(
        default=10 * 1024 * MIB,
        ge=0,
        description="Bytes that it may take: what was not needed for the longest time goes first, never what a job "
        "needs that runs. It also goes where the disk of the state runs short. 0 sets no bound.",
    )


class Retention(Section):
    """How long the ledger remembers jobs that are delivered. Their files stay where they are."""

    days: int = Field(default=30, ge=0, le=36_500, description="Days since the end of a job; 0 is for ever.")
    jobs: int = Field(default=100_000, ge=0, description="Jobs at most, the last ones; 0 sets no bound.")


class Output(Section):
    """What is written to the outbox."""

    loudness: Literal["off"] | Annotated[float, Field(ge=-40, le=-5)] = Field(
        default=-16.0,
        description="LUFS of the whole job, unless the job says otherwise; off leaves the level as the voice gives it.",
    )
    format: Format = Field(default="wav", description="Of audio files, unless the job says otherwise.")
    encoding: Encoding = Field(default="pcm16", description="Of the samples in WAV files.")
    sample_rate: RateOrVoicesOwn = Field(
        default=None, description="Hertz; where a format can't hold it, the next higher one that it can."
    )
    captions: tuple[Captions, ...] = Field(
        default=(), description='Files with the text and its times, beside the audio: any of "srt", "vtt" and "words".'
    )
    spoken_text: bool = Field(
        default=False, description="Show in the status how each scene was read: with numbers written out, say."
    )
    on_collision: Literal["number", "replace"] = Field(
        default="number",
        description="Where a name is taken: put -2, -3, … behind it, or replace what piperd itself put there.",
    )


class Voices(Section):
    """Which voices there are, beside the one that comes with piperd."""

    dirs: tuple[Folder, ...] = Field(
        default=(), description="Folders with Piper voices: NAME.onnx beside NAME.onnx.json."
    )
    tune: bool = Field(
        default=True,
        description="Speak with a copy of each model that is faster and gives the times of words, made at its first "
        "use and checked against it; without it captions are estimated.",
    )


class Api(Section):
    """The control API."""

    listen: Annotated[Literal[""], Allowed('"", as the control API comes with a later version')] = Field(
        default="", description="Address to listen on."
    )


class Log(Section):
    """What piperd tells while it runs, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The least that is told.")
    format: Literal["auto", "console", "json"] = Field(
        default="auto",
        description="One event a line, for people or for programs; auto is console on a terminal, json elsewhere.",
    )
    status_interval: float = Field(
        default=30.0,
        ge=0,
        le=86_400,
        description="Seconds between two queue_status lines while there is work; 0 is off.",
    )


class Settings(BaseSettings):
    """All settings. Made from values only: `load` is what reads file and environment."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix=PREFIX, env_nested_delimiter=DELIMITER, title="Settings of piperd"
    )

    folders: Folders = Field(default_factory=lambda: Folders())  # noqa: PLW0108 - typed where the class is not
    watch: Watch = Watch()
    limits: Limits = Limits()
    pool: Pool = Pool()
    retry: Retry = Retry()
    speech: Speech = Speech()
    output: Output = Output()
    voices: Voices = Voices()
    store: Store = Store()
    retention: Retention = Retention()
    api: Api = Api()
    log: Log = Log()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings gives all sources
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)
