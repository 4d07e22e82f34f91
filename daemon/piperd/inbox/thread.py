"""The inbox's thread: the only one that does I/O in the inbox, so that a share which hangs holds up nobody else.

It waits for events or for the next moment that something is due, looks, takes, and hands over. What it shows of
itself is a snapshot; what others ask of it are flags that it finds when it wakes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
import traceback
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from piperd.durable import fsync_folder
from piperd.ignore import Ignore
from piperd.inbox.filesystems import proc_path
from piperd.inbox.folders import Folders, OfflineError, base, parent
from piperd.inbox.take import GivenBack, Taker
from piperd.inbox.tree import LONGEST_PATH, Found, Place, Tree, limit_report
from piperd.inbox.values import Arrival, InboxView
from piperd.inbox.watch import FileGone, FileSeen, FolderGone, FolderSeen, Unsure, Watches
from piperd.settle import Settler, Sign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

BATCH = 256
"""Arrivals handed over together, at most."""
BATCH_SECONDS = 0.005
"""The first of a batch waits no longer than this for the others."""
ANNOUNCEMENT = 1.0
"""Seconds that the event of a file may come late, before its folder counts as one without events."""
FOREIGN_PATIENCE = 2.0
"""Seconds before a foreign file is looked for again: most are some editor's, gone in a moment."""
FOREIGN_PENDING = 1000
AFTER_FAULT = 1.0
"""Seconds of rest after an error that should not be."""
STOP_TIMEOUT = 5.0
HELD = "ready; no more files are taken at the moment"


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
        self._folder = folder
        self._hand_over = hand_over
        self._report = report
        self._mode = mode
        self._settle = settle
        self._poll_interval = poll_interval
        self._rescan = rescan
        self._marker = marker
        where = os.fsencode(folder.absolute())
        self._settler = Settler(empty_grace=empty_grace, incomplete_grace=incomplete_grace)
        self._tree = Tree(
            mode=mode,
            ignore=Ignore(ignore, marker=os.fsencode(marker)),
            report=report,
            known=self._settler.__contains__,
            longest=LONGEST_PATH - len(where),
        )
        self._taker = Taker(
            where,
            self._settler,
            instance=instance,
            new_id=new_id,
            incomplete=incomplete,
            max_bytes=max_bytes,
            report=report,
        )
        self._thread = threading.Thread(target=self._run, name="piperd-inbox", daemon=True)
        self._wake = threading.Event()
        self._stopping = False
        self._held = False
        self._released = False
        self._scan_wanted = True
        self._busy = True
        self._view = InboxView()
        self._no_instance_told = False
        self._events_lost = False
        self._next_scan = 0.0
        self._next_poll = 0.0
        self._returned: set[bytes] = set()
        self._suspects: dict[bytes, float] = {}
        self._foreign: dict[bytes, float] = {}

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()

    def stop(self, timeout: float = STOP_TIMEOUT) -> bool:
        """End: what is claimed is handed over first. False if a share that hangs keeps the thread busy so long."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def scan_now(self) -> None:
        """Ask for a look at everything."""
        self._scan_wanted = True
        self._wake.set()

    def hold(self) -> None:
        """Take no more files; they are still watched, and show that they wait."""
        self._held = True

    def release(self) -> None:
        """Take files again."""
        self._held = False
        self._released = True
        self._wake.set()

    @property
    def view(self) -> InboxView:
        """The inbox as it is now. Any thread may ask."""
        watches = self._tree.watches
        # Asked before the snapshot is fetched: if all was quiet then, no later event is missing from the snapshot.
        quiet = not (self._scan_wanted or self._busy or (watches is not None and watches.pending))
        view = self._view
        return view if quiet or not view.idle else replace(view, idle=False)

    def _run(self) -> None:
        try:
            while not self._stopping:
                pause = self._guarded_turn()
                if pause > 0:
                    self._wake.wait(pause)
        finally:
            if self._tree.watches is not None:
                self._tree.watches.close()

    def _guarded_turn(self) -> float:
        """One turn; gives how long to sleep, in seconds. The thread outlives whatever goes wrong in it."""
        self._busy = True
        self._wake.clear()
        try:
            with Folders(self._folder) as folders:
                self._check_marker(folders)
                self._turn(folders)
        except OfflineError as error:
            self._go_offline(str(error))
            return self._poll_interval
        except Exception:  # noqa: BLE001 - all jobs come through this thread
            self._report("inbox_failed", {"error": traceback.format_exc()})
            self._scan_wanted = True
            return AFTER_FAULT
        finally:
            self._busy = False
        return self._pause()

    def _turn(self, folders: Folders) -> None:
        now = time.monotonic()
        if self._released:
            self._released = False
            self._settler.wake(now)
        self._hear(folders)
        if self._scan_wanted or now >= self._next_scan:
            self._scan(folders)
        elif self._tree.polled() and now >= self._next_poll:
            self._note(self._tree.walk(folders, self._tree.polled()))
            self._next_poll = time.monotonic() + self._poll_interval
        self._take_due(folders)
        self._judge_suspects()
        self._look_for_foreign(folders)
        self._show()

    def _pause(self) -> float:
        due = [self._next_scan, *self._suspects.values(), *self._foreign.values()]
        if (when := self._settler.next_due()) is not None:
            due.append(when)
        if self._tree.polled():
            due.append(self._next_poll)
        return min(due) - time.monotonic()

    def _check_marker(self, folders: Folders) -> None:
        if self._marker:
            try:
                os.stat(self._marker, dir_fd=folders.descriptor(b""), follow_symlinks=False)
            except OSError as error:
                reason = f"the marker {self._marker} is not there"
                raise OfflineError(error.errno, reason, str(self._folder)) from error

    def _go_offline(self, reason: str) -> None:
        """The inbox is out of sight; nothing is concluded from it but that there is nothing to be done."""
        self._tree.leave_all()
        self._settler.clear()
        self._suspects.clear()
        self._foreign.clear()
        self._scan_wanted = True
        view = self._view
        if view.online or view.offline_reason != reason:
            if view.online or view == InboxView():
                self._report("inbox_offline", {"folder": str(self._folder), "reason": reason})
            self._view = InboxView(online=False, offline_reason=reason, scans=view.scans, handed_over=view.handed_over)

    def _hear(self, folders: Folders) -> None:
        """Take in what the kernel has announced."""
        if self._tree.watches is None:
            return
        now = time.monotonic()
        for notice in self._tree.watches.hear():
            match notice:
                case FileSeen():
                    self._file_seen(notice, now)
                case FileGone(path):
                    self._settler.forget(path)
                    self._foreign.pop(path, None)
                case FolderSeen(path):
                    folders.drop(path)
                    if self._tree.enters(path):
                        self._note(self._tree.walk(folders, [path], whole=True))
                case FolderGone(path):
                    folders.drop(path)
                    self._tree.leave(path)
                    self._settler.forget_below(path)
                case Unsure(reason, lost):
                    self._scan_wanted = True
                    if lost:
                        self._events_lost = True
                        self._settler.assume_closed(now)
                        self._report("events_lost", {"reason": reason})

    def _file_seen(self, seen: FileSeen, now: float) -> None:
        path, sign = seen.path, seen.sign
        self._suspects.pop(path, None)
        place = self._tree.places.get(parent(path))
        if place is None:
            return
        if self._tree.passes(path) is None:
            if self._tree.is_foreign(path) and len(self._foreign) < FOREIGN_PENDING:
                self._foreign.setdefault(path, now + FOREIGN_PATIENCE)
            return
        if sign is Sign.RENAMED_IN and path in self._returned:  # it was us
            self._returned.discard(path)
            sign = Sign.FOUND
        self._settler.note(path, sign, now, quiet=self._quiet(place), unclosed=seen.unclosed)

    def _quiet(self, place: Place) -> float:
        """How long a file must not change; where nothing is announced, two polls must find it the same."""
        return max(self._settle, self._poll_interval) if place.shared or place.deaf else self._settle

    def _note(self, found: Iterable[Found]) -> None:
        now = time.monotonic()
        for each in found:
            self._settler.note(each.path, Sign.FOUND, now, quiet=self._quiet(self._tree.places[parent(each.path)]))
            if each.overdue and not self._events_lost and each.path not in self._returned:
                self._suspects[each.path] = now + ANNOUNCEMENT

    def _scan(self, folders: Folders) -> None:
        """Look at everything: what no event announced is found here."""
        self._scan_wanted = False
        self._get_watches()
        self._taker.try_stranded(folders)
        found = self._tree.walk(folders, [b""], whole=True)
        if b"" not in self._tree.places:
            raise OfflineError(errno.EIO, "it can't be read", str(self._folder))
        self._note(found)
        self._events_lost = False
        self._returned.clear()
        if not self._view.online:
            if self._view != InboxView():
                self._report("inbox_online", {"folder": str(self._folder)})
            self._view = replace(self._view, online=True, offline_reason="")
        self._view = replace(self._view, scans=self._view.scans + 1)
        self._next_scan = time.monotonic() + self._rescan
        self._next_poll = time.monotonic() + self._poll_interval

    def _get_watches(self) -> None:
        """Have an inotify instance, if one is wanted and the kernel gives one."""
        if self._mode == "poll":
            return
        if self._tree.watches is not None and not self._tree.watches.alive:
            self._report("events_lost", {"reason": "the thread that reads events has ended"})
            self._tree.leave_all()
            self._tree.watches = None
        if self._tree.watches is None:
            try:
                self._tree.watches = Watches(self._wake.set)
            except OSError:
                if not self._no_instance_told:
                    self._no_instance_told = True
                    self._report("watch_limit_reached", limit_report("fs.inotify.max_user_instances"))

    def _take_due(self, folders: Folders) -> None:
        batch: list[Arrival] = []
        began = 0.0
        for path in self._settler.due(time.monotonic()):
            if self._stopping:
                break
            place, kind = self._tree.places.get(parent(path)), self._tree.passes(path)
            if place is None or kind is None:
                self._settler.forget(path)
                continue
            now = time.monotonic()
            outcome = self._taker.take(folders, path, kind, place, now, held=HELD if self._held else "")
            if isinstance(outcome, GivenBack):
                self._settler.forget(path)
                if outcome.path is not None:
                    self._put_back(outcome.path, place, now)
            elif outcome is not None:
                self._settler.forget(path)
                began = began if batch else now
                batch.append(outcome)
            if batch and (len(batch) >= BATCH or now - began > BATCH_SECONDS):
                self._give(folders, batch)
                batch = []
        if batch:
            self._give(folders, batch)

    def _put_back(self, path: bytes, place: Place, now: float) -> None:
        self._returned.add(path)
        self._settler.note(path, Sign.FOUND, now, quiet=self._quiet(place))

    def _give(self, folders: Folders, batch: list[Arrival]) -> None:
        """Hand over; after a power loss, no file is in the inbox again whose job may be in the ledger."""
        for folder in {parent(arrival.source) for arrival in batch}:
            with contextlib.suppress(OSError):
                fsync_folder(proc_path(folders.descriptor(folder)))
        try:
            self._hand_over(batch)
        except Exception:  # noqa: BLE001 - the receiver's fault must cost neither these files nor the thread
            self._report("hand_over_failed", {"files": len(batch), "error": traceback.format_exc()})
            top = os.fsencode(self._folder.absolute())
            for arrival in batch:
                back = self._taker.give_back(folders, arrival.claimed[len(top) + 1 :], arrival.source)
                place = self._tree.places.get(parent(arrival.source))
                if back is not None and place is not None:
                    self._put_back(back, place, time.monotonic())
            return
        self._view = replace(self._view, idle=False, handed_over=self._view.handed_over + len(batch))

    def _judge_suspects(self) -> None:
        """A file was found that no event has announced to this day: its folder is not to be trusted."""
        now = time.monotonic()
        for path in [path for path, until in self._suspects.items() if now >= until]:
            del self._suspects[path]
            self._tree.deafen(parent(path))

    def _look_for_foreign(self, folders: Folders) -> None:
        now = time.monotonic()
        for path in [path for path, when in self._foreign.items() if now >= when]:
            del self._foreign[path]
            with contextlib.suppress(OSError):
                os.stat(base(path), dir_fd=folders.descriptor(parent(path)), follow_symlinks=False)
                self._tree.leave_foreign(path)

    def _show(self) -> None:
        waiting = self._settler.waiting()
        self._view = replace(
            self._view,
            waiting=waiting,
            idle=self._view.scans > 0 and not waiting,
            ignored=MappingProxyType(self._tree.ignored()),
            foreign=self._tree.foreign(),
            polled=self._tree.polled(),
        )
