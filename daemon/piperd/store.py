"""Spoken utterances on local disk, each under the hash of all that decides its sound.

A cache and the memory of unfinished jobs in one: nothing here is fsynced, since every entry carries a checksum and
can be spoken again.
"""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Store:
    """Entries are files of the form of `piperd.spoken`, in 256 folders by the first two digits of their key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._staging = folder / "staging"

    def prepare(self) -> None:
        """Create the folders, and clear away what an earlier run was writing when it ended."""
        shutil.rmtree(self._staging, ignore_errors=True)
        self._staging.mkdir(parents=True)
        for number in range(256):
            (self._folder / f"{number:02x}").mkdir(exist_ok=True)

    def path(self, key: str) -> Path:
        """Where the entry of a key is, or would be."""
        return self._folder / key[:2] / key

    def has(self, key: str) -> bool:
        return self.path(key).exists()

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
            self.staging(ticket).replace(self.path(key))

    def discard(self, ticket: int) -> None:
        """Remove what a lost or failed task left behind; what can't be removed is cleared away at the next start."""
        with contextlib.suppress(OSError):
            self.staging(ticket).unlink(missing_ok=True)

    def drop(self, key: str) -> None:
        """Remove an entry that did not pass its check. Raises OSError: until it is gone, it must not be used."""
        self.path(key).unlink(missing_ok=True)
