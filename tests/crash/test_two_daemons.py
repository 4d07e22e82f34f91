"""Two daemons with a state folder each work on one inbox: each file is one daemon's, and no output is overwritten."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crash.ordeal import Bystander, Finding, Life, Ordeal, new_seed, outputs_of, record, seen, told
from harness import ProcessDaemon, piperd, wait_for

if TYPE_CHECKING:
    from crash.tally import Tally

ROW = "two daemons"
PATIENCE = 180.0
LIFE = (0.5, 3.0)
"""Seconds that the daemon which is killed lives."""
SUFFIXES = (".txt", ".md", ".json", ".JSON")
FOLDERS = ("", "a/", "b/c/")
AT_ONCE = 20
"""Files that appear in one moment: both daemons go for the same ones."""


class Pair:
    """Two daemons on one inbox."""

    def __init__(self, top: Path, *, shared_outbox: bool) -> None:
        inbox = top / "inbox"
        inbox.mkdir()
        outbox = {"outbox": str(top / "outbox")} if shared_outbox else {}
        self.members = [Ordeal(top / name, {"folders": {"inbox": str(inbox), **outbox}}) for name in ("one", "two")]
        for member in self.members:
            member.box.inbox = inbox
            if shared_outbox:
                member.box.outbox = top / "outbox"
        # the first one knows all that was dropped
        self.dropper = self.members[0]

    def delivered(self) -> int:
        return sum(member.count("delivered = 1") for member in self.members)

    def verdict(self) -> list[Finding]:
        """What is wrong after both have drained."""
        one, two = self.members
        dropped = one.dropped
        found = one.account(two)
        for member in self.members:
            mine = {job["source"].decode() for job in member.jobs()}
            member.dropped = [each for each in dropped if each.path in mine]
            found += member.audit(member.dropped)
        if one.box.outbox != two.box.outbox:
            found += [*one.outputs(), *two.outputs()]
        taken = Counter(job["source"] for member in self.members for job in member.jobs())
        found += [
            Finding("duplicated", f"{source!r} is a job {times} times") for source, times in taken.items() if times > 1
        ]
        return found + self._names()

    def _names(self) -> list[Finding]:
        """Every job done has files of its own, also where both publish into one outbox."""
        names = Counter(
            str(member.box.outbox / name)
            for member in self.members
            for job in member.jobs("state = 'done'")
            for name in outputs_of(job)
        )
        missing = [name for name in names if not Path(name).exists()]
        return twice(names, "is an output of a job") + [Finding("lost", f"{name} is not there") for name in missing]


def twice(counted: Counter[Any], what: str) -> list[Finding]:
    """What should have been counted once."""
    return [Finding("duplicated", f"{each!r} {what} {times} times") for each, times in counted.items() if times > 1]


def drop_all(pair: Pair, lots: random.Random, files: int) -> None:
    """Files appear in bursts; names of outputs collide, in half of the cases those of equal audio."""
    for number in range(files):
        if not number % AT_ONCE:
            time.sleep(lots.uniform(0, 0.3))
        suffix = SUFFIXES[number % len(SUFFIXES)]
        content = f"This is file {number:04}."
        if suffix.lower() == ".json":
            scenes = [{"text": content, "pause_after": number / 1000}, {"text": "So much for it."}]
            content = json.dumps({"scenes": scenes})
        path = f"{lots.choice(FOLDERS)}{number // len(SUFFIXES):04}{suffix}"
        assert pair.dropper.drop(path, content.encode(), ends="archive", pieces=lots.choice((0, 0, 0, 2)))


def kill_now_and_then(daemon: Life, lots: random.Random, enough: threading.Event) -> None:
    """A daemon that dies again and again, and is started again."""
    while not enough.wait(lots.uniform(*LIFE)):
        daemon.kill()
        daemon.revive()


def play(pair: Pair, lots: random.Random, files: int, *, kills: bool) -> list[Finding]:
    """Drop files while both work; gives what is wrong in the end."""
    enough = threading.Event()
    one, two = pair.members
    with one.start() as first, two.start() as second:
        killer = threading.Thread(target=kill_now_and_then, args=(first, random.Random(lots.random()), enough))
        for member in pair.members:
            wait_for(partial(member.events, "worker_ready"), "a daemon that works")
        if kills:
            killer.start()
        drop_all(pair, lots, files)
        wait_for(lambda: pair.delivered() >= files * 0.9, "the end of most jobs", PATIENCE)
        enough.set()
        if kills:
            killer.join()
        wait_for(lambda: pair.delivered() == files or not both_live(first, second), "the end of all jobs", PATIENCE)
        # one that was born a moment ago does not know signals yet
        assert {first.stop(), second.stop()} <= {0, -signal.SIGTERM}, told(found_in_logs(pair))
    return one.drain() + two.drain() + pair.verdict() + found_in_logs(pair)


def both_live(first: Life, second: Life) -> bool:
    return first.alive and second.alive


def found_in_logs(pair: Pair) -> list[Finding]:
    return [finding for member in pair.members for finding in member.faults()]


@pytest.mark.parametrize("kills", [False, True], ids=["", "kills"])
@pytest.mark.parametrize("shared_outbox", [False, True], ids=["own", "shared"])
def test_each_file_is_taken_by_one_of_them(
    tmp_path: Path, tally: Tally, torture: bool, shared_outbox: bool, kills: bool
) -> None:
    """None is lost, none spoken twice, and in one outbox nothing of the other's is overwritten."""
    seed = new_seed()
    files = 2000 if torture else 300
    pair = Pair(tmp_path, shared_outbox=shared_outbox)
    with Bystander(pair.dropper.box.outbox) as observer:
        found = play(pair, random.Random(seed), files, kills=kills)
    found += seen(observer)
    record(tally, ROW, found, cases=files)
    assert not found, f"seed {seed}:\n{told(found)}"
    assert all(member.jobs() for member in pair.members), "there was no contest"


def test_a_state_folder_has_one_daemon(tmp_path: Path, tally: Tally) -> None:
    """A second one says so, touches nothing and ends with exit code 4; the first one goes on."""
    ordeal = Ordeal(tmp_path / "box")
    with ordeal.start() as daemon:
        wait_for(lambda: ordeal.events("worker_ready"), "the first daemon")
        refused = piperd("run", box=ordeal.box)
        assert (refused.returncode, f"process {daemon.pid}" in refused.stderr) == (4, True)
        ordeal.drop("after.txt", b"Still here.", ends="archive")
        assert ordeal.box.final("after.json")["state"] == "done"
        assert daemon.stop() == 0
    found = ordeal.drain() + ordeal.verdict()
    record(tally, ROW, found)
    assert not found, told(found)


def test_of_many_starts_at_once_one_works(tmp_path: Path, tally: Tally) -> None:
    """Whoever comes first has the state folder; the jobs that wait there are done once."""
    ordeal = Ordeal(tmp_path / "box")
    for number in range(5):
        ordeal.drop(f"{number}.txt", f"Number {number}.".encode(), ends="archive")
    with contextlib.ExitStack() as stack:
        daemons = [stack.enter_context(ProcessDaemon(ordeal.box, "--workers", "1")) for _ in range(3)]
        wait_for(lambda: ordeal.count("delivered = 1") == 5, "the end of all jobs", PATIENCE)
        wait_for(lambda: sum(each.process.poll() is None for each in daemons) == 1, "the end of the other daemons")
        codes = sorted(each.stop() if each.process.poll() is None else each.process.returncode for each in daemons)
    assert codes == [0, 4, 4]
    found = ordeal.drain() + ordeal.verdict()
    record(tally, ROW, found)
    assert not found, told(found)
