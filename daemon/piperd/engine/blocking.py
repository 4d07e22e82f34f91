"""Keeps a model in ONNX Runtime's blocked layout (NCHWc), in which its fast convolutions work.

ONNX Runtime takes each convolution into the layout and its result out again, wherever anything else stands between
two of them: a third of the passes over memory in a decoder of Piper's. It can save the model that it makes of another,
blocked convolutions and all. Here that is changed further:

- what works on each number by itself works in any layout, so it goes between the convolutions as they are;
- the phases of a transposed convolution (`piperd.engine.widening`) are put side by side as whole blocks;
- a sum, and the leaky rectifier behind one, become a part of the convolution in front of them.

What such a model holds is made for this kind of CPU and this version of ONNX Runtime: see `tuning.copy_of`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from piperd.engine.graph import Graph, attribute, node, ordered, set_attribute
from piperd.engine.widening import PHASES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from piperd.engine.graph import Node

DOMAIN = "com.microsoft.nchwc"
ELEMENTWISE = frozenset({"LeakyRelu", "Relu", "Add", "Sub", "Mul", "Div", "Tanh", "Sigmoid"})
BLOCKED = "piperd_blocked"
"""Ends the names of tensors that are in the layout."""
CHAIN = ("Reshape", "Transpose", "Reshape", "Slice")
"""What puts phases side by side."""
WITH_SUM = 4
"""Inputs of a blocked convolution: image, weights, bias, and what is added to its result."""


@dataclass(frozen=True, slots=True)
class Twin:
    """A tensor as it is in the layout."""

    name: str
    channels: int
    width: str
    """Tensors have the same width when this is the same."""


class _Blocking:
    def __init__(self, graph: Graph, block: int) -> None:
        self._graph = graph
        self._block = block
        self._widths: dict[str, str] = {}
        """Of each tensor in the layout."""
        self._twins: dict[str, Twin] = {}
        """By the name of the tensor that is not in the layout."""
        self._same: dict[str, str] = {}
        """Tensors in the layout that are another one already."""

    def spread(self) -> None:
        """Keep the layout wherever that can be."""
        for each in ordered(self._graph.nodes):
            if each.domain == DOMAIN and each.op_type == "ReorderInput":
                self._enter(each)
            elif each.domain == DOMAIN and each.op_type == "ReorderOutput":
                self._leave(each)
            elif each.domain == DOMAIN:
                self._widths[each.output[0]] = self._width_behind(each)
            elif each.op_type in ELEMENTWISE:
                self._work_in_blocks(each)
            elif each.op_type == CHAIN[-1]:
                self._join_phases(each)
        self._graph.rename_inputs(self._same)

    def _enter(self, reorder: Node) -> None:
        plain, blocked = reorder.input[0], reorder.output[0]
        twin = self._twins.get(plain)
        self._widths[blocked] = plain if twin is None else twin.width
        if twin is not None:
            self._same[blocked] = twin.name

    def _leave(self, reorder: Node) -> None:
        channels = attribute(reorder, "channels")
        if not attribute(reorder, "channels_last", 0) and channels % self._block == 0:
            blocked = reorder.input[0]
            # ONNX Runtime itself lets some other work be done in the layout: what comes of that has a width of its own
            self._twins[reorder.output[0]] = Twin(blocked, channels, self._widths.get(blocked, blocked))

    def _width_behind(self, work: Node) -> str:
        """A convolution that is padded to its own width keeps that of its image."""
        kernel, strides = attribute(work, "kernel_shape", ()), attribute(work, "strides", ())
        pads, gaps = attribute(work, "pads", [0] * 4), attribute(work, "dilations", [1, 1])
        same = work.op_type == "Conv" and all(step == 1 for step in strides)
        # height and width alike: begin and end of the padding against what the kernel takes
        same &= all(pads[i] + pads[i + 2] == (kernel[i] - 1) * gaps[i] for i in range(len(kernel)))
        image: str = work.input[0]  # one of few channels is read as it is
        made: str = work.output[0]
        return self._widths.get(image, image) if same else made

    def _work_in_blocks(self, work: Node) -> None:
        images = [name for name in work.input if not self._graph.is_number(name)]
        twins = [self._twins.get(name) for name in images]
        first = twins[0] if twins else None
        if first is None or any(
            twin is None or (twin.channels, twin.width) != (first.channels, first.width) for twin in twins
        ):
            return
        places = dict(zip(images, twins, strict=True))
        taken = [found.name if (found := places.get(name)) else name for name in work.input]
        made = work.output[0]
        twin = Twin(f"{made}_{BLOCKED}", first.channels, first.width)
        moved = node(work.op_type, taken, twin.name)
        moved.attribute.extend(work.attribute)
        self._replace(work, [moved], twin)

    def _join_phases(self, last: Node) -> None:
        """From (phase, channel, width) to (channel, width, phase), where blocks of channels stay together."""
        chain = self._chain(last)
        if chain is None:
            return
        twin, apart, turned = self._twins.get(chain[0].input[0]), chain[0], chain[1]
        shape = self._graph.value(apart.input[1]).tolist()
        if twin is None or shape[1] % self._block or attribute(turned, "perm") != [1, 2, 0]:
            return
        stride, channels, _ = shape
        blocks, name, graph = channels // self._block, twin.name, self._graph
        joined = Twin(f"{last.output[0]}_{BLOCKED}", channels, last.output[0])
        steps = [
            ("Reshape", [graph.constant(f"{name}_apart", [stride, blocks, -1, self._block])]),
            ("Transpose", []),
            ("Reshape", [graph.constant(f"{name}_joined", [blocks, -1, self._block])]),
            ("Slice", [*last.input[1:3], graph.constant(f"{name}_axis", [1])]),
            ("Reshape", [graph.constant(f"{name}_shape", [1, channels, 1, -1])]),
        ]
        nodes: list[Node] = []
        for number, (kind, constants) in enumerate(steps):
            output = joined.name if number == len(steps) - 1 else f"{name}_{number}"
            perm = {"perm": [1, 2, 0, 3]} if kind == "Transpose" else {}
            nodes.append(node(kind, [nodes[-1].output[0] if nodes else name, *constants], output, **perm))
        self._replace(last, nodes, joined)

    def _chain(self, last: Node) -> list[Node] | None:
        """The nodes that put phases side by side, if this is the last of them."""
        makers = self._graph.makers()
        found = [last]
        for kind in reversed(CHAIN[:-1]):
            before = makers.get(found[0].input[0])
            if before is None or before.op_type != kind:
                return None
            found.insert(0, before)
        return found if found[0].input[0].endswith(PHASES) else None

    def _replace(self, work: Node, nodes: list[Node], twin: Twin) -> None:
        """Whoever wants the result out of the layout still finds it there; else nobody makes it."""
        made = work.output[0]
        self._widths[twin.name] = twin.width
        self._twins[made] = twin
        self._graph.remove(work)
        self._graph.nodes += nodes
        way_out = node("ReorderOutput", [twin.name], made, domain=DOMAIN, channels=twin.channels)
        self._graph.nodes.append(way_out)


def is_blocked(graph: Graph) -> bool:
    """Whether ONNX Runtime uses its blocked convolutions for a model that it has optimised."""
    return any(each.domain == DOMAIN for each in graph.nodes)


def keep_blocked(graph: Graph, block: int) -> None:
    """Change a model that ONNX Runtime has optimised; `block` is the number of channels in a block."""
    _Blocking(graph, block).spread()
    graph.prune()
    _fuse_sums(graph)
    _fuse_rectifiers(graph)


def _fuse_sums(graph: Graph) -> None:
    """A convolution whose result is only added to something adds that itself."""
    for addition in _blocked(graph, "Add"):
        for convolution, other in _convolutions(graph, addition):
            if len(convolution.input) < WITH_SUM:
                _add(convolution, other)
                convolution.output[0] = addition.output[0]
                graph.remove(addition)
                break


def _fuse_rectifiers(graph: Graph) -> None:
    """The last addition before a leaky rectifier, and that, become a part of the convolution too.

    If it adds something already, both are added to each other first: no more work than before, and one pass less.
    """
    for rectifier in _blocked(graph, "LeakyRelu"):
        addition = graph.makers().get(rectifier.input[0])
        if addition is None or addition.op_type != "Add" or len(graph.readers()[addition.output[0]]) > 1:
            continue
        for convolution, other in _convolutions(graph, addition):
            if len(convolution.input) == WITH_SUM:
                both = node("Add", [convolution.input[3], other], f"{addition.output[0]}_before")
                graph.nodes.append(both)
                convolution.input[3] = both.output[0]
            else:
                _add(convolution, other)
            set_attribute(convolution, "activation", "LeakyRelu")
            set_attribute(convolution, "activation_params", [attribute(rectifier, "alpha", 0.01)])
            convolution.output[0] = rectifier.output[0]
            graph.remove(addition)
            graph.remove(rectifier)
            break


def _blocked(graph: Graph, kind: str) -> list[Node]:
    """The nodes of a kind that work in the layout."""
    return [each for each in graph.nodes if each.op_type == kind and each.output[0].endswith(BLOCKED)]


def _convolutions(graph: Graph, addition: Node) -> Iterator[tuple[Node, str]]:
    """The blocked convolutions that work for this addition alone, each with what is added to it."""
    makers, readers = graph.makers(), graph.readers()
    for name, other in (tuple(addition.input), tuple(addition.input)[::-1]):
        maker = makers.get(name)
        alone = maker is not None and maker.domain == DOMAIN and maker.op_type == "Conv" and len(readers[name]) == 1
        if alone and attribute(maker, "activation") is None:
            yield maker, other


def _add(convolution: Node, other: str) -> None:
    convolution.input.extend([""] * (WITH_SUM - 1 - len(convolution.input)))  # it may have no bias
    convolution.input.append(other)
