"""The real daemon with an engine that costs nothing: what is measured with it is everything but speech.

python benchmarks/scripted_daemon.py CONFIG TALLY

Each utterance is a millisecond of a steady tone. The first eight bytes of the file TALLY count the jobs that nothing
is left to do for: published, told in a final status, archived.
"""

from __future__ import annotations

import array
import itertools
import mmap
import signal
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from piperd import logs, settings, spoken
from piperd.service import Service
from piperd.testing import SAMPLE_RATE, ScriptedEngine

if TYPE_CHECKING:
    from collections.abc import Callable

    from piperd.engine import Mail
    from piperd.job import Job

SAMPLES = array.array("f", [0.25]) * (SAMPLE_RATE // 1000)


def speak(_text: str, into: Path) -> float:
    header, data = spoken.pack(SAMPLES.tobytes(), SAMPLE_RATE)
    into.write_bytes(header + data)
    return len(SAMPLES) / SAMPLE_RATE


def main(config: Path, tally: Path) -> int:
    logs.configure("info", "json")
    numbers = itertools.count(1)
    with tally.open("r+b") as file, mmap.mmap(file.fileno(), 8) as view:

        def count(_job: Job) -> None:
            struct.pack_into("<q", view, 0, next(numbers))

        def engine(post: Callable[[Mail], None]) -> ScriptedEngine:
            return ScriptedEngine(
                post, workers=found.pool.workers if isinstance(found.pool.workers, int) else 2, tone=speak
            )

        found = settings.load(config).settings
        service = Service(
            found, reload=lambda: settings.load(config).settings, delivered=count, engine=engine, environment={}
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, service.post_signal)
        return service.run()


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:3])))
