"""Claiming: a file leaves the inbox by one rename into piperd's own folder on the same file system, and may come back.

Claims of other daemons, told apart by their `instance`, are never touched.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from piperd.descent import Folders, OfflineError, base, join, parent, proc_path
from piperd.durable import rename_no_replace
from piperd.ignore import Ignore
from piperd.inbox.filesystems import Mounted, mounted
from piperd.inbox.tree import CLAIMS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONGEST_NAME = 255
"""Bytes, on every file system in use."""
_PRIVATE = 0o700


def claim(folders: Folders, source: bytes, *, top: bytes, instance: str, job_id: str) -> bytes:
    """Rename a file of the inbox into the job's own folder; gives its new path, relative to the inbox.

    `top` is the topmost folder on the file's file system. Raises OSError if it can't be done.
    """
    claims = join(top, CLAIMS)
    ours = join(claims, os.fsencode(instance))
    inside = source[len(top) + 1 :] if top else source
    target = join(join(ours, os.fsencode(job_id)), inside)
    folders.make(claims)  # for all daemons: the umask decides
    folders.make(ours, _PRIVATE)
    folders.make(parent(target))
    with folders.held(parent(target)) as folder:
        try:
            os.rename(base(source), base(source), src_dir_fd=folders.descriptor(parent(source)), dst_dir_fd=folder)
        except OSError:
            with contextlib.suppress(OSError):
                prune(folders, parent(target), ours)
            raise
    return target


def unclaim(folders: Folders, claimed: bytes, source: bytes) -> bytes:
    """Rename a claimed file back, under a numbered name if its own is taken; gives its path. Both are relative."""
    folder = parent(source)
    try:
        folders.make(folder)
    except (FileExistsError, NotADirectoryError):  # a file has the folder's name now
        folder = b""
    with folders.held(folder) as descriptor:
        origin = folders.path(parent(claimed), base(claimed))
        for name in numbered(base(source)):
            try:
                rename_no_replace(origin, proc_path(descriptor, name))
            except FileExistsError:
                continue
            break
    parts = claimed.split(b"/")
    prune(folders, parent(claimed), b"/".join(parts[: parts.index(CLAIMS) + 2]))
    return join(folder, name)


def give_back(claimed: bytes, source: bytes, inbox: Path) -> bytes:
    """The same for other threads: `claimed` is absolute, the path given is relative to the inbox.

    Raises OSError, FileNotFoundError if the file is not there.
    """
    with Folders(inbox) as folders:
        return unclaim(folders, claimed.removeprefix(os.fsencode(inbox.absolute()) + b"/"), source)


def orphans(inbox: Path, instance: str) -> Iterator[tuple[str, bytes, bytes]]:
    """Job id, source and claimed path of every file that this instance has claimed, on all file systems of the inbox.

    In order of claiming. An inbox that is offline has none.
    """
    try:
        with Folders(inbox) as folders:
            found = [each for top in _tops(folders) for each in _claims(folders, top, os.fsencode(instance))]
    except OfflineError:
        return
    where = os.fsencode(inbox.absolute())
    for job_id, source, claimed in sorted(found):
        yield os.fsdecode(job_id), source, join(where, claimed)


def numbered(name: bytes) -> Iterator[bytes]:
    """The name, then ``name-2``, ``name-3``, … with the suffix kept and within the length that is allowed."""
    yield name
    stem, dot, suffix = name.rpartition(b".")
    if not stem:
        stem, dot, suffix = name, b"", b""
    number = 2
    while True:
        end = b"-%d%s%s" % (number, dot, suffix)
        yield stem[: LONGEST_NAME - len(end)] + end
        number += 1


def prune(folders: Folders, folder: bytes, stop: bytes) -> None:
    """Remove a folder and those above it while they are empty, up to but without `stop`."""
    while folder != stop and folder.startswith(stop):
        folders.drop(folder)
        try:
            os.rmdir(base(folder), dir_fd=folders.descriptor(parent(folder)))
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                return
            raise
        folder = parent(folder)


def _tops(folders: Folders) -> Iterator[bytes]:
    """The topmost folder of each file system in the inbox."""
    ignore = Ignore()
    stack: list[tuple[bytes, Mounted | None]] = [(b"", None)]
    while stack:
        path, above = stack.pop()
        try:
            descriptor = folders.descriptor(path)
            side = mounted(descriptor)
            with os.scandir(descriptor) as entries:
                inner = [os.fsencode(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:  # it can't be read, so there is nothing to be found in it
            continue
        if side != above:
            yield path
        stack += [(each, side) for each in (join(path, name) for name in inner) if ignore.folder(each) is None]


def _claims(folders: Folders, top: bytes, instance: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Job id, source and path of the claims on one file system."""
    ours = join(join(top, CLAIMS), instance)
    stack = [ours]
    while stack:
        folder = stack.pop()
        try:
            with os.scandir(folders.descriptor(folder)) as entries:
                inner = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
        except OSError:
            continue
        if not inner and folder != ours:  # a crash came between making the folder and the rename
            with contextlib.suppress(OSError):
                prune(folders, folder, ours)
        for name, is_folder in inner:
            path = join(folder, name)
            if is_folder:
                stack.append(path)
            elif folder != ours:
                job_id, _, inside = path[len(ours) + 1 :].partition(b"/")
                yield job_id, join(top, inside), path
