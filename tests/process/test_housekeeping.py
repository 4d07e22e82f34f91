"""Store and ledger within their bounds: what the main thread does with real files, a little in each turn."""

from __future__ import annotations

import json
import os
import re
import signal
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import structlog

from harness import Box, ThreadDaemon, piperd, wait_for
from piperd import housekeeping
from piperd.housekeeping import (
    CROWDED_WAIT,
    ENTRIES_A_TURN,
    FORGET_INTERVAL,
    FORGET_PAUSE,
    ROWS_A_TURN,
    STOCK_INTERVAL,
    Bounds,
    Housekeeping,
    StockTaken,
)
from piperd.job import Job, JobSpec, JobState, Scene
from piperd.ledger import Ledger
from piperd.store import take_stock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIZE = 1000
DAY = 86_400.0


class Keeper:
    """Housekeeping in a folder, whose looks through the store are taken when the test says so."""

    def __init__(self, top: Path, ledger: Ledger, **bounds: int) -> None:
        self.now, self.wall, self.short = 1000.0, 1e9, 0
        self.errands: list[Callable[[], None]] = []
        self.mail: list[StockTaken] = []
        self.keeping = Housekeeping(
            Bounds(**{"store": 0, "days": 0, "jobs": 0, **bounds}),
            top / "store",
            ledger,
            post=self.mail.append,
            shortage=lambda: self.short,
            errand=self.errands.append,
            wall=lambda: self.wall,
        )
        self.store = self.keeping.store
        self.store.prepare()
        self._tickets = 0

    def put(self, number: int, used: float) -> str:
        key = f"{number:064x}"
        self._tickets += 1
        self.store.staging(self._tickets).write_bytes(b"x" * SIZE)
        self.store.commit(self._tickets, key)
        os.utime(self.store.path(key), (used, used))
        return key

    def rest(self, turns: int = 200) -> int:
        """Turn until nothing more is due; gives how many turns that took."""
        for turn in range(turns):
            self.keeping.tick(self.now)
            while self.errands:
                self.errands.pop(0)()
            while self.mail:
                self.keeping.stock_taken(self.mail.pop(0))
            due = self.keeping.next_due()
            if due > self.now + FORGET_PAUSE:
                return turn
            self.now = max(self.now, due)
        raise AssertionError("it does not come to rest")

    @property
    def there(self) -> list[int]:
        return sorted(int(path.name, 16) for path in self.store.folder.glob("??/*"))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger(tmp_path / "ledger.sqlite3")) as opened:
        yield opened


@pytest.fixture
def keep(tmp_path: Path, ledger: Ledger) -> Callable[..., Keeper]:
    return lambda **bounds: Keeper(tmp_path, ledger, **bounds)


def test_what_was_used_last_stays(keep: Callable[..., Keeper]) -> None:
    """Above its bound the store gives up its oldest entries, down to nine tenths."""
    keeper = keep(store=100 * SIZE)
    for number in range(120):
        keeper.put(number, used=1e9 - 1e6 + number * 1000)
    assert keeper.store.hold("job", {f"{0:064x}", f"{1:064x}"}) == set()
    keeper.store.release("job")  # used, and no longer needed
    keeper.rest()
    assert keeper.there == [0, 1, *range(32, 120)]


def test_what_a_job_needs_stays(keep: Callable[..., Keeper]) -> None:
    """From its opening to its rendering, however old and however large it is; also what it has yet to speak."""
    keeper = keep(store=10 * SIZE)
    keys = [keeper.put(number, used=float(number)) for number in range(30)]
    assert keeper.store.hold("job", {*keys[:20], f"{99:064x}"}) == {f"{99:064x}"}
    with structlog.testing.capture_logs() as log:
        keeper.rest()
        keeper.put(99, used=0.0)
        for _ in range(3):
            keeper.now += CROWDED_WAIT
            keeper.rest()
    assert keeper.there == [*range(20), 99]
    assert [event["event"] for event in log].count("store_too_large") == 1
    keeper.store.release("job")
    keeper.now += CROWDED_WAIT
    keeper.rest()
    assert len(keeper.there) == 9


def test_a_use_between_look_and_removal_counts(keep: Callable[..., Keeper]) -> None:
    """The list of what may go is old by the time that it is used."""
    keeper = keep(store=20 * SIZE)
    keys = [keeper.put(number, used=float(number)) for number in range(10)]
    keeper.rest()
    keeper.store.hold("job", keys[:3])
    keeper.store.release("job")
    for number in range(10, 21):
        keeper.put(number, used=1e9)
    keeper.rest()
    assert keeper.there == [0, 1, 2, *range(6, 21)]


def test_a_need_between_look_and_removal_counts(keep: Callable[..., Keeper]) -> None:
    """Also where the use is too fresh to be noted."""
    keeper = keep(store=20 * SIZE)
    keys = [keeper.put(number, used=1e9 - 100 + number) for number in range(10)]
    keeper.rest()
    keeper.store.hold("job", keys[:3])
    for number in range(10, 21):
        keeper.put(number, used=1e9)
    keeper.rest()
    assert keeper.there == [0, 1, 2, *range(6, 21)]


def test_only_entries_count_and_go(keep: Callable[..., Keeper]) -> None:
    """What somebody else has put there stays, and is no part of the size."""
    keeper = keep(store=2 * SIZE)
    folder = keeper.store.folder
    foreign = [
        *(folder / "README", folder / "00" / "notes.txt", folder / "00" / ("ff" * 32), folder / "00" / ("0" * 63)),
        *(folder / "tmp" / f"{5:064x}", folder / "staging" / "7"),
    ]
    (folder / "tmp").mkdir()
    for path in foreign:
        path.write_bytes(b"x" * SIZE * 9)
        os.utime(path, (0, 0))
    link = folder / "00" / f"{77:064x}"
    link.symlink_to(folder / "README")
    os.utime(link, (0, 0), follow_symlinks=False)
    for number in range(4):
        keeper.put(number, used=1e9)
    keeper.rest()
    assert all(path.exists() for path in (*foreign, link))
    assert take_stock(folder, (), 9).size == SIZE
    assert take_stock(folder, (), 9).entries == 1


def test_a_store_gives_way_where_the_disk_runs_short(keep: Callable[..., Keeper]) -> None:
    """It frees what is missing, and not the same again while that is being done."""
    keeper = keep()
    for number in range(100):
        keeper.put(number, used=float(number))
    keeper.rest()
    keeper.now += 60.0
    keeper.short = 40 * SIZE
    keeper.rest()
    assert keeper.there == [*range(40, 100)]
    keeper.short = 0
    keeper.now += 60.0
    keeper.rest()
    assert len(keeper.there) == 60


def test_a_turn_removes_few_entries(keep: Callable[..., Keeper]) -> None:
    """The loop has other things to do."""
    keeper = keep(store=SIZE)
    for number in range(ENTRIES_A_TURN * 4):
        keeper.put(number, used=1e9)
    assert keeper.rest() >= 4


def test_more_than_a_look_names_goes_as_well(keep: Callable[..., Keeper], monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory for names is bounded, what may go is not."""
    monkeypatch.setattr(housekeeping, "CANDIDATES", 7)
    keeper = keep(store=10 * SIZE)
    for number in range(100):
        keeper.put(number, used=float(number))
    keeper.rest()
    assert keeper.there == [*range(91, 100)]


def test_the_size_is_put_right_by_a_look(keep: Callable[..., Keeper]) -> None:
    """Somebody may have removed entries, and a restart counts anew."""
    keeper = keep(store=30 * SIZE)
    for number in range(20):
        keeper.put(number, used=float(number))
    keeper.rest()
    for number in range(15):
        keeper.store.path(f"{number:064x}").unlink()
    keeper.now += STOCK_INTERVAL
    keeper.rest()
    for number in range(100, 120):
        keeper.put(number, used=1e9)
    keeper.rest()
    assert len(keeper.there) == 25


def test_what_comes_during_a_look_is_counted(keep: Callable[..., Keeper]) -> None:
    """It may have been seen or not; a store that is thought too small would outgrow its bound."""
    keeper = keep(store=10 * SIZE)
    keeper.keeping.tick(keeper.now)
    keeper.errands.pop()()
    for number in range(12):
        keeper.put(number, used=float(number))
    keeper.keeping.stock_taken(keeper.mail.pop())
    keeper.now += CROWDED_WAIT
    keeper.rest()
    assert len(keeper.there) == 9


def test_an_entry_that_can_not_be_removed_holds_up_nothing(keep: Callable[..., Keeper]) -> None:
    """It is told once, and others go in its place."""
    keeper = keep(store=4 * SIZE)
    for number in (1, 2, 3):
        keeper.put(number, used=1e9 + number)
    stuck = [keeper.store.path(keeper.put(number, used=0.0)) for number in (4, 5)]
    keeper.keeping.tick(keeper.now)
    keeper.errands.pop()()
    for path in stuck:  # unlink() refuses a folder, to root as well
        path.unlink()
        path.mkdir()
        os.utime(path, (0, 0))
    with structlog.testing.capture_logs() as log:
        keeper.keeping.stock_taken(keeper.mail.pop())
        keeper.rest()
    assert [event["event"] for event in log].count("store_entry_stays") == 1
    assert keeper.there == [3, 4, 5]


def test_a_use_is_noted_once_an_hour(keep: Callable[..., Keeper]) -> None:
    """A long job that is spoken again and again must not write thousands of inodes each time."""
    keeper = keep()
    key = keeper.put(1, used=1e9)
    path = keeper.store.path(key)
    keeper.wall = 1e9 + 3599
    keeper.store.hold("job", [key])
    assert path.stat().st_mtime == 1e9
    keeper.wall = 1e9 + 3601
    keeper.store.hold("job", [key])
    assert path.stat().st_mtime == 1e9 + 3601
    keeper.wall = 5e8  # the clock was wrong before, or is now
    keeper.store.hold("job", [key])
    assert path.stat().st_mtime == 5e8


def deliver(ledger: Ledger, ended: list[float]) -> None:
    """Jobs that have ended at these times."""
    spec = JobSpec((Scene("1", "Hello.", "en_US-joe-medium"),), name="hello")
    for end in ended:
        number = ledger.last_seq() + 1
        accepted = ledger.accept(
            Job(
                f"{number:026}", 0, b"a.txt", b"/a.txt", 1, "", f"story-{number}", JobState.QUEUED, 5, 0, 1.0, spec=spec
            )
        )
        ended_job = replace(accepted, state=JobState.CANCELLED, finished_at=end)
        ledger.save(ended_job)
        ledger.save(replace(ended_job, delivered=True))
    ledger.commit()


def left(ledger: Ledger) -> list[float | None]:
    return [job.finished_at for job in ledger.since(0)]


def test_old_jobs_are_forgotten(keep: Callable[..., Keeper], ledger: Ledger) -> None:
    """Days after their end, and from hour to hour; the newest stays."""
    keeper = keep(days=2)
    deliver(ledger, [1e9 - 3 * DAY, 1e9 - DAY, 1e9 - 3 * DAY, 1e9])
    keeper.rest()
    assert left(ledger) == [1e9 - DAY, 1e9]
    keeper.wall += 5 * DAY
    keeper.rest()
    assert len(left(ledger)) == 2
    keeper.now += FORGET_INTERVAL
    keeper.rest()
    assert left(ledger) == [1e9]


def test_no_more_jobs_are_remembered_than_wanted(keep: Callable[..., Keeper], ledger: Ledger) -> None:
    """Those that have ended last stay; a turn takes few, and commits them with what else it decides."""
    keeper = keep(jobs=100)
    number = ROWS_A_TURN * 2 + 150
    deliver(ledger, [float(end) for end in range(number)])
    keeper.keeping.tick(keeper.now)
    assert ledger.commit()
    assert ledger.totals().kept == number - ROWS_A_TURN
    assert keeper.keeping.next_due() > keeper.now, "an fsync each must not keep the loop from its work"
    with structlog.testing.capture_logs() as log:
        assert keeper.rest() >= 2
    assert left(ledger) == [float(end) for end in range(number - 100, number)]
    assert [event["jobs"] for event in log if event["event"] == "jobs_forgotten"] == [number - 100]
    ledger.commit()
    keeper.now += FORGET_INTERVAL
    keeper.rest()
    assert not ledger.commit(), "where nothing is to be forgotten nothing is written"


def test_without_bounds_nothing_is_forgotten(keep: Callable[..., Keeper], ledger: Ledger) -> None:
    """0 is for ever; new bounds count at once."""
    keeper = keep()
    deliver(ledger, [0.0, 1.0, 2.0])
    keeper.rest()
    assert len(left(ledger)) == 3
    keeper.keeping.bounds = Bounds(0, 0, 1)
    keeper.rest()
    assert left(ledger) == [2.0]


def stored(box: Box) -> int:
    return sum(path.stat().st_size for path in (box.state / "store").glob("??/*"))


def test_a_daemon_keeps_its_store_within_the_bound(tmp_path: Path) -> None:
    """Jobs that together need ten times as much as the store may have all end well, and new settings count at once."""
    bound = 100_000
    box = Box(tmp_path, {"store": {"max_bytes": bound}})
    for number in range(30):
        box.drop(f"{number}.txt", f"This is text {number}. It rains. It has {number} words.")
    with ThreadDaemon(box) as daemon:
        for number in range(30):
            assert box.final(f"{number}.json")["state"] == "done"
        wait_for(lambda: stored(box) <= bound, "room in the store")
        kept = stored(box)
        box.configure({"store": {"max_bytes": kept // 2}, "retention": {"jobs": 4}})
        daemon.service.post_signal(signal.SIGHUP)
        wait_for(lambda: stored(box) <= kept // 2, "room in a smaller store")
    assert not daemon.service._parts.housekeeping.store.held()
    with closing(Ledger(box.state / "ledger.sqlite3", read_only=True)) as ledger:
        assert ledger.totals().kept == 4
        assert ledger.totals().delivered == 30
    box.check_outputs()


def checked(box: Box, what: str) -> list[str]:
    findings = json.loads(piperd("check", "--json", box=box).stdout)
    return [finding["message"] for finding in findings if finding["what"] == what]


def test_check_tells_what_is_kept_and_of_what_use_it_was(tmp_path: Path) -> None:
    """Size, bound and hit rate of the store, and the jobs in the ledger; the rate is of all jobs, forgotten or not."""
    box = Box(tmp_path, {"store": {"max_bytes": 3 << 30}})
    assert checked(box, "store") == ["0 spoken utterances take 0 bytes of 3.0 GiB."]
    assert checked(box, "ledger") == []
    for number in range(4):
        box.drop(f"{number}.txt", "It rains. It pours.")
        with ThreadDaemon(box, drain=True) as daemon:
            daemon.join()
    box.configure({"retention": {"jobs": 1}, "store": {"max_bytes": 0}})
    with ThreadDaemon(box, drain=True) as daemon:
        daemon.join()
    size = f"{stored(box) / 1024:,.1f} KiB"
    assert checked(box, "store") == [
        f"2 spoken utterances take {size} without a bound.",
        "75.0 % of 8 utterances were there already.",
    ]
    (found,) = checked(box, "ledger")
    assert re.fullmatch(r"1 jobs, 0 of them not delivered, in [0-9.,]+ KiB; 3 older ones are forgotten\.", found)


def test_check_says_what_is_wrong_with_what_is_kept(tmp_path: Path) -> None:
    """A ledger that can't be used is a fault, said in one sentence."""
    box = Box(tmp_path)
    (box.state / "ledger.sqlite3").write_text("no ledger, but long enough to be looked at\n" * 50)
    (found,) = checked(box, "ledger")
    assert "can't be opened" in found
