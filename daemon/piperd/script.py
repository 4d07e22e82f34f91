"""A job as it is performed: its utterances in order, their addresses in the store, the silences between them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from piperd import text
from piperd.errors import Code, Failure, JobRefused, audio_too_long

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterator, Mapping

    from piperd.job import Job, JobSpec, Utterance, Voice


SECONDS_A_CHARACTER = 0.06
"""What speech takes at the speed 1: six English texts of the default voice gave 0.050 to 0.115, long ones the least."""
AUDIO = ("sha256", "bytes", "duration_s", "sample_rate", "loudness_lufs", "true_peak_dbtp")
"""What the ledger and the status keep of the rendered file."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an utterance stands in the joined file."""

    key: str | None
    """Its address in the store; None: silence stands in for it."""
    silence: float
    """Seconds of that silence."""
    pause: float
    """Seconds of silence behind it; none behind the last one."""
    scene: int


@dataclass(frozen=True, slots=True)
class Script:
    """What a job has to say."""

    spec: JobSpec

    utterances: tuple[Utterance, ...]
    keys: tuple[str, ...]
    """The address of each in the store."""
    times: Counter[str]
    """How often each address occurs: a sentence that comes twice is spoken once."""

    @classmethod
    def of(cls, spec: JobSpec, voices: Mapping[str, Voice]) -> Script:
        """Cut a job into utterances. What is to be spoken must have its voice among `voices`."""
        utterances: list[Utterance] = []
        for index, scene in enumerate(spec.scenes):
            voice = voices.get(scene.voice)
            utterances += text.utterances(scene, index, voice.language if voice else "")
        digests = {scene.voice: voices[scene.voice].digest for scene in spec.scenes if scene.voice in voices}
        keys = tuple(each.key(digests.get(each.voice, "")) for each in utterances)
        return cls(spec, tuple(utterances), keys, Counter(keys))

    @property
    def pauses(self) -> float:
        """Seconds of silence between utterances and scenes."""
        return sum(place.pause for place in self.timeline(()))

    def scenes_with(self, key: str) -> set[int]:
        """The scenes in which this sound occurs."""
        return {each.scene for each, other in zip(self.utterances, self.keys, strict=True) if other == key}

    def blame(self, failure: Failure, index: int | None) -> Failure:
        """The failure with the scene of the utterance at fault, where there is more than one scene."""
        if index is None or len(self.spec.scenes) == 1:
            return failure
        return failure.in_scene(self.spec.scenes[self.utterances[index].scene].id)

    def sounds(self, silent: Container[int]) -> set[str]:
        """The address of all that must be spoken, when silence stands in for some scenes."""
        return {key for each, key in zip(self.utterances, self.keys, strict=True) if each.scene not in silent}

    def first_places(self, keys: Collection[str]) -> list[int]:
        """Where each of these sounds occurs first, in order."""
        places = {key: index for index, key in reversed(list(enumerate(self.keys))) if key in keys}
        return sorted(places.values())

    def timeline(self, silent: Container[int]) -> Iterator[Place]:
        """Each utterance in its place; in the `silent` scenes silence of a fitting length stands in for it."""
        for number, (utterance, key) in enumerate(zip(self.utterances, self.keys, strict=True), 1):
            pause = utterance.pause_after
            if number < len(self.utterances) and self.utterances[number].scene != utterance.scene:
                pause += self.spec.scenes[utterance.scene].pause_after
            if utterance.scene in silent:
                yield Place(None, len(utterance.text) * SECONDS_A_CHARACTER / utterance.speed, pause, utterance.scene)
            else:
                yield Place(key, 0.0, pause, utterance.scene)


def rehearse(job: Job, voices: Mapping[str, Voice], max_audio: float) -> tuple[Script, dict[int, Failure]]:
    """What the job has to say, and the scenes that silence must stand in for, since their voices are gone.

    Raises `JobRefused` where a voice is gone and no silence is allowed, or where the pauses alone last longer than
    `max_audio` seconds.
    """
    spec = job.spec
    assert spec is not None
    fallbacks = dict(job.fallbacks)
    for index, scene in enumerate(spec.scenes):
        if scene.voice in voices or index in fallbacks:
            continue
        message = f"The voice {scene.voice!r} is no longer installed. Installed: {', '.join(sorted(voices))}."
        if spec.fallback != "silence":
            raise JobRefused(Code.VOICE_UNKNOWN, message, scene=scene.id)
        fallbacks[index] = Failure(Code.VOICE_UNKNOWN, message, scene=scene.id)
    script = Script.of(spec, voices)
    if script.pauses > max_audio:
        raise audio_too_long(max_audio)
    return script, fallbacks


def result(rendered: Mapping[str, Any], scenes: int) -> dict[str, Any]:
    """What the renderer reported, in the form of the status file; scenes without any sound have no length."""
    audio = {key: value for key, value in (rendered["audio"] or {}).items() if key in AUDIO}
    places = {place["index"]: place for place in rendered["scenes"]}
    listed = []
    end = 0.0
    for index in range(scenes):
        place = places.get(index, {"start_s": end, "duration_s": 0.0})
        end = place["start_s"] + place["duration_s"]
        listed.append({"start_s": place["start_s"], "duration_s": place["duration_s"]})
    return {"audio": audio, "scenes": listed, "warnings": list(rendered.get("warnings", []))}
