"""When each word is spoken, held against the sound itself: the real voice, with the durations that it gives."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

import testvoices
from harness import Box, piperd
from piperd import spoken
from piperd.engine import speech
from piperd.job import Utterance

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from piperd.engine.wire import VoiceFiles

SENTENCES = (
    "The cat sat on the mat at the house, for a while.",
    "Good evening, here is the news.",
    "In 1999 we had 50% of it & more.",
    "A well-known 'fact': don't stop!",
    "He said: [[ həlˈoʊ ]] again. And then — nothing (at all). Really?",
    "Down by the river, a boat lay, tied to a tree.",
    "Tell me, Peter, did you come by bus?",
    "It's the end of the day, and I'm off to the station.",
    "Mr. Smith, of the U.S.A. and NASA, paid $5.50 for it.",
    "On the 3rd of May, at 10 o'clock, they met for the first time.",
    "If so, take it, break it, and give back the key.",
    "I have a dog; you have a cat.",
    "One, two, three, four, five.",
    "The ferry leaves at seven, and the last one back at half past ten.",
    "What is it? Who was that? Come in!",
    "Nobody, it seems, had told them of the change in the plan.",
    "Café Zoë serves naïve crêpes, daily.",
    "As for the others, most of them are in the garden, or out of town.",
    "Hello 😀 world, good-bye 🎉!",
    "There were 12,345 people in the hall, and 3/4 of them sang.",
    "Call [[ɡˈɪf]]'s maker at once… or later.",
    "Bread and butter, milk and honey, salt and pepper.",
    "She sells seashells by the seashore; the shells she sells are seashells, I'm sure.",
    "This is a rather long sentence that goes on and on without any comma at all until it comes to its end.",
)
AUDIBLE = 0.03
"""Of the loudest 10 ms: what is quieter is not heard."""


@dataclass(frozen=True)
class Said:
    """A sentence that was spoken, in seconds."""

    text: str
    samples: NDArray[np.float32]
    words: list[tuple[str, float, float]]
    between: list[str]
    """What stands in the text behind each word."""

    @property
    def loudness(self) -> NDArray[np.float32]:
        """RMS of each millisecond, over 10 of them."""
        power = np.convolve(np.square(self.samples), np.full(220, 1 / 220), "same")
        return np.sqrt(np.maximum(power[::22], 0))

    def level(self, start: float, end: float) -> float:
        """RMS of a stretch."""
        return float(np.sqrt(np.mean(np.square(self.samples[round(start * 22_050) : round(end * 22_050)]))))


def say(voice: speech.LoadedVoice, text: str, speed: float = 1.0) -> Said:
    """Without noise, so that each run gives the same."""
    samples, rate, words = speech.speak(voice, Utterance(text, "", 0, 0.0, speed=speed, noise_scale=0, noise_w_scale=0))
    assert words is not None
    ends = [*(first for first, _, _, _ in words[1:]), len(text)]
    return Said(
        text,
        samples,
        [(text[first:last], start / rate, end / rate) for first, last, start, end in words],
        [text[last:end] for (_, last, _, _), end in zip(words, ends, strict=True)],
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("words")


@pytest.fixture(scope="module")
def joe(folder: Path) -> speech.LoadedVoice:
    return speech.load(replace(testvoices.JOE, tuned=folder))


@pytest.fixture(scope="module", params=SENTENCES)
def said(request: pytest.FixtureRequest, joe: speech.LoadedVoice) -> Said:
    return say(joe, request.param)


def test_all_words_come_in_order(said: Said) -> None:
    """As many as people count, without the punctuation around them; none is empty, none begins before another ends."""
    counted = [
        token
        for token in re.split(r"\s+|—|…", re.sub(r"\[\[ (\S+) \]\]", "[[\\1]]", said.text))
        if any(sign.isalnum() or sign in "&😀🎉" for sign in token)
    ]
    bare = [re.sub(r"^['(]+|[.,:;!?)']+$", "", token) for token in counted]
    assert [word.replace(" ", "") for word, _, _ in said.words] == bare
    times = [at for _, start, end in said.words for at in (start, end)]
    assert times == sorted(times)
    assert all(0.02 < end - start < 3 for _, start, end in said.words)
    assert times[-1] <= len(said.samples) / 22_050


def test_words_are_louder_than_pauses(said: Said) -> None:
    """Each word stands above the middle of every pause in its sentence: at commas, and between sentences."""
    pauses = [
        said.level(end + 0.08, start - 0.08)
        for (_, _, end), (_, start, _), sign in zip(said.words, said.words[1:], said.between, strict=False)
        if re.search(r"[,;:.!?—…]", sign) and start - end > 0.2
    ]
    words = [said.level(start, end) for _, start, end in said.words]
    assert 2 * max(pauses, default=0.0) < min(words)


def test_words_cover_what_is_heard(said: Said) -> None:
    """Between the words' starts and ends lies nearly all of the sound, from first to last."""
    heard = np.flatnonzero(said.loudness > AUDIBLE * said.loudness.max())
    first, last = heard[0] * 22 / 22_050, heard[-1] * 22 / 22_050
    assert said.words[0][1] == pytest.approx(first, abs=0.15)
    assert said.words[-1][2] == pytest.approx(last, abs=0.15)
    power = np.square(said.samples)
    inside = np.zeros(len(power), bool)
    for _, start, end in said.words:
        # between two words without a pause lies what leads from one to the other
        inside[max(0, round((start - 0.05) * 22_050)) : round((end + 0.05) * 22_050)] = True
    assert power[inside].sum() > 0.98 * power.sum()


def test_words_begin_and_end_with_their_sound(joe: speech.LoadedVoice) -> None:
    """At commas, where it can be heard: both within 30 ms in the median of all sentences."""
    starts, ends = [], []
    for text in SENTENCES:
        said = say(joe, text)
        loud = said.loudness > AUDIBLE * said.loudness.max()
        for (_, _, end), (_, start, _), sign in zip(said.words, said.words[1:], said.between, strict=False):
            middle = round((start + end) * 500)
            if "," in sign and start - end > 0.1 and not loud[middle]:
                starts.append(start - (middle + np.argmax(loud[middle:])) * 22 / 22_050)
                ends.append(end - (middle - np.argmax(loud[middle::-1])) * 22 / 22_050)
    assert len(starts) > 10
    assert abs(np.median(starts)) < 0.03
    assert abs(np.median(ends)) < 0.03
    assert np.percentile(np.abs(starts), 90) < 0.1


def test_joined_words_both_have_their_time(joe: speech.LoadedVoice) -> None:
    """As parts of what espeak speaks as one word ("on the", "for a"), the first before the second."""
    said = say(joe, SENTENCES[0])
    phonemes = "".join(joe.piper.phonemize(said.text)[0])
    assert "ɔnðə" in phonemes
    assert "fɚɹə" in phonemes
    found = {word: (start, end) for word, start, end in said.words}
    for one, other in (("on", "the"), ("for", "a")):
        assert found[one][1] - found[one][0] > 0.05
        assert 0.05 < found[other][1] - found[other][0] < 0.3
    assert found["for"][1] <= found["a"][0] < found["for"][1] + 0.05


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.25])
def test_times_go_with_the_speed(joe: speech.LoadedVoice, speed: float) -> None:
    """Each start as far along as at the speed 1, within 5 % of the length: whole frames are rounded up."""
    text = SENTENCES[5]
    usual, other = say(joe, text), say(joe, text, speed)
    assert [word for word, _, _ in other.words] == [word for word, _, _ in usual.words]
    for (_, start, _), (_, there, _) in zip(usual.words, other.words, strict=True):
        assert there / len(other.samples) == pytest.approx(start / len(usual.samples), abs=0.05 / 22_050)


def test_persian_words_have_their_times(folder: Path, tmp_path: Path) -> None:
    """Right to left, with joiners inside words, and spoken by another phonemiser's rules."""
    voice = speech.load(replace(testvoices.persian(tmp_path), tuned=folder))
    said = say(voice, "سلام بر همه شما. کتابی می‌خوانم، و ۱۲ نامه می‌نویسم.")
    assert [word for word, _, _ in said.words] == [
        "سلام", "بر", "همه", "شما", "کتابی", "می‌خوانم", "و", "۱۲", "نامه", "می‌نویسم",
    ]  # fmt: skip
    times = [at for _, start, end in said.words for at in (start, end)]
    assert times == sorted(times)
    assert said.words[4][1] - said.words[3][2] > 0.1  # the full stop


@pytest.mark.parametrize("speaker", [None, 0, 2])
def test_speakers_have_their_own_sound_and_the_same_times(folder: Path, tmp_path: Path, speaker: int | None) -> None:
    """A voice with several speakers, whose decoder is unlike Piper's, gives times as well."""
    voice = speech.load(replace(testvoices.humming(tmp_path, "choir", speakers=3), tuned=folder))
    samples, rate, words = speech.speak(voice, Utterance("At the door.", "choir", 0, 0.0, speaker=speaker))
    spectrum = np.abs(np.fft.rfft(samples))
    pitch = np.argmax(spectrum) * rate / len(samples)
    assert pitch == pytest.approx(testvoices.LOWEST * (1 + (speaker or 0)), abs=2)
    assert words is not None
    # BOS and its pad are two phonemes, each of `FRAMES`
    assert words[0][:3] == (0, 2, 2 * testvoices.FRAMES * testvoices.HOP)
    assert [first for first, _, _, _ in words] == [0, 3, 7]


def test_without_the_durations_there_are_no_times(tmp_path: Path) -> None:
    """A model that is used as it is, and one that has none: the speech is as good, and captions estimate."""
    plain = speech.load(testvoices.JOE)
    samples, _, words = speech.speak(plain, Utterance("Good evening.", "joe", 0, 0.0))
    assert len(samples) > 0
    assert words is None
    mute = speech.load(replace(testvoices.humming(tmp_path, "mute", durations=False), tuned=tmp_path / "tuned"))
    assert speech.speak(mute, Utterance("Good evening.", "mute", 0, 0.0)).words is None


def test_a_patched_model_needs_no_copy(tmp_path: Path) -> None:
    """Where the user's own file gives durations, they are taken, also with `voices.tune` off."""
    files = patched(testvoices.humming(tmp_path, "hum"), "w_ceil")
    assert [span[:2] for span in speech.speak(speech.load(files), Utterance("At home.", "", 0, 0.0)).words or ()] == [
        (0, 2),
        (3, 7),
    ]


@pytest.mark.parametrize("output", ["length", "slowness", "places", "wave", "size"])
def test_a_second_output_that_is_something_else_does_no_harm(tmp_path: Path, output: str) -> None:
    """Numbers of another shape, kind or count: no times, and the speech is as good."""
    files = patched(testvoices.humming(tmp_path, "hum"), output)
    samples, _, words = speech.speak(speech.load(files), Utterance("At home.", "", 0, 0.0))
    assert len(samples) > 0
    assert words is None


def test_a_phoneme_that_the_model_does_not_know_does_no_harm(folder: Path, tmp_path: Path) -> None:
    """Piper leaves it out of the sound; the words around it keep their times."""
    text = "The cat, of the house."
    files = changed(testvoices.JOE, tmp_path, lambda config: config["phoneme_id_map"].pop("æ"))
    said = say(speech.load(replace(files, tuned=folder)), text)
    usual = say(speech.load(replace(testvoices.JOE, tuned=folder)), text)
    assert [word for word, _, _ in said.words] == [word for word, _, _ in usual.words]
    shorter = (len(usual.samples) - len(said.samples)) / 22_050
    assert shorter > 0.05
    assert said.words[3][1] == pytest.approx(usual.words[3][1] - shorter, abs=0.1)


def test_the_length_of_a_frame_is_taken_from_the_sound(folder: Path, tmp_path: Path) -> None:
    """A config that is wrong about it, or silent, does not stretch the times."""
    files = changed(testvoices.JOE, tmp_path, lambda config: config.update(hop_length=100))
    said = say(speech.load(replace(files, tuned=folder)), SENTENCES[0])
    usual = say(speech.load(replace(testvoices.JOE, tuned=folder)), SENTENCES[0])
    assert said.words == usual.words


@pytest.mark.parametrize(
    "text", ["[[ unclosed", "[[ ]]", "[[ ▓ ]] word", "a" * 150, "‌", "? ! ?", "x ⁂ y", "’s", "你好。世界"]
)
def test_odd_texts_are_survived(joe: speech.LoadedVoice, text: str) -> None:
    """Times or none, in order, never a failure."""
    samples, _, words = speech.speak(joe, Utterance(text, "joe", 0, 0.0))
    times = [at for _, _, start, end in words or () for at in (start, end)]
    assert times == sorted(times)
    assert not times or 0 <= times[0] <= times[-1] <= len(samples)


def test_the_worker_keeps_them_with_the_sound(tmp_path: Path) -> None:
    """What a voice of the user's own speaks lies in the store with the times of its words."""
    place = tmp_path / "voices"
    place.mkdir()
    testvoices.humming(place, "xx_XX-hum-low")
    box = Box(tmp_path, {"voices": {"dirs": [str(place)], "tune": True}, "speech": {"voice": "xx_XX-hum-low"}})
    box.drop("a.txt", "At the door.")
    assert piperd("run", "--drain", box=box).returncode == 0
    (entry,) = (path for path in (box.state / "store").rglob("*") if path.is_file())
    header, samples = spoken.unpack(entry.read_bytes())
    assert [word[:2] for word in header.words or ()] == [(0, 2), (3, 6), (7, 11)]
    assert header.words is not None
    assert header.words[-1][3] <= len(samples) // spoken.SAMPLE_BYTES


def patched(files: VoiceFiles, output: str) -> VoiceFiles:
    """The voice with one more output, as its user may have made it."""
    model = onnx.load(str(files.model))
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(output))
    onnx.save(model, str(files.model))
    return files


def changed(files: VoiceFiles, folder: Path, change: Callable[[dict[str, Any]], object]) -> VoiceFiles:
    """The same model with another config."""
    config = json.loads(files.config.read_text())
    change(config)
    path = folder / "changed.onnx.json"
    path.write_text(json.dumps(config))
    return replace(files, config=path)
