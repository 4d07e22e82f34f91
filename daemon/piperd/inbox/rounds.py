"""What the inbox's thread does when it wakes: hear events, scan, take what is ready, hand it over.

It never sleeps and starts no thread; whoever calls it decides when.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

from piperd.descent import Folders, OfflineError, base, parent, proc_path
from piperd.durable import fsync_folder
from piperd.inbox.take import GivenBack, Taker
from piperd.inbox.tree import Found, Place, Tree, limit_report
from piperd.inbox.watch import FileGone, FileSeen, FolderGone, FolderSeen, Unsure, Watches
from piperd.settle import Settler, Sign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from piperd.inbox.defaults import FolderFiles
    from piperd.inbox.values import Arrival, Pace

BATCH = 256
"""Arrivals handed over together, at most."""
BATCH_SECONDS = 0.005
"""The first of a batch waits no longer than this for the others."""
ANNOUNCEMENT = 1.0
"""Seconds that the event of a file may come late, before its folder counts as one without events."""
FOREIGN_PATIENCE = 2.0
"""Seconds before a foreign file is looked for again: most are some editor's, gone in a moment."""
FOREIGN_PENDING = 1000
FULL = "the queue is full (limits.max_queued_jobs, limits.max_queued_bytes)"


class Rounds:
    """The work of the inbox, one round at a time. All but the flags belongs to the inbox's thread."""

    def __init__(
        self,
        folder: Path,
        settler: Settler,
        tree: Tree,
        taker: Taker,
        defaults: FolderFiles,
        pace: Pace,
        *,
        hand_over: Callable[[Sequence[Arrival]], None],
        report: Callable[[str, Mapping[str, Any]], None],
        wake: Callable[[], None],
    ) -> None:
        """`wake` is called on another thread when events have come."""
        # flags: any thread may set them
        self.stopping = False
        self.held = ""
        self.kept_back = False
        self.allowed_files = sys.maxsize
        self.allowed_bytes = sys.maxsize
        self.released = False
        self.scan_wanted = True
        # counters: any thread may read them
        self.scans = 0
        self.handed_over = 0
        self._handed_bytes = 0
        self.settler = settler
        self.tree = tree
        self._folder = folder
        self._taker = taker
        self._defaults = defaults
        self._pace = pace
        self._hand_over = hand_over
        self._report = report
        self._wake = wake
        self._no_instance_told = False
        self._events_lost = False
        self._next_scan = 0.0
        self._next_poll = 0.0
        self._returned: set[bytes] = set()
        self._suspects: dict[bytes, float] = {}
        self._foreign: dict[bytes, float] = {}

    def go(self, folders: Folders) -> None:
        """One round. Raises `OfflineError` if the inbox can't be read."""
        if self.released:
            self.released = self.kept_back = False
            self.settler.wake(time.monotonic())
        self._hear(folders)
        now = time.monotonic()
        if self.scan_wanted or now >= self._next_scan:
            self._scan(folders)
        elif self.tree.polled and now >= self._next_poll:
            self._note(folders, self.tree.walk(folders, self.tree.polled))
            self._next_poll = time.monotonic() + self._pace.poll_interval
        self._defaults.begin(folders, time.monotonic())
        self._take_due(folders)
        self._judge_suspects()
        self._look_for_foreign(folders)

    def pause(self) -> float:
        """Seconds until the next round is due, if nothing is heard before; negative: it is overdue."""
        due = [self._next_scan, *self._suspects.values(), *self._foreign.values()]
        if (when := self.settler.next_due()) is not None:
            due.append(when)
        if self.tree.polled:
            due.append(self._next_poll)
        return min(due) - time.monotonic()

    def lose_sight(self) -> None:
        """The inbox is offline: all is forgotten, nothing is concluded from it, and the next round scans."""
        self.tree.leave_all()
        self.settler.clear()
        self._suspects.clear()
        self._foreign.clear()
        self.scan_wanted = True

    def close(self) -> None:
        """Give the kernel back what it gave."""
        if self.tree.watches is not None:
            self.tree.watches.close()

    def _hear(self, folders: Folders) -> None:
        """Take in what the kernel has announced."""
        if self.tree.watches is None:
            return
        now = time.monotonic()
        for notice in self.tree.watches.hear():
            match notice:
                case FileSeen():
                    self._file_seen(notice, now)
                case FileGone(path):
                    self.settler.forget(path)
                    self._defaults.gone(path)
                    self._foreign.pop(path, None)
                case FolderSeen(path):
                    folders.drop(path)
                    if self.tree.enters(path):
                        self._note(folders, self.tree.walk(folders, [path], whole=True))
                case FolderGone(path):
                    folders.drop(path)
                    self.tree.leave(path)
                    self.settler.forget_below(path)
                case Unsure(reason, lost):
                    self.scan_wanted = True
                    if lost:
                        self._events_lost = True
                        self.settler.assume_closed(now)
                        self._defaults.assume_closed()
                        self._report("events_lost", {"reason": reason})

    def _file_seen(self, seen: FileSeen, now: float) -> None:
        path, sign = seen.path, seen.sign
        self._suspects.pop(path, None)
        place = self.tree.places.get(parent(path))
        if place is None:
            return
        if self.tree.is_folder_defaults(path):
            self.tree.note_defaults(path)
            self._defaults.heard(path, sign, unclosed=seen.unclosed)
            return
        if self.tree.passes(path) is None:
            if self.tree.is_foreign(path) and len(self._foreign) < FOREIGN_PENDING:
                self._foreign.setdefault(path, now + FOREIGN_PATIENCE)
            return
        if sign is Sign.RENAMED_IN and path in self._returned:  # it was us
            self._returned.discard(path)
            sign = Sign.FOUND
        self.settler.note(path, sign, now, quiet=self._pace.quiet(place), unclosed=seen.unclosed)

    def _note(self, folders: Folders, found: Iterable[Found]) -> None:
        now = time.monotonic()
        self._defaults.begin(folders, now)  # first, or all files that came with them would be due a moment too early
        for each in found:
            self.settler.note(each.path, Sign.FOUND, now, quiet=self._pace.quiet(self.tree.places[parent(each.path)]))
            if each.overdue and not self._events_lost and each.path not in self._returned:
                self._suspects[each.path] = now + ANNOUNCEMENT

    def _scan(self, folders: Folders) -> None:
        """Look at everything: what no event announced is found here."""
        self.scan_wanted = False
        self._get_watches()
        self._taker.try_stranded(folders)
        found = self.tree.walk(folders, [b""], whole=True)
        if b"" not in self.tree.places:
            raise OfflineError(errno.EIO, "it can't be read", str(self._folder))
        self._note(folders, found)
        self._defaults.prune()
        self._events_lost = False
        self._returned.clear()
        self.scans += 1
        self._next_scan = time.monotonic() + self._pace.rescan
        self._next_poll = time.monotonic() + self._pace.poll_interval

    def _get_watches(self) -> None:
        """Have an inotify instance, if one is wanted and the kernel gives one."""
        if not self.tree.wants_events:
            return
        if self.tree.watches is not None and not self.tree.watches.alive:
            self._report("events_lost", {"reason": "the thread that reads events has ended"})
            self.tree.leave_all()
            self.tree.watches = None
        if self.tree.watches is None:
            try:
                self.tree.watches = Watches(self._wake)
            except OSError:
                if not self._no_instance_told:
                    self._no_instance_told = True
                    self._report("watch_limit_reached", limit_report("fs.inotify.max_user_instances"))

    def _take_due(self, folders: Folders) -> None:
        batch: list[Arrival] = []
        size = 0
        began = 0.0
        for path in self.settler.due(time.monotonic()):
            if self.stopping:
                break
            place, kind = self.tree.places.get(parent(path)), self.tree.passes(path)
            if place is None or kind is None:
                self.settler.forget(path)
                continue
            now = time.monotonic()
            files, total = self.handed_over + len(batch), self._handed_bytes + size
            if files >= self.allowed_files or total >= self.allowed_bytes:
                self.kept_back = True
                self.settler.keep_back(path, FULL)  # not even looked at: there may be many
                continue
            held = f"ready, but {self.held}" if self.held else ""
            outcome = self._taker.take(folders, path, kind, place, now, held=held)
            if isinstance(outcome, GivenBack):
                self.settler.forget(path)
                if outcome.path is not None:
                    self._put_back(outcome.path, place, now)
            elif outcome is not None:
                self.settler.forget(path)
                began = began if batch else now
                batch.append(outcome)
                size += outcome.size
            if batch and (len(batch) >= BATCH or now - began > BATCH_SECONDS):
                self._give(folders, batch)
                batch, size = [], 0
        if batch:
            self._give(folders, batch)

    def _put_back(self, path: bytes, place: Place, now: float) -> None:
        self._returned.add(path)
        self.settler.note(path, Sign.FOUND, now, quiet=self._pace.quiet(place))

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
                place = self.tree.places.get(parent(arrival.source))
                if back is not None and place is not None:
                    self._put_back(back, place, time.monotonic())
            return
        self.handed_over += len(batch)
        self._handed_bytes += sum(arrival.size for arrival in batch)

    def _judge_suspects(self) -> None:
        """A file was found that no event has announced to this day: its folder is not to be trusted."""
        now = time.monotonic()
        for path in [path for path, until in self._suspects.items() if now >= until]:
            del self._suspects[path]
            self.tree.deafen(parent(path))

    def _look_for_foreign(self, folders: Folders) -> None:
        now = time.monotonic()
        for path in [path for path, when in self._foreign.items() if now >= when]:
            del self._foreign[path]
            with contextlib.suppress(OSError):
                os.stat(base(path), dir_fd=folders.descriptor(parent(path)), follow_symlinks=False)
                self.tree.leave_foreign(path)
