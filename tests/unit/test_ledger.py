"""The ledger: what it keeps, what it refuses."""

from __future__ import annotations

import re
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from piperd.errors import Code, ConfigurationError, Failure
from piperd.job import MOVES, IllegalMoveError, Job, JobSpec, JobState, Scene
from piperd.ledger import FORMAT, SPARE_PAGES, WAL_BYTES, Ledger, NewerLedgerError, Totals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SPEC = JobSpec((Scene("1", "Hello.", "en_US-joe-medium"),), name="hello", metadata={"k": "ب"})


def job(number: int = 1, **changes: object) -> Job:
    """A queued job."""
    made = Job(
        job_id=f"{number:026}",
        seq=0,
        source=b"sub/\xff.txt",
        claimed=b"/in/.piperd/1/sub/\xff.txt",
        size=12,
        folder="sub",
        stem=f"story-{number}",
        state=JobState.QUEUED,
        priority=5,
        attempt=0,
        accepted_at=1.5,
        spec=SPEC,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger(tmp_path / "ledger.sqlite3")) as opened:
        yield opened


def test_a_job_comes_back_as_it_was_written(tmp_path: Path, ledger: Ledger) -> None:
    """All fields survive a restart, names that are no UTF-8 among them."""
    failure = Failure(Code.TIMEOUT, "Too long.", "Split it.", field="timeout", scene="1")
    written = ledger.accept(job())
    ledger.save(replace(written, state=JobState.RUNNING, attempt=1, started_at=2.0, result={"audio": {"file": "a"}}))
    ended = replace(written, state=JobState.FAILED, failure=failure, finished_at=3.0, run_s=1.0, wait_s=0.5)
    ledger.save(ended)
    ledger.commit()
    ledger.close()
    with closing(Ledger(tmp_path / "ledger.sqlite3")) as again:
        assert again.get(written.job_id) == ended


def test_what_is_not_committed_is_not_there(tmp_path: Path, ledger: Ledger) -> None:
    """A turn is one transaction: all of it, or nothing."""
    ledger.accept(job(1))
    ledger.commit()
    ledger.accept(job(2))
    ledger.close()
    with closing(Ledger(tmp_path / "ledger.sqlite3")) as again:
        assert [each.stem for each in again.undelivered()] == ["story-1"]


def test_commits_are_durable(ledger: Ledger) -> None:
    """WAL with full fsync, as the promise says."""
    assert ledger._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert ledger._db.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_two_open_jobs_never_share_a_name(ledger: Ledger) -> None:
    """Also where only letter case differs; a delivered job gives its name free."""
    first = ledger.accept(job(1, stem="Story"))
    with pytest.raises(sqlite3.IntegrityError):
        ledger.accept(job(2, stem="sTORY"))
    assert ledger.name_taken("sub", "story")
    assert not ledger.name_taken("", "story")
    ledger.save(replace(first, state=JobState.FAILED, delivered=True))
    assert not ledger.name_taken("sub", "story")
    before = ledger.last_published("sub", "story")
    assert before is not None
    assert before.job_id == first.job_id


def test_a_reader_needs_no_daemon_and_can_not_write(tmp_path: Path, ledger: Ledger) -> None:
    """`piperd status` reads beside the daemon, and changes nothing."""
    ledger.accept(job())
    ledger.commit()
    with closing(Ledger(tmp_path / "ledger.sqlite3", read_only=True)) as reader:
        assert reader.counts()[JobState.QUEUED] == 1
        with pytest.raises(sqlite3.OperationalError):
            reader.accept(job(2))


def test_a_newer_ledger_is_refused(tmp_path: Path, ledger: Ledger) -> None:
    """An older program does not touch what a newer one wrote."""
    ledger._db.execute(f"PRAGMA user_version = {FORMAT + 1}")
    ledger.close()
    with pytest.raises(NewerLedgerError, match="newer"):
        Ledger(tmp_path / "ledger.sqlite3")


def test_another_file_is_no_ledger(tmp_path: Path) -> None:
    """A file that is not ours ends in one sentence, and stays as it is."""
    path = tmp_path / "ledger.sqlite3"
    path.write_text("not a database, but long enough to be looked at\n" * 10)
    with pytest.raises(ConfigurationError, match="can't be opened"):
        Ledger(path)
    assert path.read_text().startswith("not a database")


FOREVER = 1e12


def deliver(ledger: Ledger, number: int, **changes: object) -> Job:
    """The whole life of a job."""
    accepted = ledger.accept(job(number))
    running = ledger.save(replace(accepted, state=JobState.RUNNING, utterances=10, from_store=3))
    done = ledger.save(replace(running, state=JobState.DONE, finished_at=float(number), wait_s=0.1))
    return ledger.save(replace(done, delivered=True, **changes))  # type: ignore[arg-type]


def test_delivered_jobs_are_forgotten_the_longest_ended_first(ledger: Ledger) -> None:
    """Open ones never are, nor the newest: its place in the order would be given twice."""
    for number, ended in ((1, 5.0), (2, 1.0), (3, 9.0)):
        deliver(ledger, number, finished_at=ended)
    ledger.save(replace(ledger.accept(job(4)), state=JobState.FAILED, finished_at=0.0))
    deliver(ledger, 5, finished_at=0.0)
    assert ledger.forget(5.0, 100) == 1
    assert ledger.get(f"{2:026}") is None
    assert ledger.forget(FOREVER, 1) == 1
    assert ledger.get(f"{1:026}") is None
    assert ledger.forget(FOREVER, -5) == 0
    assert ledger.forget(FOREVER, 100) == 1
    assert ledger.forget(FOREVER, 100) == 0
    assert [each.stem for each in ledger.newest(9)] == ["story-5", "story-4"]
    assert ledger.accept(job(6)).seq == 6


def test_totals_outlive_what_is_forgotten(tmp_path: Path, ledger: Ledger) -> None:
    """The hit rate is that of all jobs; what was not committed counts for nothing."""
    for number in range(1, 6):
        deliver(ledger, number)
    ledger.accept(job(6))
    ledger.forget(FOREVER, 2)
    ledger.commit()
    deliver(ledger, 7)
    ledger.forget(FOREVER, 2)
    ledger.close()
    with closing(Ledger(tmp_path / "ledger.sqlite3")) as again:
        assert again.totals() == Totals(delivered=5, forgotten=2, utterances=50, from_store=15)
        assert again.totals().kept == 3
        assert again.counts() == dict.fromkeys(JobState, 0) | {JobState.DONE: 3, JobState.QUEUED: 1}


def test_a_job_that_is_saved_again_counts_once(ledger: Ledger) -> None:
    """Every step may be done twice."""
    delivered = deliver(ledger, 1)
    ledger.save(delivered)
    assert ledger.totals().delivered == 1


def steps(ledger: Ledger) -> dict[str, int]:
    """Instructions of SQLite's machine for all that daemon and commands ask of a ledger."""
    found = {}
    number = 900_000 + ledger.last_seq()
    calls: dict[str, Callable[[], object]] = {
        "accept": lambda: ledger.accept(job(number)),
        "name_taken": lambda: ledger.name_taken("sub", f"story-{number}"),
        "last_published": lambda: ledger.last_published("sub", "story-3"),
        "get": lambda: ledger.get(f"{number:026}"),
        "save": lambda: ledger.save(job(number, state=JobState.RUNNING)),
        "end": lambda: ledger.save(job(number, state=JobState.DONE, finished_at=1.0)),
        "deliver": lambda: ledger.save(job(number, state=JobState.DONE, finished_at=1.0, delivered=True)),
        "undelivered": lambda: list(ledger.undelivered()),
        "newest": lambda: ledger.newest(20),
        "newest done": lambda: ledger.newest(20, [JobState.DONE]),
        "newest running": lambda: ledger.newest(20, [JobState.RUNNING]),
        "last_seq": ledger.last_seq,
        "since": lambda: ledger.since(ledger.last_seq() - 1),
        "counts": ledger.counts,
        "totals": ledger.totals,
        "averages": ledger.averages,
        "forget": lambda: ledger.forget(FOREVER, 10),
        "nothing to forget": lambda: ledger.forget(0.0, 10),
        "shrink": lambda: ledger.shrink(10),
    }
    for name, call in calls.items():
        taken = 0

        def step() -> int:
            nonlocal taken
            taken += 1
            return 0

        ledger._db.set_progress_handler(step, 1)
        call()
        ledger._db.set_progress_handler(None, 0)
        found[name] = taken
    return found


def test_no_question_costs_more_when_more_jobs_are_done(ledger: Ledger) -> None:
    """Nothing that the daemon does with its ledger, nor any command, looks at all that was ever done."""
    for number in range(1, 151):
        deliver(ledger, number)
    before = steps(ledger)
    for number in range(151, 3001):
        deliver(ledger, number)
    after = steps(ledger)
    assert {name: (few, after[name]) for name, few in before.items() if after[name] > few + 20} == {}


def test_no_statement_looks_at_all_jobs(ledger: Ledger) -> None:
    """Every plan of SQLite uses an index, but for the newest jobs, which are read from the end."""
    deliver(ledger, 1)
    seen: list[str] = []
    ledger._db.set_trace_callback(seen.append)
    steps(ledger)
    ledger._db.set_trace_callback(None)
    plans = {
        (statement, row["detail"])
        for statement in seen
        if statement.split()[0] in {"SELECT", "INSERT", "UPDATE", "DELETE"}
        for row in ledger._db.execute(f"EXPLAIN QUERY PLAN {statement}")
    }
    scans = {(statement, detail) for statement, detail in plans if re.match("SCAN jobs(?!.*jobs_undelivered)", detail)}
    assert len(plans) > 15
    assert [statement.partition(" FROM ")[2] for statement, _ in scans] == ["jobs  ORDER BY seq DESC LIMIT 20"]


def test_the_file_shrinks_in_small_steps(tmp_path: Path, ledger: Ledger) -> None:
    """What was forgotten gives its room back to the disk, but for what new jobs soon need."""
    path = tmp_path / "ledger.sqlite3"
    for number in range(1, 801):
        deliver(ledger, number, result={"scenes": "x" * 8000})
    ledger.commit()
    assert not ledger.shrink(64)
    ledger._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    large = path.stat().st_size
    while ledger.forget(FOREVER, 200):
        ledger.commit()
    pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
    assert ledger.shrink(64)
    ledger.commit()
    assert ledger._db.execute("PRAGMA page_count").fetchone()[0] == pages - 64
    while ledger.shrink(64):
        ledger.commit()
    ledger._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert path.stat().st_size < large / 4
    assert ledger._db.execute("PRAGMA freelist_count").fetchone()[0] >= SPARE_PAGES // 2


def test_the_write_ahead_log_does_not_keep_its_largest_size(tmp_path: Path, ledger: Ledger) -> None:
    """One large transaction must not leave a large file for months."""
    log = tmp_path / "ledger.sqlite3-wal"
    accepted = ledger.accept(job(1))
    for _ in range(3):
        ledger.accept(job(accepted.seq + 1, spec=replace(SPEC, metadata={"text": "x" * WAL_BYTES})))
        accepted = replace(accepted, seq=accepted.seq + 1)
    ledger.commit()
    assert log.stat().st_size > 2 * WAL_BYTES
    for number in range(10, 14):
        ledger.accept(job(number))
        ledger.commit()
    assert log.stat().st_size <= WAL_BYTES


class LedgerMachine(RuleBasedStateMachine):
    """Random lives of jobs, with crashes: the ledger holds what was committed and makes legal moves only."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "ledger.sqlite3"
        self.ledger = Ledger(self.path)
        self.committed: dict[str, Job] = {}
        self.current: dict[str, Job] = {}
        self.number = 0

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()

    @rule(target=jobs)
    def accept(self) -> str:
        self.number += 1
        accepted = self.ledger.accept(job(self.number))
        self.current[accepted.job_id] = accepted
        return accepted.job_id

    @rule(job_id=jobs, to=st.sampled_from(JobState))
    def move(self, job_id: str, to: JobState) -> None:
        before = self.current.get(job_id)
        if before is None:
            return
        moved = replace(before, state=to, run_s=before.run_s + 1)
        if to is before.state or to in MOVES[before.state]:
            self.current[job_id] = self.ledger.save(moved)
        else:
            with pytest.raises(IllegalMoveError):
                self.ledger.save(moved)

    @rule(most=st.integers(min_value=0, max_value=3))
    def forget(self, most: int) -> None:
        newest = max((each.seq for each in self.current.values()), default=0)
        gone = [each.job_id for each in self.current.values() if each.delivered and each.seq < newest][:most]
        assert self.ledger.forget(FOREVER, most) == len(gone)
        for job_id in gone:
            del self.current[job_id]
            assert self.ledger.get(job_id) is None

    @rule()
    def commit(self) -> None:
        self.ledger.commit()
        self.committed = dict(self.current)

    @rule()
    def crash(self) -> None:
        self.ledger.close()
        self.ledger = Ledger(self.path)
        self.current = dict(self.committed)

    @rule(job_id=consumes(jobs))
    def deliver(self, job_id: str) -> None:
        before = self.current.get(job_id)
        if before is not None and before.state.final:
            self.current[job_id] = self.ledger.save(replace(before, delivered=True, finished_at=float(before.seq)))

    @invariant()
    def agrees(self) -> None:
        for job_id, expected in self.current.items():
            assert self.ledger.get(job_id) == expected
        undelivered = [each.job_id for each in self.ledger.undelivered()]
        assert undelivered == [each.job_id for each in self.current.values() if not each.delivered]
        counts = self.ledger.counts()
        assert self.ledger.totals().kept == sum(each.delivered for each in self.current.values())
        for state in JobState:
            assert counts[state] == sum(each.state is state for each in self.current.values())


LedgerMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
TestLedgerMachine = LedgerMachine.TestCase
