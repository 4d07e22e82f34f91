"""A better copy of a voice's model: it says how long each phoneme is, and is faster. Made once, checked, cached.

Captions need the time of each word. Piper's models know how many frames each phoneme gets (the tensor w_ceil, the only
rounding up in them) but do not give it: the copy does, as its second output.

ONNX Runtime has blocked convolutions that run at about 110 GFLOP/s a core, for images only. Piper's decoder is made
of one-dimensional ones. Written as two-dimensional ones of height 1 they are the same arithmetic, and all cores
together speak about 1.08 times as fast (DESIGN §11). What does not look as expected is left as it is.

The copy must sound like the original. Where one of the two is not possible, it has the other alone.

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
from numpy.typing import NDArray

if TYPE_CHECKING:
    from piperd.engine.wire import VoiceFiles

TUNING_VERSION = 2
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
MOST_TRIES = 3
"""How often it may take longer, each time at another start of a worker: a machine may have been busy."""
LATE = ".late"
"""Suffix of the file that has a line for each time."""
REFUSED = ".refused"
"""Suffix of the file that says why a model has no copy, or what its copy lacks."""


class UntunableError(Exception):
    """The model is not built as expected, or its copy does not sound the same."""


Heard = list[tuple[NDArray[np.float32], NDArray[np.int64] | None]]
"""Some sentences at zero noise: samples, and how many of them each phoneme has, where the model says it."""


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
                if not (target.exists() or refused.exists()):
                    _try(files, target, refused)
                for other in folder.glob(f"{files.digest[:32]}-*"):  # 63 MB each, of versions that are no more
                    if other.stem != target.stem:
                        other.unlink(missing_ok=True)
        return target if target.exists() else files.model
    except OSError:  # no room, say: the original will do
        return files.model


def _try(files: VoiceFiles, target: Path, refused: Path) -> None:
    """Make the copy, or write down why there is none: `piperd check` shows it, and nobody tries again."""
    late = target.with_suffix(LATE)
    try:
        reason = _make(files, target)
    except subprocess.TimeoutExpired:
        with late.open("a") as file:
            file.write(f"more than {PATIENCE} s\n")
        if len(late.read_text().splitlines()) < MOST_TRIES:
            return
        reason = f"it took more than {PATIENCE} s, {MOST_TRIES} times"
    if reason:
        refused.write_text(f"{files.name}: {reason}\n")
    late.unlink(missing_ok=True)


def _make(files: VoiceFiles, target: Path) -> str:
    """Make the copy in a process of its own; gives what of it was not possible, and why.

    Raises `subprocess.TimeoutExpired`.
    """
    command = [sys.executable, "-m", "piperd.engine.tuning", str(files.model), str(files.config), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode == 0:
        return done.stdout.strip()
    return done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"


def show_durations(source: Path, target: Path) -> None:
    """Write a copy whose second output is the number of frames of each phoneme. Raises `UntunableError`."""
    import onnx  # noqa: PLC0415 - only the process that tunes pays for it
    from piper.patch_voice_with_alignment import add_alignment_output  # noqa: PLC0415 - it imports onnx

    model = onnx.load(str(source))
    roundings = [node.output[0] for node in model.graph.node if node.op_type == "Ceil"]
    if len(roundings) != 1:
        raise UntunableError(f"it rounds up {len(roundings)} times, where durations would be rounded up once")
    outputs = model.graph.output
    if roundings[0] not in {output.name for output in outputs}:
        add_alignment_output(model, roundings[0])
    # Piper takes the second output for the durations, whatever it is
    ordered = sorted(outputs, key=lambda output: (output.name != outputs[0].name, output.name != roundings[0]))
    del outputs[:]
    outputs.extend(ordered)
    onnx.save(model, str(target))


def widen(source: Path, target: Path) -> None:
    """Write a copy with the decoder's convolutions in two dimensions. Raises `UntunableError`."""
    import onnx  # noqa: PLC0415 - as above

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


def hear(model: Path, config: Path) -> Heard:
    """What a model makes of some sentences."""
    from piperd.engine import speech, wire  # noqa: PLC0415 - ONNX Runtime, see `show_durations`

    voice = speech.load(wire.VoiceFiles("", "", model, config)).piper
    known = sorted({number for numbers in voice.config.phoneme_id_map.values() for number in numbers})
    random = np.random.default_rng(1)
    return [speech.raw(voice, [int(number) for number in random.choice(known, length)]) for length in LENGTHS]


def compare(original: Heard, copy: Heard) -> None:
    """Raise `UntunableError` unless both sound alike, and say alike how long each phoneme is, as far as they do."""
    pace: tuple[int, int] | None = None
    for length, (one, durations), (other, others) in zip(LENGTHS, original, copy, strict=True):
        if one.shape != other.shape:
            raise UntunableError(f"the copy speaks {other.size} samples, the original {one.size}")
        difference = float(np.abs(one - other).max(initial=0.0))
        if not difference <= TOLERANCE:
            raise UntunableError(f"the copy's samples differ by up to {difference:.2g}")
        if others is None:
            continue
        # that the config is wrong about the samples in a frame does no harm, as long as it is the same number always
        whole, pace = int(others.sum()), pace or (int(others.sum()), other.size)
        if others.shape != (length,) or others.min() < 0 or whole == 0 or whole * pace[1] != other.size * pace[0]:
            raise UntunableError(f"what would be the durations of {length} phonemes does not fit the samples")
        if durations is not None and durations.shape == others.shape and not np.array_equal(durations, others):
            raise UntunableError("the copy's durations differ")


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
    best, heard, lacking = original, hear(original, config), []
    steps = {"no word times": show_durations, "not faster": widen}
    made = [target.with_name(f".{target.name}-{os.getpid()}-{step.__name__}.tmp") for step in steps.values()]
    try:
        for (lack, step), copy in zip(steps.items(), made, strict=True):
            try:
                step(best, copy)
                sound = hear(copy, config)
                compare(heard, sound)
                best, heard = copy, sound
            except Exception as error:  # noqa: BLE001 - a strange model can be anything; the other step may still go
                lacking.append(f"{lack}: {str(error).strip() or type(error).__name__}".splitlines()[0])
        if best == original:
            sys.stderr.write(f"{'; '.join(lacking)}\n")
            return 1
        best.rename(target)
    finally:
        for copy in made:
            copy.unlink(missing_ok=True)
    sys.stdout.write("; ".join(lacking))
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:4])))
