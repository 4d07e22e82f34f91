"""Joining and levelling: every WAV is opened and measured, loudness against pyloudnorm."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyloudnorm
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from piperd import spoken
from piperd.engine import RenderItem, RenderPlan
from piperd.engine.limiter import _dips, _highest, level
from piperd.engine.loudness import STRETCH, Meter
from piperd.engine.render import CorruptEntriesError, render
from piperd.errors import Code, JobRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RATE = 22_050
Sound = NDArray[np.float32]


def tone(seconds: float, level: float = 0.25, rate: int = RATE, pitch: float = 440.0) -> Sound:
    time = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * pitch * time)).astype(np.float32)


def noise(seconds: float, rate: int, seed: int = 1) -> Sound:
    """Like speech in that it swells and pauses: the gate has something to do."""
    random = np.random.default_rng(seed)
    envelope = np.repeat(random.choice([0.0, 0.02, 0.3, 1.0], round(seconds * 5) + 1), rate // 5)
    sound = random.normal(0, 0.1, round(seconds * rate)) * envelope[: round(seconds * rate)]
    return np.asarray(sound, np.float32)


def entry(folder: Path, name: str, samples: Sound, rate: int = RATE) -> Path:
    path = folder / name
    path.write_bytes(b"".join(spoken.pack(samples.astype("<f4").tobytes(), rate)))
    return path


def run(folder: Path, items: list[RenderItem], loudness: float | None = None) -> tuple[Sound, dict[str, Any]]:
    """The samples and the result; the result's claims about the file have been checked."""
    out = folder / "out"
    out.mkdir()
    seconds = render(RenderPlan(items, RATE, loudness, out))
    result = json.loads((out / "result.json").read_text())
    audio = result["audio"]
    content = (out / audio["file"]).read_bytes()
    assert audio["sha256"] == hashlib.sha256(content).hexdigest()
    assert audio["bytes"] == len(content)
    information = soundfile.info(out / "audio.wav")
    assert (information.format, information.subtype, information.channels) == ("WAV", "PCM_16", 1)
    assert information.samplerate == audio["sample_rate"] == RATE
    samples, _ = soundfile.read(out / "audio.wav", dtype="float32")
    assert len(samples) / RATE == audio["duration_s"] == result["duration_s"] == seconds
    assert [audio[key] for key in ("loudness_lufs", "true_peak_dbtp")] == [
        result[key] for key in ("loudness_lufs", "true_peak_dbtp")
    ]
    return samples, result


def measure(*stretches: Sound, rate: int) -> tuple[float | None, float | None]:
    meter = Meter(rate)
    for stretch in stretches:
        meter.add(stretch)
    return meter.finish()


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("seconds", [0.5, 3.21, 12.0])
def test_loudness_is_that_of_pyloudnorm(rate: int, seconds: float) -> None:
    """Measured in stretches of odd lengths, it agrees with the whole signal's within 0.01 LU.

    pyloudnorm's own default filters stray from BS.1770's table; its class "DeMan" is exact.
    """
    sound = noise(seconds, rate)
    loudness, _ = measure(*np.array_split(sound, 37), rate=rate)
    assert loudness is not None
    usual = sound[: int(int(seconds * 10 + 1e-9) * rate / 10)]  # pyloudnorm rounds the last block up
    expected = pyloudnorm.Meter(rate, filter_class="DeMan").integrated_loudness(usual.astype(float))
    assert loudness == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("rate", [22_050, 48_000])
def test_a_full_scale_sine_has_the_loudness_of_the_standard(rate: int) -> None:
    """BS.1770: 997 Hz at 0 dBFS in one channel is -3.01 LKFS."""
    loudness, peak = measure(tone(5.0, 1.0, rate, 997.0), rate=rate)
    assert loudness == pytest.approx(-3.01, abs=0.05)
    assert peak == pytest.approx(0.0, abs=0.1)


def test_the_true_peak_lies_between_the_samples() -> None:
    """A sine of a quarter of the rate, sampled at 45 degrees, has samples of 0.707 and a peak of 1."""
    time = np.arange(RATE)
    sound = np.sin(np.pi / 2 * time + np.pi / 4).astype(np.float32)
    assert np.abs(sound).max() < 0.71
    _, peak = measure(sound * np.hanning(RATE).astype(np.float32), rate=RATE)
    assert peak == pytest.approx(0.0, abs=0.1)


def test_silence_has_no_loudness() -> None:
    """Nor a peak; and what lies under the gate has a peak only."""
    assert measure(np.zeros(RATE, np.float32), rate=RATE) == (None, None)
    loudness, peak = measure(tone(1.0, 1e-5), rate=RATE)
    assert loudness is None
    assert peak == pytest.approx(-100.0, abs=0.5)


def test_a_sound_shorter_than_a_block_is_measured_over_its_own_length() -> None:
    """A word of 0.2 s is as loud as one of 2 s at the same level."""
    short, _ = measure(tone(0.2, pitch=997.0), rate=RATE)
    long, _ = measure(tone(2.0, pitch=997.0), rate=RATE)
    assert short == pytest.approx(long, abs=0.3)


def test_pauses_are_whole_frames_of_digital_silence(tmp_path: Path) -> None:
    """Between the utterances and behind the last, of just the length that was asked for."""
    file = entry(tmp_path, "a", tone(1.0))
    samples, _ = run(tmp_path, [RenderItem(file, 0.5, 0), RenderItem(file, 0.25, 0)])
    pause = round(0.5 * RATE)
    assert len(samples) == 2 * RATE + pause + round(0.25 * RATE)
    assert not samples[RATE : RATE + pause].any()
    assert not samples[-round(0.25 * RATE) :].any()
    assert np.abs(samples[RATE // 2]) + np.abs(samples[RATE // 2 + 13]) > 0.01


def test_silence_that_stands_in_belongs_to_its_scene(tmp_path: Path) -> None:
    """A scene that could not be spoken has its place and its length; the level of the others is not changed by it."""
    file = entry(tmp_path, "a", speechlike(4.0))
    items = [RenderItem(file, 0.5, 0), RenderItem(None, 0.2, 1, silence=3.0), RenderItem(None, 0.0, 1, silence=1.5)]
    samples, result = run(tmp_path, items, loudness=-20.0)
    good, lost = result["scenes"]
    assert (lost["start_s"], lost["duration_s"]) == (4.5, pytest.approx(4.7, abs=1e-3))
    assert good["duration_s"] == pytest.approx(4.0, abs=1e-3)
    assert not samples[round(4.0 * RATE) + 1 :].any()
    assert result["loudness_lufs"] == pytest.approx(-20.0, abs=0.3)


def test_silence_alone_is_rendered(tmp_path: Path) -> None:
    """A job that may be degraded gets its file, even if nothing of it could be spoken."""
    samples, result = run(tmp_path, [RenderItem(None, 0.0, 0, silence=2.0)], loudness=-16.0)
    assert len(samples) == 2 * RATE
    assert not samples.any()
    assert result["loudness_lufs"] is None


def test_more_audio_than_is_allowed_is_refused(tmp_path: Path) -> None:
    """Pauses count, and nothing is written."""
    out = tmp_path / "out"
    out.mkdir()
    items = [RenderItem(entry(tmp_path, "a", tone(1.0)), 5.0, 0)]
    with pytest.raises(JobRefused) as refused:
        render(RenderPlan(items, RATE, None, out, max_seconds=5.9))
    assert refused.value.failure.code is Code.TEXT_TOO_LONG
    assert not list(out.iterdir())
    assert render(RenderPlan(items, RATE, None, out, max_seconds=6.0)) == 6.0


def test_joins_do_not_click(tmp_path: Path) -> None:
    """Utterances that begin and end at full level are faded: no step is larger than the signal's own."""
    file = entry(tmp_path, "a", np.full(RATE, 0.5, np.float32))
    samples, _ = run(tmp_path, [RenderItem(file, 0.0, 0), RenderItem(file, 0.1, 0)])
    assert np.abs(np.diff(samples, prepend=0.0)).max() < 0.5 / (0.005 * RATE) * 1.1
    assert samples[RATE // 2] == pytest.approx(0.5, abs=1e-4)


def test_levels_are_rounded_to_the_nearest(tmp_path: Path) -> None:
    """Without levelling, each 16-bit sample is at most half a step away from what was spoken."""
    sound = noise(2.0, RATE)
    samples, result = run(tmp_path, [RenderItem(entry(tmp_path, "a", sound), 0.0, 0)])
    inner = slice(200, -200)
    assert np.abs(samples[inner] * 32_768 - sound[inner] * 32_767).max() <= 0.501
    assert result["gain_db"] == 0.0


def test_it_comes_out_at_the_loudness_that_was_asked_for(tmp_path: Path) -> None:
    """One gain for the whole; the relation of loud to quiet stays."""
    loud, quiet = entry(tmp_path, "a", tone(2.0, 0.1)), entry(tmp_path, "b", tone(2.0, 0.05))
    samples, result = run(tmp_path, [RenderItem(loud, 0.3, 0), RenderItem(quiet, 0.0, 1)], loudness=-20.0)
    assert result["loudness_lufs"] == pytest.approx(-20.0, abs=0.01)
    assert pyloudnorm.Meter(RATE).integrated_loudness(samples.astype(float)) == pytest.approx(-20.0, abs=0.1)
    ratio = np.abs(samples[RATE : 2 * RATE - 500]).max() / np.abs(samples[-RATE:-500]).max()
    assert ratio == pytest.approx(2.0, abs=0.01)


def speechlike(seconds: float) -> Sound:
    """Pulses 22 dB over their mean, as a voice has them."""
    time = np.arange(round(seconds * RATE)) / RATE
    pulses = np.exp(-((time * 110) % 1) * 6) * np.sin(2 * np.pi * 700 * time)
    swell = 0.3 + 0.7 * np.sin(2 * np.pi * 1.3 * time) ** 8
    return np.asarray(0.35 * pulses * swell, np.float32)


def test_peaks_are_limited_and_the_loudness_is_reached(tmp_path: Path) -> None:
    """Where one gain alone would drive the true peak over -1.5 dBTP, they give way."""
    item = RenderItem(entry(tmp_path, "a", speechlike(4.0)), 0.0, 0)
    samples, result = run(tmp_path, [item], loudness=-16.0)
    loudness, peak = measure(samples, rate=RATE)
    assert result["gain_db"] > 3
    # pulses are the worst case: what limiting takes is reckoned by blocks, each of which has some of them
    assert loudness == pytest.approx(-16.0, abs=0.7)
    assert result["loudness_lufs"] == pytest.approx(loudness, abs=0.7)
    assert peak is not None
    assert peak <= -1.5


def test_what_can_not_be_louder_stays_quieter(tmp_path: Path) -> None:
    """A single click over near silence is not turned into a wall of noise: the limiter's work has a bound."""
    sound = tone(3.0, 0.001)
    sound[RATE : RATE + 50] = tone(50 / RATE, 0.5)
    samples, result = run(tmp_path, [RenderItem(entry(tmp_path, "a", sound), 0.0, 0)], loudness=-16.0)
    _, peak = measure(samples, rate=RATE)
    assert peak is not None
    assert peak <= -1.5
    assert result["loudness_lufs"] < -20


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.9), st.floats(-30, -8))
def test_no_peak_passes_the_limiter(seed: int, height: float, target: float) -> None:
    """Whatever comes in and however loud it is to be, no true peak goes out above the ceiling."""
    rng = np.random.default_rng(seed)
    sound = (rng.standard_normal(RATE) * rng.choice([0.02, 0.3], RATE, p=[0.98, 0.02]) * height).astype(np.float32)
    meter = Meter(RATE)
    meter.add(sound)
    loudness, _ = meter.finish()
    leveller = level(meter.blocks, loudness, target, -1.5)
    done = np.concatenate([leveller.apply(sound[start : start + 3_000], start) for start in range(0, RATE, 3_000)])
    _, peak = measure(done, rate=RATE)
    assert peak is not None
    assert peak <= -1.45
    assert leveller.true_peak == pytest.approx(peak, abs=1.5)
    if leveller.dips is None:
        assert measure(done, rate=RATE)[0] == pytest.approx(target, abs=0.05)


def test_dips_do_not_depend_on_where_stretches_end() -> None:
    """A peak is limited alike in the first seven minutes, across their end, and far behind it."""
    peaks = np.random.default_rng(1).random(2_000, np.float32)
    alone = _dips(peaks, 10.0, -1.5)
    assert alone.min() < 0.5
    for blocks in (STRETCH - 1_000, STRETCH - 1_003, 2 * STRETCH - 7, 2 * STRETCH - 998):
        before = np.full(blocks, 0.01, np.float32)
        both = np.concatenate([before, peaks])
        found = _dips(both, 10.0, -1.5)[blocks:]
        assert np.array_equal(found[10:], alone[10:])  # the first ones have other neighbours
        assert _highest(both, np.concatenate([np.full_like(before, found[0]), found])) == _highest(peaks, found)


@pytest.mark.parametrize(("peak", "neighbour"), [(STRETCH - 1, STRETCH), (STRETCH, STRETCH - 1)])
def test_the_highest_peak_may_have_its_factor_from_the_next_stretch(peak: int, neighbour: int) -> None:
    """A factor runs straight to that of the neighbour, wherever that stands."""
    peaks, dips = np.zeros(2 * STRETCH, np.float32), np.full(2 * STRETCH, 0.25, np.float32)
    peaks[peak], dips[neighbour] = 1.0, 0.5
    assert _highest(peaks, dips) == 0.5


def test_scenes_are_told_from_each_other(tmp_path: Path) -> None:
    """Each has its start and its length without the pause behind it; one with nothing to speak has no length."""
    second, nothing = entry(tmp_path, "a", tone(1.0)), entry(tmp_path, "b", np.zeros(0, np.float32))
    items = [
        RenderItem(second, 0.2, 0),
        RenderItem(second, 1.0, 0),
        RenderItem(nothing, 0.5, 1),
        RenderItem(second, 0.0, 2),
    ]
    _, result = run(tmp_path, items)
    assert [scene["index"] for scene in result["scenes"]] == [0, 1, 2]
    assert [scene["start_s"] for scene in result["scenes"]] == pytest.approx([0.0, 3.2, 3.7], abs=1e-4)
    assert [scene["duration_s"] for scene in result["scenes"]] == pytest.approx([2.2, 0.0, 1.0], abs=1e-4)
    assert result["duration_s"] == pytest.approx(4.7, abs=1e-4)


def test_other_rates_are_resampled(tmp_path: Path) -> None:
    """A voice of 16 kHz in a job of 22,050 Hz keeps its length and its pitch."""
    file = entry(tmp_path, "a", tone(2.0, rate=16_000), 16_000)
    samples, result = run(tmp_path, [RenderItem(file, 0.0, 0)])
    assert result["duration_s"] == pytest.approx(2.0, abs=0.001)
    spectrum = np.abs(np.fft.rfft(samples))
    assert np.argmax(spectrum) * RATE / len(samples) == pytest.approx(440.0, abs=1.0)


def test_silence_is_not_amplified(tmp_path: Path) -> None:
    """Utterances of nothing but zeros stay so."""
    samples, result = run(tmp_path, [RenderItem(entry(tmp_path, "a", np.zeros(RATE, np.float32)), 0.0, 0)], -16.0)
    assert not samples.any()
    assert (result["loudness_lufs"], result["gain_db"]) == (None, 0.0)


def test_nothing_to_speak_is_refused(tmp_path: Path) -> None:
    """A job all of whose utterances are empty has no audio to give."""
    file = entry(tmp_path, "a", np.zeros(0, np.float32))
    with pytest.raises(JobRefused) as refused:
        render(RenderPlan([RenderItem(file, 1.0, 0)], RATE, None, tmp_path))
    assert refused.value.failure.code is Code.UNSPEAKABLE_TEXT


class Restless(list[RenderItem]):
    """Items of which one is spoken anew each time that they are read through."""

    def __init__(self, items: list[RenderItem], again: Callable[[], object]) -> None:
        super().__init__(items)
        self._again = again

    def __iter__(self) -> Iterator[RenderItem]:
        yield from super().__iter__()
        self._again()


def test_an_entry_that_is_spoken_anew_meanwhile_is_noticed(tmp_path: Path) -> None:
    """Length, level and captions are those of the first reading: the second must find the same, or nothing is made."""
    one, other = entry(tmp_path, "1", tone(0.5)), entry(tmp_path, "2", tone(0.5))
    items = Restless([RenderItem(one, 0.1, 0), RenderItem(other, 0.0, 0)], lambda: entry(tmp_path, "2", tone(0.6)))
    (tmp_path / "out").mkdir()
    with pytest.raises(CorruptEntriesError) as caught:
        render(RenderPlan(items, RATE, None, tmp_path / "out"))
    assert caught.value.names == ("2",)
    assert not (tmp_path / "out/result.json").exists()


def test_all_damaged_entries_are_named(tmp_path: Path) -> None:
    """Missing, torn or altered: each is found at once, and no audio is written."""
    good, torn, altered = (entry(tmp_path, name, tone(0.5)) for name in ("good", "torn", "altered"))
    torn.write_bytes(torn.read_bytes()[:-5])
    altered.write_bytes(altered.read_bytes()[:-1] + b"\x01")
    items = [RenderItem(file, 0.0, 0) for file in (torn, good, tmp_path / "missing", altered, torn)]
    with pytest.raises(CorruptEntriesError) as corrupt:
        render(RenderPlan(items, RATE, None, tmp_path))
    assert corrupt.value.names == ("torn", "missing", "altered")
    assert not (tmp_path / "audio.wav").exists()


def test_a_folder_that_can_not_be_written_is_our_fault(tmp_path: Path) -> None:
    """It may be tried again."""
    file = entry(tmp_path, "a", tone(0.5))
    with pytest.raises(JobRefused) as refused:
        render(RenderPlan([RenderItem(file, 0.0, 0)], RATE, None, tmp_path / "missing"))
    assert refused.value.failure.code is Code.OUTPUT_FAILED
    assert refused.value.failure.retryable
