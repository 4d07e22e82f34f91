"""A job as it is performed: its utterances in order, their addresses in the store, the silences between them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from piperd import text
from piperd.errors import Code, Failure, JobRefused, audio_too_long, unspeakable_scene

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterator, Mapping

    from piperd.job import Job, JobSpec, Utterance, Voice


SECONDS_A_CHARACTER = 0.06
"""What speech takes at the speed 1: six English texts of the default voice gave 0.050 to 0.115, long ones the least."""
LEAST_SILENCE = 0.5
"""Seconds that stand in for a scene without any words."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an utterance stands in the joined file."""

    scene: int
    pause: float
    """Seconds of silence behind it; none behind the last one."""
    silence: float = 0.0
    """Seconds of silence before it, or in its place."""
    index: int | None = None
    """Of the utterance; None: silence stands in for it."""


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
            utterances += text.utterances(
                scene, index, text.locale(voice), lexicon=spec.lexicon, normalize=spec.normalize
            )
        digests = {scene.voice: voices[scene.voice].digest for scene in spec.scenes if scene.voice in voices}
        keys = tuple(each.key(digests.get(each.voice, "")) for each in utterances)
        return cls(spec, tuple(utterances), keys, Counter(keys))

    @property
    def pauses(self) -> float:
        """Seconds of silence before, between and behind utterances and scenes."""
        return sum(place.silence + place.pause for place in self.timeline(()))

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
        """Where each of these sounds occurs first, the longest ones first.

        So no worker is left alone with a long one at the end, and the memory of each has its final size at once.
        """
        places = {key: index for index, key in reversed(list(enumerate(self.keys))) if key in keys}
        return sorted(places.values(), key=lambda index: (-len(self.utterances[index].text), index))

    def timeline(self, silent: Container[int]) -> Iterator[Place]:
        """Each utterance in its place; in the `silent` scenes silence of a fitting length stands in for it.

        A silent scene without utterances has a place too; any other scene without utterances has none.
        """
        last = len(self.spec.scenes) - 1
        for scene, indexes in self._by_scene():
            pause_after = self.spec.scenes[scene].pause_after if scene < last else 0.0
            if scene in silent and not indexes:
                yield Place(scene, pause_after, LEAST_SILENCE)
            for index in indexes:
                utterance = self.utterances[index]
                pause = utterance.pause_after + (pause_after if index == indexes[-1] else 0.0)
                if scene in silent:
                    seconds = len(utterance.text) * SECONDS_A_CHARACTER / utterance.speed
                    yield Place(scene, pause, utterance.pause_before + seconds)
                else:
                    yield Place(scene, pause, utterance.pause_before, index)

    def empty_scenes(self) -> list[int]:
        """The scenes with nothing in them that can be spoken."""
        return [scene for scene, indexes in self._by_scene() if not indexes]

    def spoken_texts(self) -> list[str]:
        """Each scene as it is spoken."""
        return [" ".join(self.utterances[index].text for index in indexes) for _, indexes in self._by_scene()]

    def _by_scene(self) -> Iterator[tuple[int, range]]:
        """Each scene with the indexes of its utterances, which stand together."""
        start = 0
        for scene in range(len(self.spec.scenes)):
            end = start
            while end < len(self.utterances) and self.utterances[end].scene == scene:
                end += 1
            yield scene, range(start, end)
            start = end


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
    for index in script.empty_scenes():
        if index not in fallbacks:
            fallbacks[index] = _nothing_to_speak(spec, index)
    if script.pauses > max_audio:
        raise audio_too_long(max_audio)
    return script, fallbacks


def _nothing_to_speak(spec: JobSpec, index: int) -> Failure:
    """Why silence stands in for a scene. Raises `JobRefused` where it may not."""
    scene = spec.scenes[index]
    refused = unspeakable_scene(scene.text, index, scene.id)
    if spec.fallback != "silence":
        raise refused
    return refused.failure
