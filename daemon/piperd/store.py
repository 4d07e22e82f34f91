"""Spoken utterances on local disk, each under the hash of all that decides its sound.

A cache and the memory of unfinished jobs in one: nothing here is fsynced, since every entry carries a checksum and
can be spoken again. What a job holds is never evicted. An entry's time of change says when it was last needed.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import re
import shutil
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from piperd.eviction import Entry, Needs

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator
    from pathlib import Path

KEY = re.compile(r"[0-9a-f]{64}")
FOLDER = re.compile(r"[0-9a-f]{2}")
FRESH = 3600.0
"""Seconds for which a use is as good as a new one: each note of it writes an inode."""


@dataclass(frozen=True, slots=True)
class Stock:
    """What a look through the whole store has found; what is not an entry is left alone and not counted."""

    entries: int
    size: int
    """Bytes."""
    oldest: tuple[Entry, ...]
    """Some of those that nobody needed, the least recently used first."""


class Store:
    """Entries are files of the form of `piperd.spoken`, in 256 folders by the first two digits of their key."""

    def __init__(
        self, folder: Path, *, changed: Callable[[int], None] = lambda _: None, wall: Callable[[], float] = time.time
    ) -> None:
        """`changed` is told by how many bytes the entries grow or shrink, but for what is evicted."""
        self.folder = folder
        self._staging = folder / "staging"
        self._needs = Needs()
        self._changed = changed
        self._wall = wall

    def prepare(self) -> None:
        """Create the folders, and clear away what an earlier run was writing when it ended."""
        shutil.rmtree(self._staging, ignore_errors=True)
        self._staging.mkdir(parents=True)
        for number in range(256):
            (self.folder / f"{number:02x}").mkdir(exist_ok=True)

    def path(self, key: str) -> Path:
        """Where the entry of a key is, or would be."""
        return self.folder / key[:2] / key

    def has(self, key: str) -> bool:
        return self.path(key).exists()

    def hold(self, job_id: str, keys: Iterable[str]) -> set[str]:
        """Keep all of these that are there or will come until the job is released; gives those that are not there."""
        wanted = set(keys)
        self._needs.hold(job_id, wanted)
        now = self._wall()
        return {key for key in wanted if not self._use(key, now)}

    def release(self, job_id: str) -> None:
        """The job needs nothing more of what it held."""
        self._needs.release(job_id)

    def held(self) -> frozenset[str]:
        """The keys that jobs hold."""
        return self._needs.all()

    def staging(self, ticket: int) -> Path:
        """Where an engine writes what it speaks; `commit` makes it an entry."""
        return self._staging / str(ticket)

    def commit(self, ticket: int, key: str) -> None:
        """Take in what was spoken, unless the entry is there already.

        Both are good, but no two are alike, and a worker may be reading the one that is there: it reads it twice.
        """
        if self.has(key):
            self.discard(ticket)
        else:
            size = self.staging(ticket).stat().st_size
            self.staging(ticket).replace(self.path(key))
            self._changed(size)

    def discard(self, ticket: int) -> None:
        """Remove what a lost or failed task left behind; what can't be removed is cleared away at the next start."""
        with contextlib.suppress(OSError):
            self.staging(ticket).unlink(missing_ok=True)

    def drop(self, key: str) -> None:
        """Remove an entry that did not pass its check. Raises OSError: until it is gone, it must not be used."""
        with contextlib.suppress(FileNotFoundError):
            size = self.path(key).stat().st_size
            self.path(key).unlink()
            self._changed(-size)

    def evict(self, entry: Entry) -> int:
        """Remove an entry, unless a job holds it or it was used since it was seen; gives the bytes that this freed.

        Raises OSError where it can't be removed.
        """
        if entry.key in self._needs:
            return 0
        path = self.path(entry.key)
        with contextlib.suppress(FileNotFoundError):
            found = path.stat(follow_symlinks=False)
            if found.st_mtime == entry.used:
                path.unlink()
                return found.st_size
        return 0

    def _use(self, key: str, now: float) -> bool:
        """Whether the entry is there; if so, note that it was needed."""
        path = self.path(key)
        try:
            found = path.stat()
        except FileNotFoundError:
            return False
        if abs(now - found.st_mtime) > FRESH:  # also one from a time when the clock was wrong
            with contextlib.suppress(OSError):  # it only goes sooner
                os.utime(path, (now, now))
        return True


def take_stock(folder: Path, needed: Container[str], most: int) -> Stock:
    """Look through a whole store, which may take seconds; `most` bounds how many of the oldest are named.

    Changes nothing and holds nothing of the store's own, so that any thread may do it. Raises OSError for a folder that
    can't be read.
    """
    number = size = 0

    def idle() -> Iterator[Entry]:
        nonlocal number, size
        for entry in _entries(folder):
            number += 1
            size += entry.size
            if entry.key not in needed:
                yield entry

    # with 0 it would look at nothing
    oldest = heapq.nsmallest(max(1, most), idle(), key=lambda entry: (entry.used, entry.key))
    return Stock(number, size, tuple(oldest[:most]))


def _entries(folder: Path) -> Iterator[Entry]:
    with os.scandir(folder) as tops:
        names = sorted(top.path for top in tops if FOLDER.fullmatch(top.name) and top.is_dir(follow_symlinks=False))
    for name in names:
        with contextlib.suppress(FileNotFoundError), os.scandir(name) as files:
            for file in files:
                if not KEY.fullmatch(file.name) or file.name[:2] != name[-2:]:
                    continue
                with contextlib.suppress(FileNotFoundError):  # it went meanwhile
                    found = file.stat(follow_symlinks=False)
                    if stat.S_ISREG(found.st_mode):
                        yield Entry(file.name, found.st_size, found.st_mtime)
