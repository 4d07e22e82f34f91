"""What the engine is given, and what it has in its hands: each task under its ticket. For the main thread alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from piperd import formats, results
from piperd.engine import RenderItem, RenderPlan, RenderScene

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from piperd.job import Job, Voice
    from piperd.script import Place, Script
    from piperd.store import Store

SILENT_RATE = 22_050
"""Hertz, of a job in which silence stands in for everything."""


@dataclass(frozen=True, slots=True)
class Task:
    """An utterance that is spoken, or a job that is rendered."""

    job_id: str
    attempt_no: int
    """Of the job; a task of an earlier attempt no longer counts for it."""
    index: int | None
    """The utterance; None: rendering."""
    key: str
    """The utterance's address in the store."""


class Tasks:
    """Gives out tickets and remembers what they stand for."""

    def __init__(self) -> None:
        self._tickets = count(1)
        self._tasks: dict[int, Task] = {}

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def begin(self, task: Task) -> int:
        """A new ticket for a task that goes to the engine."""
        ticket = next(self._tickets)
        self._tasks[ticket] = task
        return ticket

    def end(self, ticket: int) -> Task | None:
        """The engine no longer has this task; None if it was ended before."""
        return self._tasks.pop(ticket, None)

    def of(self, job_id: str) -> list[int]:
        """The tickets of a job."""
        return [ticket for ticket, task in self._tasks.items() if task.job_id == job_id]


def render_plan(
    job: Job,
    script: Script,
    store: Store,
    voices: Mapping[str, Voice],
    folder: Path,
    max_seconds: float,
) -> RenderPlan:
    """How to join a job whose utterances are in the store; silence stands in for its fallback scenes."""
    spec = script.spec
    rates = {voices[scene.voice].sample_rate for scene in spec.scenes if scene.voice in voices}
    names = results.scene_names([scene.id for scene in spec.scenes])
    return RenderPlan(
        items=[_item(place, script, store) for place in script.timeline(job.fallbacks)],
        sample_rate=spec.sample_rate or formats.rate_for(spec.format, max(rates, default=SILENT_RATE)),
        loudness=spec.loudness,
        folder=folder,
        max_seconds=max_seconds,
        scenes=[RenderScene(scene.id, name) for scene, name in zip(spec.scenes, names, strict=True)],
        format=spec.format,
        encoding=spec.encoding,
        joined=spec.joined,
        scene_files=spec.scene_files,
        captions=spec.captions,
        title=job.stem,
        job_id=job.job_id,
    )


def read_result(folder: Path, script: Script, *, spoken_text: bool) -> dict[str, Any]:
    """What a worker has made of a plan; with `spoken_text` also how each scene was read.

    Raises OSError or ValueError where that can't be read.
    """
    rendered = json.loads((folder / "result.json").read_bytes())
    return results.of(rendered, len(script.spec.scenes), script.spoken_texts() if spoken_text else None)


def _item(place: Place, script: Script, store: Store) -> RenderItem:
    if place.index is None:
        return RenderItem(None, place.pause, place.scene, place.silence)
    utterance = script.utterances[place.index]
    file = store.path(script.keys[place.index])
    if not script.spec.captions:  # the text would only lengthen the plan
        return RenderItem(file, place.pause, place.scene, place.silence)
    return RenderItem(
        file, place.pause, place.scene, place.silence, utterance.text, utterance.written, utterance.goes_on
    )
