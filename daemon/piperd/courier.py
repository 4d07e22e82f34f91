"""Does the slow work on folders on threads of its own, so that a hanging share never stops the main loop."""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Errand = tuple[str, str, Callable[[], object]]
    """Whose it is, its name, and what is to be done."""

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


HELPERS = 7
"""Threads that come to help at most: what a file system is asked to make durable at one time it does in one go."""
BACKLOG = 2
"""Errands that wait for each thread before another one comes."""


class Courier:
    """Runs errands and posts what became of them: those of one job one after the other, in the order given.

    One thread does it, and others help while many errands wait: mostly they wait for a disk, and disks do many things
    in the time of one. Errands that only show progress (`lazily`) wait until nothing else is to do, at most one for
    each job: the newer takes the place of the older, and one that finishes the job sweeps it away.
    """

    def __init__(self, post: Callable[[Returned], None]) -> None:
        self._post = post
        self._errands: deque[Errand] = deque()
        self._lazy: dict[str, tuple[str, Callable[[], object]]] = {}
        self._in_hand: set[str] = set()
        self._helpers: set[threading.Thread] = set()
        self._changed = threading.Condition()
        self._stopping = False
        # daemon threads: a hung share must not keep the process from ending
        self._thread = threading.Thread(target=self._run, name="piperd-courier", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def send(self, job_id: str, errand: str, action: Callable[[], object]) -> None:
        """Run `action` soon; exceptions of it come back with `Returned`."""
        with self._changed:
            self._lazy.pop(job_id, None)
            self._errands.append((job_id, errand, action))
            self._changed.notify()
            crowd = 1 + len(self._helpers)
            if len(self._errands) > BACKLOG * crowd and crowd <= HELPERS and self._thread.is_alive():
                helper = threading.Thread(target=self._help, name=f"piperd-courier-{crowd}", daemon=True)
                self._helpers.add(helper)
                helper.start()

    def lazily(self, job_id: str, errand: str, action: Callable[[], object]) -> None:
        """Run `action` when there is time."""
        with self._changed:
            self._lazy[job_id] = (errand, action)
            self._changed.notify()

    def stop(self, timeout: float) -> bool:
        """Run what is left, for at most `timeout` seconds; False if something hangs and was left behind."""
        deadline = time.monotonic() + timeout
        with self._changed:
            self._stopping = True
            self._changed.notify()
            threads = [self._thread, *self._helpers]
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _next(self) -> Errand | None:
        """Wait for an errand and take it in hand; None at the end."""
        with self._changed:
            while True:
                if (task := self._take()) is not None:
                    return task
                for job_id in self._lazy if not self._errands else ():
                    if job_id not in self._in_hand:
                        self._in_hand.add(job_id)
                        return (job_id, *self._lazy.pop(job_id))
                if self._stopping and not self._errands and not self._lazy:
                    return None
                self._changed.wait()

    def _take(self) -> Errand | None:
        """The first errand of a job that has none in hand."""
        for place, task in enumerate(self._errands):
            if task[0] not in self._in_hand:
                del self._errands[place]
                self._in_hand.add(task[0])
                return task
        return None

    def _run(self) -> None:
        while (task := self._next()) is not None:
            self._do(task)

    def _help(self) -> None:
        while True:
            with self._changed:
                if (task := self._take()) is None:
                    self._helpers.remove(threading.current_thread())
                    return
            self._do(task)

    def _do(self, task: Errand) -> None:
        job_id, errand, action = task
        error: Exception | None = None
        try:
            action()
        except Exception as caught:  # noqa: BLE001 - whatever went wrong is the main loop's to judge, not this thread's
            error = caught
        self._end(job_id, errand, error)

    def _end(self, job_id: str, errand: str, error: Exception | None) -> None:
        """It is out of hand: first told, or the job's next one might be told before it."""
        self._post(Returned(job_id, errand, error))
        with self._changed:
            self._in_hand.remove(job_id)
            if self._errands or self._lazy or self._stopping:
                self._changed.notify()
