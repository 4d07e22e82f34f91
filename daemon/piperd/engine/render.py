"""Joins spoken utterances to a job's audio files and levels them, inside a worker. Knows nothing of speaking.

Memory stays flat however long the job is: it reads one utterance at a time, once to measure and once to write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
import soxr

from piperd import spoken
from piperd.engine import account
from piperd.engine.encode import AudioFile
from piperd.engine.limiter import Level, level, rounded
from piperd.engine.loudness import Meter
from piperd.engine.timeline import Timeline, frames_of
from piperd.errors import Code, JobRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    from piperd.engine import RenderItem, RenderPlan

    Samples = NDArray[np.float32]

FADE = 0.005
"""Seconds at each edge of an utterance: the model does not begin and end at zero, and a step would click."""
PEAK_CEILING = -1.5
"""dBTP that levelling keeps under."""
LOSSY_PEAK_CEILING = -2.5
"""The same before a lossy encoder: at the qualities of `encode` they overshot by 1.3 dB at the most, so that what is
decoded stays under -1 dBTP."""
LOSSY = frozenset({"mp3", "ogg", "opus"})


class CorruptEntriesError(Exception):
    """Utterances in the store are missing or damaged; no audio was written."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(f"{len(names)} spoken utterances are missing or damaged: {names[0]}, …")
        self.names = names


def render(plan: RenderPlan) -> float:
    """Make the plan's files and ``result.json`` (see `account`) in its folder; gives seconds of audio.

    Raises `CorruptEntriesError`, or `JobRefused` with ``unspeakable_text``, ``text_too_long`` or ``output_failed``.
    """
    timeline = Timeline(plan)
    leveller, sums = _survey(plan, timeline)
    try:
        with _Files(plan, timeline) as files:
            _write(plan, files, leveller, sums)
        levels = {
            "loudness_lufs": rounded(leveller.loudness),
            "true_peak_dbtp": rounded(leveller.true_peak),
            "gain_db": rounded(leveller.gain_db),
        }
        account.write(plan, timeline, files.facts, levels)
    # see `AudioFile`
    except (OSError, soundfile.SoundFileError, AssertionError) as error:
        raise JobRefused(
            Code.OUTPUT_FAILED,
            f"The audio could not be written to {plan.folder}: {error or 'short write'}",
            "Check the room on the disk of the state folder.",
        ) from error
    return timeline.frames / plan.sample_rate


def _survey(plan: RenderPlan, timeline: Timeline) -> tuple[Level, list[int]]:
    """Check every entry, find where all lies, and measure the whole to find its level.

    Gives the checksums of the entries as well.
    """
    rate = plan.sample_rate
    meter = Meter(rate)
    corrupt: list[str] = []
    sums: list[int] = []
    anything = False
    for item in plan.items:
        try:
            header, samples = _read(item, rate)
        except (OSError, spoken.CorruptError):
            assert item.file is not None
            corrupt.append(item.file.name)
            continue
        if corrupt:
            continue
        anything |= item.file is None or len(samples) > 0
        sums.append(header.crc32 if header is not None else 0)
        timeline.add(item, len(samples), header)
        for stretch in _stretches(item, samples, rate):
            meter.add(stretch)
    if corrupt:
        raise CorruptEntriesError(tuple(dict.fromkeys(corrupt)))
    if not anything:
        raise JobRefused(Code.UNSPEAKABLE_TEXT, "There is nothing in the text that can be spoken.")
    loudness, _ = meter.finish()
    ceiling = LOSSY_PEAK_CEILING if plan.format in LOSSY else PEAK_CEILING
    return level(meter.blocks, loudness, plan.loudness, ceiling), sums


def _write(plan: RenderPlan, files: _Files, leveller: Level, sums: Sequence[int]) -> None:
    position = 0
    for item, wanted in zip(plan.items, sums, strict=True):
        try:
            _, samples = _read(item, plan.sample_rate, wanted)
        except (OSError, spoken.CorruptError) as error:  # since the first reading
            assert item.file is not None
            raise CorruptEntriesError((item.file.name,)) from error
        for stretch in _stretches(item, samples, plan.sample_rate):
            files.write(item.scene, leveller.apply(stretch, position))
            position += len(stretch)


class _Files:
    """The joined file and those of the scenes, one of which at the most is open, however many there are.

    All of it raises what `AudioFile` raises.
    """

    def __init__(self, plan: RenderPlan, timeline: Timeline) -> None:
        self.facts: dict[int | None, dict[str, Any]] = {}
        """Of the files that are whole: see `account.write`."""
        self._plan = plan
        self._timeline = timeline
        self._position = 0
        self._joined: AudioFile | None = None
        self._scene: AudioFile | None = None

    def __enter__(self) -> Self:
        plan = self._plan
        if plan.scene_files:
            (plan.folder / account.SCENES).mkdir()
        if plan.joined:
            tags = {"title": plan.title, "comment": plan.job_id}
            self._joined = AudioFile(plan.folder / account.audio_name(plan, None), plan, tags)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            for file in (self._joined, self._scene):
                if file is not None:
                    file.abandon()
        elif self._joined is not None:
            self._joined.close()
            self.facts[None] = account.facts(self._plan.folder, account.audio_name(self._plan, None))

    def write(self, scene: int, samples: Samples) -> None:
        """The next stretch of the whole."""
        if self._joined is not None:
            self._joined.write(samples)
        end = self._timeline.spans[scene].end
        if self._plan.scene_files and self._position < end:
            self._write_scene(scene, samples, last=self._position + len(samples) == end)
        self._position += len(samples)

    def _write_scene(self, index: int, samples: Samples, *, last: bool) -> None:
        plan = self._plan
        name = account.audio_name(plan, index)
        if self._scene is None:
            tags = {"title": plan.scenes[index].id, "album": plan.title, "tracknumber": str(index + 1)}
            self._scene = AudioFile(plan.folder / name, plan, {**tags, "comment": plan.job_id})
        self._scene.write(samples)
        if last:
            self._scene.close()
            self._scene = None
            self.facts[index] = account.facts(plan.folder, name)


def _stretches(item: RenderItem, samples: Samples, rate: int) -> Iterator[Samples]:
    """An item as it is heard, in pieces of a second at the most where it is silent."""
    yield from _silence(item.silence, rate)
    if len(samples):
        yield samples
    yield from _silence(item.pause_after, rate)


def _read(item: RenderItem, rate: int, wanted: int | None = None) -> tuple[spoken.Header | None, Samples]:
    """An utterance at the job's rate, faded at its edges.

    Raises OSError or `spoken.CorruptError`, also for one that has another checksum than is `wanted`.
    """
    if item.file is None:
        return None, np.zeros(0, np.float32)
    header, content = spoken.unpack(item.file.read_bytes())
    if wanted is not None and header.crc32 != wanted:
        raise spoken.CorruptError("it was spoken anew since, and no two have one length")
    samples: Samples = np.frombuffer(content, "<f4").astype(np.float32)
    if not len(samples):
        return header, samples
    if header.sample_rate != rate:
        samples = soxr.resample(samples, header.sample_rate, rate, "HQ")
    length = min(round(FADE * rate), len(samples) // 2)
    ramp = np.linspace(0.0, 1.0, length, endpoint=False, dtype=np.float32)
    samples[:length] *= ramp
    samples[len(samples) - length :] *= ramp[::-1]
    return header, samples


def _silence(seconds: float, rate: int) -> Iterator[Samples]:
    frames = frames_of(seconds, rate)
    for start in range(0, frames, rate):
        yield np.zeros(min(rate, frames - start), np.float32)
