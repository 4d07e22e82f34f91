"""Takes from a worker what it does not need: the network and the ways to new privileges. Before any thread exists."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CLONE_NEWUSER, CLONE_NEWNET = 0x1000_0000, 0x4000_0000
PR_SET_NO_NEW_PRIVS = 38
READS_ANYTHING = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""


def unshare(flags: int) -> None:
    """The system call of this name, which Python 3.11 does not have. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "unshare")


def confine(unshare: Callable[[int], None] = unshare) -> bool:
    """Leave the network and give up new privileges. False where the kernel does not let it: it is missed, not needed.

    A socket that is open already, like a worker's channel, goes on working.
    """
    ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    try:
        unshare(CLONE_NEWNET)
    except OSError:
        return _leave_as_anybody(unshare)
    return True


def _leave_as_anybody(unshare: Callable[[int], None]) -> bool:
    """Leave the network without privilege: through a user namespace where all ids stay what they are.

    The way into one can't be taken back, and whoever has no maps there is nobody even to itself: a child goes first,
    since there are systems that let a process in and then refuse the maps.
    """
    if _reads_anything():  # it would lose that inside, and with it perhaps the voices
        return False
    child = os.fork()
    if child == 0:
        code = 1
        try:
            user, group = os.geteuid(), os.getegid()
            unshare(CLONE_NEWUSER)
            _stay(user, group)
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1] != 0:
        return False
    user, group = os.geteuid(), os.getegid()
    try:
        unshare(CLONE_NEWUSER | CLONE_NEWNET)
    except OSError:
        return False
    _stay(user, group)  # if what has just worked raises now, the worker had better end
    return True


def _stay(user: int, group: int) -> None:
    """Be the same as before in a new user namespace. Raises OSError."""
    own = Path("/proc/self")
    (own / "setgroups").write_text("deny")  # or the kernel refuses the map of groups
    (own / "gid_map").write_text(f"{group} {group} 1")
    (own / "uid_map").write_text(f"{user} {user} 1")


def _reads_anything() -> bool:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return True  # without /proc there are no maps either
    effective = next((line.split()[1] for line in lines if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) & READS_ANYTHING)
