"""What holds for tests of pools."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from process.driver import ENDINGS, Driver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def children() -> set[int]:
    """Processes that this one started and has not reaped."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that ended meanwhile
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


def descriptors_open() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    """Makes drivers; after each test every task has ended at most once and no process, thread or descriptor is left."""
    before, threads, descriptors = children(), threading.active_count(), descriptors_open()
    drivers: list[Driver] = []

    def make(workers: int, mode: str = "good", **options: Any) -> Driver:
        drivers.append(Driver(tmp_path, workers, mode, **options))
        return drivers[-1]

    yield make
    for driver in drivers:
        driver.events += driver.pool.stop(0.0)
        assert driver.pool.workers == []
        tickets = [event.ticket for event in driver.events if isinstance(event, ENDINGS)]
        assert len(tickets) == len(set(tickets))
    assert children() == before
    assert threading.active_count() == threads
    assert descriptors_open() == descriptors
