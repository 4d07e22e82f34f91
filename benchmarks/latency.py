"""Latency: from a file's arrival until its WAV is there, over the synthesis of the same sentence."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import rig
from figures import percentile, spread
from processes import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from figures import Budget

NOTES = 100
SETTLE = 0.3
"""The default of `watch.settle`: what a file that is written in place is looked at for."""


def measure(budget: Budget) -> dict[str, Any]:
    """Milliseconds over the synthesis itself, which is what the worker reports for that very utterance."""
    notes = 3 if budget.quick else NOTES
    with rig.Daemon() as daemon:

        def rename(name: str, text: str) -> float:
            return daemon.drop(name, text)

        def write(name: str, text: str) -> float:
            (daemon.inbox / name).write_text(text)
            return time.monotonic()

        budget.say(f"{notes} notes renamed into the inbox")
        half = budget.left / 2
        renamed = [
            _over(daemon, f"renamed-{number}", rename) for number in range(notes) if not number or budget.left > half
        ]
        budget.say(f"{notes} notes written in place")
        written = [
            _over(daemon, f"written-{number}", write) - SETTLE * 1000
            for number in range(notes)
            if not number or budget.left > 0
        ]
    return {"renamed_ms": _figures(renamed), "written_ms_over_settle": _figures(written)}


def _over(daemon: rig.Daemon, name: str, arrive: Callable[[str, str], float]) -> float:
    spoken_before = len(daemon.events("utterance_spoken"))
    wav = daemon.outbox / f"{name}.wav"
    began = arrive(f"{name}.txt", f"This is the short note {name.replace('-', ' number ')}.")
    wait_for(wav.exists, pause=0.001)
    took = time.monotonic() - began
    daemon.wait_done([name])
    (spoken,) = daemon.events("utterance_spoken")[spoken_before:]
    time.sleep(0.05)  # idle again before the next
    return float((took - spoken["run_s"]) * 1000)


def _figures(values: list[float]) -> dict[str, float]:
    return spread(values, 1) | {"p95": round(percentile(values, 0.95), 1)}
