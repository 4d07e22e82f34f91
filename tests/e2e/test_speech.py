"""Speaking with the real voice, compared with what Piper gives by itself."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from piper import PhonemeType, PiperVoice, SynthesisConfig

import testvoices
from piperd import voices
from piperd.engine import speech
from piperd.engine.wire import VoiceFiles
from piperd.errors import Code, JobRefused
from piperd.job import Utterance

if TYPE_CHECKING:
    from pathlib import Path

SENTENCE = "The river speaks of the hills, and the hills listen."
STEADY = Utterance(SENTENCE, "joe", 0, 0.0, noise_scale=0.0, noise_w_scale=0.0)
"""Without noise, so that each run gives the same."""


@pytest.fixture(scope="module")
def files() -> VoiceFiles:
    joe = voices.installed([], None).found["en_US-joe-medium"]
    return VoiceFiles(joe.name, joe.digest, joe.model, joe.config)


@pytest.fixture(scope="module")
def joe(files: VoiceFiles) -> speech.LoadedVoice:
    return speech.load(files)


def changed(files: VoiceFiles, folder: Path, change: dict[str, Any]) -> VoiceFiles:
    """The same model with another config; None takes a field away."""
    config = json.loads(files.config.read_text()) | change
    path = folder / "changed.onnx.json"
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return replace(files, name="changed", config=path)


def test_it_is_what_piper_speaks(files: VoiceFiles, joe: speech.LoadedVoice) -> None:
    """The same samples as the bare Piper voice gives without noise and without its own levelling."""
    samples, rate, _ = speech.speak(joe, STEADY)
    bare = PiperVoice.load(files.model, files.config)
    wish = SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0, normalize_audio=False)
    expected = np.concatenate([chunk.audio_float_array for chunk in bare.synthesize(SENTENCE, wish)])
    assert rate == 22_050
    assert samples.dtype == np.float32
    assert samples.shape == expected.shape
    assert np.abs(samples - expected).max() < 1e-3


def test_with_the_voices_own_noise_its_length_is_about_pipers(files: VoiceFiles, joe: speech.LoadedVoice) -> None:
    """Within 15 %, and it is not silent."""
    samples = speech.speak(joe, Utterance(SENTENCE, "joe", 0, 0.0)).samples
    bare = PiperVoice.load(files.model, files.config)
    expected = sum(len(chunk.audio_float_array) for chunk in bare.synthesize(SENTENCE))
    assert len(samples) == pytest.approx(expected, rel=0.15)
    assert np.sqrt(np.mean(np.square(samples))) > 0.01


def test_without_noise_two_runs_are_the_same(joe: speech.LoadedVoice) -> None:
    """So the store may keep what was spoken once."""
    first = speech.speak(joe, STEADY).samples
    second = speech.speak(joe, STEADY).samples
    assert np.array_equal(first, second)


def test_speed_divides_the_length(joe: speech.LoadedVoice) -> None:
    """About: the model rounds each phoneme up to whole frames, which tells when it is fast."""
    once = speech.speak(joe, STEADY).samples
    half = speech.speak(joe, replace(STEADY, speed=0.5)).samples
    twice = speech.speak(joe, replace(STEADY, speed=2.0)).samples
    assert len(half) / len(once) == pytest.approx(2.0, rel=0.2)
    assert len(once) / len(twice) == pytest.approx(2.0, rel=0.2)


@pytest.mark.parametrize("speed", [1.0, 0.25], ids=["common", "slow"])
def test_long_sounds_are_spoken_in_parts(files: VoiceFiles, tmp_path: Path, speed: float) -> None:
    """Whatever the script or the speed: memory must not grow with it. Nothing is lost, and each word has its time."""
    tuned = speech.load(replace(files, tuned=tmp_path))
    runs: list[int] = []
    whole = tuned.piper.phoneme_ids_to_audio

    def listen(numbers: list[int], *given: Any, **options: Any) -> Any:
        runs.append(len(numbers) // 2)  # there is a pad behind each
        return whole(numbers, *given, **options)

    tuned.piper.phoneme_ids_to_audio = listen  # type: ignore[method-assign,assignment]
    text = "The river speaks of the hills and the hills listen to the river " * 6
    spoken = speech.speak(tuned, replace(STEADY, text=text.strip(), speed=speed))
    assert len(runs) > 1
    assert max(runs) <= speech.MOST_PHONEMES * speed + 2
    assert spoken.words is not None
    assert [text[first:last] for first, last, _, _ in spoken.words] == text.split()
    alone = speech.speak(tuned, replace(STEADY, text="The river speaks of the hills", speed=speed))
    assert len(spoken.samples) > 10 * len(alone.samples)


def test_sounds_without_words_are_cut_anywhere() -> None:
    """Some scripts have no spaces; parts are of about the same length."""
    assert [len(run) for run in speech._runs(["a"] * 500, 240)] == [166, 167, 167]
    assert list(speech._runs([], 240)) == []
    cut = list(speech._runs([*"one two three four five"], 10))
    assert ["".join(run) for run in cut] == ["one two", " three", " four five"]


def test_speed_one_is_the_voices_own_pace(files: VoiceFiles, joe: speech.LoadedVoice, tmp_path: Path) -> None:
    """A voice whose config asks for a slower pace gets it; speed is relative to that."""
    slow = speech.load(changed(files, tmp_path, {"inference": {"length_scale": 1.5}}))
    usual = speech.speak(joe, STEADY).samples
    slower = speech.speak(slow, STEADY).samples
    assert len(slower) / len(usual) == pytest.approx(1.5, rel=0.1)


@pytest.mark.parametrize("text", ["...", "---", "", " ", "…"])
def test_nothing_to_speak_gives_no_samples(joe: speech.LoadedVoice, text: str) -> None:
    """It is no error: a line of dots in a story is a pause."""
    samples, rate, words = speech.speak(joe, replace(STEADY, text=text))
    assert (len(samples), rate, words) == (0, 22_050, ())


@pytest.mark.parametrize("text", ["سلام بر همه شما", "你好。世界", "Ünïcödé ✓ 🎉", "[[ unclosed", "a" * 200])
def test_any_script_is_survived(joe: speech.LoadedVoice, text: str) -> None:
    """An English voice does with it what it can."""
    samples = speech.speak(joe, replace(STEADY, text=text)).samples
    assert np.isfinite(samples).all()
    assert np.abs(samples).max(initial=0.0) <= 1.0


WORDS = [
    "the",
    "Mr.",
    "U.S.A.",
    "$5.50",
    "don't",
    "(at",
    "50%",
    "…",
    "سلام",
    "你",
    "[[ a ]]",
    "😀",
    "-",
    "e.g.",
    "3/4",
    "the",
]


def test_words_sound_alike_alone_and_together(joe: speech.LoadedVoice) -> None:
    """Many at a time are as each by itself, whatever is among them; also when little is remembered."""
    alone = [speech.Dictionary(joe.piper).sounds([word])[0] for word in WORDS]
    assert alone[0] == ("ð", "ə")
    assert alone[7] == ()
    assert speech.Dictionary(joe.piper).sounds(WORDS) == alone
    forgetful = speech.Dictionary(joe.piper, keep=3)
    assert [forgetful.sounds([word])[0] for word in WORDS] == alone
    assert forgetful.sounds(WORDS) == alone
    assert len(forgetful._known) == 3


def test_no_word_gets_the_sounds_of_another(joe: speech.LoadedVoice) -> None:
    """Where one is several sentences to espeak and another none, or all are one, as to a voice that reads letters."""
    words = ["ok?)But", "…"]
    assert speech.Dictionary(joe.piper).sounds(words) == [
        speech.Dictionary(joe.piper).sounds([word])[0] for word in words
    ]
    letters = replace(joe.piper, config=replace(joe.piper.config, phoneme_type=PhonemeType.TEXT))
    assert speech.Dictionary(letters).sounds(["ab", "cd", "e"]) == [("a", "b"), ("c", "d"), ("e",)]


def test_arabic_words_are_read_without_vowel_points(joe: speech.LoadedVoice) -> None:
    """Adding them takes a model of its own, far too much for each word; the sentence itself still gets them."""
    arabic = replace(joe.piper, config=replace(joe.piper.config, espeak_voice="ar"))
    dictionary = speech.Dictionary(arabic)
    assert all(dictionary.sounds(["سلام", "كتاب"]))
    assert dictionary._piper.tashkeel_diacritizier is None
    assert arabic.phonemize("كتاب")
    assert arabic.tashkeel_diacritizier is not None


def test_too_loud_a_voice_is_cut_off(tmp_path: Path) -> None:
    """At full scale, as Piper does it."""
    files = testvoices.humming(tmp_path, "loud")
    model = onnx.load(str(files.model))
    level = next(tensor for tensor in model.graph.initializer if tensor.name == "level")
    level.CopyFrom(onnx.numpy_helper.from_array(np.array(3, np.float32), "level"))
    onnx.save(model, str(files.model))
    samples = speech.speak(speech.load(files), STEADY).samples
    assert (samples.min(), samples.max()) == (-1.0, 1.0)


@pytest.mark.parametrize("speaker", [-1, 1, 99])
def test_a_speaker_that_is_not_there_is_refused(joe: speech.LoadedVoice, speaker: int) -> None:
    """Piper does not check, and the model would read what lies behind its table."""
    with pytest.raises(JobRefused) as refused:
        speech.speak(joe, replace(STEADY, speaker=speaker))
    assert refused.value.failure.code is Code.SPEAKER_UNKNOWN


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"audio": None}, "audio"),
        ({"espeak": {"voice": "xx-unheard-of"}}, "xx-unheard-of"),
        ({"phoneme_type": "pinyin"}, "not installed"),
        ({"phoneme_type": "morse"}, "morse"),
    ],
)
def test_a_broken_config_is_named(files: VoiceFiles, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    """The failure is the voice's, with its name and the reason in one line."""
    with pytest.raises(JobRefused) as refused:
        speech.load(changed(files, tmp_path, change))
    failure = refused.value.failure
    assert failure.code is Code.VOICE_BROKEN
    assert "'changed'" in failure.message
    assert said in failure.message
    assert "\n" not in failure.message


def test_a_model_that_does_not_fit_its_config_is_broken(files: VoiceFiles, tmp_path: Path) -> None:
    """Here the config promises speakers that the model does not know."""
    voice = speech.load(changed(files, tmp_path, {"num_speakers": 3}))
    with pytest.raises(JobRefused) as refused:
        speech.speak(voice, STEADY)
    assert refused.value.failure.code is Code.VOICE_BROKEN


@pytest.mark.parametrize("content", [None, b"", b"no model", b"\x08\x07" * 500])
def test_a_broken_model_is_named(files: VoiceFiles, tmp_path: Path, content: bytes | None) -> None:
    """Missing, empty or garbage."""
    model = tmp_path / "broken.onnx"
    if content is not None:
        model.write_bytes(content)
    with pytest.raises(JobRefused) as refused:
        speech.load(replace(files, name="broken", model=model))
    assert refused.value.failure.code is Code.VOICE_BROKEN
    assert "'broken'" in refused.value.failure.message
