"""Where a claimed file ends: in the archive, among the failed ones, or nowhere. Nothing there is ever overwritten."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import stat
from pathlib import Path

from piperd.durable import copy_beside, fsync_folder, make_folders, rename_no_replace, temporary_beside
from piperd.inbox.claim import numbered
from piperd.inbox.tree import CLAIMS


def dispose(claimed: bytes, source: bytes, into: Path | None) -> bytes | None:
    """Move a claimed file to `into`/`source`, or delete it if `into` is None; gives its new absolute path.

    A taken name is numbered. None also if the file is not there: it was disposed of before. Raises OSError, for
    example if `into` is not there; what was claimed is then still where it was, and it can be tried again.
    """
    origin = Path(os.fsdecode(claimed))
    try:
        status = origin.lstat()
    except (FileNotFoundError, NotADirectoryError):
        _tidy(origin)
        return None
    moved = None
    if into is None:
        origin.unlink()
    else:
        moved = os.fsencode(_move(origin, status, into, Path(os.fsdecode(source))))
    _tidy(origin)
    return moved


def _move(origin: Path, status: os.stat_result, into: Path, source: Path) -> Path:
    folder = _folder(into, source.parent.parts)
    try:
        return _rename(origin, folder, source.name)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    # Another file system: the copy is whole and durable under a hidden name before it gets its own, and has its own
    # before the original goes.
    temporary = _copy(origin, status, folder / source.name)
    try:
        target = _copied_before(temporary, folder, source.name) or _rename(temporary, folder, source.name)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_folder(folder)
    origin.unlink()
    return target


def _folder(into: Path, parts: tuple[str, ...]) -> Path:
    """The subfolder, created where needed; a part whose name a file or a link has is numbered."""
    if not into.is_dir():
        raise FileNotFoundError(errno.ENOENT, "the folder is not there", str(into))
    folder = into
    for part in parts:
        for name in numbered(os.fsencode(part)):
            candidate = folder / os.fsdecode(name)
            if not candidate.is_symlink() and (candidate.is_dir() or not candidate.exists()):
                break
        make_folders(candidate, below=folder)
        folder = candidate
    return folder


def _rename(origin: Path, folder: Path, wanted: str) -> Path:
    for name in numbered(os.fsencode(wanted)):
        target = folder / os.fsdecode(name)
        try:
            rename_no_replace(origin, target)
        except FileExistsError:
            continue
        return target
    raise AssertionError("numbers do not end")


def _copy(origin: Path, status: os.stat_result, target: Path) -> Path:
    """A hidden copy beside `target`, of whatever kind the original is."""
    if stat.S_ISREG(status.st_mode):
        temporary = copy_beside(origin, target)
        os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
        return temporary
    temporary = temporary_beside(target)
    if stat.S_ISLNK(status.st_mode):
        temporary.symlink_to(origin.readlink())
    elif stat.S_ISFIFO(status.st_mode):
        os.mkfifo(temporary)
    else:  # a socket or a device is nothing that could be kept: its name stays, so that it can be accounted for
        temporary.touch(exist_ok=False)
    return temporary


def _copied_before(copy: Path, folder: Path, wanted: str) -> Path | None:
    """What a crash left between the copy and the original's removal: the same content with the same time."""
    if not stat.S_ISREG(copy.lstat().st_mode):
        return None
    for name in numbered(os.fsencode(wanted)):
        target = folder / os.fsdecode(name)
        try:
            status = target.lstat()
        except FileNotFoundError:
            return None
        same_time = stat.S_ISREG(status.st_mode) and status.st_mtime_ns == copy.lstat().st_mtime_ns
        if same_time and filecmp.cmp(copy, target, shallow=False):
            return target
    return None


def _tidy(origin: Path) -> None:
    """Remove the folders of the claim, from the file's own up to the job's, while they are empty."""
    parts = origin.parts
    claims = os.fsdecode(CLAIMS)
    if claims not in parts:
        return
    # .piperd, the instance and the job
    job_depth = len(parts) - 1 - parts[::-1].index(claims) + 3
    folder = origin.parent
    with contextlib.suppress(OSError):
        while len(folder.parts) >= job_depth:
            with contextlib.suppress(FileNotFoundError):
                folder.rmdir()
            folder = folder.parent
