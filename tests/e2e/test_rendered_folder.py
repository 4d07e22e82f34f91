"""What lies in a rendered job's folder: captions in step with the sound, files for many scenes, nothing by halves."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
import srt
import webvtt
from numpy.typing import NDArray

from piperd import spoken
from piperd.engine import RenderItem, RenderPlan, RenderScene
from piperd.engine.render import CorruptEntriesError, render
from piperd.engine.timeline import Timeline
from piperd.errors import Code, JobRefused
from piperd.testing import CorruptTonesError, render_tones

if TYPE_CHECKING:
    from collections.abc import Iterator

    from piperd.spoken import Word

RATE = 22_050
KINDS = ("srt", "vtt", "words")
Sound = NDArray[np.float32]


def hum(seconds: float, rate: int = RATE) -> Sound:
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def entry(path: Path, seconds: float, words: list[Word] | None = None, rate: int = RATE) -> Path:
    path.write_bytes(b"".join(spoken.pack(hum(seconds, rate).astype("<f4").tobytes(), rate, words)))
    return path


def made(plan: RenderPlan) -> dict[str, Any]:
    render(plan)
    result: dict[str, Any] = json.loads((plan.folder / "result.json").read_text())
    return result


def two_scenes(folder: Path, rate: int = RATE, **rest: Any) -> RenderPlan:
    """A scene of two sentences, and one whose sentence is spoken in two pieces, at another rate, behind a pause."""
    hello = entry(folder / "hello", 1.0, [(0, 5, 2_205, 8_820), (6, 12, 8_820, 19_845)])
    five = entry(folder / "five", 1.5, [(0, 4, 0, 11_025), (5, 9, 11_025, 22_050), (10, 17, 22_050, 33_075)])
    other = entry(folder / "other", 2.0, [(0, 3, 0, 8_000), (4, 9, 16_000, 32_000)], rate=16_000)
    rest_of_it = entry(folder / "rest", 1.0)
    items = [
        RenderItem(hello, 0.2, 0, text="Hello, there."),
        RenderItem(five, 1.0, 0, text="Pays five dollars.", written=((5, 17, "$5"),)),
        RenderItem(other, 0.0, 1, silence=0.5, text="But <then>", goes_on=True),
        RenderItem(rest_of_it, 0.7, 1, text="it ended."),
    ]
    out = folder / "out"
    out.mkdir()
    scenes = (RenderScene("intro", "01-intro"), RenderScene("body", "02-body"))
    settings: dict[str, Any] = {"scene_files": True, "captions": KINDS, "scenes": scenes, **rest}
    return RenderPlan(items, rate, None, out, **settings)


def cues(folder: Path, name: str) -> list[tuple[str, float, float]]:
    """What an SRT file shows, and when; the VTT file beside it shows the same."""
    shown = [
        (each.content, each.start.total_seconds(), each.end.total_seconds())
        for each in srt.parse((folder / f"{name}.srt").read_text())
    ]
    beside = webvtt.read(str(folder / f"{name}.vtt")).captions
    assert len(beside) == len(shown)
    for each, (_, start, end) in zip(beside, shown, strict=True):
        assert each.start_in_seconds == int(start)
        assert each.end_in_seconds == int(end)
    return shown


@pytest.mark.parametrize("rate", [8_000, RATE, 48_000])
def test_captions_are_in_step_with_their_own_file(tmp_path: Path, rate: int) -> None:
    """Those of a scene count from its file's beginning, pause in front included; at any rate."""
    plan = two_scenes(tmp_path, rate)
    result = made(plan)
    start = result["scenes"][1]["start_s"]
    assert start == pytest.approx(3.7, abs=0.001)
    words = json.loads((plan.folder / "audio.words.json").read_text())
    assert [(each["word"], each["start_s"], each["scene"]) for each in words["words"]] == [
        ("Hello", 0.1, "intro"),
        ("there", 0.4, "intro"),
        ("Pays", 1.2, "intro"),
        ("$5", 1.7, "intro"),
        ("But", pytest.approx(start + 0.5, abs=0.002), "body"),
        ("then", pytest.approx(start + 1.5, abs=0.002), "body"),
        ("it", pytest.approx(start + 2.5, abs=0.1), "body"),
        ("ended", pytest.approx(start + 2.8, abs=0.2), "body"),
    ]
    assert words["exact"] is False  # the last piece has no times
    whole = cues(plan.folder, "audio")
    assert [text.replace("\n", " ") for text, *_ in whole[:2]] == ["Hello, there.", "Pays $5."]
    assert len(whole) == 3
    assert whole[2][1] == pytest.approx(start + 0.5, abs=0.002)
    own = cues(plan.folder, "scenes/02-body")
    assert len(own) == 1
    assert own[0][0] == whole[2][0]
    assert own[0][1] == pytest.approx(0.5, abs=0.002)
    intro = json.loads((plan.folder / "scenes/01-intro.words.json").read_text())
    assert (intro["exact"], len(intro["words"])) == (True, 4)


def test_caption_files_are_named_beside_their_audio(tmp_path: Path) -> None:
    """Each with what it takes to check it; none for what is not made."""
    plan = two_scenes(tmp_path, joined=False)
    result = made(plan)
    assert (result["audio"], result["captions"]) == (None, {})
    assert result["duration_s"] == pytest.approx(7.9, abs=0.001)
    names = {each["file"] for scene in result["scenes"] for each in [scene["audio"], *scene["captions"].values()]}
    assert names == {f"scenes/{name}{kind}" for name in ("01-intro", "02-body") for kind in SUFFIXES}
    assert names | {"result.json"} == files_in(plan.folder)
    assert set(result["scenes"][0]["captions"]) == set(KINDS)


SUFFIXES = (".wav", ".srt", ".vtt", ".words.json")


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_what_is_not_heard_is_not_shown(tmp_path: Path) -> None:
    """Silence that stands in for a scene, or a text without a sound; a sentence that ends in such a text is shown."""
    nothing = entry(tmp_path / "nothing", 0.0)
    hello = entry(tmp_path / "hello", 1.0)
    out = tmp_path / "out"
    out.mkdir()
    items = [
        RenderItem(hello, 0.0, 0, text="Hello", goes_on=True),
        RenderItem(nothing, 0.5, 0, text="…"),
        RenderItem(hello, 0.5, 0, text="Again."),
        RenderItem(None, 0.5, 1, silence=2.0, text="It can't be spoken."),
        RenderItem(nothing, 0.5, 2, text="..."),
    ]
    scenes = [RenderScene(name, name) for name in "abc"]
    result = made(RenderPlan(items, RATE, -16.0, out, scenes=scenes, scene_files=True, captions=KINDS))
    assert [text for text, *_ in cues(out, "audio")] == ["Hello", "Again."]
    assert not cues(out, "scenes/b")
    assert soundfile.info(out / "scenes/b.wav").duration == 2.0
    assert result["scenes"][2] == {
        "index": 2, "start_s": pytest.approx(5.5), "duration_s": 0.0, "audio": None, "captions": {},
    }  # fmt: skip
    assert not (out / "scenes/c.wav").exists()


def test_the_stand_in_makes_the_same_files(tmp_path: Path) -> None:
    """Names, lengths, captions and the form of the result are those of the renderer."""
    for name in ("real", "scripted"):
        (tmp_path / name).mkdir()
    real, scripted = two_scenes(tmp_path / "real"), two_scenes(tmp_path / "scripted")
    result = made(real)
    render_tones(scripted)
    assert files_in(real.folder) == files_in(scripted.folder)
    for name in files_in(real.folder) - {"result.json"}:
        ours, theirs = real.folder / name, scripted.folder / name
        if name.endswith(".wav"):
            assert soundfile.info(ours).frames == soundfile.info(theirs).frames
        else:
            assert ours.read_text() == theirs.read_text()
    assert shape(result) == shape(json.loads((scripted.folder / "result.json").read_text()))


def shape(value: Any) -> Any:
    """A result without what two ways of speaking may differ in."""
    if isinstance(value, dict):
        return {
            key: shape(each)
            for key, each in value.items()
            if key not in {"sha256", "bytes", "loudness_lufs", "true_peak_dbtp", "gain_db"}
        } | {"keys": sorted(value)}
    return [shape(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("make", [render, render_tones])
def test_damaged_entries_leave_no_files(tmp_path: Path, make: Any) -> None:
    """They are all found before anything is written."""
    plan = two_scenes(tmp_path)
    for item in plan.items[1:3]:
        assert item.file is not None
        item.file.write_bytes(item.file.read_bytes()[:-4])
    with pytest.raises((CorruptEntriesError, CorruptTonesError)) as corrupt:
        make(plan)
    assert isinstance(corrupt.value, CorruptEntriesError | CorruptTonesError)
    assert corrupt.value.names == ("five", "other")
    assert not files_in(plan.folder)


@contextmanager
def descriptors(most: int) -> Iterator[None]:
    """So many more files may be open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("audio_format", ["wav", "mp3", "ogg"])
def test_scenes_are_written_one_after_the_other(tmp_path: Path, audio_format: str) -> None:
    """Hundreds of them, and never more than the joined file and one of theirs is open."""
    out = tmp_path / "out"
    out.mkdir()
    file = entry(tmp_path / "a", 0.1)
    items = [RenderItem(file, 0.05, number // 2, text="Hum.") for number in range(600)]
    scenes = [RenderScene(str(number), f"{number:03}") for number in range(300)]
    plan = RenderPlan(
        items, RATE, -16.0, out, scenes=scenes, scene_files=True, captions=("srt",), format=audio_format, title="T"
    )
    with descriptors(4):
        result = made(plan)
    assert len(files_in(out)) == 603
    assert [scene["audio"]["file"] for scene in result["scenes"]] == [
        f"scenes/{n:03}.{audio_format}" for n in range(300)
    ]
    last = [scene["start_s"] + scene["duration_s"] for scene in result["scenes"]]
    assert last == pytest.approx([0.3 * n + 0.25 for n in range(300)], abs=0.02)


@contextmanager
def room(most: int) -> Iterator[None]:
    """No file may become longer than so many bytes: writing fails in the middle, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("audio_format", "rate"), [("wav", RATE), ("flac", RATE), ("mp3", RATE), ("ogg", RATE), ("opus", 24_000)]
)
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99, -1])
def test_a_full_disk_is_noticed(tmp_path: Path, audio_format: str, rate: int, share: float) -> None:
    """At the first bytes, in the middle, at the last packet and at the very last byte, whatever the encoder says."""
    file = entry(tmp_path / "a", 8.0)
    for name in ("whole", "torn"):
        (tmp_path / name).mkdir()
    plan = RenderPlan([RenderItem(file, 0.5, 0)], rate, -16.0, tmp_path / "whole", format=audio_format, title="T")
    size = made(plan)["audio"]["bytes"]
    torn = RenderPlan(plan.items, rate, -16.0, tmp_path / "torn", format=audio_format, title="T")
    with room(size - 1 if share == -1 else int(size * share)), pytest.raises(JobRefused) as refused:
        render(torn)
    assert refused.value.failure.code is Code.OUTPUT_FAILED
    assert refused.value.failure.retryable
    assert not (tmp_path / "torn" / "result.json").exists()


def test_a_wav_file_that_would_be_too_long_is_refused(tmp_path: Path) -> None:
    """Its header counts 4 GiB; the message names the way out, and nothing is written."""
    silence = RenderItem(None, 0.0, 0, silence=6.3 * 3_600)
    plan = RenderPlan([silence], 48_000, None, tmp_path, encoding="float32", scenes=[RenderScene("a", "a")])
    with pytest.raises(JobRefused) as refused:
        render(plan)
    assert refused.value.failure.code is Code.TEXT_TOO_LONG
    assert "flac" in refused.value.failure.hint
    assert not files_in(tmp_path)


@pytest.mark.parametrize(
    ("settings", "fits"),
    [
        ({"encoding": "float32", "joined": False, "scene_files": True}, True),
        ({"encoding": "float32", "scene_files": True}, False),
        ({"encoding": "float32"}, False),
        ({"encoding": "pcm16"}, True),
        ({"format": "flac", "encoding": "float32", "max_seconds": 40 * 3_600.0}, True),
    ],
)
def test_each_wav_file_counts_for_itself(tmp_path: Path, settings: dict[str, Any], *, fits: bool) -> None:
    """Two scenes of 3.5 hours fit into files of their own and into smaller samples, but not into one file of floats.

    A single scene that is longer than any limit is refused in each case.
    """
    items = [RenderItem(None, 0.0, number, silence=3.5 * 3_600) for number in range(2)]
    timeline = Timeline(RenderPlan(items, 48_000, None, tmp_path, **settings))
    timeline.add(items[0], 0, None)
    if fits:
        timeline.add(items[1], 0, None)
    else:
        with pytest.raises(JobRefused):
            timeline.add(items[1], 0, None)
    with pytest.raises(JobRefused):
        timeline.add(RenderItem(None, 0.0, 2, silence=40 * 3_600), 0, None)


MEASURED = """
import sys
from pathlib import Path
from piperd.engine import RenderItem, RenderPlan, RenderScene
from piperd.engine.render import render

out, file, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
count = int(seconds / 5.5)
items = [RenderItem(file, 0.5, number * 3 // count, text="Hum, hum, hum, hum.") for number in range(count)]
scenes = [RenderScene(name, name) for name in "abc"]
render(RenderPlan(items, 22_050, -5.0, out, scenes=scenes, scene_files=True, captions=("srt", "vtt", "words")))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def test_memory_stays_flat(tmp_path: Path) -> None:
    """An hour of audio takes at most 16 MB more than five minutes: some 16 bytes for each block of 5 ms."""
    words = [(place, place + 3, place * 5_000, place * 5_000 + 4_000) for place in range(0, 20, 5)]
    file = entry(tmp_path / "a", 5.0, words)
    peaks = []
    for minutes in (5, 60):
        out = tmp_path / str(minutes)
        out.mkdir()
        command = [sys.executable, "-c", MEASURED, str(out), str(file), str(60 * minutes)]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1024)
        assert soundfile.info(out / "audio.wav").duration == pytest.approx(60 * minutes, abs=6)
    assert peaks[1] - peaks[0] < 16, peaks
