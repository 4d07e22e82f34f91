"""A daemon that has nothing to do: its CPU time, its workers' included, and its memory."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import corpus
import rig
from processes import children, cpu_seconds, foreign_libraries, resident_mb

if TYPE_CHECKING:
    from figures import Budget

FILES, FOLDERS = 10_000, 20
"""Pictures, which piperd leaves alone, as they lie on a share that is used for more than dropping texts."""
SECONDS = 30.0
CALM = 5.0
"""Seconds after the last work until a worker has done what it does for itself."""
TEXTS = 20


def measure(budget: Budget) -> dict[str, Any]:
    """Per cent of one core: with events, and polling every two seconds. Both at once, since each is a share."""
    pictures = {f"{each % FOLDERS:02}/IMG_{each:05}.jpg": 1000 for each in range(100 if budget.quick else FILES)}
    seconds = 2.0 if budget.quick else SECONDS
    with ExitStack() as stack:
        listens = stack.enter_context(rig.Daemon(level="info"))
        polls = stack.enter_context(
            rig.Daemon(level="info", options={"watch": {"mode": "poll", "poll_interval": 2.0}}, before=pictures)
        )
        texts = corpus.texts()[: 2 if budget.quick else TEXTS]
        budget.say(f"{len(texts)} texts, then {seconds:g} s of nothing")
        listens.drop_many({f"text-{number}.txt": text for number, text in enumerate(texts)})
        listens.wait_done([f"text-{number}" for number in range(len(texts))])
        time.sleep(CALM)
        pids = {"events": listens.pid, "polling": polls.pid}
        before, began = {name: cpu_seconds(pid) for name, pid in pids.items()}, time.monotonic()
        time.sleep(seconds)
        after, took = {name: cpu_seconds(pid) for name, pid in pids.items()}, time.monotonic() - began
        return {
            "seconds": seconds,
            "files": len(pictures),
            **{f"{name}_percent": round((after[name] - before[name]) / took * 100, 3) for name in pids},
            "daemon_mb": resident_mb(listens.pid),
            "polling_daemon_mb": resident_mb(polls.pid),
            "worker_mb": [resident_mb(pid) for pid in children(listens.pid)],
            "foreign": foreign_libraries(listens.pid),
        }
