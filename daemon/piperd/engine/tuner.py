"""Makes the better copy of a voice's model, and checks it: `python -m piperd.engine.tuner MODEL CONFIG TARGET`.

Captions need the time of each word. Piper's models know how many frames each phoneme gets (the tensor w_ceil, the only
rounding up in them) but do not give it: the copy does, as its second output.

It is faster in that its convolutions work in ONNX Runtime's blocked layout (`widening`, `blocking`): one CPU speaks
about 1.45 times as fast (`make bench`). Its constants lie in files of their own, which all workers map into their
memory: 62 MB that they share. Its decoder is a model of its own, which makes sound in stretches (`stretches`).

The copy must sound like the original, and be no slower. Where not all is possible it has what is.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from piper.patch_voice_with_alignment import add_alignment_output

from piperd import durable
from piperd.engine import blocking, speech, stretches, tuning, widening
from piperd.engine.graph import Graph, UntunableError, node
from piperd.engine.wire import VoiceFiles

if TYPE_CHECKING:
    from collections.abc import Iterable

    from piper import PiperVoice

TOLERANCE = 1e-4
"""Greatest difference of any sample at zero noise."""
LENGTHS = (12, 60, 150)
"""Phonemes of the sentences that original and copy are compared on."""
SAME = 2e-6
"""Greatest difference of samples that rounding alone makes."""
REACHES = (8, 12, 16, 24, 32, 48, 64)
"""Frames that a decoder may reach to either side; 12 were found for the default voice."""
SHORT_STRETCH = 64
"""Frames of a stretch while that is tried out."""
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

    word_times: bool
    faster: bool
    encoder: bool = False
    """Also outside of the decoder."""


RECIPES = (
    # the encoder decides on durations: there a rounding error can change the length of the whole
    Recipe(word_times=True, faster=True, encoder=True),
    Recipe(word_times=True, faster=True),
    Recipe(word_times=True, faster=False),
    Recipe(word_times=False, faster=True, encoder=True),
    Recipe(word_times=False, faster=True),
)
"""The best first."""


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
    sentences = _sentences(voice)
    heard = [speech.raw(voice, sentence) for sentence in sentences]
    began = time.process_time()
    speech.raw(voice, sentences[1])  # the second time, since the first run of a length takes memory
    return Hearing(heard, time.process_time() - began)


def _sentences(piper: PiperVoice) -> list[list[int]]:
    """Numbers of phonemes as chance has them, the same each time."""
    known = sorted({number for numbers in piper.config.phoneme_id_map.values() for number in numbers})
    random = np.random.default_rng(1)
    return [[int(number) for number in random.choice(known, length)] for length in LENGTHS]


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
        if each.domain == blocking.DOMAIN and each.op_type == "Conv":
            filled = (optimised.dims(each.input[1]) or (33,))[0]
            return next((size for size in (4, 8, 16, 32) if -33 % size == filled - 33), 1)
    return 1


def main(original: Path, config: Path, target: Path) -> int:
    """Make and check a copy; it appears under its name only when it is good."""
    # 63 MB each: what one that was killed left behind would stay for ever
    for left in target.parent.glob(f".{target.name}-*.tmp"):
        shutil.rmtree(left, ignore_errors=True)  # one whose daemon was killed may still be writing into it
    workshop = Path(mkdtemp(dir=target.parent, prefix=f".{target.name}-", suffix=".tmp"))
    try:
        kitchen = Kitchen(original, config, target.name, workshop)
        for recipe in RECIPES:
            made = kitchen.cook(recipe)
            if made is not None:
                _bring_out(made, target)
                reasons = {SPEED: not recipe.faster, WORD_TIMES: not recipe.word_times}
                sys.stdout.write(kitchen.told(lack for lack, lacks in reasons.items() if lacks))
                return 0
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    sys.stderr.write(f"{kitchen.told((WORD_TIMES, SPEED))}\n")
    return 1


class Kitchen:
    """Where copies of one model are made, and tasted."""

    def __init__(self, original: Path, config: Path, name: str, workshop: Path) -> None:
        self._original = original
        self._config = config
        self._name = name
        self._workshop = workshop
        self._block = block_size(workshop)
        self._first = hear(original, config)
        self._reasons: dict[str, str] = {}
        """Why something was not possible, by what a copy lacks then."""

    def told(self, lacks: Iterable[str]) -> str:
        wanted = set(lacks)
        return "; ".join(
            f"{lack}: {self._reasons[lack]}" for lack in (WORD_TIMES, SPEED) if lack in wanted & set(self._reasons)
        )

    def cook(self, recipe: Recipe) -> Path | None:
        """A folder with the files of a copy; None where it can't be made or is no good, and then there is a reason."""
        lack = SPEED
        served = Path(mkdtemp(dir=self._workshop))
        try:
            model = self._original
            if recipe.word_times:
                lack = WORD_TIMES
                model = served / self._name
                show_durations(self._original, model)
            if recipe.faster:
                lack = SPEED
                self._speed_up(model, served, encoder=recipe.encoder)
            second = hear(served / self._name, self._config)
            compare(self._first.heard, second.heard)
            if recipe.faster:
                compare_speed(self._first, second)
        except Exception as error:  # noqa: BLE001 - a strange model can be anything; another way may still go
            self._reasons[lack] = f"{str(error).strip() or type(error).__name__}".splitlines()[0]
            return None
        return served

    def _speed_up(self, model: Path, served: Path, *, encoder: bool) -> None:
        if self._block == 1:
            raise UntunableError("ONNX Runtime has no blocked convolutions for this CPU")
        plain, wide = (self._workshop / name for name in ("plain.onnx", "wide.onnx"))
        front, decoder = widening.halves(model)
        decoder.save(plain)
        widening.widen_decoder(plain, wide, self._block)
        target = tuning.decoder_of(served / self._name)
        made = self._optimised(wide)
        if not blocking.is_blocked(made):
            raise UntunableError("ONNX Runtime uses no blocked convolutions for it")
        made.save(target, f"{target.stem}.weights")
        front.save(plain)
        if encoder:
            widening.widen_others(plain, wide)
        target = served / self._name
        self._optimised(wide if encoder else plain).save(target, f"{target.stem}.weights")
        self._measure_reach(target)

    def _optimised(self, source: Path) -> Graph:
        target = self._workshop / "optimised.onnx"
        speech.optimise(source, target)
        graph = Graph.load(target)
        blocking.keep_blocked(graph, self._block)
        return graph

    def _measure_reach(self, model: Path) -> None:
        """Note in the decoder how many frames on both sides a stretch needs to sound as it does in the whole."""
        path = tuning.decoder_of(model)
        piper, decoder = speech.load(VoiceFiles("", "", model, self._config)).piper, speech.session(path)
        front, sentence = piper.session, _sentences(piper)[1]

        def sound(reach: int, most: int) -> NDArray[np.float32]:
            piper.session = stretches.InStretches(front, decoder, reach, most)
            return speech.raw(piper, sentence)[0]

        whole = sound(0, 1 << 30)
        for reach in REACHES:
            if np.abs(sound(reach, SHORT_STRETCH) - whole).max(initial=0.0) <= SAME:
                described = onnx.load(str(path), load_external_data=False)
                onnx.helper.set_model_props(described, {stretches.REACH: str(reach)})
                onnx.save(described, str(path))
                return
        raise UntunableError(f"its decoder reaches farther than {REACHES[-1]} frames")


def _bring_out(made: Path, target: Path) -> None:
    """Under its name it is whole, also after a power loss: the model itself comes last."""
    tuning.decoder_of(target).unlink(missing_ok=True)  # of a copy that never became whole
    for file in sorted(made.iterdir(), key=lambda file: file.name == target.name):
        durable.make_durable(file)
        file.rename(target.with_name(file.name))
    durable.fsync_folder(target.parent)


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:4])))
