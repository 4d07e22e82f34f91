"""Where a claimed file ends: in the archive, among the failed ones, or nowhere. Nothing there is ever overwritten.

Others may write to the inbox and to both of these folders meanwhile: all is reached through descriptors.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from piperd.descent import Folders, OfflineError, base, join, open_regular, parent
from piperd.durable import copy_beside, discard, rename_no_replace, temporary_beside
from piperd.inbox.claim import numbered, prune
from piperd.inbox.tree import CLAIMS

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_FOLDERS = 1000
"""Numbers that are tried for a folder whose name is taken; whoever plants more of them is not waited for."""


def dispose(claimed: bytes, source: bytes, into: Path | None, inbox: Path) -> bytes | None:
    """Move a claimed file to `into`/`source`, or delete it if `into` is None; gives its new absolute path.

    A taken name is numbered. None also if the file is not there: it was disposed of before. Raises OSError, for
    example if `into` is not there; what was claimed is then still where it was, and it can be tried again.
    """
    top, path = _split(claimed, inbox)
    try:
        folders = Folders(top)
    except OfflineError:
        if top == inbox:
            raise
        return None  # nobody will look there again
    moved = None
    with folders:
        if (found := _find(folders, path)) is not None:
            origin, status = found
            if into is None:
                origin.unlink()
            else:
                moved = _move(origin, status, into, source, token=f"{_job_id(path)}-input")
        with contextlib.suppress(OSError):
            prune(folders, parent(path), _ours(path))
    return moved


def _split(claimed: bytes, inbox: Path) -> tuple[Path, bytes]:
    """The folder that is trusted, and the way down from there."""
    above = os.fsencode(inbox.absolute()) + b"/"
    if claimed.startswith(above):
        return inbox, claimed.removeprefix(above)
    # the settings have named another inbox since: the folder that its claims lie in stands for it
    top, claims, inside = claimed.rpartition(join(b"/" + CLAIMS, b""))
    return Path(os.fsdecode(top or b"/")), claims.lstrip(b"/") + inside


def _ours(path: bytes) -> bytes:
    """The folder of this daemon's claims, on the way to one of them."""
    parts = path.split(b"/")
    return b"/".join(parts[: parts.index(CLAIMS) + 2])


def _job_id(path: bytes) -> str:
    parts = path.split(b"/")
    return os.fsdecode(parts[parts.index(CLAIMS) + 2])


def _find(folders: Folders, path: bytes) -> tuple[Path, os.stat_result] | None:
    """Where the claimed file is, and what it is. A folder in its place is none of ours."""
    try:
        origin = folders.path(parent(path), base(path))
        status = origin.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None if stat.S_ISDIR(status.st_mode) else (origin, status)


def _move(origin: Path, status: os.stat_result, into: Path, source: bytes, *, token: str) -> bytes:
    try:
        folders = Folders(into)
    except OfflineError as error:
        raise OSError(error.errno, error.strerror, str(into)) from error
    with folders:
        folder = _make(folders, parent(source))
        try:
            name = _rename(origin, folders, folder, base(source))
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            name = _copy(origin, status, folders, join(folder, base(source)), token)
            folders.sync(folder)
            origin.unlink()
    return os.path.join(os.fsencode(into.absolute()), folder, name)  # noqa: PTH118 - bytes


def _make(folders: Folders, wanted: bytes) -> bytes:
    """The subfolder, created where needed; a part whose name a file or a link has is numbered."""
    folder = b""
    for part in wanted.split(b"/") if wanted else ():
        for name in islice(numbered(part), MOST_FOLDERS):
            try:
                folders.make(join(folder, name))
            except NotADirectoryError:
                continue
            folder = join(folder, name)
            break
        else:
            raise OSError(errno.EEXIST, "all numbers of this folder are taken", os.fsdecode(join(folder, part)))
    return folder


def _rename(origin: Path, folders: Folders, folder: bytes, wanted: bytes) -> bytes:
    for name, target in _names(folders, folder, wanted):
        try:
            rename_no_replace(origin, target)
        except FileExistsError:
            continue
        return name
    raise AssertionError("numbers do not end")


def _names(folders: Folders, folder: bytes, wanted: bytes) -> Iterator[tuple[bytes, Path]]:
    for name in numbered(wanted):
        yield name, folders.path(folder, name)


def _copy(origin: Path, status: os.stat_result, folders: Folders, wanted: bytes, token: str) -> bytes:
    """To another file system: the copy is whole and durable under a hidden name before it gets its own.

    The hidden name is the same at every try, so that what a crash left is taken up.
    """
    folder = parent(wanted)
    target = folders.path(folder, base(wanted))
    digest = ""
    if stat.S_ISREG(status.st_mode):
        with open_regular(origin) as file:
            temporary, digest = copy_beside(file, target, token=token, alike=True)
    else:
        temporary = _imitate(origin, status, temporary_beside(target, token))
    try:
        for name, each in _names(folders, folder, base(wanted)):
            if _is_copy(each, temporary, digest):  # a crash came between the copy and the original's removal
                return name
            try:
                rename_no_replace(temporary, each)
            except FileExistsError:
                continue
            return name
    finally:
        discard(temporary)
    raise AssertionError("numbers do not end")


def _imitate(origin: Path, status: os.stat_result, temporary: Path) -> Path:
    """A copy of what is no regular file."""
    if stat.S_ISLNK(status.st_mode):
        temporary.symlink_to(origin.readlink())
    elif stat.S_ISFIFO(status.st_mode):
        os.mkfifo(temporary)
    else:  # a socket or a device is nothing that could be kept: its name stays, so that it can be accounted for
        temporary.touch(exist_ok=False)
    with contextlib.suppress(OSError):  # not every share lets times be set
        os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)
    return temporary


def _is_copy(target: Path, copy: Path, digest: str) -> bool:
    """Whether this is the same as the copy: of one kind, with the same time and content."""
    try:
        found, wanted = target.lstat(), copy.lstat()
        if (found.st_mode, found.st_mtime_ns, found.st_size) != (wanted.st_mode, wanted.st_mtime_ns, wanted.st_size):
            return False
        if stat.S_ISLNK(found.st_mode):
            return target.readlink() == copy.readlink()
        if not digest:
            return True
        with open_regular(target) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False
