"""Many files at once through the real daemon with an engine that costs nothing: accepted, published, archived."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import corpus
import rig
from figures import spread
from processes import cpu_seconds, resident_mb, wait_for

if TYPE_CHECKING:
    from figures import Budget

SIZES = {10_000: 2, 1_000: 3, 100: 3, 10: 3}
"""Files at once, and how often: the most first, which must not run out of time."""
SMALL = 1_000
RESERVED = 40.0
"""Seconds that are kept for the smaller ones."""
PATIENCE = 600.0
LOOK = 0.01
"""Seconds between two looks at the ledger: whoever measures must not take the CPU from what is measured."""


def measure(budget: Budget) -> dict[str, Any]:
    """Times, rates and memory for each number of files; how many jobs ended where the time ran out."""
    found = []
    for size, most in ({50: 1, 10: 1} if budget.quick else SIZES).items():
        runs = []
        for number in budget.rounds(most):
            budget.say(f"{size:,} files, round {number + 1} of {most}")
            runs.append(_run(budget, size))
        names = runs[0].keys()
        found.append({"files": size} | {name: spread([run[name] for run in runs]) for name in names})
    return {"sizes": found[::-1], "largest": found[0]}


def _run(budget: Budget, size: int) -> dict[str, float]:
    with rig.Daemon(level="info", workers=2, scripted=True, settled=0.5) as daemon:
        cpu = cpu_seconds(daemon.pid)
        began = daemon.drop_many(corpus.notes(size))
        renamed = time.monotonic() - began
        with contextlib.closing(sqlite3.connect(f"file:{daemon.state / 'ledger.sqlite3'}?mode=ro", uri=True)) as ledger:
            # fresh, so that the highest number is how many there are, and found without counting
            wait_for(
                lambda: ledger.execute("SELECT max(seq) FROM jobs").fetchone()[0] == size, patience=PATIENCE, pause=LOOK
            )
            accepted = time.monotonic() - began
        wait_for(
            lambda: daemon.delivered == size or (size > SMALL and budget.left < RESERVED), patience=PATIENCE, pause=LOOK
        )
        took, ended = time.monotonic() - began, daemon.delivered
        cpu = cpu_seconds(daemon.pid) - cpu
        if ended == size:
            _check(daemon, size)
        memory = resident_mb(daemon.pid, peak=True)
    return {
        "renamed_s": renamed,
        "accepted_s": accepted,
        "seconds": took,
        "ended": ended,
        "jobs_a_second": ended / took,
        "cpu_s": cpu,
        "daemon_peak_mb": memory,
    }


def _check(daemon: rig.Daemon, size: int) -> None:
    """All that was dropped is archived, and has its WAV and its status."""
    for folder, pattern in ((daemon.archive, "*.txt"), (daemon.outbox, "*.wav"), (daemon.outbox, "*.json")):
        if (found := sum(1 for _ in folder.glob(pattern))) != size:
            raise RuntimeError(f"{found} of {size} {pattern} in {folder.name}")
