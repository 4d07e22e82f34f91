"""A faster copy of a voice's model: same sound, other convolutions. Made once, checked against the original, cached.

ONNX Runtime has blocked convolutions that run at about 110 GFLOP/s a core, for images only. Piper's decoder is made
of one-dimensional ones. Written as two-dimensional ones of height 1 they are the same arithmetic, and all cores
together speak about 1.08 times as fast (DESIGN §11). What does not look as expected is left as it is.

Run as a program of its own, so that the memory that this takes is given back: `python -m piperd.engine.tuning`.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from piperd.engine.wire import VoiceFiles

TUNING_VERSION = 1
"""Raised when this module makes other copies than before."""
DECODER = "/dec/"
"""Names of the decoder's nodes begin with it in every voice that Piper exports."""
CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
ELEMENTWISE = frozenset({"LeakyRelu", "Add", "Mul", "Div", "Tanh", "Identity", "Constant"})
"""What may stand between them: it does not care for the number of dimensions."""
TOLERANCE = 1e-4
"""Greatest difference of any sample at zero noise."""
LENGTHS = (12, 60, 150)
"""Phonemes of the sentences that original and copy are compared on."""
PATIENCE = 45
"""Seconds that making a copy may take: less than a worker may take to start."""
REFUSED = ".refused"
"""Suffix of the file that says why a model has no copy."""


class UntunableError(Exception):
    """The model is not built as expected, or its copy does not sound the same."""


def copy_of(files: VoiceFiles, folder: Path) -> Path:
    """The model to load: the tuned copy in `folder`, made now if there is none, or the original where none can be made.

    Of several processes one makes it and the others wait for it, so that all speak with the same model.
    """
    target = folder / f"{files.digest[:32]}-ort{version('onnxruntime')}-{TUNING_VERSION}.onnx"
    refused = target.with_suffix(REFUSED)
    try:
        if not (target.exists() or refused.exists()):
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                # tried once for each model and version; `piperd check` shows the reason
                if not (target.exists() or refused.exists()) and (reason := _make(files, target)):
                    refused.write_text(f"{files.name}: {reason}\n")
        return target if target.exists() else files.model
    except OSError:  # no room, say: the original will do
        return files.model


def _make(files: VoiceFiles, target: Path) -> str:
    """Make the copy in a process of its own; gives the reason where that fails."""
    command = [sys.executable, "-m", "piperd.engine.tuning", str(files.model), str(files.config), str(target)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return f"it took more than {PATIENCE} s"
    if done.returncode == 0:
        return ""
    return done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"


def tune(source: Path, target: Path) -> None:
    """Write the tuned copy of a model. Raises `UntunableError`."""
    import onnx  # noqa: PLC0415 - only the process that tunes pays for it

    model = onnx.load(str(source))
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes = [node for node in graph.node if node.name.startswith(DECODER)]
    strange = {node.op_type for node in nodes} - CONVOLUTIONS - ELEMENTWISE
    if not nodes or strange:
        raise UntunableError(f"its decoder has {', '.join(sorted(strange)) or 'no nodes'}")
    inside = {name for node in nodes for name in node.output}
    for node in nodes:
        if node.op_type in CONVOLUTIONS:
            _widen(node, constants, onnx.numpy_helper)
        elif any(len(constants[name].dims) > 1 for name in node.input if name in constants):
            raise UntunableError(f"{node.name} works on a constant of several dimensions")
    # the decoder's tensors get one dimension more at its entries and lose it at its exits
    axis = "piperd_height"
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([2], np.int64), axis))
    entries = {name for node in nodes for name in node.input if name and name not in inside and name not in constants}
    outside = {name for node in graph.node if not node.name.startswith(DECODER) for name in node.input}
    exits = inside & (outside | {output.name for output in graph.output})
    _rename(nodes, {name: f"{name}_wide" for name in entries | exits})
    added = [onnx.helper.make_node("Unsqueeze", [name, axis], [f"{name}_wide"]) for name in sorted(entries)]
    added += [onnx.helper.make_node("Squeeze", [f"{name}_wide", axis], [name]) for name in sorted(exits)]
    ordered = _ordered([*graph.node, *added])
    del graph.node[:]
    graph.node.extend(ordered)
    del graph.value_info[:]
    onnx.save(model, str(target))


def compare(original: Path, copy: Path, config: Path) -> None:
    """Raise `UntunableError` unless both speak some sentences alike at zero noise."""
    from piperd.engine import speech, wire  # noqa: PLC0415 - ONNX Runtime, see `tune`

    voices = [speech.load(wire.VoiceFiles("", "", model, config)).piper for model in (original, copy)]
    known = sorted({number for numbers in voices[0].config.phoneme_id_map.values() for number in numbers})
    random = np.random.default_rng(1)
    for length in LENGTHS:
        phonemes = [int(number) for number in random.choice(known, length)]
        one, other = (speech.raw(voice, phonemes) for voice in voices)
        if one.shape != other.shape:
            raise UntunableError(f"the copy speaks {other.size} samples, the original {one.size}")
        difference = float(np.abs(one - other).max(initial=0.0))
        if not difference <= TOLERANCE:
            raise UntunableError(f"the copy's samples differ by up to {difference:.2g}")


def _widen(node: Any, constants: dict[str, Any], helper: Any) -> None:
    """Make a convolution of length K one of height 1 and width K."""
    weights = constants.get(node.input[1])
    if weights is None:
        raise UntunableError(f"the weights of {node.name} are computed")
    if len(weights.dims) == 3:  # noqa: PLR2004 - else it was widened for another node that shares it
        weights.CopyFrom(helper.from_array(np.expand_dims(helper.to_array(weights), 2), weights.name))
    before = {"kernel_shape": [1], "strides": [1], "dilations": [1], "output_padding": [0]}
    for attribute in node.attribute:
        values = list(attribute.ints)
        if attribute.name == "pads":
            attribute.ints[:] = [0, values[0], 0, values[1]]
        elif attribute.name in before:
            attribute.ints[:] = [*before[attribute.name], *values]


def _rename(nodes: list[Any], names: dict[str, str]) -> None:
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def _ordered(nodes: list[Any]) -> list[Any]:
    """The nodes so that each stands behind those whose results it takes, as ONNX wants it."""
    makers = {name: node for node in nodes for name in node.output}
    ordered: list[Any] = []
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
                ordered.append(node)
    return ordered


def main(original: Path, config: Path, target: Path) -> int:
    """Make and check a copy; it appears under its name only when it is good."""
    # 63 MB each: what one that was killed left behind would stay for ever
    for left in target.parent.glob(f".{target.name}-*.tmp"):
        left.unlink(missing_ok=True)
    temporary = target.with_name(f".{target.name}-{os.getpid()}.tmp")
    try:
        tune(original, temporary)
        compare(original, temporary, config)
        temporary.rename(target)
    except UntunableError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        temporary.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:4])))
