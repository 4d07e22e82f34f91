"""The daemon of `daemon.py`, one thread of which waits before its first step until a tracer is there.

python tests/crash/held.py CONFIG THREAD FILE [ARGUMENT...]

THREAD is "main", "piperd-inbox" or "piperd-courier". Its id goes to FILE: {"main": 12, "piperd-inbox": 13}.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import threading
import time
from pathlib import Path

DAEMON = Path(__file__).with_name("daemon.py")


def main() -> None:
    config, wanted, into, *arguments = sys.argv[1:]
    sys.argv = [str(DAEMON), config, *arguments]

    def hold(*_: object) -> None:
        """The first thing that any thread does."""
        sys.setprofile(None)
        if threading.current_thread().name == wanted:
            wait_for_tracer({"main": os.getpid(), wanted: threading.get_native_id()}, Path(into))

    if wanted == "main":
        threading.current_thread().name = wanted
        hold()
    else:
        threading.setprofile(hold)
    runpy.run_path(str(DAEMON), run_name="__main__")


def wait_for_tracer(threads: dict[str, int], into: Path) -> None:
    temporary = into.with_suffix(".tmp")
    temporary.write_text(json.dumps(threads))
    temporary.rename(into)
    status = Path(f"/proc/self/task/{threading.get_native_id()}/status")
    while "\nTracerPid:\t0\n" in status.read_text():
        time.sleep(0.001)


if __name__ == "__main__":
    main()
