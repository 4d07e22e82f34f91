"""The real daemon for torture, with an engine that costs no time: a program to be killed, traced and starved.

python tests/crash/daemon.py CONFIG [--drain] [--workers N] [--threads FILE]

Without `--workers` nothing but the daemon's own threads run, and a scripted engine speaks at once. With it, the real
pool runs N workers of `double_worker.py`. `--threads` writes the kernel's ids of the daemon's threads, by name, to
FILE when it is up: {"main": 12, "piperd-inbox": 13, "piperd-courier": 14}.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from piperd import logs, settings
from piperd.engine.pool import Pool
from piperd.service import Service
from piperd.testing import ScriptedEngine

if TYPE_CHECKING:
    from collections.abc import Callable

    from piperd.engine import Engine, Mail

WORKER = Path(__file__).with_name("double_worker.py")
THREADS = ("piperd-inbox", "piperd-courier")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("--drain", action="store_true")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--threads", type=Path)
    asked = parser.parse_args()
    logs.configure("info", "json")
    config = settings.load(asked.config).settings

    def engine(post: Callable[[Mail], None]) -> Engine:
        if not asked.workers:
            return ScriptedEngine(post)
        return Pool(
            asked.workers,
            post=post,
            utterance_timeout=config.pool.utterance_timeout,
            render_timeout=config.pool.utterance_timeout,
            start_timeout=config.pool.start_timeout,
            recycle_after=config.pool.recycle_after,
            max_rss=config.pool.max_rss,
            command=(sys.executable, "-P", str(WORKER)),
            nice=0,
        )

    service = Service(
        config,
        reload=lambda: settings.load(asked.config).settings,
        drain=asked.drain,
        engine=engine,
        environment={},
    )
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, service.post_signal)
    if asked.threads:
        threading.Thread(target=tell_threads, args=(asked.threads,), daemon=True).start()
    return service.run()


def tell_threads(into: Path) -> None:
    """Wait until all threads run, then say which is which."""
    while True:
        found = {thread.name: thread.native_id for thread in threading.enumerate()}
        if all(found.get(name) for name in THREADS):
            break
        time.sleep(0.002)
    temporary = into.with_suffix(".tmp")
    temporary.write_text(json.dumps({"main": os.getpid(), **{name: found[name] for name in THREADS}}))
    temporary.rename(into)


if __name__ == "__main__":
    sys.exit(main())
