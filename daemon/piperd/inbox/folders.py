"""Folders of the inbox, opened from the top down one name at a time, so that no link is ever followed.

Whoever may write to the inbox may replace a folder by a link at any moment: paths are not to be trusted, descriptors
are. They are kept for one step of work only, since an open folder keeps a share from being unmounted.
"""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

MAX_OPEN = 48
"""Descriptors kept in one step of work."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK


class OfflineError(OSError):
    """The inbox itself is not there."""


class Folders:
    """Descriptors of the inbox and of folders below it; closed when the step of work ends.

    The inbox may be a link, since its path is the operator's. Raises `OfflineError` if it can't be opened.
    """

    def __init__(self, top: Path) -> None:
        try:
            self._top = os.open(top, _FOLDER)
        except OSError as error:
            raise OfflineError(error.errno, error.strerror, str(top)) from error
        self._open: OrderedDict[bytes, int] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            os.close(self._open.popitem()[1])
        os.close(self._top)

    def descriptor(self, folder: bytes) -> int:
        """A folder by its path relative to the inbox (empty: the inbox itself). Valid until the next call.

        Raises OSError if it is not there or not a folder.
        """
        if not folder:
            return self._top
        if folder in self._open:
            self._open.move_to_end(folder)
            return self._open[folder]
        names = folder.split(b"/")
        # the nearest ancestor that is open already
        known = len(names) - 1
        while known and b"/".join(names[:known]) not in self._open:
            known -= 1
        descriptor = self._open[b"/".join(names[:known])] if known else self._top
        for depth in range(known, len(names)):
            descriptor = os.open(names[depth], _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
            self._keep(b"/".join(names[: depth + 1]), descriptor)
        return descriptor

    def make(self, folder: bytes, mode: int = 0o777) -> int:
        """The same, creating what is missing."""
        names = folder.split(b"/") if folder else []
        for depth in range(len(names)):
            path = b"/".join(names[: depth + 1])
            if path in self._open:
                continue
            with contextlib.suppress(FileExistsError):
                os.mkdir(names[depth], mode, dir_fd=self.descriptor(b"/".join(names[:depth])))
        return self.descriptor(folder)

    def drop(self, folder: bytes) -> None:
        """Forget a folder that may have been replaced or removed."""
        top = folder + b"/"
        for path in [path for path in self._open if path == folder or path.startswith(top)]:
            os.close(self._open.pop(path))

    def _keep(self, folder: bytes, descriptor: int) -> None:
        self._open[folder] = descriptor
        if len(self._open) > MAX_OPEN:
            os.close(self._open.popitem(last=False)[1])


def parent(path: bytes) -> bytes:
    """The folder that a file lies in, relative as the path is; empty for the inbox."""
    return path.rpartition(b"/")[0]


def base(path: bytes) -> bytes:
    """The last name of a path."""
    return path.rpartition(b"/")[2]


def join(folder: bytes, name: bytes) -> bytes:
    """A path relative to the inbox from a folder in it and a name."""
    return folder + b"/" + name if folder else name
