"""One worker process as the pool holds it: its start, its private channel, its death. Decides nothing.

A thread of its own hears what the process says and passes it on; it alone reaps the process.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from piperd.engine import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STDERR_KEPT = 4096
"""Bytes of a worker's last words."""
LAST_LINES = 3
REASON_LENGTH = 300
LINGER = 1.0
"""Seconds that a process may take to end after it has closed its channel."""
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
"""Each worker is one thread by design; libraries that count the CPUs would start more."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A process is gone and reaped; nothing more comes from it."""

    status: int
    """As `subprocess.Popen.returncode` has it: the negative number of a signal, or the exit code."""
    last_words: str

    @property
    def reason(self) -> str:
        """For example ``killed by SIGSEGV`` or ``exit code 1 (ImportError: …)``."""
        return f"{self.cause} ({self.last_words})" if self.last_words else self.cause

    @property
    def cause(self) -> str:
        """The reason without what the process wrote."""
        if self.status >= 0:
            return f"exit code {self.status}"
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-self.status).name}"
        return f"killed by signal {-self.status}"


class Child:
    """A running worker process. `heard` is called by its thread with each answer, and at the end with `Ended`."""

    def __init__(
        self, command: Sequence[str], nice: int, voices: int, heard: Callable[[Child, wire.Answer | Ended], None]
    ) -> None:
        """`voices` is how many of them it may hold. Raises OSError where no process can be started."""
        self._heard = heard
        self._end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._stderr, stderr = os.pipe2(os.O_CLOEXEC)
        try:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), str(os.getpid()), str(nice), str(voices)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                process_group=0,  # Ctrl-C in a terminal is for the daemon
                env={**os.environ, **ONE_THREAD},
            )
        except BaseException:
            self._end.close()
            os.close(self._stderr)
            raise
        finally:
            theirs.close()
            os.close(stderr)
        self.pid = self._process.pid
        self._nonsense = False
        self._thread = threading.Thread(target=self._listen, name=f"worker-{self.pid}", daemon=True)
        self._thread.start()

    def send(self, order: bytes) -> bool:
        """Never blocks. False where the channel is full: the process has read nothing for long."""
        try:
            self._end.send(order, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            pass  # it is dying, or dead; `Ended` is on its way and tells how
        return True

    def kill(self) -> None:
        """SIGKILL, which a stopped process dies of as well. Harmless when it is gone."""
        self._process.kill()

    def join(self) -> None:
        """Wait for the thread, once `Ended` was heard."""
        self._thread.join()

    def _listen(self) -> None:
        words = b""
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        poll.register(self._stderr, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._stderr in ready:
                piece = os.read(self._stderr, STDERR_KEPT)
                words = (words + piece)[-STDERR_KEPT:]
                if not piece:
                    poll.unregister(self._stderr)
            if self._end.fileno() in ready and not self._receive():
                break
        try:
            self._process.wait(LINGER)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        words = (words + self._rest_of_stderr())[-STDERR_KEPT:]
        os.close(self._stderr)
        self._end.close()
        last = "it wrote nonsense to its channel" if self._nonsense else _last_lines(words)
        self._heard(self, Ended(self._process.returncode, last))

    def _receive(self) -> bool:
        """Pass one answer on. False at the end."""
        try:
            message = self._end.recv(2 * wire.LIMIT)
        except ConnectionResetError:
            # the kernel says this first when it died with orders unread; what it had answered comes after
            return True
        if not message:
            return False
        try:
            answer = wire.Answer.decode(message)
        except (ValueError, KeyError, TypeError):
            # a worker that talks nonsense can't be trusted with anything more
            self._nonsense = True
            self._process.kill()
        else:
            self._heard(self, answer)
        return True

    def _rest_of_stderr(self) -> bytes:
        """What is left in the pipe; others that hold it open are not waited for."""
        os.set_blocking(self._stderr, False)
        words = b""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self._stderr, STDERR_KEPT):
                words = (words + piece)[-STDERR_KEPT:]
        return words


def _last_lines(words: bytes) -> str:
    lines = [line.strip() for line in words.decode(errors="replace").splitlines() if line.strip()]
    text = " | ".join(lines[-LAST_LINES:])
    return "".join(c if c.isprintable() else "?" for c in text)[-REASON_LENGTH:]
