"""What the kernel knows of a file system and of who has a file open; it is asked about descriptors only."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
from dataclasses import dataclass

from piperd.settle import Lease

# Others write to these behind this kernel's back, so it announces nothing and grants leases in vain.
# The numbers are those of statfs(2) and of the drivers' sources.
SHARED = {
    0x6969: "NFS", 0xFF534D42: "CIFS", 0xFE534D42: "SMB2", 0x517B: "SMB", 0x65735546: "FUSE", 0x01021997: "9p",
    0x5346414F: "AFS", 0x6B414653: "AFS", 0x00C36400: "Ceph", 0x73757245: "Coda", 0x7461636F: "OCFS2",
    0x01161970: "GFS2", 0x0BD00BD0: "Lustre", 0x47504653: "GPFS", 0x564C: "NCP", 0x786F4256: "vboxsf",
    0x7C7C6673: "Parallels", 0xBACBACBC: "VMware",
}  # fmt: skip
_STATFS_BYTES = 256
"""Room for `struct statfs` on every platform; its first field, a word, is the type."""
_REFUSED = frozenset({errno.EAGAIN, errno.EBUSY})

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Mounted:
    """One file system at one place."""

    device: int
    mount: int
    """The kernel's number of the mount: two binds of one device are two mounts, and no rename goes between them."""


def mounted(descriptor: int) -> Mounted:
    """Where the file system boundaries are: folders with the same value are on one side."""
    device = os.fstat(descriptor).st_dev
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", "rb", buffering=0) as info:  # noqa: PTH123 - no path to be made
            fields = info.read(1024).split()
        return Mounted(device, int(fields[fields.index(b"mnt_id:") + 1]))
    except (OSError, ValueError):
        return Mounted(device, 0)


def shared_type(descriptor: int) -> str:
    """The name of the file system's type if others may write to it unseen by this kernel; else an empty string."""
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if _libc.fstatfs(descriptor, buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return SHARED.get(ctypes.c_ulong.from_buffer(buffer).value & 0xFFFFFFFF, "")


def ask_lease(descriptor: int) -> Lease:
    """Ask for a read lease and give it back at once: whether any process has the file open for writing.

    Until it is given back, a process that opens the file for writing is held up and a signal is sent to us. That is
    SIGIO, which kills by default; SIGURG is ignored by default, so it needs no handler, which no thread may install.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        # everything else says that we may not ask: another owner, or a file system without leases
        return Lease.HELD if error.errno in _REFUSED else Lease.UNKNOWN
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return Lease.FREE
