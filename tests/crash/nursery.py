"""Starts piperd's programs again and again in a fraction of a second: forks of one process that has loaded them.

python tests/crash/nursery.py

Reads one JSON object a line, {"run": MODULE or FILE, "arguments": [...], "log": FILE, "patience": SECONDS}, runs it as
`python` would, with its output in the log, and answers with a line: the exit code, or -9 if it had to be killed.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Nursery:
    """The other end: what a test talks to."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate("")

    def run(self, what: str | Path, *arguments: str, log: Path, patience: float) -> int:
        """Run a module or a file to its end; gives its exit code, negative if a signal ended it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"run": str(what), "arguments": arguments, "log": str(log), "patience": patience}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def main() -> None:
    # what makes a start slow; nothing of it starts a thread or keeps a file open
    import piperd.engine.pool  # noqa: PLC0415
    import piperd.service  # noqa: PLC0415
    import piperd.testing  # noqa: F401, PLC0415

    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            live(order)
        print(wait(child, order["patience"]), flush=True)  # noqa: T201 - it is the answer


def live(order: Mapping[str, Any]) -> None:
    """Be the program, in a process of its own."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = run(order["run"], order["arguments"])
    except BaseException:  # noqa: BLE001 - nothing may get past the fork
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run(what: str, arguments: Sequence[str]) -> int:
    sys.argv = [what, *arguments]
    try:
        if what.endswith(".py"):
            runpy.run_path(what, run_name="__main__")
        else:
            runpy.run_module(what, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def wait(child: int, patience: float) -> int:
    """Its exit code, or the signal that ended it as a negative number."""
    deadline = time.monotonic() + patience
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            deadline = float("inf")
        time.sleep(0.002)


if __name__ == "__main__":
    main()
