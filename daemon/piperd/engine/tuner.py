"""Makes the better copy of a voice's model, and checks it: `python -m piperd.engine.tuner MODEL CONFIG TARGET`.

Captions need the time of each word. Piper's models know how many frames each phoneme gets (the tensor w_ceil, the only
rounding up in them) but do not give it: the copy does, as its second output.

It is faster in that its convolutions work in ONNX Runtime's blocked layout (`widening`, `blocking`): one CPU speaks
about 1.45 times as fast (`make bench`). Its constants lie in a file of their own, which all workers map into their
memory: 62 MB that they share.

The copy must sound like the original, and be no slower. Where not all is possible it has what is.
"""

from __future__ import annotations

import shutil
import sys
import time
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from piper.patch_voice_with_alignment import add_alignment_output

from piperd import durable
from piperd.engine import speech
from piperd.engine.blocking import DOMAIN, keep_blocked
from piperd.engine.graph import Graph, UntunableError, node
from piperd.engine.widening import widen_decoder, widen_others
from piperd.engine.wire import VoiceFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Step = Callable[[Path, Path], None]
    """Makes of the model at the first path another one at the second; raises where it can't."""

TOLERANCE = 1e-4
"""Greatest difference of any sample at zero noise."""
LENGTHS = (12, 60, 150)
"""Phonemes of the sentences that original and copy are compared on."""
WORD_TIMES, SPEED = "no word times", "not faster"
"""What a copy may lack."""

Heard = list[tuple[NDArray[np.float32], NDArray[np.int64] | None]]
"""Some sentences at zero noise: samples, and how many of them each phoneme has, where the model says it."""


class Hearing(NamedTuple):
    """What a model makes of some sentences, and the CPU seconds for one of them."""

    heard: Heard
    seconds: float


class Recipe(NamedTuple):
    """One way to make a copy."""

    steps: Sequence[Step]
    lacks: frozenset[str]
    """What such a copy does not have."""


def show_durations(source: Path, target: Path) -> None:
    """Write a copy whose second output is the number of frames of each phoneme. Raises `UntunableError`."""
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


def hear(model: Path, config: Path) -> Hearing:
    """What a model makes of some sentences."""
    voice = speech.load(VoiceFiles("", "", model, config)).piper
    known = sorted({number for numbers in voice.config.phoneme_id_map.values() for number in numbers})
    random = np.random.default_rng(1)
    sentences = [[int(number) for number in random.choice(known, length)] for length in LENGTHS]
    heard = [speech.raw(voice, sentence) for sentence in sentences]
    began = time.process_time()
    speech.raw(voice, sentences[1])  # the second time, since the first run of a length takes memory
    return Hearing(heard, time.process_time() - began)


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


def compare_speed(original: Hearing, copy: Hearing) -> None:
    """Raise `UntunableError` where the copy takes longer."""
    if copy.seconds > original.seconds:
        raise UntunableError(f"the copy takes {copy.seconds / original.seconds:.2f} times as long")


def recipes(weights: str, block: int) -> list[Recipe]:
    """The ways to make a copy, the best first; `weights` names the file of its constants.

    `block` is the number of channels in a block of ONNX Runtime's fast convolutions; 1: this CPU has none.
    """
    decoder, blocks = partial(_widen_decoder, block=block), partial(_keep_blocked, block=block, weights=weights)
    # the encoder decides on durations: there a rounding error can change the length of the whole
    fastest: list[Step] = [decoder, widen_others, blocks]
    faster: list[Step] = [decoder, blocks]
    return [
        Recipe([show_durations, *fastest], frozenset()),
        Recipe([show_durations, *faster], frozenset()),
        Recipe([show_durations], frozenset({SPEED})),
        Recipe(fastest, frozenset({WORD_TIMES})),
        Recipe(faster, frozenset({WORD_TIMES})),
    ]


def block_size(folder: Path) -> int:
    """Channels in a block of ONNX Runtime's fast convolutions on this CPU; 1 where it has none.

    Seen by what it makes of a small model: a last block is filled up.
    """
    source, target = folder / "probe.onnx", folder / "probed.onnx"
    shape = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("image", "sound")]
    work = [node("Conv", ["image", "weights"], "sound", kernel_shape=[1, 3])]
    probe = onnx.helper.make_graph(work, "probe", shape[:1], shape[1:])
    graph = Graph(onnx.helper.make_model(probe, opset_imports=[onnx.helper.make_opsetid("", 15)], ir_version=8))
    graph.constant("weights", np.ones((33, 64, 1, 3), np.float32))
    graph.save(source)
    speech.optimise(source, target)
    optimised = Graph.load(target)
    for each in optimised.nodes:
        if each.domain == DOMAIN and each.op_type == "Conv":
            filled = (optimised.dims(each.input[1]) or (33,))[0]
            return next((size for size in (4, 8, 16, 32) if -33 % size == filled - 33), 1)
    return 1


def main(original: Path, config: Path, target: Path) -> int:
    """Make and check a copy; it appears under its name only when it is good."""
    # 63 MB each: what one that was killed left behind would stay for ever
    for left in target.parent.glob(f".{target.name}-*.tmp"):
        shutil.rmtree(left)
    workshop = Path(mkdtemp(dir=target.parent, prefix=f".{target.name}-", suffix=".tmp"))
    weights = target.with_suffix(".weights").name
    reasons: dict[str, str] = {}
    try:
        ways = recipes(weights, block_size(workshop))
        first = hear(original, config)
        for recipe in ways:
            copy = _cook(recipe, original, config, first, workshop, reasons)
            if copy is not None:
                _bring_out(copy, workshop / weights, target)
                sys.stdout.write(_told({lack: reasons[lack] for lack in reasons if lack in recipe.lacks}))
                return 0
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    sys.stderr.write(f"{_told(reasons)}\n")
    return 1


def _cook(
    recipe: Recipe, original: Path, config: Path, first: Hearing, workshop: Path, reasons: dict[str, str]
) -> Path | None:
    """Make a copy in one way; None where it can't be or is no good, and then `reasons` has a new one."""
    copy = original
    lack = SPEED
    try:
        for number, step in enumerate(recipe.steps):
            made = workshop / f"{number}.onnx"
            lack = WORD_TIMES if step is show_durations else SPEED
            step(copy, made)
            copy = made
        second = hear(copy, config)
        compare(first.heard, second.heard)
        if SPEED not in recipe.lacks:
            compare_speed(first, second)
    except Exception as error:  # noqa: BLE001 - a strange model can be anything; another way may still go
        reasons[lack] = f"{str(error).strip() or type(error).__name__}".splitlines()[0]
        return None
    return copy


def _told(reasons: dict[str, str]) -> str:
    return "; ".join(f"{lack}: {reasons[lack]}" for lack in (WORD_TIMES, SPEED) if lack in reasons)


def _bring_out(copy: Path, weights: Path, target: Path) -> None:
    """Under its name it is whole, also after a power loss."""
    if weights.exists():
        durable.make_durable(weights)
        weights.rename(target.with_name(weights.name))
    durable.make_durable(copy)
    copy.rename(target)
    durable.fsync_folder(target.parent)


def _widen_decoder(source: Path, target: Path, block: int) -> None:
    if block == 1:
        raise UntunableError("ONNX Runtime has no blocked convolutions for this CPU")
    widen_decoder(source, target, block)


def _keep_blocked(source: Path, target: Path, block: int, weights: str) -> None:
    optimised = target.with_suffix(".optimised")
    speech.optimise(source, optimised)
    keep_blocked(optimised, target, block, weights)


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:4])))
