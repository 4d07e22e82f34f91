"""Taking one file: look at it, ask the settler, read it, claim it, look again. It decides nothing about time.

It is read before the claim, so that a file that can't be read stays where it is.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from piperd.descent import base, join, parent
from piperd.errors import Code, Failure
from piperd.inbox.claim import claim, unclaim
from piperd.inbox.defaults import Unsettled
from piperd.inbox.filesystems import ask_lease
from piperd.inbox.looks import OPEN, fingerprint, kind_in_words, read_whole, sparse
from piperd.inbox.values import Arrival
from piperd.jobfile import Kind
from piperd.names import printable
from piperd.settle import Lease, Look, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from piperd.descent import Folders
    from piperd.folderdefaults import FolderFile
    from piperd.inbox.defaults import FolderFiles
    from piperd.inbox.tree import Place
    from piperd.settle import Settler

_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


@dataclass(frozen=True, slots=True)
class GivenBack:
    """A file was claimed and put back, since it changed meanwhile."""

    path: bytes | None
    """Its name now, relative to the inbox; None if it could not be put back yet."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file as it was looked at; open if it is a regular one."""

    status: os.stat_result
    descriptor: int | None
    look: Look


@dataclass(frozen=True, slots=True)
class _Read:
    """What goes with a claim."""

    seen: _Seen
    content: bytes | None
    failure: Failure | None
    defaults: tuple[FolderFile, ...] = ()


class Taker:
    """Takes files whose time has come. Belongs to the inbox's thread.

    `incomplete` says of a job file's content whether it ends too early.
    """

    def __init__(
        self,
        inbox: Path,
        settler: Settler,
        defaults: FolderFiles,
        instance: str,
        new_id: Callable[[], str],
        incomplete: Callable[[bytes], bool],
        *,
        max_bytes: int,
        report: Callable[[str, Mapping[str, Any]], None],
    ) -> None:
        self._where = os.fsencode(inbox.absolute())
        self._settler = settler
        self._defaults = defaults
        self._instance = instance
        self._new_id = new_id
        self._incomplete = incomplete
        self._max_bytes = max_bytes
        self._report = report
        self._stranded: dict[bytes, bytes] = {}
        self._claim_error: int | None = None

    def take(
        self, folders: Folders, path: bytes, kind: Kind, place: Place, now: float, *, held: str = ""
    ) -> Arrival | GivenBack | None:
        """Look at a candidate that is due, and take it if it is ready; None: not this time.

        `held` says why nothing is taken now. The settler forgets what is gone; what was taken is the caller's to
        forget. Raises no OSError for the file's own sake.
        """
        try:
            seen = self._see(folders, path, place)
        except OSError as error:
            self._not_seen(path, error, now)
            return None
        try:
            step = self._settler.look(path, seen.look, now)
            if step is Step.WAIT:
                return None
            if held:
                self._settler.keep_back(path, held)
                return None
            read = self._prepare(folders, path, kind, place, seen, self._failure(seen, step, kind), now)
            return None if read is None else self._claim(folders, path, place, read, now)
        except OSError as error:
            self._settler.postpone(path, f"it can't be read: {error.strerror}", now)
            return None
        finally:
            if seen.descriptor is not None:
                os.close(seen.descriptor)

    def _prepare(
        self, folders: Folders, path: bytes, kind: Kind, place: Place, seen: _Seen, failure: Failure | None, now: float
    ) -> _Read | None:
        """What goes with the claim of a file that is ready; None: it is not to be claimed yet."""
        if failure is not None or kind is Kind.DOCUMENT:
            return _Read(seen, None, failure)
        defaults = self._defaults.above(folders, place.path, now)
        if isinstance(defaults, Unsettled):
            self._settler.postpone(path, defaults.reason, now, until=defaults.until)
            return None
        assert seen.descriptor is not None
        content = read_whole(seen.descriptor, seen.look.fingerprint.size)
        if kind is Kind.JOB and self._incomplete(content) and self._settler.ends_too_early(path, now):
            return None
        return _Read(seen, content, None, defaults)

    def _not_seen(self, path: bytes, error: OSError, now: float) -> None:
        if error.errno in _GONE:
            self._settler.forget(path)
        elif error.errno == errno.EWOULDBLOCK:  # a file server holds a lease on it, and was asked to give it up
            self._settler.postpone(path, "a file server has it in use", now)
        else:
            self._settler.postpone(path, f"it can't be opened: {error.strerror}", now)

    def _see(self, folders: Folders, path: bytes, place: Place) -> _Seen:
        folder, name = folders.descriptor(parent(path)), base(path)
        # looked at before it is opened, since opening a device may do something
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            return _Seen(status, None, Look(fingerprint(status), regular=False))
        descriptor = os.open(name, OPEN, dir_fd=folder)
        try:
            status = os.fstat(descriptor)
            look = Look(
                fingerprint(status),
                lease=Lease.UNKNOWN if place.shared else ask_lease(descriptor),
                links=status.st_nlink,
                regular=stat.S_ISREG(status.st_mode),
                sparse=sparse(status),
            )
        except BaseException:
            os.close(descriptor)
            raise
        return _Seen(status, descriptor, look)

    def give_back(self, folders: Folders, claimed: bytes, path: bytes) -> bytes | None:
        """Put a claimed file back; gives its name now, or None if it can't be done yet. Both paths are relative."""
        try:
            back = unclaim(folders, claimed, path)
        except OSError as error:
            if not _is_there(folders, claimed):
                self._stranded.pop(claimed, None)
                return None
            if claimed not in self._stranded:
                self._report("claim_stranded", {"source": printable(path), "error": error.strerror or str(error)})
            self._stranded[claimed] = path
            return None
        self._stranded.pop(claimed, None)
        self._report("file_given_back", {"source": printable(path), "name": printable(back)})
        return back

    def try_stranded(self, folders: Folders) -> None:
        """Put back what could not be put back before."""
        for claimed, path in list(self._stranded.items()):
            self.give_back(folders, claimed, path)

    def _claim(
        self, folders: Folders, path: bytes, place: Place, read: _Read, now: float
    ) -> Arrival | GivenBack | None:
        job_id = self._new_id()
        try:
            claimed = self._rename(folders, path, place, job_id)
        except FileNotFoundError:  # another daemon was faster, or its owner thought better of it
            self._settler.forget(path)
            return None
        except OSError as error:
            if error.errno != self._claim_error:  # once, not for every file again and again
                self._claim_error = error.errno
                self._report("claim_failed", {"source": printable(path), "error": error.strerror or str(error)})
            self._settler.postpone(path, f"it can't be claimed: {error.strerror}", now)
            return None
        self._claim_error = None
        try:
            same = self._is_same(folders, claimed, place, read.seen)
        except OSError:
            same = False
        if not same:
            return GivenBack(self.give_back(folders, claimed, path))
        size = read.seen.look.fingerprint.size
        self._report("file_claimed", {"source": printable(path), "job_id": job_id, "bytes": size})
        return Arrival(job_id, path, join(self._where, claimed), size, read.content, read.failure, read.defaults)

    def _rename(self, folders: Folders, path: bytes, place: Place, job_id: str) -> bytes:
        try:
            return claim(folders, path, top=place.top, instance=self._instance, job_id=job_id)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        # a boundary that no number shows, such as that of an XFS project quota
        return claim(folders, path, top=parent(path), instance=self._instance, job_id=job_id)

    def _is_same(self, folders: Folders, claimed: bytes, place: Place, seen: _Seen) -> bool:
        """Look again: what was claimed is what was looked at and read, and nobody is about to change it."""
        folders_own = folders.descriptor(parent(claimed))
        status = os.stat(base(claimed), dir_fd=folders_own, follow_symlinks=False)
        # not the ctime: the rename has changed it
        for name in ("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_nlink"):
            if getattr(status, name) != getattr(seen.status, name):
                return False
        return place.shared != "" or seen.descriptor is None or ask_lease(seen.descriptor) is not Lease.HELD

    def _failure(self, seen: _Seen, step: Step, kind: Kind) -> Failure | None:
        """Why the content is not to be read."""
        if step is Step.FAIL_KIND:
            return Failure(Code.NOT_A_REGULAR_FILE, f"This is {kind_in_words(seen.status)}, not a file of its own.")
        if kind is Kind.DOCUMENT:  # whatever is in it, it can't be spoken
            return None
        if step is Step.FAIL_EMPTY:
            return Failure(Code.TEXT_EMPTY, "The file is empty.")
        size = seen.look.fingerprint.size
        if size > self._max_bytes:
            return Failure(
                Code.FILE_TOO_LARGE, f"The file has {size:,} bytes; limits.max_file_bytes allows {self._max_bytes:,}."
            )
        return None


def _is_there(folders: Folders, path: bytes) -> bool:
    try:
        os.stat(base(path), dir_fd=folders.descriptor(parent(path)), follow_symlinks=False)
    except OSError as error:
        return error.errno not in _GONE
    return True
