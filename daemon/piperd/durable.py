"""How files come into being: whole or not at all, and on stable storage. The only module that calls fsync."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

AT_FDCWD = -100
RENAME_NOREPLACE = 1
TEMPORARY_PREFIX = ".piperd-"
# What a file system answers that does not know the flag (NFS, older CIFS, some FUSE), or a kernel without the call.
UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP})

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
            raise
        except OSError:
            pass
        else:
            os.unlink(source)  # noqa: PTH108
            return
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fsdecode(target))
    os.rename(source, target)  # noqa: PTH104


def write_atomically(path: Path, data: bytes, *, durable: bool = True, token: str = "") -> None:
    """Replace `path` by a file of this content in one step; a reader sees the old one or the new one.

    Where `durable` is off, a power loss may bring the old content back.
    """
    temporary = write_beside(path, data, durable=durable, token=token)
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        fsync_folder(path.parent)


def write_beside(target: Path, data: bytes, *, durable: bool = True, token: str = "") -> Path:
    """Write a hidden temporary beside `target`; the caller renames or removes it."""
    temporary = temporary_beside(target, token)
    try:
        with _create(temporary, 0o666) as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def copy_beside(source: Path, target: Path, *, token: str = "", mode: int = 0o666) -> Path:
    """Copy to a hidden temporary beside `target`, on stable storage; the caller renames or removes it."""
    temporary = temporary_beside(target, token)
    try:
        with source.open("rb") as reader, _create(temporary, mode) as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
            writer.flush()
            os.fsync(writer.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def fsync_file(path: Path) -> None:
    """Make a file's content durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folders(folder: Path, *, below: Path) -> None:
    """Create `folder` and what is missing between it and `below`, each name durable in its parent.

    Symlinks below `below` are not followed: whoever may write there must not lead us elsewhere.
    """
    here = below
    for part in folder.relative_to(below).parts:
        parent, here = here, here / part
        if here.is_symlink():
            raise NotADirectoryError(errno.ENOTDIR, "is a symlink, which is not followed", str(here))
        try:
            here.mkdir()
        except FileExistsError:
            continue
        fsync_folder(parent)


def temporary_beside(path: Path, token: str = "") -> Path:
    """A free hidden name in the same folder, recognisable as ours, short enough whatever `path` is called.

    With a `token` the name is the same at every try, so that what a crash left is taken up by the next one.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{token or os.urandom(6).hex()}.tmp")
    temporary.unlink(missing_ok=True)
    return temporary


def _create(path: Path, mode: int) -> BinaryIO:
    """Open a new file for writing; it must not exist, nor be a link that somebody planted."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    return os.fdopen(descriptor, "wb")
