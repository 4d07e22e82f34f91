"""A model's graph, for those who rewrite it: who makes a tensor, who reads it, what is constant. Only onnx is needed.

Imported by the process that tunes alone: see `piperd.engine.tuning`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import onnx

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Node = Any
    """An onnx.NodeProto: its fields are made at run time, and no checker knows them."""


class UntunableError(Exception):
    """The model is not built as expected, or its copy does not sound the same."""


class Graph:
    """A model that is open for changes. Nodes are kept in a list; `save` puts them in order."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self.nodes: list[Node] = list(model.graph.node)
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._made = {
            node.output[0]: node.attribute[0].t
            for node in self.nodes
            if node.op_type == "Constant" and node.attribute[0].name == "value"
        }

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls(onnx.load(str(path)))

    @property
    def outputs(self) -> Any:
        """The model's own outputs, as onnx keeps them."""
        return self._model.graph.output

    @property
    def model(self) -> onnx.ModelProto:
        """The model; its nodes are only those of the last `save`, or of the beginning."""
        return self._model

    def makers(self) -> dict[str, Node]:
        """By tensor, as the nodes are now."""
        return {name: node for node in self.nodes for name in node.output}

    def readers(self) -> Mapping[str, list[Node]]:
        """By tensor, as the nodes are now; one that reads it twice is there twice."""
        found: dict[str, list[Node]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                found[name].append(node)
        return found

    def shown(self) -> set[str]:
        """Tensors that are outputs of the model."""
        return {output.name for output in self.outputs}

    def dims(self, name: str) -> tuple[int, ...] | None:
        """Of a constant; None for what is computed."""
        tensor = self._tensors.get(name) or self._made.get(name)
        return None if tensor is None else tuple(tensor.dims)

    def value(self, name: str) -> NDArray[Any]:
        """Of a constant."""
        tensor = self._tensors.get(name) or self._made[name]
        return onnx.numpy_helper.to_array(tensor)

    def is_number(self, name: str) -> bool:
        """Whether it is one constant number, which may stand beside a tensor of any layout."""
        dims = self.dims(name)
        return dims is not None and int(np.prod(dims, dtype=np.int64)) == 1

    def constant(self, name: str, value: NDArray[Any] | list[int]) -> str:
        """Have a constant of this name; gives the name. Lists are whole numbers, as shapes and axes are."""
        array = np.array(value, np.int64) if isinstance(value, list) else value
        tensor = onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        if name in self._tensors:
            self._tensors[name].CopyFrom(tensor)
        else:
            self._model.graph.initializer.append(tensor)
            self._tensors[name] = self._model.graph.initializer[-1]
        return name

    def remove(self, gone: Node) -> None:
        self.nodes = [each for each in self.nodes if each is not gone]

    def prune(self) -> None:
        """Drop the nodes whose results nobody reads."""
        self.nodes = self._needed()

    def rename_inputs(self, names: Mapping[str, str]) -> None:
        """Have all nodes read other tensors in the place of these."""
        for node in self.nodes:
            node.input[:] = [names.get(name, name) for name in node.input]

    def part(self, outputs: Sequence[str], inputs: Mapping[str, int] | None = None) -> Graph:
        """What leads to some tensors, as a model of its own.

        It takes the model's own inputs or, if given, tensors of one frame after the other, by their channels.
        """
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        known = {output.name: output for output in model.graph.output}
        _refill(
            model.graph.output,
            [
                known.get(name) or onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
                for name in outputs
            ],
        )
        if inputs is not None:
            taken = inputs.items()
            _refill(
                model.graph.input,
                [
                    onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, None])
                    for name, channels in taken
                ],
            )
        _refill(model.graph.node, [each for each in self.nodes if not set(each.output) & set(inputs or ())])
        return Graph(model)

    def describe(self, key: str, value: str) -> None:
        """Note something in the model's metadata."""
        onnx.helper.set_model_props(self._model, {key: value})

    def save(self, path: Path, weights: str | None = None) -> None:
        """Write it without what nobody reads. With `weights` the constants go to a file of that name beside it."""
        graph = self._model.graph
        self.prune()
        _refill(graph.node, ordered(self.nodes))
        self.nodes = list(graph.node)
        read = {name for node in self.nodes for name in node.input}
        constants = [tensor for tensor in graph.initializer if tensor.name in read]
        _refill(graph.initializer, constants)
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        del graph.value_info[:]  # what was known of tensors need not be true any more
        if weights is None:
            onnx.save(self._model, str(path))
        else:
            onnx.save_model(self._model, str(path), save_as_external_data=True, location=weights)

    def _needed(self) -> list[Node]:
        makers = self.makers()
        needed: dict[int, Node] = {}
        waiting = [makers[name] for name in self.shown() if name in makers]
        while waiting:
            node = waiting.pop()
            if id(node) not in needed:
                needed[id(node)] = node
                waiting += [makers[name] for name in node.input if name in makers]
        return [node for node in self.nodes if id(node) in needed]


def _refill(field: Any, values: Iterable[Any]) -> None:
    """Have other entries in a repeated field of a protocol buffer; some of them may be its own."""
    kept = list(values)
    del field[:]
    field.extend(kept)


def node(kind: str, inputs: Iterable[str], output: str, **attributes: Any) -> Node:
    """A node with one output, named after that."""
    return onnx.helper.make_node(kind, list(inputs), [output], name=output, **attributes)


def attribute(of: Node, name: str, default: Any = None) -> Any:
    """The value of a node's attribute."""
    for each in of.attribute:
        if each.name == name:
            return onnx.helper.get_attribute_value(each)
    return default


def set_attribute(of: Node, name: str, value: Any) -> None:
    for each in list(of.attribute):
        if each.name == name:
            of.attribute.remove(each)
    of.attribute.append(onnx.helper.make_attribute(name, value))


def ordered(nodes: list[Node]) -> list[Node]:
    """The nodes so that each stands behind those whose results it takes, as ONNX wants it."""
    makers = {name: node for node in nodes for name in node.output}
    found: list[Node] = []
    placed: set[int] = set()
    for start in nodes:
        stack = [start]
        while stack:
            node = stack[-1]
            waiting = [makers[name] for name in node.input if name in makers and id(makers[name]) not in placed]
            if waiting and id(node) not in placed:
                stack += waiting
                continue
            stack.pop()
            if id(node) not in placed:
                placed.add(id(node))
                found.append(node)
    return found
