"""The inbox's thread: the only one that does I/O in the inbox, so that a share which hangs holds up nobody else.

It waits for events or for the next moment that something is due. What it shows of itself is a snapshot; what others
ask of it are flags that it finds when it wakes.
"""

from __future__ import annotations

import os
import threading
import traceback
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from piperd.descent import Folders, OfflineError
from piperd.ignore import Ignore
from piperd.inbox.defaults import FolderFiles
from piperd.inbox.rounds import Rounds
from piperd.inbox.take import Taker
from piperd.inbox.tree import Tree
from piperd.inbox.values import Arrival, InboxView, Pace
from piperd.settle import Settler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

AFTER_FAULT = 1.0
"""Seconds of rest after an error that should not be."""
STOP_TIMEOUT = 5.0


class Inbox:
    """Takes files that have stopped changing out of a folder, and hands them over on its own thread."""

    def __init__(
        self,
        folder: Path,
        *,
        instance: str,
        new_id: Callable[[], str],
        hand_over: Callable[[Sequence[Arrival]], None],
        report: Callable[[str, Mapping[str, Any]], None],
        incomplete: Callable[[bytes], bool],
        mode: str = "auto",
        settle: float = 0.3,
        poll_interval: float = 2.0,
        rescan: float = 60.0,
        empty_grace: float = 10.0,
        incomplete_grace: float = 5.0,
        ignore: Sequence[str] = (),
        marker: str = "",
        max_bytes: int = 16 << 20,
    ) -> None:
        """`instance` tells the claims of this daemon from those of others; `new_id` gives job ids that sort by time.

        `hand_over` gets batches, in order of arrival; `report` gets log events; both are called on the inbox's thread.
        `incomplete` says of a job file whether it ends too early. `mode` is auto, events or poll; all times are
        seconds. Raises ValueError for a wrong pattern in `ignore`.
        """
        self._stop = threading.Event()
        settler = Settler(empty_grace=empty_grace, incomplete_grace=incomplete_grace)
        tree = Tree(
            folder,
            mode=mode,
            ignore=Ignore(ignore, marker=os.fsencode(marker)),
            report=report,
            known=settler.__contains__,
            rest=self._rest,
        )
        pace = Pace(settle, poll_interval, rescan)
        defaults = FolderFiles(tree, pace, report)
        taker = Taker(folder, settler, defaults, instance, new_id, incomplete, max_bytes=max_bytes, report=report)
        self._wake = threading.Event()
        self._rounds = Rounds(
            folder, settler, tree, taker, defaults, pace, hand_over=hand_over, report=report, wake=self._wake.set
        )
        self._folder = folder
        self._report = report
        self._offline_pause = poll_interval
        self._marker = marker
        self._thread = threading.Thread(target=self._run, name="piperd-inbox", daemon=True)
        self._busy = True
        self._view = InboxView()

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()

    def stop(self, timeout: float = STOP_TIMEOUT) -> bool:
        """End: what is claimed is handed over first. False if a share that hangs keeps the thread busy so long."""
        self._rounds.stopping = True
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def scan_now(self) -> None:
        """Ask for a look at everything."""
        self._rounds.scan_wanted = True
        self._wake.set()

    def hold(self, reason: str) -> None:
        """Take no more files, for a reason; they are still watched, and show that they wait. Empty: take them again."""
        self._rounds.held = reason
        if not reason:  # else all that is kept back would be looked at again, for no more than a figure in the reason
            self._release()

    def allow(self, files: int, size: int) -> None:
        """Take files until so many, or so many bytes, were handed over since the start."""
        more = files > self._rounds.allowed_files or size > self._rounds.allowed_bytes
        self._rounds.allowed_files, self._rounds.allowed_bytes = files, size
        if more and self._rounds.kept_back:
            self._release()

    def _release(self) -> None:
        self._rounds.released = True
        self._wake.set()

    @property
    def view(self) -> InboxView:
        """The inbox as it is now. Any thread may ask."""
        watches = self._rounds.tree.watches
        # Asked before the snapshot is fetched: if all was quiet then, no earlier event is missing from the snapshot.
        quiet = not (self._rounds.scan_wanted or self._busy or (watches is not None and watches.pending))
        view = self._view
        return view if quiet or not view.idle else replace(view, idle=False)

    def _rest(self, seconds: float) -> None:
        """Leave the CPU to others, but not when the end is waited for."""
        self._stop.wait(seconds)

    def _run(self) -> None:
        try:
            while not self._rounds.stopping:
                pause = self._round()
                if pause > 0:
                    self._wake.wait(pause)
        finally:
            self._rounds.close()

    def _round(self) -> float:
        """One round; gives how long to sleep, in seconds. The thread outlives whatever goes wrong in it."""
        self._busy = True
        self._wake.clear()
        try:
            with Folders(self._folder) as folders:
                self._check_marker(folders)
                self._rounds.go(folders)
            self._show()
        except OfflineError as error:
            self._rounds.lose_sight()
            self._show_offline(str(error))
            return self._offline_pause
        except Exception:  # noqa: BLE001 - all jobs come through this thread
            self._report("inbox_failed", {"error": traceback.format_exc()})
            self._rounds.scan_wanted = True
            return AFTER_FAULT
        finally:
            self._busy = False
        return self._rounds.pause()

    def _check_marker(self, folders: Folders) -> None:
        if self._marker:
            try:
                os.stat(self._marker, dir_fd=folders.descriptor(b""), follow_symlinks=False)
            except OSError as error:
                reason = f"the marker {self._marker} is not there"
                raise OfflineError(error.errno, reason, str(self._folder)) from error

    def _show(self) -> None:
        rounds, view = self._rounds, self._view
        if not view.online and view != InboxView():
            self._report("inbox_online", {"folder": str(self._folder)})
        waiting = rounds.settler.waiting()
        view = replace(
            view,
            online=True,
            offline_reason="",
            scans=rounds.scans,
            waiting=waiting,
            handed_over=rounds.handed_over,
            idle=rounds.scans > 0 and not waiting,
        )
        if rounds.tree.has_changed():
            view = replace(
                view,
                ignored=MappingProxyType(rounds.tree.ignored()),
                foreign=rounds.tree.foreign(),
                polled=tuple(rounds.tree.polled),
            )
        self._view = view

    def _show_offline(self, reason: str) -> None:
        if self._view.online or self._view == InboxView():
            self._report("inbox_offline", {"folder": str(self._folder), "reason": reason})
        self._view = InboxView(offline_reason=reason, scans=self._rounds.scans, handed_over=self._rounds.handed_over)
