"""Every format is decoded by a program that piperd does not use, and measured. The default voice is heard."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from crash.observer import _is_whole
from piperd import formats, spoken
from piperd.engine import RenderItem, RenderPlan, RenderScene
from piperd.engine.encode import presentable
from piperd.engine.render import render

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RATE = 22_050
ENCODINGS = get_args(formats.Encoding)
Sound = NDArray[np.float32]

SENTENCES = (
    "Welcome to the evening news, from the river to the hills beyond it.",
    "She sells sea shells, she said, because six swift ships slipped past the shore!",
    "Was it worth it? Perhaps.",
)
WAVS = [("wav", encoding, rate) for encoding in ENCODINGS for rate in (8_000, 22_050, 48_000)]
FLACS = [("flac", "pcm16", rate) for rate in (8_000, 11_025, 22_050, 44_100)]
MP3S = [("mp3", "pcm16", rate) for rate in (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)]
VORBIS = [("ogg", "pcm16", rate) for rate in (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)]
OPUS = [("opus", "pcm16", rate) for rate in (8_000, 12_000, 16_000, 24_000, 48_000)]
ALL = WAVS + FLACS + MP3S + VORBIS + OPUS
ONE_OF_EACH = [*WAVS[1::3], FLACS[2], MP3S[4], VORBIS[2], OPUS[3]]
LOSSLESS = [("wav", "pcm16", RATE), ("wav", "pcm24", RATE), ("wav", "float32", RATE), ("flac", "pcm16", RATE)]
each_format = pytest.mark.parametrize(("audio_format", "encoding", "rate"), ONE_OF_EACH)


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


@pytest.fixture(scope="session")
def voice(bare_speech: Callable[[str], Sound], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Store entries of the sentences, in the default voice."""
    folder = tmp_path_factory.mktemp("voice")
    return [entry(folder / str(number), bare_speech(text)) for number, text in enumerate(SENTENCES)]


def entry(path: Path, samples: Sound, rate: int = RATE) -> Path:
    path.write_bytes(b"".join(spoken.pack(samples.astype("<f4").tobytes(), rate)))
    return path


def plan_of(folder: Path, files: list[Path], audio_format: str, encoding: str, rate: int, **rest: Any) -> RenderPlan:
    """Two scenes: all but the last of the files with pauses between them; the last, behind a pause of its own."""
    folder.mkdir(exist_ok=True)
    items = [RenderItem(file, 0.35, 0) for file in files[:-1]]
    items += [RenderItem(files[-1], 0.4, 1, silence=0.25)]
    defaults: dict[str, Any] = {
        "loudness": -16.0, "scene_files": True, "title": "The news", "job_id": "01JDC0",
        "scenes": (RenderScene("intro", "01-intro"), RenderScene("body", "02-body")),
    }  # fmt: skip
    settings = defaults | rest
    return RenderPlan(items, rate, settings.pop("loudness"), folder, format=audio_format, encoding=encoding, **settings)


def made(plan: RenderPlan) -> dict[str, Any]:
    render(plan)
    result: dict[str, Any] = json.loads((plan.folder / "result.json").read_text())
    return result


def audio_files(result: dict[str, Any]) -> dict[str, float]:
    """Each audio file, and how long it is said to be."""
    found = {result["audio"]["file"]: result["audio"]["duration_s"]} if result["audio"] else {}
    return found | {each["audio"]["file"]: each["duration_s"] for each in result["scenes"] if each["audio"]}


def decoded(path: Path) -> Sound:
    """By ffmpeg, at the rate that it finds."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "f32le", "-"]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, "<f4")


def probed(path: Path) -> dict[str, Any]:
    command = ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", str(path)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    tags = found["format"].get("tags", {}) | found["streams"][0].get("tags", {})
    return {**found["streams"][0], "tags": {name.lower(): text for name, text in tags.items()}}


def loudness_and_peak(path: Path) -> tuple[float, float]:
    """LUFS and dBTP, as ffmpeg measures them."""
    command = ["ffmpeg", "-hide_banner", "-nostats", "-i", str(path), "-af", "ebur128=peak=true", "-f", "null", "-"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    summary = said[said.rindex("Summary:") :]
    found = [re.search(rf"{name}:\s+(\S+) ", summary) for name in ("I", "Peak")]
    assert all(found), said
    return float(found[0][1]), float(found[1][1])  # type: ignore[index]  # asserted above


@needs("ffmpeg")
@pytest.mark.parametrize(("audio_format", "encoding", "rate"), ALL)
def test_what_is_decoded_is_what_was_rendered(
    voice: list[Path], tmp_path: Path, audio_format: str, encoding: str, rate: int
) -> None:
    """One channel at the rate asked for, as long as the timeline says, as loud as asked for, under its peak.

    Sound stands at the same place as in a WAV of the same plan: no encoder's delay is left.
    """
    result = made(plan_of(tmp_path / "it", voice, audio_format, encoding, rate))
    joined = tmp_path / "it" / f"audio.{audio_format}"
    assert sorted(audio_files(result)) == sorted(
        [joined.name, f"scenes/01-intro.{audio_format}", f"scenes/02-body.{audio_format}"]
    )
    for name, seconds in audio_files(result).items():
        stream = probed(tmp_path / "it" / name)
        heard = 48_000 if audio_format == "opus" else rate  # Opus is always decoded at 48 kHz (RFC 7845)
        assert (int(stream["sample_rate"]), stream["channels"]) == (heard, 1)
        assert len(decoded(tmp_path / "it" / name)) / heard == pytest.approx(seconds, abs=0.02)
    loudness, peak = loudness_and_peak(joined)
    # at 8 kHz Opus takes away what lies near 4 kHz
    assert loudness == pytest.approx(-16.0, abs=0.7 if (audio_format, rate) == ("opus", 8_000) else 0.5)
    assert peak <= (-1.0 if audio_format in {"mp3", "ogg", "opus"} else -1.4)

    made(plan_of(tmp_path / "wav", voice, "wav", "float32", heard, loudness=None))
    assert abs(lag(decoded(joined), decoded(tmp_path / "wav" / "audio.wav"))) <= 0.002 * heard


def lag(one: Sound, other: Sound) -> int:
    """How many frames later the sound of the one is."""
    size = 1 << (len(one) + len(other)).bit_length()
    likeness = np.fft.irfft(np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size)))
    best = int(np.argmax(likeness))
    return best - size if best > size // 2 else best


@needs("ffmpeg")
@pytest.mark.parametrize(("audio_format", "encoding", "rate"), LOSSLESS)
def test_a_scene_file_has_the_samples_of_the_joined_one(
    voice: list[Path], tmp_path: Path, audio_format: str, encoding: str, rate: int
) -> None:
    """From the scene's start to the end of its last utterance, sample for sample."""
    result = made(plan_of(tmp_path, voice, audio_format, encoding, rate))
    joined = decoded(tmp_path / result["audio"]["file"])
    for scene in result["scenes"]:
        start, frames = round(scene["start_s"] * rate), round(scene["duration_s"] * rate)
        own = decoded(tmp_path / scene["audio"]["file"])
        assert len(own) == frames
        assert np.array_equal(own, joined[start : start + frames])
        assert np.abs(own).max() > 0.3
        assert max(abs(own[0]), abs(own[-1])) < 0.01  # cut where it is faded


@needs("ffmpeg")
@pytest.mark.parametrize(
    ("audio_format", "encoding", "rate"), [*LOSSLESS, ("wav", "ulaw", RATE), ("wav", "alaw", RATE)]
)
def test_pauses_are_digital_silence(
    voice: list[Path], tmp_path: Path, audio_format: str, encoding: str, rate: int
) -> None:
    """Whole frames of it, before, between and behind; A-law has no zero, and gets its smallest value."""
    result = made(plan_of(tmp_path, voice, audio_format, encoding, rate))
    joined = decoded(tmp_path / result["audio"]["file"])
    least = 8 / 32_768 if encoding == "alaw" else 0.0
    second = round(result["scenes"][1]["start_s"] * rate)
    behind = round((result["scenes"][1]["start_s"] + result["scenes"][1]["duration_s"]) * rate)
    lead, pause = round(0.25 * rate), round(0.35 * rate)
    for silence in (joined[second - pause : second + lead], joined[behind:]):
        assert np.array_equal(np.abs(silence), np.full(len(silence), np.float32(least)))
    assert len(joined) - behind == round(0.4 * rate)
    own = decoded(tmp_path / result["scenes"][1]["audio"]["file"])
    assert np.array_equal(own[:lead], joined[second : second + lead])


@needs("ffmpeg")
@each_format
def test_files_say_what_they_are(
    voice: list[Path], tmp_path: Path, audio_format: str, encoding: str, rate: int
) -> None:
    """Title and job; of a scene its own id, the title as the album, and its number: players sort by that."""
    plan = plan_of(tmp_path, voice[-1:] * 2, audio_format, encoding, rate, title="Die Übersicht – گزارش‌ها 🎉")
    made(plan)
    tags = probed(tmp_path / f"audio.{audio_format}")["tags"]
    assert (tags["title"], tags["comment"]) == (plan.title, plan.job_id)
    tags = probed(tmp_path / "scenes" / f"02-body.{audio_format}")["tags"]
    assert (tags["title"], tags["album"], tags["comment"]) == ("body", plan.title, plan.job_id)
    assert tags.get("track", tags.get("tracknumber")) == "2"


HOSTILE = "a\0b\r\nc\x1b[2J\u202e\udc80d" + "e" * 1_000


@each_format
def test_hostile_titles_do_no_harm(
    voice: list[Path], tmp_path: Path, audio_format: str, encoding: str, rate: int
) -> None:
    """They are tags of one line without controls, and the file is one that can be read."""
    made(plan_of(tmp_path, voice[-1:] * 2, audio_format, encoding, rate, title=HOSTILE))
    assert presentable(HOSTILE) == ("a b c [2J d" + "e" * 1_000)[:250]
    if shutil.which("ffmpeg"):
        assert probed(tmp_path / f"audio.{audio_format}")["tags"]["title"] == presentable(HOSTILE)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("title", ["", "odd", "even"])
@pytest.mark.parametrize("frames", [999, 1_000])
def test_wav_files_are_whole(tmp_path: Path, encoding: str, title: str, frames: int) -> None:
    """Their header counts every byte, whatever the tags and the number of samples come to."""
    sound = np.full(frames, 0.1, np.float32)
    plan = plan_of(tmp_path, [entry(tmp_path / "a", sound)], "wav", encoding, RATE, title=title, scene_files=False)
    made(plan)
    assert _is_whole((tmp_path / "audio.wav").read_bytes())


def test_floats_keep_their_level(tmp_path: Path) -> None:
    """What is louder than full scale stays so in float32, and is cut in all else."""
    file = entry(tmp_path / "a", np.full(RATE, 1.5, np.float32))
    for encoding in ENCODINGS:
        folder = tmp_path / encoding
        made(plan_of(folder, [file], "wav", encoding, RATE, loudness=None, scene_files=False))
        steady = soundfile.read(folder / "audio.wav")[0][RATE // 2 : RATE]
        assert steady == pytest.approx(1.5 if encoding == "float32" else 1.0, abs=0.03)


DECODERS = {
    "mp3": ["mpg123", "-q", "-s", "--mono"],
    "ogg": ["oggdec", "-Q", "-R", "-o", "-"],
}


@pytest.mark.parametrize("seconds", [0.03, 0.1, 0.4, 1.7])
@pytest.mark.parametrize(("audio_format", "rate"), [("mp3", 8_000), ("mp3", RATE), ("ogg", 8_000), ("ogg", RATE)])
def test_short_files_have_their_length(tmp_path: Path, audio_format: str, rate: int, seconds: float) -> None:
    """To the frame, as the format's own decoder counts it, whatever the encoder has put in front and behind.

    ffmpeg plays the last packets of Vorbis to their end where all sound fits on one page, also in files of its own
    making: up to 32 ms too much or too little.
    """
    program, *options = DECODERS[audio_format]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    noise = np.random.default_rng(1).normal(0, 0.1, round(seconds * rate)).astype(np.float32)
    items = [RenderItem(entry(tmp_path / "a", noise, rate), 0.0, 0)]
    made(RenderPlan(items, rate, -16.0, tmp_path, format=audio_format, title="T", job_id="1"))
    command = [program, *options, str(tmp_path / f"audio.{audio_format}")]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    assert len(raw) == 2 * len(noise)
    if shutil.which("ffmpeg"):
        assert len(decoded(tmp_path / f"audio.{audio_format}")) == pytest.approx(
            len(noise), abs=0.035 * rate if audio_format == "ogg" else 0
        )
