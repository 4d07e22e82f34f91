"""The fields that people may give a job, with their types and ranges: by job file, by scene, by folder. Values only."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from piperd.formats import HIGHEST_RATE, LOWEST_RATE, Captions, Encoding, Format

MAX_SCENES = 10_000

Speed = Annotated[float, Field(ge=0.25, le=4, description="1 is the voice's own speed, 2 is twice as fast.")]
Noise = Annotated[float, Field(ge=0, le=2)]
Pause = Annotated[float, Field(ge=0, le=60)]


class Speech(BaseModel):
    """Settings that a job and each of its scenes may give."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    voice: Annotated[str | None, Field(description="A name from `piperd voices`.")] = None
    speaker: Annotated[str | int | None, Field(description="Name or number, for voices with several.")] = None
    speed: Speed | None = None
    noise_scale: Annotated[Noise | None, Field(description="How lively; default the voice's own.")] = None
    noise_w_scale: Annotated[Noise | None, Field(description="How uneven in rhythm; default the voice's own.")] = None
    sentence_pause: Annotated[Pause | None, Field(description="Seconds between sentences.")] = None
    paragraph_pause: Annotated[Pause | None, Field(description="Seconds between paragraphs.")] = None
    scene_pause: Annotated[Pause | None, Field(description="Seconds behind a scene, before the next.")] = None


class SceneFile(Speech):
    """One entry of `scenes`."""

    text: str
    id: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    pause_after: Annotated[Pause | None, Field(description="The same as `scene_pause`, and stronger.")] = None


class Wishes(Speech):
    """What a job may ask for beside its text; a folder's `piperd.toml` may as well, for all jobs below it."""

    loudness: Annotated[
        Annotated[float, Field(ge=-40, le=-5)] | Literal["off"] | None,
        Field(description='LUFS of the whole job, or "off".'),
    ] = None
    format: Annotated[Format | None, Field(description="Of the audio files.")] = None
    encoding: Annotated[Encoding | None, Field(description="Of the samples in a WAV file.")] = None
    sample_rate: Annotated[
        Annotated[int, Field(ge=LOWEST_RATE, le=HIGHEST_RATE)] | None,
        Field(description="Hertz; default the voice's own."),
    ] = None
    captions: Annotated[
        list[Captions] | None,
        Field(description="Files with the text and its times, beside the audio."),
    ] = None
    joined: Annotated[bool | None, Field(description="The whole job in one file; default true.")] = None
    scene_files: Annotated[
        bool | None, Field(description="A file for each scene; default true where there is more than one.")
    ] = None
    priority: Annotated[int, Field(ge=0, le=9, description="9 goes first; default 5.")] | None = None
    timeout: Annotated[float, Field(gt=0, le=604_800, description="Seconds of running time.")] | None = None
    attempts: Annotated[int, Field(ge=1, le=10, description="Tries, where the fault is not the text's.")] | None = None
    fallback: Annotated[
        Literal["none", "silence"] | None,
        Field(description="silence: a scene that can't be spoken becomes silence, and the job is done, but degraded."),
    ] = None


class JobFile(Wishes):
    """A job as people write it, in JSON."""

    model_config = ConfigDict(title="piperd job")

    text: Annotated[str | None, Field(description="What to speak. Either `text` or `scenes` must be there.")] = None
    scenes: Annotated[list[SceneFile], Field(min_length=1, max_length=MAX_SCENES)] | None = None
    name: Annotated[str, Field(min_length=1, max_length=200, description="The outputs' base name.")] | None = None
    metadata: Annotated[dict[str, Any], Field(description="Comes back unchanged in the status; up to 16 KiB.")] = {}


class FolderWishes(Wishes):
    """What a folder's `piperd.toml` may give."""

    model_config = ConfigDict(title="piperd folder defaults")

    lexicon: Annotated[
        dict[str, Any],
        Field(description="Words, and what is spoken in their place; for one language in a table of its name."),
    ] = {}
