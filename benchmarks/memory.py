"""Memory after long work: a worker's after thousands of utterances, the daemon's after a hundred thousand jobs.

Both are measured at the same time, since neither is a measure of speed.
"""

from __future__ import annotations

import queue
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import corpus
import rig
from processes import resident_mb, wait_for

from piperd import engine as engines
from piperd import voices
from piperd.engine.pool import Pool
from piperd.job import Utterance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from figures import Budget

UTTERANCES, EVERY = 5_000, 250
JOBS, BATCH = 100_000, 2_000
MARKS = (1_000, 10_000, 50_000, 100_000)
STOP = 20.0
"""Seconds to be left for the end."""


def measure(budget: Budget) -> dict[str, Any]:
    """MB of resident memory by work done; how far it got where the time ran out."""
    utterances, jobs = (30, 200) if budget.quick else (UTTERANCES, JOBS)
    with ThreadPoolExecutor(1) as side:
        daemon = side.submit(lambda: list(_daemon(budget, jobs)))
        # the pool's workers live as long as the thread that starts them
        worker = list(_worker(budget, utterances))
        marks = daemon.result()
    half = next(memory for number, memory in worker if number >= worker[-1][0] / 2)
    return {
        "worker": worker,
        "worker_utterances": worker[-1][0],
        "worker_mb": worker[-1][1],
        "worker_growth_percent": round((worker[-1][1] / half - 1) * 100, 2),
        "daemon": marks,
        "daemon_jobs": marks[-1][0],
        "daemon_mb": marks[-1][1],
    }


def _worker(budget: Budget, utterances: int) -> Iterator[tuple[int, float]]:
    """One worker with the tuned voice, never replaced."""
    every = EVERY if utterances > EVERY else max(1, utterances // 4)
    with tempfile.TemporaryDirectory(dir=rig.BUILD) as name:
        folder = Path(name)
        voice = voices.installed((), folder / "voices.json").found[rig.VOICE]
        mail: queue.SimpleQueue[engines.Mail] = queue.SimpleQueue()
        pool = Pool(1, post=mail.put, nice=0, tuned=rig.TUNED)
        pool.start(voice)
        try:
            done, began = 0, time.monotonic()
            texts = enumerate(corpus.mixed_utterances(utterances))
            while done < utterances and budget.left > STOP:
                for event in pool.receive(mail.get(timeout=60)):
                    if isinstance(event, engines.Done):
                        (folder / str(event.ticket)).unlink()
                        done += 1
                        if done % every == 0 or done == utterances:
                            yield done, resident_mb(pool.workers[0].pid)
                        if done % (UTTERANCES // 5) == 0:
                            budget.say(f"{done:,} utterances in {time.monotonic() - began:.0f} s")
                    elif not isinstance(event, engines.Started | engines.WorkerReady):
                        raise RuntimeError(f"the worker did not speak: {event}")  # noqa: TRY004 - no wrong type
                while pool.slots.idle + pool.slots.ahead and (following := next(texts, None)):
                    ticket, text = following
                    pool.speak(ticket, Utterance(text, rig.VOICE, 0, 0.0), voice, folder / str(ticket))
        finally:
            list(pool.stop(30.0))


def _daemon(budget: Budget, jobs: int) -> Iterator[tuple[int, float]]:
    """The daemon with the scripted engine, its files dropped in batches; the memory at each mark, and at the end."""
    with rig.Daemon(level="info", workers=2, scripted=True) as daemon:
        yield 0, resident_mb(daemon.pid)
        notes, dropped, began = list(corpus.notes(jobs).items()), 0, time.monotonic()
        while dropped < jobs and budget.left > STOP:
            daemon.drop_many(dict(notes[dropped : dropped + BATCH]))
            dropped = min(jobs, dropped + BATCH)
            # the next batch comes while the end of this one is being worked on
            _wait(budget, daemon, dropped - BATCH // 2)
            if any(dropped - BATCH < mark <= dropped for mark in (*MARKS, jobs)):
                _wait(budget, daemon, dropped)
                budget.say(f"{daemon.delivered:,} jobs in {time.monotonic() - began:.0f} s")
                yield daemon.delivered, resident_mb(daemon.pid)
        yield daemon.delivered, resident_mb(daemon.pid)


def _wait(budget: Budget, daemon: rig.Daemon, jobs: int) -> None:
    """Until so many jobs are done, or the time runs out."""
    wait_for(lambda: daemon.delivered >= jobs or budget.left < STOP, patience=300.0, pause=0.05)
