"""One thread that does the slow work on folders, in order, so that a hanging share never stops the main loop."""

from __future__ import annotations

import errno
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PASSING = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM),
        *(errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ECONNRESET, errno.ECONNABORTED),
        *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT, errno.EREMOTEIO),
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EBUSY, errno.EINTR),
    }
)
"""What a disk or a share says until it gets room, comes back or is mended: it costs a wait, however long, not a job."""


@dataclass(frozen=True, slots=True)
class Returned:
    """An errand has been run."""

    job_id: str
    errand: str
    """Its name: what was to be done."""
    error: Exception | None
    """Why it could not be done."""


class Courier:
    """Runs errands one after the other and posts what became of them.

    Errands that only show progress (`lazily`) wait until nothing else is to do, at most one for each job: the newer
    takes the place of the older, and one that finishes the job sweeps it away.
    """

    def __init__(self, post: Callable[[Returned], None]) -> None:
        self._post = post
        self._errands: deque[tuple[str, str, Callable[[], object]]] = deque()
        self._lazy: dict[str, tuple[str, Callable[[], object]]] = {}
        self._changed = threading.Condition()
        self._stopping = False
        # a daemon thread: a hung share must not keep the process from ending
        self._thread = threading.Thread(target=self._run, name="piperd-courier", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def send(self, job_id: str, errand: str, action: Callable[[], object]) -> None:
        """Run `action` soon; exceptions of it come back with `Returned`."""
        with self._changed:
            self._lazy.pop(job_id, None)
            self._errands.append((job_id, errand, action))
            self._changed.notify()

    def lazily(self, job_id: str, errand: str, action: Callable[[], object]) -> None:
        """Run `action` when there is time."""
        with self._changed:
            self._lazy[job_id] = (errand, action)
            self._changed.notify()

    def stop(self, timeout: float) -> bool:
        """Run what is left, for at most `timeout` seconds; False if something hangs and was left behind."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _next(self) -> tuple[str, str, Callable[[], object]] | None:
        with self._changed:
            while True:
                if self._errands:
                    return self._errands.popleft()
                if self._lazy:
                    job_id = next(iter(self._lazy))
                    errand, action = self._lazy.pop(job_id)
                    return job_id, errand, action
                if self._stopping:
                    return None
                self._changed.wait()

    def _run(self) -> None:
        while (task := self._next()) is not None:
            job_id, errand, action = task
            error: Exception | None = None
            try:
                action()
            except Exception as caught:  # noqa: BLE001 - whatever went wrong is the main loop's to judge, not this thread's
                error = caught
            self._post(Returned(job_id, errand, error))
