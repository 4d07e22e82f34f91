"""A fault at a chosen step of work: an error of the file system, or the end, between any two changes of a file."""

from __future__ import annotations

import os
import sys
import warnings
from typing import TYPE_CHECKING, Any, Self

from piperd.durable import rename_no_replace

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

CHANGES = frozenset(
    {
        *("open", "write", "fsync", "rename", "replace", "unlink", "remove", "rmdir", "mkdir", "link", "symlink"),
        *("ftruncate", "utime", "execute"),
    }
)
"""Functions in C that may change a file; `execute` stands for SQLite."""


class PowerCut(BaseException):
    """The end of a daemon, for its memory: nothing of it is to be caught."""


class Tripwire:
    """Has something happen right before the change of that number (0 for the first) within the block."""

    def __init__(self, number: int, spring: Callable[[], None]) -> None:
        self._left = number
        self._spring = spring

    def __enter__(self) -> Self:
        sys.setprofile(self._see)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _see(self, frame: FrameType, event: str, what: Any) -> None:
        # the rename that replaces nothing is called through ctypes, which the interpreter does not announce
        is_change = (
            getattr(what, "__name__", "") in CHANGES
            if event == "c_call"
            else event == "call" and frame.f_code is rename_no_replace.__code__
        )
        if is_change:
            self._left -= 1
            if self._left < 0:
                sys.setprofile(None)
                self._spring()


def cut_power() -> None:
    raise PowerCut


def die_within(action: Callable[[], object], number: int) -> None:
    """Do what a thread does whose process is killed right before that change of a file: no handler runs any more.

    If there are fewer changes, all is done, and nobody hears of it.
    """
    with warnings.catch_warnings():
        # later Pythons warn of forks beside threads; the copy only touches files, and ends
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        try:
            with Tripwire(number, lambda: os._exit(0)):
                action()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
