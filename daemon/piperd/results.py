"""What a rendered job consists of, and the names under which its files are published. Pure: it touches none of them.

A job's result lists its files by their paths in the work folder: ``audio.wav``, ``audio.words.json``,
``scenes/01-intro.wav``, … Published, they are ``story.wav``, ``story.words.json``, ``story/01-intro.wav``, …
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from piperd.names import safe_stem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from piperd.job import JobSpec

JOINED = "audio"
SCENES = "scenes/"
AUDIO = ("file", "sha256", "bytes", "duration_s", "sample_rate", "loudness_lufs", "true_peak_dbtp")
"""What the ledger and the status keep of the joined file."""


def scene_names(ids: Sequence[str]) -> list[str]:
    """Base names for the scenes' files, in order: ``01-intro``, ``02-body``; ``03`` for a scene without an id."""
    width = max(2, len(str(len(ids))))
    return [
        f"{number:0{width}}" + (f"-{safe_stem(scene)}" if scene != str(number) else "")
        for number, scene in enumerate(ids, 1)
    ]


def of(rendered: Mapping[str, Any], scenes: int, texts: Sequence[str] | None = None) -> dict[str, Any]:
    """What the renderer reported, as the ledger keeps it; a scene without any sound has no length and no files.

    `texts` tells how each scene was read, where that is to be shown.
    """
    audio = rendered["audio"]
    places = {place["index"]: place for place in rendered["scenes"]}
    listed = []
    end = 0.0
    for index in range(scenes):
        place = places.get(index, {"start_s": end, "duration_s": 0.0, "audio": None, "captions": {}})
        end = place["start_s"] + place["duration_s"]
        listed.append({name: place[name] for name in ("start_s", "duration_s", "audio", "captions")})
        if texts is not None:
            listed[-1]["spoken_text"] = texts[index]
    return {
        "audio": audio and {name: audio[name] for name in AUDIO},
        "captions": rendered["captions"],
        "scenes": listed,
        "duration_s": rendered["duration_s"],
        "warnings": list(rendered["warnings"]),
    }


def files(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each file's path in the work folder and its sha256, in the order of publishing: audio first."""
    parts = [result, *result["scenes"]]
    found = [part["audio"] for part in parts if part["audio"]]
    for part in parts:
        found += part["captions"].values()
    for file in found:
        yield file["file"], file["sha256"]


def published(stem: str, file: str) -> str:
    """The name of a file of the work folder in the outbox, relative to the job's status file."""
    if file.startswith(SCENES):
        return f"{stem}/{file.removeprefix(SCENES)}"
    return stem + file.removeprefix(JOINED)


def most_files(spec: JobSpec) -> int:
    """How many files a job may publish beside its status."""
    return (int(spec.joined) + len(spec.scenes) * int(spec.scene_files)) * (1 + len(spec.captions))
