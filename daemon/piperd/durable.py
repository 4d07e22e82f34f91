"""How files come into being: whole or not at all, and on stable storage. The only module that calls fsync."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

AT_FDCWD = -100
RENAME_NOREPLACE = 1
TEMPORARY_PREFIX = ".piperd-"
# What a file system answers that does not know the flag (NFS, older CIFS, some FUSE), or a kernel without the call.
UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP})
_CHUNK = 1 << 20
"""Bytes that are copied at a time."""

_libc = ctypes.CDLL(None, use_errno=True)


def fsync_folder(folder: bytes | str | Path) -> None:
    """Make the names in a folder durable. File systems that can't (some FUSE) are left to their own ways."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)


def make_durable(path: Path) -> None:
    """Make what a file holds durable, whoever wrote it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename_no_replace(source: bytes | str | Path, target: bytes | str | Path) -> None:
    """Rename, but raise FileExistsError where the target's name is taken.

    One step of the kernel where the file system knows it; elsewhere a hard link, and where there are none a look
    before the rename, whose gap of microseconds is the best that such a share offers.
    """
    result = _libc.renameat2(AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(target), RENAME_NOREPLACE)
    if result == 0:
        return
    number = ctypes.get_errno()
    if number not in UNSUPPORTED:
        raise OSError(number, os.strerror(number), os.fsdecode(source), None, os.fsdecode(target))
    if not os.path.isdir(source):  # noqa: PTH112 - takes bytes as well
        try:
            os.link(source, target, follow_symlinks=False)
        except FileExistsError:
            # a crash came between link and unlink, or the share did what it was asked and its answer was lost
            if not _is_one_file(source, target):
                raise
        except OSError:
            _rename_if_free(source, target)
            return
        os.unlink(source)  # noqa: PTH108
        return
    _rename_if_free(source, target)


def write_atomically(path: Path, data: bytes, *, durable: bool = True, token: str = "") -> None:
    """Replace `path` by a file of this content in one step; a reader sees the old one or the new one.

    Where `durable` is off, a power loss may bring the old content back.
    """
    temporary = write_beside(path, data, durable=durable, token=token)
    try:
        temporary.replace(path)
    except BaseException:
        discard(temporary)
        raise
    if durable:
        fsync_folder(path.parent)


def write_beside(target: Path, data: bytes, *, durable: bool = True, token: str = "") -> Path:
    """Write a hidden temporary beside `target`; the caller renames or discards it."""
    temporary = temporary_beside(target, token)
    try:
        with _create(temporary, 0o666) as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
    except BaseException:
        discard(temporary)
        raise
    return temporary


def copy_beside(source: BinaryIO, target: Path, *, token: str = "", alike: bool = False) -> tuple[Path, str]:
    """Copy an open file to a hidden temporary beside `target`, on stable storage; the caller renames or discards it.

    Gives its path and the SHA-256 of what it holds. If `alike`, it has times and permissions of the original.
    """
    status = os.fstat(source.fileno())
    # without a right to write there are shares on which it could never be removed again
    mode = 0o600 | status.st_mode & 0o666 if alike else 0o666
    temporary = temporary_beside(target, token)
    digest = hashlib.sha256()
    try:
        with _create(temporary, mode) as writer:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                writer.write(chunk)
            writer.flush()
            if alike:
                with contextlib.suppress(OSError):  # not every share lets times be set
                    os.utime(writer.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
            os.fsync(writer.fileno())
    except BaseException:
        discard(temporary)
        raise
    return temporary, digest.hexdigest()


def discard(temporary: Path) -> None:
    """Remove a temporary if that can be done; what made it useless is the error to be told, not this one."""
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)


def temporary_beside(path: Path, token: str = "") -> Path:
    """A free hidden name in the same folder, recognisable as ours, short enough whatever `path` is called.

    With a `token` the name is the same at every try, so that what a crash left is taken up by the next one.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{token or os.urandom(6).hex()}.tmp")
    temporary.unlink(missing_ok=True)
    return temporary


def _rename_if_free(source: bytes | str | Path, target: bytes | str | Path) -> None:
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fsdecode(target))
    os.rename(source, target)  # noqa: PTH104


def _is_one_file(source: bytes | str | Path, target: bytes | str | Path) -> bool:
    """Whether these are two names of one file, as far as the file system tells."""
    one, other = os.lstat(source), os.lstat(target)
    return os.path.samestat(one, other) and one.st_nlink > 1


def _create(path: Path, mode: int) -> BinaryIO:
    """Open a new file for writing; it must not exist, nor be a link that somebody planted."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    return os.fdopen(descriptor, "wb")
