"""How a file of the inbox is opened, told from its earlier self and read. It decides nothing and changes nothing."""

from __future__ import annotations

import errno
import os
import stat

from piperd.settle import Fingerprint

# O_NONBLOCK: a FIFO that took the file's place must not hold us; O_NOFOLLOW: nor a link lead us elsewhere.
OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
BLOCK = 512
"""Bytes in the unit of `st_blocks`, whatever the file system's own blocks are."""
_KINDS = {
    stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFDIR: "a folder",
}  # fmt: skip


def kind_in_words(status: os.stat_result) -> str:
    """What it is that is no file of its own."""
    return _KINDS.get(stat.S_IFMT(status.st_mode), "a file with several names (hard links)")


def fingerprint(status: os.stat_result) -> Fingerprint:
    return Fingerprint(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def sparse(status: os.stat_result) -> bool:
    """Whether it has fewer blocks than its size needs."""
    return status.st_blocks * BLOCK < status.st_size


def read_whole(descriptor: int, size: int) -> bytes:
    """The content as long as it was when it was looked at: one that grows will be found out."""
    parts, offset = [], 0
    while offset < size and (part := os.pread(descriptor, size - offset, offset)):
        parts.append(part)
        offset += len(part)
    if offset < size:
        raise OSError(errno.EIO, "it is shorter than it was")
    return b"".join(parts)
