"""Rewrites a voice's model for the convolutions that ONNX Runtime is fast at: those of images, in blocks of channels.

Piper's models are made of one-dimensional ones. Written as images of height 1 they are the same arithmetic and run in
ONNX Runtime's blocked layout (NCHWc), at about the speed of its matrix multiplication. Beside that, in the decoder:

- a transposed convolution becomes a common one that makes all samples of a step as channels of their own (its phases),
  and a transposition that puts them side by side;
- the last convolution, whose one channel would waste a whole block, makes a block of samples at each step instead;
- the division of a sum goes into the weights behind it.

What does not look as expected is left as it is.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from piperd.engine.graph import Graph, UntunableError, attribute, node

if TYPE_CHECKING:
    from pathlib import Path

    from piperd.engine.graph import Node

DECODER = "/dec/"
"""Names of the decoder's nodes begin with it in every voice that Piper exports."""
CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
ELEMENTWISE = frozenset({"LeakyRelu", "Add", "Mul", "Div", "Tanh", "Identity", "Constant"})
"""What may stand between them: it does not care for the number of dimensions."""
WIDE = "piperd_wide"
"""Ends the names of tensors that have got a height."""
HEIGHT = "piperd_height"
"""The axis of the height, as a constant."""
PHASES = "piperd_phases"
"""Ends the names of the tensors that lead from the phases of a transposed convolution to its result."""
DIMENSIONS = 3
"""Of a one-dimensional convolution's tensors: batch, channels, width."""
TO_THE_END = (1 << 63) - 1
FEWEST_CHANNELS = 16
"""A convolution of fewer is not worth the way into the blocked layout and out again."""


def widen_decoder(source: Path, target: Path, block: int) -> None:
    """Write a copy whose decoder works on images of height 1, in blocks of so many channels.

    Raises `UntunableError`.
    """
    graph = Graph.load(source)
    nodes = [each for each in graph.nodes if each.name.startswith(DECODER)]
    strange = {each.op_type for each in nodes} - CONVOLUTIONS - ELEMENTWISE
    if not nodes or strange:
        raise UntunableError(f"its decoder has {', '.join(sorted(strange)) or 'no nodes'}")
    for each in nodes:
        if each.op_type in CONVOLUTIONS:
            _widen(each, graph)
        elif any(len(graph.dims(name) or ()) > 1 for name in each.input):
            raise UntunableError(f"{each.name} works on a constant of several dimensions")
    _add_height(graph, nodes)
    _fold_divisions(graph)
    upsampling = prod(_upsampling(each) for each in nodes if each.op_type == "ConvTranspose")
    for each in nodes:
        if each.op_type == "ConvTranspose":
            _split_into_phases(each, graph)
        elif each.op_type == "Conv" and upsampling and upsampling % block == 0:
            _step_by_blocks(each, graph, block)
    graph.save(target)


def halves(source: Path) -> tuple[Graph, Graph]:
    """What leads to a model's decoder, and the decoder with what lies behind it, as two models.

    The first one gives what the second takes, and behind that the model's outputs but for the sound.
    Raises `UntunableError`.
    """
    graph = Graph.load(source)
    nodes = [each for each in graph.nodes if each.name.startswith(DECODER)]
    if not nodes:
        raise UntunableError("its decoder has no nodes")
    entries, between = _entries(graph, nodes), {}
    for each in nodes:
        for name in entries & set(each.input):
            weights = graph.dims(each.input[1]) if each.op_type == "Conv" else None
            if weights is None or len(weights) != DIMENSIONS:
                raise UntunableError(f"its decoder takes {name} in by {each.name}")
            between[name] = weights[1]
    sound, *others = [output.name for output in graph.outputs]
    return graph.part([*between, *others]), graph.part([sound], between)


def _entries(graph: Graph, nodes: list[Node]) -> set[str]:
    """What these nodes take from outside."""
    inside = {name for each in nodes for name in each.output}
    return {name for each in nodes for name in each.input if name and name not in inside and graph.dims(name) is None}


def widen_others(source: Path, target: Path) -> None:
    """Write a copy in which each convolution outside of the decoder works on an image of height 1 as well."""
    graph = Graph.load(source)
    graph.constant(HEIGHT, [2])
    for each in list(graph.nodes):
        if each.op_type != "Conv" or each.name.startswith(DECODER) or attribute(each, "group", 1) != 1:
            continue
        dims = graph.dims(each.input[1])
        if dims is None or len(dims) != DIMENSIONS or min(dims[:2]) < FEWEST_CHANNELS:
            continue
        _widen(each, graph)
        taken, made = each.input[0], each.output[0]
        each.input[0], each.output[0] = f"{each.name}_{WIDE}_in", f"{each.name}_{WIDE}_out"
        graph.nodes.append(node("Unsqueeze", [taken, HEIGHT], each.input[0]))
        graph.nodes.append(node("Squeeze", [each.output[0], HEIGHT], made))
    graph.save(target)


def _widen(convolution: Node, graph: Graph) -> None:
    """Make a convolution of length K one of height 1 and width K."""
    weights = convolution.input[1]
    dims = graph.dims(weights)
    if dims is None:
        raise UntunableError(f"the weights of {convolution.name} are computed")
    if len(dims) == DIMENSIONS:  # else it was widened for another node that shares it
        graph.constant(weights, np.expand_dims(graph.value(weights), 2))
    before = {"kernel_shape": [1], "strides": [1], "dilations": [1], "output_padding": [0]}
    for each in convolution.attribute:
        values = list(each.ints)
        if each.name == "pads":
            each.ints[:] = [0, values[0], 0, values[1]]
        elif each.name in before:
            each.ints[:] = [*before[each.name], *values]


def _add_height(graph: Graph, nodes: list[Node]) -> None:
    """The tensors of these nodes get one dimension more where they come in, and lose it where they go out."""
    graph.constant(HEIGHT, [2])
    inside = {name for each in nodes for name in each.output}
    entries = _entries(graph, nodes)
    outside = {name for each in graph.nodes if not each.name.startswith(DECODER) for name in each.input}
    exits = inside & (outside | graph.shown())
    names = {name: f"{name}_{WIDE}" for name in entries | exits}
    for each in nodes:
        each.input[:] = [names.get(name, name) for name in each.input]
        each.output[:] = [names.get(name, name) for name in each.output]
    graph.nodes += [node("Unsqueeze", [name, HEIGHT], names[name]) for name in sorted(entries)]
    graph.nodes += [node("Squeeze", [names[name], HEIGHT], name) for name in sorted(exits)]


def _fold_divisions(graph: Graph) -> None:
    """Where x / c goes through a leaky rectifier, what reads that has its weights divided instead."""
    readers = graph.readers()
    for division in graph.nodes:
        if division.op_type != "Div" or not graph.is_number(division.input[1]):
            continue
        divisor = float(graph.value(division.input[1]).reshape(()))
        rectifiers = readers[division.output[0]]
        behind = [each for rectifier in rectifiers for each in readers[rectifier.output[0]]]
        weights = {each.input[1] for each in behind if each.op_type in CONVOLUTIONS}
        alone = all(each.op_type == "LeakyRelu" for each in rectifiers) and divisor > 0 and behind
        if not alone or len(weights) != len(behind) or any(len(readers[name]) > 1 for name in weights):
            continue
        for name in weights:
            graph.constant(name, (graph.value(name) / divisor).astype(np.float32))
        for rectifier in rectifiers:
            rectifier.input[0] = division.input[0]


def _upsampling(transposed: Node) -> int:
    """How many times as wide it makes its image; 0 where that is no fixed number."""
    length, stride = attribute(transposed, "kernel_shape", [1, 1])[-1], attribute(transposed, "strides", [1, 1])[-1]
    pads, more = attribute(transposed, "pads", [0] * 4), attribute(transposed, "output_padding", [0, 0])[-1]
    return int(stride) if length - stride == pads[1] + pads[3] - more else 0


def _split_into_phases(transposed: Node, graph: Graph) -> None:
    """Write a transposed convolution as a common one.

    Its sample j * s + r of stride s is the sum over m of x[j - m] * w[r + m * s]: one output channel for each r.
    """
    weights = graph.value(transposed.input[1])
    inside, outside, _, length = weights.shape
    stride = attribute(transposed, "strides", [1, 1])[-1]
    pads, more = attribute(transposed, "pads", [0] * 4), attribute(transposed, "output_padding", [0, 0])[-1]
    taps = -(-length // stride)
    surplus = taps * stride - length + pads[3] - more
    """Samples at the end that are too many."""
    usual = attribute(transposed, "group", 1) == 1 and attribute(transposed, "dilations", [1, 1])[-1] == 1
    if not usual or surplus < 0 or attribute(transposed, "auto_pad", b"NOTSET") != b"NOTSET":
        return
    padded = np.zeros((inside, outside, taps * stride), np.float32)
    padded[:, :, :length] = weights[:, :, 0]
    # to (phase, output channel, input channel, tap), the newest input last
    split = padded.reshape(inside, outside, taps, stride)[:, :, ::-1].transpose(3, 1, 0, 2)
    name = f"{transposed.output[0]}_{PHASES}"
    inputs = [transposed.input[0], graph.constant(f"{name}_weights", split.reshape(-1, inside, 1, taps))]
    if len(transposed.input) > 2:  # noqa: PLR2004 - the third is the bias
        inputs.append(graph.constant(f"{name}_bias", np.tile(graph.value(transposed.input[2]), stride)))
    end = -surplus if surplus else TO_THE_END
    graph.remove(transposed)
    graph.nodes += [
        node("Conv", inputs, name, kernel_shape=[1, taps], pads=[0, taps - 1, 0, taps - 1]),
        node("Reshape", [name, graph.constant(f"{name}_apart", [stride, outside, -1])], f"{name}_split"),
        node("Transpose", [f"{name}_split"], f"{name}_turned", perm=[1, 2, 0]),
        node("Reshape", [f"{name}_turned", graph.constant(f"{name}_shape", [1, outside, 1, -1])], f"{name}_joined"),
        node(
            "Slice",
            [
                *(f"{name}_joined", graph.constant(f"{name}_from", [pads[1]])),
                *(graph.constant(f"{name}_to", [end]), graph.constant(f"{name}_axis", [3])),
            ],
            transposed.output[0],
        ),
    ]


def _step_by_blocks(convolution: Node, graph: Graph, block: int) -> None:
    """Have a convolution of one channel make a block of samples at a time, as if they were channels.

    What lies behind it may be a tanh, which goes before the samples are put side by side.
    """
    weights = graph.value(convolution.input[1])
    outside, inside, _, length = weights.shape
    pads = attribute(convolution, "pads", [0] * 4)
    same = pads[1] + pads[3] == length - 1 and _is_plain(convolution)
    readers = graph.readers()[convolution.output[0]]
    if outside != 1 or not same or len(readers) != 1 or readers[0].op_type != "Tanh":
        return
    (tanh,) = readers
    name = f"{convolution.output[0]}_{PHASES}"
    shifted = np.zeros((block, inside, 1, length + block - 1), np.float32)
    for phase in range(block):
        shifted[phase, :, :, phase : phase + length] = weights[0]
    inputs = [convolution.input[0], graph.constant(f"{name}_weights", shifted)]
    if len(convolution.input) > 2:  # noqa: PLR2004 - the third is the bias
        inputs.append(graph.constant(f"{name}_bias", np.repeat(graph.value(convolution.input[2]), block)))
    graph.remove(convolution)
    graph.remove(tanh)
    graph.nodes += [
        node("Conv", inputs, name, kernel_shape=[1, length + block - 1], pads=pads, strides=[1, block]),
        node("Tanh", [name], f"{name}_bent"),
        node("Transpose", [f"{name}_bent"], f"{name}_turned", perm=[0, 2, 3, 1]),
        node("Reshape", [f"{name}_turned", graph.constant(f"{name}_shape", [1, 1, 1, -1])], tanh.output[0]),
    ]


def _is_plain(convolution: Node) -> bool:
    """Without steps, gaps and groups."""
    wanted: dict[str, Any] = {"strides": [1, 1], "dilations": [1, 1], "group": 1, "auto_pad": b"NOTSET"}
    return all(attribute(convolution, name, value) == value for name, value in wanted.items())
