"""What a dropped file is, and what it asks for: name and bytes become a `JobSpec`, or a `JobRefused` that says why."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from piperd import formats, strictjson, text
from piperd.errors import Code, JobRefused, unspeakable_scene
from piperd.fielderrors import written, wrong_field
from piperd.job import JobSpec, Scene
from piperd.jobfields import JobFile, SceneFile
from piperd.lexicon import Lexicon, flat
from piperd.names import safe_stem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

    from piperd.job import Voice

T = TypeVar("T")
MAX_METADATA = 16 << 10
"""Bytes of `metadata`, written as compact JSON."""
HALF_NAMED = "piperd.toml.txt"
"""What editors make of piperd.toml where they show no suffixes: nothing that anybody wants to hear."""


class Kind(StrEnum):
    """What piperd does with a file, by its name alone."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JOB = "job"
    DOCUMENT = "document"
    """Meant to be read by people, but not by piperd: claimed and failed with what to do instead."""
    FOREIGN = "foreign"
    """Not for piperd: left alone, reported once."""


KINDS = {
    ".txt": Kind.TEXT,
    ".md": Kind.MARKDOWN,
    ".markdown": Kind.MARKDOWN,
    ".json": Kind.JOB,
    **dict.fromkeys(
        (".doc", ".docx", ".odt", ".rtf", ".pdf", ".epub", ".htm", ".html", ".csv", ".srt", ".vtt", ".xml", ".tex"),
        Kind.DOCUMENT,
    ),
    **dict.fromkeys((".pages", ".xls", ".xlsx", ".ods", ".ppt", ".pptx", ".odp", ".mobi", ".azw3"), Kind.DOCUMENT),
}


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a job gets where it does not say otherwise; from the settings and the defaults of folders."""

    voice: str = "en_US-joe-medium"
    speaker: str | int | None = None
    speed: float = 1.0
    noise_scale: float | None = None
    noise_w_scale: float | None = None
    sentence_pause: float = 0.2
    paragraph_pause: float = 0.6
    scene_pause: float = 1.0
    loudness: float | None = -16.0
    timeout: float = 21_600.0
    attempts: int = 3
    priority: int = 5
    fallback: str = "none"
    format: str = "wav"
    encoding: str = "pcm16"
    sample_rate: int | None = None
    """Hertz; None: the voice's own."""
    captions: tuple[str, ...] = ()
    joined: bool = True
    scene_files: bool | None = None
    """None: where there is more than one scene."""
    normalize: bool = True
    lexicon: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By language (``*``: any): words and phrases, and what is spoken in their place."""
    max_text: int = 1_000_000
    """Characters that a job may have."""
    speaker_of: str | None = None
    """The voice that `speaker` goes with; None: whichever the job has."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """By field: the folder's file that gave the value; for fields that are not here it was the settings."""


def kind_of(name: str) -> Kind:
    """The kind of a file by the last suffix of its name; letter case does not matter."""
    dot = name.rfind(".")
    return KINDS.get(name[dot:].lower(), Kind.FOREIGN) if dot > 0 else Kind.FOREIGN


def parse(name: str, content: bytes, defaults: Defaults, voices: Mapping[str, Voice]) -> JobSpec:
    """Understand a dropped file. `name` is its base name; raises `JobRefused`."""
    kind = kind_of(name)
    suffix = name[name.rfind(".") :]
    if name.lower() == HALF_NAMED:
        raise JobRefused(
            Code.UNSUPPORTED_TYPE,
            "This is called piperd.toml.txt; a file with a folder's defaults is called piperd.toml.",
            "Take .txt off its name (Windows hides it until file name extensions are shown), and put it back.",
        )
    if kind in (Kind.DOCUMENT, Kind.FOREIGN):
        raise JobRefused(Code.UNSUPPORTED_TYPE, f"piperd does not read {suffix} files.")
    if not content:
        raise JobRefused(Code.TEXT_EMPTY, "The file is empty.")
    decoded, warning = text.decode(content)
    warnings = [warning] if warning else []
    if kind is Kind.JOB:
        job = _validated(strictjson.loads(decoded))
    else:
        if not decoded.strip():
            raise JobRefused(Code.TEXT_EMPTY, "The file has only white space.")
        job = JobFile(text=text.prose(decoded) if kind is Kind.MARKDOWN else decoded)
    return _resolve(job, name.removesuffix(suffix), defaults, voices, warnings)


def schema() -> dict[str, Any]:
    """The JSON Schema of a job file."""
    return JobFile.model_json_schema()


def _validated(data: Any) -> JobFile:
    if not isinstance(data, dict):
        raise JobRefused(Code.JOB_FILE_INVALID, f"A job is an object in braces; this is {written(data)}.")
    try:
        job = JobFile.model_validate(data)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False)[0]) from None
    if (job.text is None) == (job.scenes is None):
        found = "both" if job.text is not None else "neither"
        raise JobRefused(
            Code.JOB_FILE_INVALID, f"Exactly one of `text` and `scenes` must be there; found {found}.", field="text"
        )
    texts = [job.text or ""] if job.scenes is None else [scene.text for scene in job.scenes]
    if not any(each.strip() for each in texts):
        raise JobRefused(Code.TEXT_EMPTY, "The job has no text.", field="scenes" if job.scenes else "text")
    size = len(json.dumps(job.metadata, ensure_ascii=False, separators=(",", ":")).encode())
    if size > MAX_METADATA:
        raise JobRefused(
            Code.JOB_FILE_INVALID, f"`metadata` has {size} bytes; {MAX_METADATA} are allowed.", field="metadata"
        )
    return job


def _refusal(error: ErrorDetails) -> JobRefused:
    return wrong_field(
        Code.JOB_FILE_INVALID,
        error,
        what="a field of a job",
        known={*JobFile.model_fields, *SceneFile.model_fields},
        allowed=(SceneFile if "scenes" in error["loc"] else JobFile).model_fields,
    )


def _resolve(job: JobFile, stem: str, defaults: Defaults, voices: Mapping[str, Voice], warnings: list[str]) -> JobSpec:
    parts = job.scenes if job.scenes is not None else [SceneFile(text=job.text or "")]
    length = sum(len(part.text) for part in parts)
    if length > defaults.max_text:
        raise JobRefused(
            Code.TEXT_TOO_LONG, f"The text has {length:,} characters; limits.max_text allows {defaults.max_text:,}."
        )
    ids = _scene_ids(parts)
    scenes = tuple(
        _nth_scene(index, part, scene_id, job, defaults, voices, warnings)
        for index, (part, scene_id) in enumerate(zip(parts, ids, strict=True))
    )
    if not any(text.speakable(scene.text) for scene in scenes):
        raise JobRefused(Code.UNSPEAKABLE_TEXT, "The text has no letter or digit, so nothing can be spoken.")
    if _either(job.fallback, defaults.fallback) != "silence":
        for index, scene in enumerate(scenes):
            if not text.speakable(scene.text):
                raise unspeakable_scene(scene.text, index, scene.id)
    loudness = defaults.loudness if job.loudness is None else job.loudness
    joined, scene_files = _files(job, defaults)
    audio_format, encoding, rate = _sound(job, defaults)
    return JobSpec(
        scenes=scenes,
        name=job.name or safe_stem(stem),
        priority=_either(job.priority, defaults.priority),
        timeout=_either(job.timeout, defaults.timeout),
        attempts=_either(job.attempts, defaults.attempts),
        loudness=None if loudness == "off" else loudness,
        fallback=_either(job.fallback, defaults.fallback),
        format=audio_format,
        encoding=encoding,
        sample_rate=rate,
        captions=tuple(dict.fromkeys(_either(job.captions, defaults.captions))),
        joined=joined,
        scene_files=scene_files,
        normalize=defaults.normalize,
        lexicon=Lexicon.of(flat(defaults.lexicon)).occurring(
            (scene.text, text.locale(voices[scene.voice])) for scene in scenes
        ),
        metadata=job.metadata,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _files(job: JobFile, defaults: Defaults) -> tuple[bool, bool]:
    """Whether the job is wanted in one file, and each scene in one of its own."""
    joined = _either(job.joined, defaults.joined)
    scene_files = _either(job.scene_files, defaults.scene_files, job.scenes is not None and len(job.scenes) > 1)
    if not joined and not scene_files:
        field = "joined" if job.joined is not None else "scene_files" if job.scene_files is not None else None
        raise _cannot(
            Code.JOB_FILE_INVALID, "With `joined` and `scene_files` both false there would be no audio.",
            "Set one of them to true.", field=field or "joined", given=field is not None, defaults=defaults,
        )  # fmt: skip
    return joined, scene_files


def _sound(job: JobFile, defaults: Defaults) -> tuple[str, str, int | None]:
    """Format, encoding and sample rate, which must go together."""
    audio_format = _either(job.format, defaults.format)
    # a folder's that is further away than the format is for those of its jobs that are WAV files
    origin = defaults.origins.get("encoding")
    nearer = origin is not None and origin.count("/") >= defaults.origins.get("format", "").count("/")
    if audio_format != "wav" and (job.encoding is not None or (job.format is None and nearer)):
        raise _cannot(
            Code.JOB_FILE_INVALID, f"'encoding' is for the format \"wav\"; the format here is {audio_format!r}.",
            'Leave out `encoding`, or set `format` to "wav".',
            field="encoding", given=job.encoding is not None, defaults=defaults,
        )  # fmt: skip
    rate = _first(job.sample_rate, defaults.sample_rate)
    if rate is not None:
        try:
            formats.check_rate(audio_format, rate)
        except formats.RateRefusedError as refused:
            if job.sample_rate is None and "sample_rate" not in defaults.origins:
                # of the settings, which know nothing of this job's format
                return audio_format, defaults.encoding, formats.rate_for(audio_format, rate)
            raise _cannot(
                Code.JOB_FILE_INVALID,
                f"'sample_rate': {audio_format} can't hold {rate} Hz; "
                f"it can hold {', '.join(map(str, refused.rates))}.",
                "Leave out `sample_rate`, or choose another `format`.",
                field="sample_rate", given=job.sample_rate is not None, defaults=defaults,
            ) from None  # fmt: skip
    return audio_format, _either(job.encoding, defaults.encoding), rate


def _scene_ids(parts: list[SceneFile]) -> list[str]:
    ids = [part.id or str(number) for number, part in enumerate(parts, 1)]
    if len(set(ids)) < len(ids):
        twice = next(scene_id for scene_id in ids if ids.count(scene_id) > 1)
        raise JobRefused(
            Code.JOB_FILE_INVALID, f"Two scenes have the id {twice!r}.", "Give each scene its own id.",
            field=f"scenes.{len(ids) - 1 - ids[::-1].index(twice)}.id", scene=twice,
        )  # fmt: skip
    return ids


def _nth_scene(
    index: int,
    part: SceneFile,
    scene_id: str,
    job: JobFile,
    defaults: Defaults,
    voices: Mapping[str, Voice],
    warnings: list[str],
) -> Scene:
    """The scene. What is wrong with a field of its own is said of that field: ``scenes.1.speaker``."""
    try:
        return _scene(part, scene_id, job, defaults, voices, warnings)
    except JobRefused as refused:
        field = refused.failure.field
        if job.scenes is None or field is None or getattr(part, field) is None:
            raise
        raise JobRefused.of(replace(refused.failure, field=f"scenes.{index}.{field}")) from None


def _scene(
    part: SceneFile, scene_id: str, job: JobFile, defaults: Defaults, voices: Mapping[str, Voice], warnings: list[str]
) -> Scene:
    own = part.voice or job.voice
    name = own or defaults.voice
    voice = voices.get(name)
    if voice is None:
        raise _cannot(
            Code.VOICE_UNKNOWN,
            f"There is no voice {name!r}. Installed: {', '.join(sorted(voices)) or 'none'}.",
            field="voice",
            given=own is not None,
            defaults=defaults,
            scene=scene_id if job.scenes else None,
        )
    prose, changes = text.tidy(part.text)
    warnings.extend(changes)
    if (script := text.script_warning(prose, voice.language)) is not None:
        warnings.append(script)
    return Scene(
        id=scene_id,
        text=prose,
        voice=name,
        speaker=_speaker(part.speaker if part.speaker is not None else job.speaker, voice, scene_id, defaults),
        speed=_either(part.speed, job.speed, defaults.speed),
        noise_scale=_first(part.noise_scale, job.noise_scale, defaults.noise_scale),
        noise_w_scale=_first(part.noise_w_scale, job.noise_w_scale, defaults.noise_w_scale),
        sentence_pause=_either(part.sentence_pause, job.sentence_pause, defaults.sentence_pause),
        paragraph_pause=_either(part.paragraph_pause, job.paragraph_pause, defaults.paragraph_pause),
        pause_after=_either(part.pause_after, part.scene_pause, job.scene_pause, defaults.scene_pause),
    )


def _speaker(own: str | int | None, voice: Voice, scene_id: str, defaults: Defaults) -> int | None:
    asked = own
    if own is None and defaults.speaker_of in (None, voice.name):
        asked = defaults.speaker
    if asked is None:
        return None
    number = voice.speakers.get(asked) if isinstance(asked, str) else asked
    if number is None or not 0 <= number < voice.num_speakers:
        names = ", ".join(voice.speakers) or f"0 to {voice.num_speakers - 1}"
        raise _cannot(
            Code.SPEAKER_UNKNOWN,
            f"The voice {voice.name!r} has no speaker {asked!r}. It has: {names}.",
            field="speaker",
            given=own is not None,
            defaults=defaults,
            scene=scene_id,
        )
    # a voice with one speaker takes no number
    return number if voice.num_speakers > 1 else None


def _cannot(
    code: Code, message: str, hint: str = "", *, field: str, given: bool, defaults: Defaults, scene: str | None = None
) -> JobRefused:
    """What is asked for can't be had: said of the job's own field, if it is `given`, or of the folder that asks."""
    origin = None if given else defaults.origins.get(field)
    if origin is None:
        return JobRefused(code, message, hint, field=field, scene=scene)
    if code is Code.JOB_FILE_INVALID:
        code = Code.FOLDER_DEFAULTS_INVALID
    return JobRefused(code, f"{origin}: {message}", f"Mend {origin} in the inbox, then drop this file again.")


def _first(*values: T | None) -> T | None:
    return next((value for value in values if value is not None), None)


def _either(*values: T | None) -> T:
    """The first value that is given; the last one always is."""
    value = _first(*values)
    assert value is not None
    return value
