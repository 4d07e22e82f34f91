"""Narration as users get it: scenes, voices, formats, captions and text as people write it, from folder to folder."""

from __future__ import annotations

import json
import shutil
import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
import srt
import webvtt

import testvoices
from harness import Box, piperd

if TYPE_CHECKING:
    from pathlib import Path

SCENES = [
    {"id": "intro", "text": "It costs $5, or £3.50 — not more. 🎉 Come at 5:30 pm!"},
    {"id": "hum", "text": "Hm, and so on.", "voice": "en_US-hum-low", "speaker": "speaker1", "pause_after": 2},
    {"id": "end", "text": "[pause 1s] Dr. Smith [pause 1500ms] has gone.", "speed": 1.25},
]
FORMATS: dict[str, tuple[dict[str, Any], str, int]] = {
    "wav": ({}, "pcm_s16le", 22_050),
    "deep": ({"encoding": "pcm24", "sample_rate": 44_100}, "pcm_s24le", 44_100),
    "float": ({"encoding": "float32"}, "pcm_f32le", 22_050),
    "phone": ({"encoding": "ulaw", "sample_rate": 8_000}, "pcm_mulaw", 8_000),
    "bell": ({"encoding": "alaw", "sample_rate": 8_000}, "pcm_alaw", 8_000),
    "flac": ({"format": "flac", "loudness": -20}, "flac", 22_050),
    "mp3": ({"format": "mp3"}, "mp3", 22_050),
    "ogg": ({"format": "ogg", "sample_rate": 16_000}, "vorbis", 16_000),
    # Opus is always decoded at 48 kHz, whatever it was made from (RFC 7845, 5.1)
    "opus": ({"format": "opus"}, "opus", 48_000),
}
TEXTS = {
    "intro": ["It costs $5, or £3.50 — not more. 🎉", "Come at 5:30 pm!"],
    "hum": ["Hm, and so on."],
    "end": ["Dr. Smith", "has gone."],
}


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Box:
    """What one daemon has made of one film in every format, and of texts in another language."""
    top = tmp_path_factory.mktemp("film")
    (top / "voices").mkdir()
    testvoices.humming(top / "voices", "en_US-hum-low", speakers=3)
    testvoices.persian(top / "voices")
    options: dict[str, dict[str, Any]] = {
        "voices": {"dirs": [str(top / "voices")], "tune": True},
        "output": {"spoken_text": True},
    }
    box = Box(top, options)
    for name, (wishes, _, _) in FORMATS.items():
        box.drop(f"{name}.json", {"scenes": SCENES, "captions": ["srt", "vtt", "words"], **wishes})
    persian = {"text": "سلام دنیا. این یک آزمایش است!", "voice": "fa_IR-test-medium", "captions": ["srt", "words"]}
    box.drop("سلام.json", persian)
    result = piperd("run", "--drain", box=box)
    assert result.returncode == 0, result.stdout
    box.check_outputs()
    return box


def status(box: Box, name: str) -> dict[str, Any]:
    return dict(json.loads((box.outbox / f"{name}.json").read_bytes()))


def probed(path: Path) -> dict[str, Any]:
    command = ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", str(path)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return {**found["format"], **found["streams"][0]}


def decoded(path: Path) -> tuple[int, float, float]:
    """Frames at the file's own rate, integrated loudness in LUFS and true peak in dBTP, by ffmpeg."""
    command = ["ffmpeg", "-nostats", "-i", str(path), "-af", "ebur128=peak=true", "-f", "null", "-"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    summary = said.rpartition("Summary:")[2].split()
    pcm = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-f", "s16le", "-"], check=True, capture_output=True)
    return len(pcm.stdout) // 2, float(summary[summary.index("I:") + 1]), float(summary[summary.index("Peak:") + 1])


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_holds_what_the_status_says(box: Box, name: str) -> None:
    """Codec, rate, length, loudness and peak, by another program than the one that made it; scenes as well."""
    wishes, codec, rate = FORMATS[name]
    found = status(box, name)
    path = box.outbox / found["audio"]["file"]
    told = probed(path)
    assert (told["codec_name"], int(told["sample_rate"]), told["channels"]) == (codec, rate, 1)
    frames, loudness, peak = decoded(path)
    assert frames / rate == pytest.approx(found["audio"]["duration_s"], abs=0.02)
    assert loudness == pytest.approx(wishes.get("loudness", -16.0), abs=0.5)
    assert loudness == pytest.approx(found["audio"]["loudness_lufs"], abs=0.5)
    assert peak < -1.0
    for scene in found["scenes"]:
        frames, _, _ = decoded(box.outbox / scene["file"])
        assert frames / rate == pytest.approx(scene["duration_s"], abs=0.02)


def test_scenes_lie_where_the_status_says(box: Box) -> None:
    """Pauses between them are as long as was asked for; a pause at a scene's beginning is part of it."""
    scenes = status(box, "wav")["scenes"]
    gaps = [b["start_s"] - a["start_s"] - a["duration_s"] for a, b in pairwise(scenes)]
    assert gaps == pytest.approx([1.0, 2.0], abs=0.001)
    samples, rate = soundfile.read(box.outbox / "wav/03-end.wav", dtype="float32")
    assert not samples[:rate].any()
    loud = np.abs(samples[rate:]) > 0.01
    assert loud[: rate // 4].any()
    # 1.5 seconds without a sound somewhere in the middle
    quiet = np.diff(np.flatnonzero(np.abs(samples[rate:]) > 0))
    assert quiet.max() == pytest.approx(1.5 * rate, abs=0.05 * rate)


def test_captions_show_what_was_written(box: Box) -> None:
    """Also where figures, dots and emoji were said otherwise; read by other people's parsers."""
    found = status(box, "wav")
    cues = list(srt.parse((box.outbox / found["captions"]["srt"]).read_text()))
    assert " ".join(cue.content.replace("\n", " ") for cue in cues) == " ".join(
        text for texts in TEXTS.values() for text in texts
    )
    vtt = webvtt.read(str(box.outbox / found["captions"]["vtt"]))
    assert [cue.text for cue in vtt.captions] == [cue.content for cue in cues]
    for scene in found["scenes"]:
        own = list(srt.parse((box.outbox / scene["captions"]["srt"]).read_text()))
        assert " ".join(cue.content.replace("\n", " ") for cue in own) == " ".join(TEXTS[scene["id"]])
        shift = [cue.start.total_seconds() + scene["start_s"] for cue in own]
        same = [cue.start.total_seconds() for cue in cues if cue.content in {each.content for each in own}]
        assert shift == pytest.approx(same, abs=0.002)


def test_words_have_their_times(box: Box) -> None:
    """In order, in their scene, exact, and as they were written; and they sound louder than what lies between them."""
    found = status(box, "wav")
    told = json.loads((box.outbox / found["captions"]["words"]).read_bytes())
    assert told["schema"] == 1
    assert told["exact"]
    words = told["words"]
    for said in ("$5", "£3.50", "5:30", "pm", "Dr", "Smith"):
        assert said in [word["word"] for word in words]
    times = [time for word in words for time in (word["start_s"], word["end_s"])]
    assert times == sorted(times)
    samples, rate = soundfile.read(box.outbox / "wav.wav", dtype="float32")
    level = [float(np.abs(samples[int(w["start_s"] * rate) : int(w["end_s"] * rate)]).mean()) for w in words]
    pauses = [(a["end_s"], b["start_s"]) for a, b in pairwise(words) if b["start_s"] - a["end_s"] > 0.9]
    between = [float(np.abs(samples[int((a + 0.2) * rate) : int((b - 0.1) * rate)]).mean()) for a, b in pauses]
    assert len(between) >= 3
    assert min(level) > 5 * max(between)
    for scene in found["scenes"]:
        inside = [word for word in words if word["scene"] == scene["id"]]
        assert inside[0]["start_s"] >= scene["start_s"]
        assert inside[-1]["end_s"] <= scene["start_s"] + scene["duration_s"] + 0.001


def test_the_status_tells_how_it_was_read(box: Box) -> None:
    """With numbers written out."""
    spoken = [scene["spoken_text"] for scene in status(box, "wav")["scenes"]]
    assert "five dollars" in spoken[0]
    assert "three pounds" in spoken[0]
    assert "five thirty" in spoken[0]
    assert "Doctor Smith" in spoken[2]
    assert "pause" not in spoken[2]


def test_each_format_costs_no_new_speech(box: Box) -> None:
    """The same scenes were spoken once, for the first job that wanted them."""
    progress = [status(box, name)["progress"] for name in FORMATS]
    new = [each["spoken"] - each["from_store"] for each in progress]
    assert sum(new) <= 2 * progress[0]["utterances"]


def test_speakers_sound_unlike_one_another(box: Box) -> None:
    """The second speaker of the humming voice hums an octave above the first: 220 Hz."""
    samples, rate = soundfile.read(box.outbox / "wav/02-hum.wav", dtype="float32")
    spectrum = np.abs(np.fft.rfft(samples))
    assert np.fft.rfftfreq(len(samples), 1 / rate)[spectrum.argmax()] == pytest.approx(220, abs=8)


def test_persian_is_right_from_end_to_end(box: Box) -> None:
    """Names, captions and words keep their letters and their order; nothing warns of the script."""
    found = status(box, "سلام")
    assert found["audio"]["file"] == "سلام.wav"
    assert found["warnings"] == []
    told = json.loads((box.outbox / found["captions"]["words"]).read_bytes())
    assert [word["word"] for word in told["words"]] == ["سلام", "دنیا", "این", "یک", "آزمایش", "است"]
    assert told["exact"]
    cues = list(srt.parse((box.outbox / found["captions"]["srt"]).read_text()))
    bare = [cue.content.strip("\u202a\u202b\u202c\u2066\u2067\u2068\u2069\u200e\u200f") for cue in cues]
    assert bare == ["سلام دنیا.", "این یک آزمایش است!"]


BAD: dict[str, tuple[dict[str, Any], str, str | None, str | None, str]] = {
    "two scenes of one id": (
        {"scenes": [{"id": "a", "text": "x"}, {"id": "a", "text": "y"}]}, "job_file_invalid", "scenes.1.id", "a", "'a'",
    ),
    "an empty scene": (
        {"scenes": [{"text": "x"}, {"id": "b", "text": "  "}]}, "text_empty", "scenes.1.text", "b", "no text",
    ),
    "a scene of signs": (
        {"scenes": [{"text": "x"}, {"id": "b", "text": "--- ..."}]}, "unspeakable_text", "scenes.1.text", "b", "'b'",
    ),
    "a speaker that is not there": (
        {"scenes": [{"text": "x"}, {"id": "b", "text": "y", "voice": "en_US-hum-low", "speaker": "nobody"}]},
        "speaker_unknown", "scenes.1.speaker", "b", "speaker0, speaker1",
    ),
    "a voice that is not there": (
        {"scenes": [{"text": "x"}, {"id": "b", "text": "y", "voice": "xx"}]},
        "voice_unknown", "scenes.1.voice", "b", "'xx'",
    ),
    "captions that do not exist": ({"text": "x", "captions": ["ass"]}, "job_file_invalid", "captions.0", None, "'srt'"),
    "a rate that Opus has not": (
        {"text": "x", "format": "opus", "sample_rate": 22_050}, "job_file_invalid", "sample_rate", None, "24000",
    ),
    "an encoding without WAV": (
        {"text": "x", "format": "mp3", "encoding": "pcm24"}, "job_file_invalid", "encoding", None, "mp3",
    ),
    "a format that does not exist": ({"text": "x", "format": "aac"}, "job_file_invalid", "format", None, "opus"),
    "no audio at all": (
        {"text": "x", "joined": False, "scene_files": False}, "job_file_invalid", "joined", None, "no audio",
    ),
    "too much metadata": (
        {"text": "x", "metadata": {"a": "y" * 20_000}}, "job_file_invalid", "metadata", None, "16384",
    ),
}  # fmt: skip


BAD_FOLDERS = {
    "broken": "voice = ",
    "strange": "colour = 1",
    "circle": '[lexicon]\n"a" = "b"\n"b" = "a"',
}


def test_bad_input_is_told_where_and_what(tmp_path: Path) -> None:
    """Code, field, scene and what is allowed; the good job beside them is spoken, and nothing else is touched."""
    (tmp_path / "voices").mkdir()
    testvoices.humming(tmp_path / "voices", "en_US-hum-low", speakers=2)
    box = Box(tmp_path, {"voices": {"dirs": [str(tmp_path / "voices")]}})
    for number, (job, *_) in enumerate(BAD.values()):
        box.drop(f"bad-{number}.json", job)
    for folder, content in {
        "broken": "voice = ",
        "strange": "colour = 1",
        "circle": '[lexicon]\n"a" = "b"\n"b" = "a"',
    }.items():
        box.drop(f"{folder}/piperd.toml", content)
        box.drop(f"{folder}/x.txt", "Hello.")
    box.drop("good.json", {"scenes": [{"text": "Good."}, {"text": "Better.", "voice": "en_US-hum-low"}]})
    result = piperd("run", "--drain", box=box)
    assert result.returncode == 1
    for number, (name, (_, code, field, scene, words)) in enumerate(BAD.items()):
        error = status(box, f"bad-{number}")["error"]
        assert (error["code"], error["field"], error["scene"]) == (code, field, scene), name
        assert words in error["message"], name
        assert error["hint"], name
    for folder in BAD_FOLDERS:
        error = status(box, f"{folder}/x")["error"]
        assert error["code"] == "folder_defaults_invalid"
        assert f"{folder}/piperd.toml" in error["message"]
        assert (box.inbox / folder / "piperd.toml").exists()
    assert status(box, "good")["state"] == "done"
    assert "Traceback" not in result.stdout + result.stderr
