"""How many operations a second of audio takes, and how fast this machine could do them: the limit of any engine."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import loops
from contenders import MODEL
from figures import cores

if TYPE_CHECKING:
    from collections.abc import Sequence

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
MULTIPLICATIONS = 100
"""Of matrices, by each process: about 2 s."""


def gflops() -> float:
    """10^9 operations a second that matrix products get here, one process of one thread a core, all together."""
    return loops.run("sgemm", [[""] * MULTIPLICATIONS] * cores(), {}, ONE_THREAD).rate


def gflop_a_second_of_audio(texts: Sequence[str]) -> float:
    """10^9 operations for a second of audio: two for each multiplication and addition of the original model's layers.

    Counted from the shapes of a real run. Texts should be short: all that lies between the layers is kept.
    """
    import onnx  # noqa: PLC0415 - 0.5 s
    import onnxruntime  # noqa: PLC0415
    from piper import PiperVoice  # noqa: PLC0415
    from piper.config import PiperConfig  # noqa: PLC0415

    model = onnx.load(MODEL)
    layers = [node for node in model.graph.node if node.op_type in COUNT]
    constant = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    given = {each.name for each in [*model.graph.output, *model.graph.input]}
    named = {name for node in layers for name in (*node.input[:2], node.output[0])}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(named - constant.keys() - given))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    config = PiperConfig.from_dict(json.loads(Path(f"{MODEL}.json").read_bytes()))
    voice = PiperVoice(session=session, config=config)
    operations = seconds = 0.0
    for phonemes in [phonemes for text in texts for phonemes in voice.phonemize(text)]:
        shapes = constant | _shapes(session, voice.phonemes_to_ids(phonemes), config)
        operations += sum(
            2 * COUNT[node.op_type](*(shapes[name] for name in (*node.input[:2], node.output[0]))) for node in layers
        )
        seconds += prod(shapes[session.get_outputs()[0].name]) / config.sample_rate
    return operations / 1e9 / seconds


def _shapes(session: Any, numbers: list[int], config: Any) -> dict[str, tuple[int, ...]]:
    import numpy as np  # noqa: PLC0415

    scales = [config.noise_scale, config.length_scale, config.noise_w_scale]
    inputs = {
        "input": np.array([numbers], np.int64),
        "input_lengths": np.array([len(numbers)], np.int64),
        "scales": np.array(scales, np.float32),
    }
    names = [output.name for output in session.get_outputs()]
    return {name: value.shape for name, value in zip(names, session.run(None, inputs), strict=True)}


Shape = tuple[int, ...]


def _convolution(_data: Shape, weights: Shape, result: Shape) -> int:
    return prod(result) * prod(weights[1:])


def _transposed(data: Shape, weights: Shape, _result: Shape) -> int:
    return prod(data) * prod(weights[1:])


def _product(left: Shape, _right: Shape, result: Shape) -> int:
    return prod(result) * left[-1]


COUNT = {"Conv": _convolution, "ConvTranspose": _transposed, "MatMul": _product}
"""Multiplications of a layer, from the shapes of its first two inputs and its output."""
