"""What the kernel tells of processes: memory and CPU time."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROC = Path("/proc")
FOREIGN = ("numpy", "onnxruntime", "espeak", "scipy")
"""Libraries that belong into workers alone."""


def wait_for(condition: Callable[[], Any], patience: float = 120.0, pause: float = 0.002) -> None:
    """Look every `pause` seconds until the condition holds."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the measurement does not come to its end")
        time.sleep(pause)


def resident_mb(pid: int, *, peak: bool = False) -> float:
    """Memory of a process in MB (10^6 bytes), now or at its highest."""
    field = "VmHWM:" if peak else "VmRSS:"
    lines = (PROC / str(pid) / "status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024 / 1e6, 1)


def children(pid: int) -> list[int]:
    """Processes that one has started and that live."""
    return [
        int(child) for task in (PROC / str(pid) / "task").iterdir() for child in (task / "children").read_text().split()
    ]


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process and of its living children, to the nanosecond."""
    total = 0
    for process in (pid, *children(pid)):
        for task in _tasks(process):
            with contextlib.suppress(FileNotFoundError):
                total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def foreign_libraries(pid: int) -> list[str]:
    """Those of `FOREIGN` that are mapped into a process."""
    maps = (PROC / str(pid) / "maps").read_text()
    return [name for name in FOREIGN if f"/{name}" in maps]


def _tasks(pid: int) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError):
        yield from (PROC / str(pid) / "task").iterdir()
