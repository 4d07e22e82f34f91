"""The files beside the audio: captions, and ``result.json``, which says what has been made (see `script.result`)."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from piperd import captions
from piperd.formats import CAPTION_SUFFIXES, suffix

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from piperd.engine import RenderPlan
    from piperd.engine.timeline import Timeline

RESULT = "result.json"
JOINED = "audio"
"""Base name of the files of the whole."""
SCENES = "scenes"
"""The folder of the scenes' files."""


def audio_name(plan: RenderPlan, scene: int | None) -> str:
    """Of a scene's file, or the joined one's, in the plan's folder."""
    return _base(plan, scene) + suffix(plan.format)


def _base(plan: RenderPlan, scene: int | None) -> str:
    return JOINED if scene is None else f"{SCENES}/{plan.scenes[scene].name}"


def facts(folder: Path, name: str) -> dict[str, Any]:
    """What can be checked of a file later. Raises OSError."""
    path = folder / name
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file": name, "sha256": digest, "bytes": path.stat().st_size}


def write(
    plan: RenderPlan, timeline: Timeline, files: Mapping[int | None, Mapping[str, Any]], levels: Mapping[str, Any]
) -> None:
    """Write captions for each audio file, and say what has become of the plan. Raises OSError.

    `files` has the facts of the audio files, of the joined one under None, of the others under their scene; `levels`
    has loudness, true peak and gain. Times are in seconds.
    """
    rate = plan.sample_rate
    titles = {scene: _write_captions(plan, timeline, scene) for scene in files}
    whole = {"duration_s": timeline.frames / rate, **levels}
    joined = files.get(None)
    heard = {key: value for key, value in whole.items() if key != "gain_db"}
    result = {
        "audio": {**joined, **heard, "sample_rate": rate} if joined else None,
        "captions": titles.get(None, {}),
        "scenes": [
            {
                "index": index,
                "start_s": span.start / rate,
                "duration_s": span.frames / rate,
                "audio": files.get(index),
                "captions": titles.get(index, {}),
            }
            for index, span in timeline.spans.items()
        ],
        **whole,
        "warnings": [],
    }
    (plan.folder / RESULT).write_text(json.dumps(result))


def _write_captions(plan: RenderPlan, timeline: Timeline, scene: int | None) -> dict[str, Any]:
    """Those of one audio file, from its own beginning; gives their facts by their kinds."""
    start = 0.0 if scene is None else timeline.spans[scene].start / plan.sample_rate
    made = {}
    for kind in plan.captions:
        name = _base(plan, scene) + CAPTION_SUFFIXES[kind]
        lines = captions.lines(timeline.heard(scene))
        with (plan.folder / name).open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(captions.FILES[kind](lines, shift_s=-start))
        made[kind] = facts(plan.folder, name)
    return made
