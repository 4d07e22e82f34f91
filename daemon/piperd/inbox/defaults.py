"""The `piperd.toml`s of the folders on the way to a file: looked at, waited for, read and remembered.

It takes none and understands nothing of what is in them.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from piperd.descent import NOT_THERE, join, parent
from piperd.folderdefaults import MAX_BYTES, NAME, FolderFile
from piperd.inbox.filesystems import ask_lease
from piperd.inbox.looks import OPEN, fingerprint, kind_in_words, read_whole, sparse
from piperd.names import printable
from piperd.settle import SPARSE_FACTOR, SPARSE_LIMIT, Lease, Sign

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from piperd.descent import Folders
    from piperd.inbox.tree import Place, Tree
    from piperd.inbox.values import Pace
    from piperd.settle import Fingerprint

KEPT = 64
"""Contents remembered, of `MAX_BYTES` at most; the others are read again."""
FRESH = 0.005
"""Seconds for which an answer counts: a burst of files in one folder has it asked for once in a while only."""
_DENIED = frozenset({errno.EACCES, errno.EPERM})
"""What the owner of the file has to mend. All other errors may pass by themselves."""


@dataclass(frozen=True, slots=True)
class Unsettled:
    """The files of some folder can't be told yet."""

    reason: str
    until: float | None = None
    """Monotonic seconds after which it may be otherwise; None: nobody knows."""


@dataclass(slots=True)
class _Clock:
    """How long a folder's file has been as it is."""

    fingerprint: Fingerprint
    since: float
    told: bool = False


@dataclass(frozen=True, slots=True)
class _Seen:
    path: bytes
    status: os.stat_result
    clock: _Clock


Files = tuple[FolderFile, ...]


class FolderFiles:
    """The folders' files as they are now. Belongs to the inbox's thread."""

    def __init__(self, tree: Tree, pace: Pace, report: Callable[[str, Mapping[str, Any]], None]) -> None:
        self._tree = tree
        self._pace = pace
        self._report = report
        self._clocks: dict[bytes, _Clock] = {}
        self._contents: OrderedDict[bytes, tuple[Fingerprint, FolderFile]] = OrderedDict()
        self._unclosed: set[bytes] = set()
        self._chains: dict[bytes, Files | Unsettled] = {}
        self._fresh_until = 0.0

    def above(self, folders: Folders, folder: bytes, now: float) -> Files | Unsettled:
        """The files that count for what lies in a folder, the outermost first. Raises no OSError for their sake."""
        if now >= self._fresh_until:
            self._chains.clear()
            self._fresh_until = now + FRESH
        missing = []
        while folder not in self._chains:
            missing.append(folder)
            if not folder:
                break
            folder = parent(folder)
        chain = self._chains.get(folder, ())
        for each in reversed(missing):
            if not isinstance(chain, Unsettled):
                own = self._own(folders, each, now)
                if isinstance(own, Unsettled):
                    chain = own
                    self._fresh_until = min(self._fresh_until, own.until or self._fresh_until)
                elif own is not None:
                    chain = (*chain, own)
            self._chains[each] = chain
        return chain

    def heard(self, path: bytes, sign: Sign, *, unclosed: bool) -> None:
        """The kernel has announced something of a folder's file."""
        if sign is Sign.WRITTEN or (sign is Sign.RENAMED_IN and unclosed):
            self._unclosed.add(path)
        else:
            self._unclosed.discard(path)
        # two writes within one tick of the file system's clock leave the same fingerprint
        self._drop(path)

    def gone(self, path: bytes) -> None:
        """It was deleted, or has another name now."""
        self._unclosed.discard(path)
        self._drop(path)

    def assume_closed(self) -> None:
        """Events were lost: what was being written may have been closed unheard."""
        self._unclosed.clear()

    def begin(self, folders: Folders, now: float) -> None:
        """Look at the files that have come to notice: each has its clock from now on."""
        for folder in self._tree.with_defaults():
            self._look(folders, folder, now)

    def prune(self) -> None:
        """Forget what was in folders that are gone."""
        for path in [path for path in self._clocks if parent(path) not in self._tree.places]:
            self.gone(path)

    def _drop(self, path: bytes) -> None:
        self._clocks.pop(path, None)
        self._contents.pop(path, None)
        self._chains.clear()

    def _own(self, folders: Folders, folder: bytes, now: float) -> FolderFile | Unsettled | None:
        """A folder's own file."""
        seen = self._look(folders, folder, now)
        if not isinstance(seen, _Seen):
            return seen
        place, status, path = self._tree.places.get(folder), seen.status, seen.path
        until = seen.clock.since + self._need(place, status)
        if now < until:
            return Unsettled(f"{printable(path)} changed just now", until)
        if (problem := _problem(status)) is not None:
            return FolderFile(path, problem=problem)
        kept = self._contents.get(path)
        if kept is not None and kept[0] == seen.clock.fingerprint:
            self._contents.move_to_end(path)
            return kept[1]
        try:
            return self._read(folders, folder, seen, place)
        except OSError as error:
            return _unread(path, error)

    def _look(self, folders: Folders, folder: bytes, now: float) -> _Seen | FolderFile | Unsettled | None:
        """A folder's file as it is, with its clock; or what is to be said instead."""
        place = self._tree.places.get(folder)
        spellings = place.defaults if place is not None else set()
        found = []
        for name in (NAME.encode(), *sorted(spellings - {NAME.encode()})):
            path = join(folder, name)
            if not self._tree.is_folder_defaults(path):
                continue
            try:
                status = os.stat(name, dir_fd=folders.descriptor(folder), follow_symlinks=False)
            except OSError as error:
                if error.errno not in NOT_THERE:
                    return _unread(path, error)
                self._clocks.pop(path, None)
                spellings.discard(name)
                continue
            found.append((path, status))
            if name == NAME.encode():  # on some shares the other spellings are the same file
                break
        if not found:
            return None
        path, status = found[0]
        if len(found) > 1:
            names = " and ".join(printable(each) for each, _ in found)
            return FolderFile(path, problem=f"There are two of it: {names}. Which one counts is unclear.")
        clock = self._clocks.get(path)
        if clock is None or clock.fingerprint != fingerprint(status):
            clock = self._clocks[path] = _Clock(fingerprint(status), now)
        return _Seen(path, status, clock)

    def _need(self, place: Place | None, status: os.stat_result) -> float:
        """How many seconds without a change are enough."""
        quiet = self._pace.settle if place is None else self._pace.quiet(place)
        if stat.S_ISREG(status.st_mode) and sparse(status):
            return max(quiet, min(SPARSE_FACTOR * quiet, SPARSE_LIMIT))
        return quiet

    def _read(self, folders: Folders, folder: bytes, seen: _Seen, place: Place | None) -> FolderFile | Unsettled:
        path, wanted = seen.path, seen.clock.fingerprint
        changed = Unsettled(f"{printable(path)} changed just now")
        descriptor = os.open(path.rpartition(b"/")[2], OPEN, dir_fd=folders.descriptor(folder))
        try:
            if fingerprint(os.fstat(descriptor)) != wanted:
                return changed
            lease = Lease.UNKNOWN if place is None or place.shared else ask_lease(descriptor)
            if lease is Lease.HELD:
                return Unsettled(f"a program has {printable(path)} open for writing")
            if path in self._unclosed and lease is not Lease.FREE:
                return Unsettled(f"{printable(path)} was written to and not closed since")
            content = read_whole(descriptor, wanted.size)
            if fingerprint(os.fstat(descriptor)) != wanted:
                return changed
        finally:
            os.close(descriptor)
        file = FolderFile(path, content)
        self._contents[path] = (wanted, file)
        if len(self._contents) > KEPT:
            self._contents.popitem(last=False)
        if not seen.clock.told:
            seen.clock.told = True
            self._report("folder_defaults_read", {"source": printable(path), "bytes": len(content)})
        return file


def _problem(status: os.stat_result) -> str | None:
    """Why a folder's file is not to be opened."""
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        return f"This is {kind_in_words(status)}, not a file of its own."
    if status.st_size > MAX_BYTES:
        return f"It has {status.st_size:,} bytes; {MAX_BYTES:,} are allowed."
    return None


def _unread(path: bytes, error: OSError) -> FolderFile | Unsettled:
    """A folder's file that can't be read, for good or for now."""
    reason = error.strerror or str(error)
    if error.errno in _DENIED:
        return FolderFile(path, problem=f"It can't be read: {reason}.")
    if error.errno in NOT_THERE:  # removed or replaced under our eyes: the next look will tell
        return Unsettled(f"{printable(path)} changed just now")
    if error.errno == errno.EWOULDBLOCK:  # a file server holds a lease on it, and was asked to give it up
        return Unsettled(f"a file server has {printable(path)} in use")
    return Unsettled(f"{printable(path)} can't be read: {reason}")
