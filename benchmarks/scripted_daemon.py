"""The real daemon with an engine that costs nothing: what is measured with it is everything but speech.

python benchmarks/scripted_daemon.py CONFIG TALLY

Each utterance is a millisecond of a steady tone. All notes of one length have the same audio, which is made once, and
what another process would do costs two system calls here. The first eight bytes of the file TALLY count the jobs that
nothing is left to do for: published, told in a final status, archived.
"""

from __future__ import annotations

import array
import itertools
import mmap
import os
import signal
import struct
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from piperd import logs, settings, spoken
from piperd.service import Service
from piperd.testing import SAMPLE_RATE, ScriptedEngine, render_tones

if TYPE_CHECKING:
    from collections.abc import Callable

    from piperd.engine import Mail, RenderPlan
    from piperd.job import Job

SAMPLES = array.array("f", [0.25]) * (SAMPLE_RATE // 1000)


class Copies:
    """What an utterance and a job sound like, made at their first time."""

    def __init__(self, folder: Path) -> None:
        self._utterance = folder / "utterance"
        header, data = spoken.pack(SAMPLES.tobytes(), SAMPLE_RATE)
        self._utterance.write_bytes(header + data)
        self._folder = folder
        self._results: dict[int, bytes] = {}
        """By the number of utterances."""

    def speak(self, _text: str, into: Path) -> float:
        os.link(self._utterance, into)
        return len(SAMPLES) / SAMPLE_RATE

    def render(self, plan: RenderPlan) -> float:
        length = len(plan.items)
        kept = self._folder / f"{length}.wav"
        if length not in self._results:
            render_tones(plan)
            os.link(plan.folder / "audio.wav", kept)
            self._results[length] = (plan.folder / "result.json").read_bytes()
        else:
            os.link(kept, plan.folder / "audio.wav")
            (plan.folder / "result.json").write_bytes(self._results[length])
        return length * len(SAMPLES) / SAMPLE_RATE


def main(config: Path, tally: Path) -> int:
    logs.configure("info", "json")
    numbers = itertools.count(1)
    engines: list[ScriptedEngine] = []
    with tally.open("r+b") as file, mmap.mmap(file.fileno(), 8) as view:

        def count(_job: Job) -> None:
            engines[0].spoken.clear()  # it notes all texts for whoever tests with it
            struct.pack_into("<q", view, 0, next(numbers))

        def engine(post: Callable[[Mail], None]) -> ScriptedEngine:
            made = ScriptedEngine(
                post,
                workers=found.pool.workers if isinstance(found.pool.workers, int) else 2,
                tone=copies.speak,
                render=copies.render,
            )
            engines.append(made)
            return made

        found = settings.load(config).settings
        copies = Copies(Path(tempfile.mkdtemp(dir=tally.parent)))
        service = Service(
            found, reload=lambda: settings.load(config).settings, delivered=count, engine=engine, environment={}
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, service.post_signal)
        return service.run()


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:3])))
