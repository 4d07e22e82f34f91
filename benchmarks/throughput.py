"""Throughput: a hundred mixed texts, and every other way to speak them beside it, in turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import arithmetic
import contenders
import corpus
from figures import spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from contender import Run
    from figures import Budget

ROUNDS = 3
OTHERS: dict[str, Callable[[Sequence[str]], Run]] = {
    "two piper commands": contenders.piper_commands,
    "Piper's HTTP server": contenders.http_server,
    "sherpa-onnx, N threads": contenders.sherpa_threads,
    "sherpa-onnx, N processes": contenders.sherpa_processes,
    "loudness-tts": contenders.loudness_tts,
    "bare loops": contenders.bare_loops,
}
"""Measured on a third of the texts in each of three rounds, as piperd is once more in the same round."""
ALL, PART, ONE_COMMAND, LIMIT = (
    "piperd, all texts",
    "piperd, a third",
    "one piper command, all texts",
    "arithmetic limit",
)


def measure(budget: Budget) -> dict[str, Any]:
    """Rates in seconds of audio a second, and piperd's rate over each of the others' in the same round."""
    every = corpus.texts()
    texts = every[:6] if budget.quick else every
    rates: dict[str, list[float]] = {name: [] for name in (ALL, PART, ONE_COMMAND, LIMIT, *OTHERS)}
    operations = arithmetic.gflop_a_second_of_audio(["The ferry leaves at seven.", "Somebody is at the front door."])
    audio_s = 0.0
    for number in budget.rounds(ROUNDS):
        budget.say(f"round {number + 1} of {ROUNDS}: {ALL}, {ONE_COMMAND}")
        run = contenders.piperd(texts)
        audio_s = run.audio_s
        rates[ALL].append(run.rate)
        rates[ONE_COMMAND].append(contenders.one_piper_command(texts).rate)
        rates[LIMIT].append(arithmetic.gflops() / operations)
        part = texts[number::ROUNDS]
        rates[PART].append(contenders.piperd(part).rate)
        for name, speak in OTHERS.items():
            budget.say(f"round {number + 1} of {ROUNDS}: {name}")
            rates[name].append(speak(part).rate)
    over = {name: ALL if name in (ONE_COMMAND, LIMIT) else PART for name in (ONE_COMMAND, LIMIT, *OTHERS)}
    return {
        "texts": len(texts),
        "audio_s": round(audio_s, 1),
        "gflop_a_second_of_audio": round(operations, 2),
        "rates": {name: spread(values, 2) for name, values in rates.items()},
        "ratios": {
            name: spread([ours / theirs for ours, theirs in zip(rates[mine], rates[name], strict=True)], 3)
            for name, mine in over.items()
        },
    }
