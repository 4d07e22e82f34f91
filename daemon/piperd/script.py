"""A job as it is performed: its utterances in order, their addresses in the store, the silences between them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from piperd import text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from piperd.job import JobSpec, Utterance, Voice


AUDIO = ("sha256", "bytes", "duration_s", "sample_rate", "loudness_lufs", "true_peak_dbtp")
"""What the ledger and the status keep of the rendered file."""


@dataclass(frozen=True, slots=True)
class Script:
    """What a job has to say."""

    utterances: tuple[Utterance, ...]
    keys: tuple[str, ...]
    """The address of each in the store."""
    times: Counter[str]
    """How often each address occurs: a sentence that comes twice is spoken once."""

    @classmethod
    def of(cls, spec: JobSpec, voices: Mapping[str, Voice]) -> Script:
        """Cut a job into utterances. Every voice of the job must be among `voices`."""
        utterances: list[Utterance] = []
        for index, scene in enumerate(spec.scenes):
            utterances += text.utterances(scene, index, voices[scene.voice].language)
        keys = tuple(each.key(voices[each.voice].digest) for each in utterances)
        return cls(tuple(utterances), keys, Counter(keys))

    def first_places(self, keys: Collection[str]) -> list[int]:
        """Where each of these sounds occurs first, in order."""
        places = {key: index for index, key in reversed(list(enumerate(self.keys))) if key in keys}
        return sorted(places.values())

    def timeline(self, spec: JobSpec) -> Iterator[tuple[str, float, int]]:
        """Address, seconds of silence behind it, and scene of each utterance. Behind the last one there is none."""
        for number, (utterance, key) in enumerate(zip(self.utterances, self.keys, strict=True), 1):
            pause = utterance.pause_after
            if number < len(self.utterances) and self.utterances[number].scene != utterance.scene:
                pause += spec.scenes[utterance.scene].pause_after
            yield key, pause, utterance.scene


def result(rendered: Mapping[str, Any], scenes: int) -> dict[str, Any]:
    """What the renderer reported, in the form of the status file; scenes without any sound have no length."""
    audio = {key: value for key, value in rendered.items() if key in AUDIO}
    places = {place["index"]: place for place in rendered["scenes"]}
    listed = []
    end = 0.0
    for index in range(scenes):
        place = places.get(index, {"start_s": end, "duration_s": 0.0})
        end = place["start_s"] + place["duration_s"]
        listed.append({"start_s": place["start_s"], "duration_s": place["duration_s"]})
    return {"audio": audio, "scenes": listed, "warnings": list(rendered.get("warnings", []))}
