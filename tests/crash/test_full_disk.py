"""Disks that fill up and folders that go away: it costs a wait, never a job, and the daemon goes on by itself."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
from functools import partial
from typing import TYPE_CHECKING

import pytest

from crash.observer import Observer
from crash.ordeal import Finding, Life, Ordeal, new_seed, record, seen, told
from harness import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from crash.tally import Tally

FULL = "full disk"
AWAY = "folders away"
PATIENCE = 120.0
"""Seconds: tries get rarer while nothing helps, and the room on the disks is looked at every few seconds."""
MIB = 1 << 20
MIN_FREE = 256 << 10
LIMITS = {"limits": {"min_free_bytes": MIN_FREE}}
TEXT = "This is job {}, and it is long enough to make some noise."
"""About 150 KB of audio, and twice as much in the store."""


@contextlib.contextmanager
def mounted(place: Path, *what: str) -> Iterator[None]:
    """Something is mounted at a place; skips the test where that is not allowed."""
    asked = subprocess.run(["mount", *what, str(place)], capture_output=True, text=True, check=False)
    if asked.returncode:
        pytest.skip(f"nothing may be mounted here: {asked.stderr.strip()}")
    try:
        yield
    finally:
        unmount(place)


def unmount(place: Path) -> None:
    """Where something is mounted, it is no more. Lazily: a daemon that failed to end may work there."""
    if os.path.ismount(place):
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def tmpfs(place: Path, size: int) -> contextlib.AbstractContextManager[None]:
    """A disk of so many bytes."""
    return mounted(place, "-t", "tmpfs", "-o", f"size={size}", "tmpfs")


def fill(place: Path, name: str, leave: int) -> None:
    """Take all the room on a disk but so many bytes, with a file that is not piperd's."""
    with (place / f"{name}.bin").open("xb") as file:
        while (size := _room(place) - leave) > 0:
            with contextlib.suppress(OSError):  # unless the daemon is faster
                os.posix_fallocate(file.fileno(), 0, size)
                return


def _room(place: Path) -> int:
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize


def drop_jobs(ordeal: Ordeal, numbers: range) -> None:
    """Texts of which each is a job."""
    for number in numbers:
        ordeal.drop(f"{'sub/' * (number % 2)}{number:03}.txt", TEXT.format(number).encode(), ends="archive")


def await_end(ordeal: Ordeal, daemon: Life) -> None:
    """Wait until all that was dropped is delivered."""
    wait_for(
        lambda: not daemon.alive or ordeal.count("delivered = 1") == len(ordeal.dropped),
        "the end of all jobs", PATIENCE,
    )  # fmt: skip
    assert daemon.alive, f"the daemon ended with {daemon.wait()}: {ordeal.log.read_text()[-2000:]}"


def await_event(ordeal: Ordeal, *names: str, times: int = 1) -> None:
    """Wait until the daemon has logged something."""
    wait_for(lambda: len(ordeal.events(*names)) >= times, " or ".join(names), PATIENCE)


def taken_only_with_room(ordeal: Ordeal, late: int) -> list[Finding]:
    """Of the files that were dropped after `accepting_stopped`, none is taken before `accepting_resumed`."""
    sources = {each.path for each in ordeal.dropped[late:]}
    stopped = False
    taken = []
    for event in ordeal.events("accepting_stopped", "accepting_resumed", "daemon_started", "file_claimed"):
        if event["event"] != "file_claimed":
            stopped = event["event"] == "accepting_stopped"
        elif stopped and event["source"] in sources:
            taken.append(event["source"])
    return [Finding("unexplained", f"{taken} were taken while accepting had stopped")] if taken else []


@pytest.mark.parametrize(("folder", "workers"), [("outbox", 0), ("outbox", 2), ("state", 2)])
def test_a_disk_that_fills_up_costs_a_wait(
    tmp_path: Path, tally: Tally, torture: bool, folder: str, workers: int
) -> None:
    """Somebody else's file and our own outputs fill the disk; when that file goes, every job ends done by itself."""
    seed = new_seed()
    for episode in range(10 if torture else 1):
        lots = random.Random(f"{seed}/{folder}/{workers}/{episode}")
        ordeal = Ordeal(tmp_path / f"box{episode}", LIMITS)
        with tmpfs(ordeal.box.top / folder, 24 * MIB), Observer(ordeal.box.outbox) as observer:
            found = fill_up(ordeal, folder, workers, lots)
        found += seen(observer)
        record(tally, FULL, found)
        assert not found, f"seed {seed}/{folder}/{workers}/{episode}:\n{told(found)}"


def fill_up(ordeal: Ordeal, folder: str, workers: int, lots: random.Random) -> list[Finding]:
    """A disk fills up, by lots also during a start, and has room again."""
    arguments = ("--workers", str(workers)) if workers else ()
    place = ordeal.box.top / folder
    with ordeal.start(*arguments) as daemon:
        await_event(ordeal, "worker_ready")
        fill(place, "first", leave=lots.randrange(MIN_FREE, 3 * MIB))
        drop_jobs(ordeal, range(20))
        # the look at the disk, or a write without which nothing can go on
        await_event(ordeal, "accepting_stopped", "ledger_unwritable")
        if lots.random() < 0.5:
            fill(place, "second", leave=0)
        drop_jobs(ordeal, range(20, 25))
        if lots.random() < 0.5:
            daemon.kill()
        else:
            await_event(ordeal, "errand_failed", "job_retried", "ledger_unwritable")
        if not daemon.alive:
            daemon.revive()
            await_event(ordeal, "daemon_started", times=2)
            await_event(ordeal, "accepting_stopped", "ledger_unwritable", times=2)
        for each in place.glob("*.bin"):
            each.unlink()
        await_end(ordeal, daemon)
        assert daemon.stop() == 0
    return taken_only_with_room(ordeal, 20) + ordeal.drain(*arguments) + ordeal.verdict()


def was_tried(ordeal: Ordeal) -> bool:
    """Something was to be written to a folder that is away, or, wrongly, all was written."""
    return bool(ordeal.events("errand_failed")) or not ordeal.count("delivered = 0")


class Share:
    """A folder of a box that can go away and come back."""

    def __init__(self, ordeal: Ordeal, folder: str, disk: Path | None) -> None:
        """On a disk it is unmounted, and leaves its mount point; else it is moved."""
        self.place = ordeal.box.top / folder
        self.disk = disk
        self._moved = self.place.with_name(f"{folder}-elsewhere")
        if disk is not None:
            self.come_back()

    @property
    def elsewhere(self) -> Path:
        """Where its content is while it is away."""
        return self.disk or self._moved

    def go_away(self) -> None:
        if self.disk is None:
            self.place.rename(self._moved)
        else:
            unmount(self.place)

    def come_back(self) -> None:
        if self.disk is None:
            self._moved.rename(self.place)
        else:
            subprocess.run(["mount", "--bind", str(self.disk), str(self.place)], check=True)


@contextlib.contextmanager
def share(ordeal: Ordeal, folder: str, how: str) -> Iterator[Share]:
    """A folder that can be made to go away; what is mounted for that is unmounted in the end."""
    if how == "moved":
        yield Share(ordeal, folder, None)
        return
    disk = ordeal.box.top.with_name(f"{ordeal.box.top.name}-disk")
    disk.mkdir()
    with tmpfs(disk, 64 * MIB):
        try:
            yield Share(ordeal, folder, disk)
        finally:
            unmount(ordeal.box.top / folder)


@pytest.mark.parametrize("how", ["moved", "unmounted"])
@pytest.mark.parametrize("folder", ["outbox", "archive"])
def test_results_wait_for_a_folder_that_is_away(
    tmp_path: Path, tally: Tally, torture: bool, folder: str, how: str
) -> None:
    """Nothing is written elsewhere meanwhile, least of all below an empty mount point."""
    seed = new_seed()
    for episode in range(10 if torture else 1):
        lots = random.Random(f"{seed}/{folder}/{how}/{episode}")
        ordeal = Ordeal(tmp_path / f"box{episode}", LIMITS)
        with share(ordeal, folder, how) as away, Observer(ordeal.box.outbox) as observer, ordeal.start() as daemon:
            await_event(ordeal, "worker_ready")
            drop_jobs(ordeal, range(lots.randrange(10)))
            await_event(ordeal, "file_claimed", times=lots.randint(0, len(ordeal.dropped)))
            away.go_away()
            drop_jobs(ordeal, range(10, 20))
            await_event(ordeal, "job_accepted", times=len(ordeal.dropped))
            wait_for(partial(was_tried, ordeal), "a try", PATIENCE)
            strays = sorted(away.place.rglob("*")) if away.place.exists() else []
            found = [Finding("lost", f"{stray} was written below the mount point") for stray in strays]
            away.come_back()
            await_end(ordeal, daemon)
            assert daemon.stop() == 0
            found += ordeal.drain() + ordeal.verdict()
        found += seen(observer)
        record(tally, AWAY, found)
        assert not found, f"seed {seed}/{folder}/{how}/{episode}:\n{told(found)}"


@pytest.mark.parametrize("how", ["moved", "unmounted", "unmounted, with a marker"])
def test_an_inbox_may_go_away_and_come_back(tmp_path: Path, tally: Tally, torture: bool, how: str) -> None:
    """What was accepted goes on, what lies in it is taken when it is back; its absence is no deletion."""
    seed = new_seed()
    for episode in range(10 if torture else 1):
        lots = random.Random(f"{seed}/{how}/{episode}")
        marker = {"marker": "here.txt"} if "marker" in how else {}
        ordeal = Ordeal(tmp_path / f"box{episode}", {**LIMITS, "watch": {"settle": 0.05, "rescan": 1, **marker}})
        with share(ordeal, "inbox", how) as away:
            if marker:
                (away.place / "here.txt").touch()
            with ordeal.start() as daemon:
                await_event(ordeal, "worker_ready")
                drop_jobs(ordeal, range(10))
                await_event(ordeal, "file_claimed", times=lots.randint(0, 10))
                away.go_away()
                ordeal.box.inbox = away.elsewhere
                drop_jobs(ordeal, range(10, 20))
                ordeal.box.inbox = away.place
                await_absence(ordeal, how)
                away.come_back()
                await_end(ordeal, daemon)
                assert daemon.stop() == 0
            found = ordeal.drain() + ordeal.verdict()
        record(tally, AWAY, found)
        assert not found, f"seed {seed}/{how}/{episode}:\n{told(found)}"


def await_absence(ordeal: Ordeal, how: str) -> None:
    """Wait until the daemon has seen that its inbox is another one, or none."""
    if how == "unmounted":
        # without a marker the mount point is an inbox like any other
        ordeal.drop("below.txt", b"Dropped below the mount point.", ends="archive")
        wait_for(
            lambda: ordeal.jobs("CAST(source AS TEXT) = 'below.txt' AND delivered = 1"), "the job below the mount point"
        )
    else:
        await_event(ordeal, "inbox_offline")
