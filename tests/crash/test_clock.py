"""Clocks that jump: wall time is only shown, so no jump of it may cost a job or hold one up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness import Box, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crash.tally import Tally

    Starter = Callable[..., subprocess.Popen[bytes]]

DAEMON = Path(__file__).with_name("daemon.py")
JUMPING = """
import random, runpy, sys, time
true, jumps = time.time, random.Random({seed})
time.time = lambda: true() + jumps.choice((-1e9, -86400, 0, 86400, 1e9)) + {offset}
time.time_ns = lambda: int(time.time() * 1e9)
sys.argv = [{program!r}, {config!r}, *{arguments!r}]
runpy.run_path({program!r}, run_name="__main__")
"""


@pytest.fixture
def start() -> Iterator[Starter]:
    """Start a daemon whose wall clock shows another year whenever it is asked; it ends with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(box: Box, seed: int, offset: float, *arguments: str) -> subprocess.Popen[bytes]:
        code = JUMPING.format(
            seed=seed, offset=offset, program=str(DAEMON), config=str(box.config), arguments=list(arguments)
        )
        with (box.top / "log").open("ab") as log:
            started.append(subprocess.Popen([sys.executable, "-c", code], stdout=log, stderr=log))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("offset", [-1e9, 1e9])
def test_no_jump_of_the_clock_costs_a_job(tmp_path: Path, start: Starter, tally: Tally, offset: float) -> None:
    """Jobs run, are killed and recovered, while the clock goes back and forth by decades, and back over the restart."""
    box = Box(tmp_path)
    daemon = start(box, 1, offset, "--workers", "2")
    for number in range(10):
        box.drop(f"{number}.txt", f"Number {number}. Once more.")
    wait_for(lambda: any(status["state"] == "done" for status in box.statuses().values()), "the first job")
    for number in range(10, 20):
        box.drop(f"{number}.txt", f"Number {number}. Once more.")
    wait_for(lambda: len(list(box.inbox.glob("1?.txt"))) < 10, "a claim")
    daemon.kill()
    daemon.wait()
    again = start(box, 2, -offset, "--drain", "--workers", "2")
    assert again.wait(60) == 0, (box.top / "log").read_text()
    states = [status["state"] for status in box.statuses().values()]
    tally.add("jumping clock", cases=20, lost=20 - states.count("done"))
    assert states == ["done"] * 20
    box.check_outputs()
    assert not box.files(box.inbox)


def test_a_job_does_not_wait_for_the_clock(tmp_path: Path, start: Starter) -> None:
    """A retry that is due in a moment is due in a moment, whatever the clock says by then."""
    box = Box(tmp_path, {"retry": {"backoff": 0.05}})
    box.drop("a.txt", "Soon.")
    assert start(box, 3, 1e9, "--drain").wait(60) == 0
    assert box.statuses()["a.json"]["state"] == "done"
