"""The ledger: what it keeps, what it refuses."""

from __future__ import annotations

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
from piperd.ledger import FORMAT, Ledger, NewerLedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator

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
            self.current[job_id] = self.ledger.save(replace(before, delivered=True))

    @invariant()
    def agrees(self) -> None:
        for job_id, expected in self.current.items():
            assert self.ledger.get(job_id) == expected
        undelivered = [each.job_id for each in self.ledger.undelivered()]
        assert undelivered == [each.job_id for each in self.current.values() if not each.delivered]
        counts = self.ledger.counts()
        for state in JobState:
            assert counts[state] == sum(each.state is state for each in self.current.values())


LedgerMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
TestLedgerMachine = LedgerMachine.TestCase
