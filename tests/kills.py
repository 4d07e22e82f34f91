"""Killing a step of work before each thing that it does to the disk, in a process of its own."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHANGES = frozenset(
    {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.utime", "os.truncate"}
)
"""What Python's audit hooks announce before it is done; renameat2 and fsync lie between two of these."""


def kill_everywhere(action: Callable[[], object]) -> Iterator[int]:
    """Run `action` in a child again and again, killed one change later each time, until it comes to its end.

    Gives a number after each kill, so that the caller can look, and bring all back to where it was.
    """
    number = 1
    while _is_killed(action, number):
        yield number
        number += 1
    assert number > 1, "nothing was changed, so nothing could be killed"


def _is_killed(action: Callable[[], object], number: int) -> bool:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _die_at(number)
            action()
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the action failed"
    return False


def _die_at(number: int) -> None:
    left = number

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in _CHANGES or (event == "open" and arguments[2] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR)):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
