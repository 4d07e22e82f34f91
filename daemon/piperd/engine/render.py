"""Joins spoken utterances to a job's audio and levels it, inside a worker. Knows nothing of speaking and of voices.

Memory stays flat however long the job is: it reads one utterance at a time, once to measure and once to write.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
import soxr

from piperd import spoken
from piperd.engine.limiter import Level, level, rounded
from piperd.engine.loudness import Meter
from piperd.errors import Code, JobRefused, audio_too_long

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from piperd.engine import RenderItem, RenderPlan

    Samples = NDArray[np.float32]

AUDIO = "audio.wav"
RESULT = "result.json"
FADE = 0.005
"""Seconds at each edge of an utterance: the model does not begin and end at zero, and a step would click."""
PEAK_CEILING = -1.5
"""dBTP that levelling keeps under: lossy encoders overshoot by up to 1 dB (EBU R 128 s1 asks for the same room)."""
FULL_SCALE = 32_767


class CorruptEntriesError(Exception):
    """Utterances in the store are missing or damaged; no audio was written."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(f"{len(names)} spoken utterances are missing or damaged: {names[0]}, …")
        self.names = names


@dataclass(slots=True)
class _Span:
    """Where a scene lies, in frames; the pause behind its last utterance is not part of it."""

    start: int
    end: int


@dataclass(slots=True)
class _Survey:
    """What the first reading found."""

    meter: Meter
    frames: int = 0
    spoken: int = 0
    stood_in: bool = False
    """Silence stands in for something."""
    spans: dict[int, _Span] = field(default_factory=dict)
    loudness: float | None = None


def render(plan: RenderPlan) -> float:
    """Make ``audio.wav`` (mono, 16-bit PCM) and ``result.json`` in the plan's folder; gives seconds of audio.

    Raises `CorruptEntriesError`, or `JobRefused` with ``unspeakable_text``, ``text_too_long`` or ``output_failed``.
    """
    survey = _survey(plan)
    if not survey.spoken and not survey.stood_in:
        raise JobRefused(Code.UNSPEAKABLE_TEXT, "There is nothing in the text that can be spoken.")
    leveller = level(survey.meter.blocks, survey.loudness, plan.loudness, PEAK_CEILING)
    path = plan.folder / AUDIO
    try:
        _write(plan, path, leveller)
        result = _result(plan, survey, path, leveller)
        (plan.folder / RESULT).write_text(json.dumps(result))
    # libsndfile reports a full disk in a class of its own, and soundfile notices a short write by an assertion
    except (OSError, soundfile.SoundFileError, AssertionError) as error:
        raise JobRefused(
            Code.OUTPUT_FAILED,
            f"The audio could not be written to {plan.folder}: {error or 'short write'}",
            "Check the room on the disk of the state folder.",
        ) from error
    return survey.frames / plan.sample_rate


def _survey(plan: RenderPlan) -> _Survey:
    """Check every entry, measure the whole and find where each scene lies."""
    meter = Meter(plan.sample_rate)
    survey = _Survey(meter)
    corrupt: list[str] = []
    for item in plan.items:
        try:
            samples = _read(item, plan.sample_rate)
        except (OSError, spoken.CorruptError):
            assert item.file is not None
            corrupt.append(item.file.name)
            continue
        if corrupt:
            continue
        span = survey.spans.setdefault(item.scene, _Span(survey.frames, survey.frames))
        survey.spoken += len(samples)
        survey.stood_in |= item.file is None
        for stretch in chain([samples], _silence(item.silence, plan.sample_rate)):
            survey.frames += len(stretch)
            meter.add(stretch)
            if len(stretch):
                span.end = survey.frames
        for silence in _silence(item.pause_after, plan.sample_rate):
            survey.frames += len(silence)
            meter.add(silence)
        if plan.max_seconds is not None and survey.frames > plan.max_seconds * plan.sample_rate:
            raise audio_too_long(plan.max_seconds)
    if corrupt:
        raise CorruptEntriesError(tuple(dict.fromkeys(corrupt)))
    survey.loudness, _ = meter.finish()
    return survey


def _write(plan: RenderPlan, path: Path, leveller: Level) -> None:
    position = 0
    with soundfile.SoundFile(path, "w", plan.sample_rate, 1, "PCM_16", format="WAV") as file:
        for item in plan.items:
            try:
                samples = _read(item, plan.sample_rate)
            except (OSError, spoken.CorruptError) as error:  # since the first reading
                assert item.file is not None
                raise CorruptEntriesError((item.file.name,)) from error
            levelled = leveller.apply(samples, position)
            file.write(np.clip(np.rint(levelled * FULL_SCALE), -FULL_SCALE, FULL_SCALE).astype(np.int16))
            position += len(samples)
            for silence in chain(*(_silence(each, plan.sample_rate) for each in (item.silence, item.pause_after))):
                file.write(silence.astype(np.int16))
                position += len(silence)


def _read(item: RenderItem, rate: int) -> Samples:
    """An utterance at the job's rate, faded at its edges. Raises OSError or `spoken.CorruptError`."""
    if item.file is None:
        return np.zeros(0, np.float32)
    header, content = spoken.unpack(item.file.read_bytes())
    samples: Samples = np.frombuffer(content, "<f4").astype(np.float32)
    if not len(samples):
        return samples
    if header.sample_rate != rate:
        samples = soxr.resample(samples, header.sample_rate, rate, "HQ")
    length = min(round(FADE * rate), len(samples) // 2)
    ramp = np.linspace(0.0, 1.0, length, endpoint=False, dtype=np.float32)
    samples[:length] *= ramp
    samples[len(samples) - length :] *= ramp[::-1]
    return samples


def _silence(seconds: float, rate: int) -> Iterator[Samples]:
    """Silence in whole frames, a second at a time."""
    frames = round(seconds * rate)
    for start in range(0, frames, rate):
        yield np.zeros(min(rate, frames - start), np.float32)


def _result(plan: RenderPlan, survey: _Survey, path: Path, leveller: Level) -> dict[str, Any]:
    """What `Job.result` keeps; times in seconds."""
    rate = plan.sample_rate
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "file": path.name,
        "sha256": digest,
        "bytes": path.stat().st_size,
        "duration_s": survey.frames / rate,
        "sample_rate": rate,
        "loudness_lufs": rounded(leveller.loudness),
        "true_peak_dbtp": rounded(leveller.true_peak),
        "gain_db": rounded(leveller.gain_db),
        "scenes": [
            {"index": index, "start_s": span.start / rate, "duration_s": (span.end - span.start) / rate}
            for index, span in survey.spans.items()
        ],
    }
