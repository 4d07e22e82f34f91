"""What rendering says of the files that it has made: ``result.json``, which becomes `Job.result`."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from piperd.formats import suffix

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


def joined_audio(plan: RenderPlan) -> str:
    """Name of the joined file in the plan's folder."""
    return JOINED + suffix(plan.format)


def scene_audio(plan: RenderPlan, scene: int) -> str:
    """Name of a scene's file in the plan's folder."""
    return f"{SCENES}/{plan.scenes[scene].name}{suffix(plan.format)}"


def facts(folder: Path, name: str) -> dict[str, Any]:
    """What can be checked of a file later. Raises OSError."""
    path = folder / name
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file": name, "sha256": digest, "bytes": path.stat().st_size}


def write_result(
    plan: RenderPlan, timeline: Timeline, files: Mapping[int | None, Mapping[str, Any]], levels: Mapping[str, Any]
) -> None:
    """Say what has become of a plan. Raises OSError.

    `files` has the facts of the audio files, of the joined one under None, of the others under their scene; `levels`
    has loudness, true peak and gain. Times are in seconds.
    """
    rate = plan.sample_rate
    whole = {"duration_s": timeline.frames / rate, **levels}
    joined = files.get(None)
    heard = {key: value for key, value in whole.items() if key != "gain_db"}
    result = {
        "audio": {**joined, **heard, "sample_rate": rate} if joined else None,
        "scenes": [
            {
                "index": index,
                "start_s": span.start / rate,
                "duration_s": span.frames / rate,
                "audio": files.get(index),
            }
            for index, span in timeline.spans.items()
        ],
        **whole,
        "warnings": [],
    }
    (plan.folder / RESULT).write_text(json.dumps(result))
