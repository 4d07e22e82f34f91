"""Small decoders like Piper's with random weights, and what a model makes of numbers: to compare models by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

INPUT_CHANNELS = 32


@dataclass(frozen=True)
class Upsampling:
    """A transposed convolution, and the residual blocks behind it."""

    stride: int
    kernel: int
    channels: int
    more: int = 0
    """Output padding."""
    kernels: Sequence[int] = (3, 5)
    """Of the residual blocks."""


class Decoder:
    """A model of ``frames`` (1, 32, width) and ``speaker`` (1, 8, 1) that gives ``sound`` (1, 1, samples), as in VITS.

    That the speaker has the width 1 is nowhere said, as it is in Piper's models.
    """

    def __init__(
        self, stages: Sequence[Upsampling], *, channels: int = 64, two: bool = False, speakers: bool = False,
        bias: bool = True,
    ) -> None:  # fmt: skip
        """With `two` each step of a residual block has two convolutions, as voices of high quality have them."""
        self._random = np.random.default_rng(7)
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._bias = bias
        now = self._conv("conv_pre", "frames", INPUT_CHANNELS, channels, 7)
        if speakers:
            now = self._add("Add", [now, self._conv("cond", "speaker", 8, channels, 1)], "with_speaker")
        for number, stage in enumerate(stages):
            bent = self._add("LeakyRelu", [now], f"bent.{number}", alpha=0.1)
            up = self._up(f"ups.{number}", bent, channels, stage)
            channels = stage.channels
            blocks = [
                self._residual(f"resblocks.{number}.{kernel}", up, channels, kernel, two=two)
                for kernel in stage.kernels
            ]
            whole = blocks[0]
            for index, block in enumerate(blocks[1:]):
                whole = self._add("Add", [whole, block], f"sum.{number}.{index}")
            now = self._add("Div", [whole, self._number(f"count.{number}", float(len(blocks)))], f"mean.{number}")
        bent = self._add("LeakyRelu", [now], "bent")
        self._add("Tanh", [self._conv("conv_post", bent, channels, 1, 7)], "sound")

    def save(self, path: Path) -> Path:
        takes = [
            helper.make_tensor_value_info("frames", TensorProto.FLOAT, [1, INPUT_CHANNELS, "width"]),
            helper.make_tensor_value_info("speaker", TensorProto.FLOAT, [1, 8, "one"]),
        ]
        gives = [helper.make_tensor_value_info("sound", TensorProto.FLOAT, [1, 1, "samples"])]
        graph = helper.make_graph(self._nodes, "decoder", takes, gives, self._weights)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8), str(path))
        return path

    def _add(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(kind, inputs, [name], name=f"/dec/{name}/{kind}", **attributes))
        return name

    def _number(self, name: str, value: float) -> str:
        self._weights.append(numpy_helper.from_array(np.array(value, np.float32), name))
        return name

    def _parameters(self, name: str, shape: Sequence[int], outside: int) -> list[str]:
        scale = 1.5 / np.sqrt(np.prod(shape) / outside)
        values = self._random.normal(0, scale, shape).astype(np.float32)
        self._weights.append(numpy_helper.from_array(values, f"dec.{name}.weight"))
        if not self._bias:
            return [f"dec.{name}.weight"]
        bias = self._random.normal(0, 0.1, outside).astype(np.float32)
        self._weights.append(numpy_helper.from_array(bias, f"dec.{name}.bias"))
        return [f"dec.{name}.weight", f"dec.{name}.bias"]

    def _conv(self, name: str, image: str, inside: int, outside: int, kernel: int, gap: int = 1) -> str:
        parameters = self._parameters(name, (outside, inside, kernel), outside)
        pad = gap * (kernel - 1) // 2
        return self._add(
            "Conv", [image, *parameters], name, kernel_shape=[kernel], dilations=[gap], pads=[pad, pad], group=1,
            strides=[1],
        )  # fmt: skip

    def _up(self, name: str, image: str, inside: int, stage: Upsampling) -> str:
        parameters = self._parameters(name, (inside, stage.channels, stage.kernel), stage.channels)
        pad = (stage.kernel - stage.stride) // 2
        more = {"output_padding": [stage.more]} if stage.more else {}
        return self._add(
            "ConvTranspose", [image, *parameters], name, kernel_shape=[stage.kernel], strides=[stage.stride],
            pads=[pad, pad], **more,
        )  # fmt: skip

    def _residual(self, name: str, image: str, channels: int, kernel: int, *, two: bool) -> str:
        now = image
        for number, gap in enumerate((1, 3)):
            bent = self._add("LeakyRelu", [now], f"{name}.bent.{number}", alpha=0.1)
            made = self._conv(f"{name}.convs.{number}", bent, channels, channels, kernel, gap)
            if two:
                again = self._add("LeakyRelu", [made], f"{name}.again.{number}", alpha=0.1)
                made = self._conv(f"{name}.convs2.{number}", again, channels, channels, kernel)
            now = self._add("Add", [made, now], f"{name}.sum.{number}")
        return now


def sound(model: Path, width: int) -> NDArray[np.float32]:
    """What a decoder makes of some random frames."""
    random = np.random.default_rng(width)
    given = {
        "frames": random.normal(0, 1, (1, INPUT_CHANNELS, width)).astype(np.float32),
        "speaker": random.normal(0, 1, (1, 8, 1)).astype(np.float32),
    }
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    taken = {each.name for each in session.get_inputs()}
    found = session.run(None, {name: value for name, value in given.items() if name in taken})[0]
    return np.asarray(found, np.float32)
