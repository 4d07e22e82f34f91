"""`make bench`: measure all, or what is named, and write results and report."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import idle
import jobs
import latency
import long_text
import memory
import report
import rig
import scaling
import start
import throughput
from figures import Budget, Result, machine

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Measurement:
    run: Callable[[Budget], dict[str, Any]]
    seconds: float
    """That it may take; all together are less than half an hour."""
    speaks: bool = True
    """It needs the tuned copy of the voice."""


MEASUREMENTS = {
    "throughput": Measurement(throughput.measure, 540),
    "scaling": Measurement(scaling.measure, 110),
    "long_text": Measurement(long_text.measure, 160),
    "texts": Measurement(long_text.growth, 210),
    "latency": Measurement(latency.measure, 120),
    "jobs": Measurement(jobs.measure, 150, speaks=False),
    "memory": Measurement(memory.measure, 360),
    "start": Measurement(start.measure, 40),
    "idle": Measurement(idle.measure, 60),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(MEASUREMENTS)}; else all"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the measurements")
    parser.add_argument("--into", type=Path, default=report.HERE, help="folder of results and report")
    asked = parser.parse_args()
    if unknown := [name for name in asked.names if name not in MEASUREMENTS]:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(MEASUREMENTS)}")
    began = time.monotonic()

    def say(what: str, text: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {what}: {text}", flush=True)

    names = asked.names or list(MEASUREMENTS)
    about = machine()
    if any(MEASUREMENTS[name].speaks for name in names):
        say("voice", "made ready")
        about |= {"voice": rig.VOICE, "tuned copy": rig.tuned_copy()}
    for name in names:
        measurement = MEASUREMENTS[name]
        first = time.monotonic()
        values = measurement.run(Budget(measurement.seconds, quick=asked.quick, say=partial(say, name)))
        took = time.monotonic() - first
        say(name, f"took {took:.0f} s of {measurement.seconds:.0f}")
        date = time.strftime("%Y-%m-%d", time.gmtime())
        Result(name, date, asked.quick, round(took, 1), about, values).save(asked.into / "results")
        report.write(asked.into)


if __name__ == "__main__":
    main()
