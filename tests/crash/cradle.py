"""Daemons that start in no time: forks of one process that has loaded all of it, each with a parent that tells its end.

python tests/crash/cradle.py

Standard input is a socket. Each message is a JSON object, {"arguments": [...], "log": FILE, "environment": {...}}, with
the writing end of a pipe. `daemon.py` runs with these, its output goes to the end of the log; the pipe gets its process
id and, when it has ended, its exit code, negative if it was killed; four bytes each.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

DAEMON = Path(__file__).with_name("daemon.py")
NUMBER = struct.Struct("i")
LONGEST_MESSAGE = 1 << 16


class Born:
    """A daemon that was forked; what a test needs of `subprocess.Popen`."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self.pid = _read(pipe)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code. Raises `subprocess.TimeoutExpired`."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("daemon.py", timeout or 0)
        return code

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _look(self, timeout: float | None) -> int | None:
        with self._lock:
            if self.returncode is None and select.select([self._pipe], [], [], timeout)[0]:
                self.returncode = _read(self._pipe)
                os.close(self._pipe)
            return self.returncode


class Cradle:
    """The other end: what a test talks to. Any thread may."""

    def __init__(self) -> None:
        self._socket, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with there:
            self._process = subprocess.Popen([sys.executable, __file__], stdin=there.fileno(), cwd="/")

    def close(self) -> None:
        """What was born lives on."""
        self._socket.close()
        self._process.wait()

    def bear(self, arguments: Sequence[str], log: Path) -> Born:
        """Start a daemon, in the environment of this moment."""
        reader, writer = os.pipe()
        asked = {"arguments": list(arguments), "log": str(log), "environment": dict(os.environ)}
        order = json.dumps(asked).encode()
        socket.send_fds(self._socket, [order], [writer])
        os.close(writer)
        return Born(reader)


@functools.cache
def cradle() -> Cradle:
    """The one of this process."""
    found = Cradle()
    atexit.register(found.close)
    return found


def main() -> None:
    # what makes a start slow; nothing of it starts a thread or keeps a file open
    import piperd.engine.pool  # noqa: PLC0415
    import piperd.service  # noqa: PLC0415
    import piperd.testing  # noqa: F401, PLC0415

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the parents
    with socket.socket(fileno=os.dup(0)) as orders:
        while True:
            order, pipes, _, _ = socket.recv_fds(orders, LONGEST_MESSAGE, 1)
            if not order:
                return
            if os.fork() == 0:
                orders.close()
                mind(json.loads(order), pipes[0])
            os.close(pipes[0])


def mind(order: dict[str, Any], pipe: int) -> NoReturn:
    """Be the parent of a daemon."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        os.close(pipe)
        os.environ.clear()
        os.environ.update(order["environment"])
        live(order["arguments"], order["log"])
    os.write(pipe, NUMBER.pack(child))
    os.write(pipe, NUMBER.pack(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
    os._exit(0)


def live(arguments: list[str], log: str) -> NoReturn:
    """Be the daemon."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = [str(DAEMON), *arguments]
        runpy.run_path(str(DAEMON), run_name="__main__")
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - nothing may get past the fork
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _read(pipe: int) -> int:
    """A number; -9 where the one who was to tell it has gone itself."""
    said = os.read(pipe, NUMBER.size)
    return int(NUMBER.unpack(said)[0]) if said else -signal.SIGKILL


if __name__ == "__main__":
    main()
