"""Folders that others may write to, opened from the top down one name at a time, so that no link is ever followed.

Whoever may write to a share may replace a folder by a link at any moment: paths are not to be trusted, descriptors
are. They are kept for one step of work only, since an open folder keeps a share from being unmounted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Self

from piperd.durable import fsync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader

MAX_OPEN = 48
"""Descriptors kept in one step of work."""
NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""What the kernel answers where a name on the way is missing, or is no folder but a file or a link."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK
# O_NONBLOCK: a FIFO that took the file's place must not hold us
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_PROC_PATH = re.compile(rb"/proc/self/fd/(\d+)(/.*)?", re.DOTALL)


class OfflineError(OSError):
    """The top folder itself is not there."""


class Folders:
    """Descriptors of one top folder and of folders below it; closed when the step of work ends.

    The top may be a link, since its path is the operator's. Raises `OfflineError` if it can't be opened. Errors that
    leave the step of work name real paths, not descriptors.
    """

    def __init__(self, top: Path) -> None:
        try:
            self._top = os.open(top, _FOLDER)
        except OSError as error:
            raise OfflineError(error.errno, error.strerror, str(top)) from error
        self._path = os.fsencode(top)
        self._open: OrderedDict[bytes, int] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, OSError):
            _name_real_paths(error)
        while self._open:
            os.close(self._open.popitem()[1])
        os.close(self._top)

    def descriptor(self, folder: bytes) -> int:
        """A folder by its path relative to the top (empty: the top itself). Valid until the next call.

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
            descriptor = self._enter(descriptor, names[depth], b"/".join(names[: depth + 1]))
        return descriptor

    def make(self, folder: bytes, mode: int = 0o777) -> int:
        """The same, creating what is missing."""
        names = folder.split(b"/") if folder else []
        for depth in range(len(names)):
            path = b"/".join(names[: depth + 1])
            with contextlib.suppress(FileNotFoundError):
                self.descriptor(path)
                continue
            try:
                os.mkdir(names[depth], mode, dir_fd=self.descriptor(parent(path)))
            except FileExistsError:  # another daemon was faster; or it is no folder, as will be found
                continue
            except OSError as error:
                error.filename = self._shown(path)
                raise
        return self.descriptor(folder)

    def path(self, folder: bytes, name: bytes) -> Path:
        """Where a name in a folder is, whatever becomes of the folder's own name. Valid until the next call."""
        _check(name)
        return Path(os.fsdecode(proc_path(self.descriptor(folder), name)))

    @contextlib.contextmanager
    def held(self, folder: bytes) -> Iterator[int]:
        """A folder's descriptor that stays valid whatever is called meanwhile."""
        descriptor = os.dup(self.descriptor(folder))
        try:
            yield descriptor
        except OSError as error:
            _name_real_paths(error)
            raise
        finally:
            os.close(descriptor)

    def sync(self, folder: bytes) -> None:
        """Make durable the names in a folder and those on the way to it, whoever made them."""
        while True:
            fsync_folder(proc_path(self.descriptor(folder)))
            if not folder:
                return
            folder = parent(folder)

    def drop(self, folder: bytes) -> None:
        """Forget a folder that may have been replaced or removed."""
        top = folder + b"/"
        for path in [path for path in self._open if path == folder or path.startswith(top)]:
            os.close(self._open.pop(path))

    def _enter(self, above: int, name: bytes, path: bytes) -> int:
        _check(name)
        try:
            descriptor = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=above)
        except OSError as error:
            if error.errno in {errno.ENOTDIR, errno.ELOOP} and _is_link(name, above):
                error.strerror = "is a symlink, which is not followed"
            error.filename = self._shown(path)
            raise
        self._open[path] = descriptor
        if len(self._open) > MAX_OPEN:
            os.close(self._open.popitem(last=False)[1])
        return descriptor

    def _shown(self, path: bytes) -> str:
        return os.fsdecode(join(self._path, path))


def open_regular(path: Path) -> BufferedReader:
    """Open a file to read it; never through a link in its own place. Raises OSError if it is not a regular file."""
    descriptor = os.open(path, _FILE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def proc_path(descriptor: int, name: bytes = b"") -> bytes:
    """A path that leads to the open folder itself (or to a name in it), whatever became of its names."""
    path = b"/proc/self/fd/%d" % descriptor
    return path + b"/" + name if name else path


def parent(path: bytes) -> bytes:
    """The folder that a file lies in, relative as the path is; empty for the top."""
    return path.rpartition(b"/")[0]


def base(path: bytes) -> bytes:
    """The last name of a path."""
    return path.rpartition(b"/")[2]


def join(folder: bytes, name: bytes) -> bytes:
    """A path from a folder and a name in it."""
    return folder + b"/" + name if folder else name


def _check(name: bytes) -> None:
    """A name that would lead up, or down by more than one step, is no name."""
    if name in {b"", b".", b".."} or b"/" in name:
        raise OSError(errno.EINVAL, "is not the name of a file or folder", os.fsdecode(name))


def _is_link(name: bytes, folder: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _name_real_paths(error: OSError) -> None:
    """Put what people know in place of what stands for a descriptor, as long as that is open."""
    for field in ("filename", "filename2"):
        found = getattr(error, field)
        path = proc_path(found) if isinstance(found, int) else os.fsencode(found or b"")
        if (match := _PROC_PATH.fullmatch(path)) is not None:
            with contextlib.suppress(OSError):
                folder = Path(f"/proc/self/fd/{int(match[1])}").readlink()
                setattr(error, field, os.fsdecode(bytes(folder) + (match[2] or b"")))
