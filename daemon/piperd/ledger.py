"""The SQLite file that knows every job and its state: the only truth. Local disk only; one writer, the main thread.

What a turn of the main loop decides is written in one transaction and committed with full fsync, before anything
that follows from it is done. Where the disk takes no more, the ledger waits until it does: it forgets nothing of the
transaction, and nothing that follows from it is done meanwhile.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from piperd.errors import ConfigurationError, Failure
from piperd.job import MOVES, IllegalMoveError, Job, JobSpec, JobState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    Statement = tuple[str, dict[str, Any]]

FORMAT = 4
"""PRAGMA user_version: raised with every change of the tables."""

WAL_BYTES = 16 << 20
"""What the write-ahead log is cut to once it was copied into the ledger; without this it keeps its largest size."""
SPARE_PAGES, SPARE_SHARE = 256, 4
"""Free pages that are kept for the next jobs, and which part of the file may be free."""

PASSING = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
"""What SQLite says of a disk that is full or failing; it may be mended."""
SCHEMA = """
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY,
    job_id TEXT NOT NULL UNIQUE,
    source BLOB NOT NULL,
    claimed BLOB NOT NULL,
    size INTEGER NOT NULL,
    folder TEXT NOT NULL,
    stem TEXT NOT NULL,
    stem_key TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    delivered INTEGER NOT NULL DEFAULT 0,
    priority INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    accepted_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL,
    wait_s REAL,
    run_s REAL NOT NULL DEFAULT 0,
    utterances INTEGER NOT NULL DEFAULT 0,
    spoken INTEGER NOT NULL DEFAULT 0,
    from_store INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    charges TEXT,
    fallbacks TEXT,
    spec TEXT,
    result TEXT,
    failure TEXT
) STRICT;
CREATE INDEX jobs_by_state ON jobs (state, seq);
CREATE INDEX jobs_undelivered ON jobs (seq) WHERE delivered = 0;
-- two open jobs never share a name; Windows and macOS see no difference in letter case
CREATE UNIQUE INDEX names_of_open_jobs ON jobs (folder, stem_key) WHERE delivered = 0;
CREATE INDEX names ON jobs (folder, stem_key, seq);
CREATE INDEX jobs_by_end ON jobs (finished_at) WHERE delivered = 1;
-- what was ever delivered, so that no question about all jobs has to look at all of them
CREATE TABLE totals (
    state TEXT PRIMARY KEY,
    delivered INTEGER NOT NULL DEFAULT 0,
    forgotten INTEGER NOT NULL DEFAULT 0,
    utterances INTEGER NOT NULL DEFAULT 0,
    from_store INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
INSERT INTO totals (state) VALUES ('done'), ('failed'), ('cancelled');
CREATE TRIGGER job_delivered AFTER UPDATE OF delivered ON jobs WHEN NEW.delivered > OLD.delivered BEGIN
    UPDATE totals SET delivered = delivered + 1, utterances = utterances + NEW.utterances,
        from_store = from_store + NEW.from_store WHERE state = NEW.state;
END;
CREATE TRIGGER job_forgotten AFTER DELETE ON jobs WHEN OLD.delivered BEGIN
    UPDATE totals SET forgotten = forgotten + 1 WHERE state = OLD.state;
END;
"""

COLUMNS = (
    "seq, job_id, source, claimed, size, folder, stem, state, delivered, priority, attempt, accepted_at, started_at, "
    "finished_at, wait_s, run_s, utterances, spoken, from_store, crashes, charges, fallbacks, result, failure"
)


FORGETTABLE = """
SELECT seq FROM jobs WHERE delivered = 1 AND finished_at < :before AND seq < (SELECT max(seq) FROM jobs)
ORDER BY finished_at LIMIT :most
"""
FORGET = "DELETE FROM jobs WHERE seq IN (SELECT value FROM json_each(:seqs))"


@dataclass(frozen=True, slots=True)
class Totals:
    """Of all jobs that were ever delivered, whether the ledger still has them or not."""

    delivered: int
    forgotten: int
    """That it no longer has."""
    utterances: int
    from_store: int
    """How many of those had been spoken before."""

    @property
    def kept(self) -> int:
        """Delivered jobs that the ledger has."""
        return self.delivered - self.forgotten


class NewerLedgerError(ConfigurationError):
    """The file was written by a later version."""


def _give_up(error: sqlite3.OperationalError) -> None:
    raise error


class Ledger:
    """All jobs. Writes gather in a transaction until `commit`."""

    def __init__(
        self, path: Path, *, read_only: bool = False, wait: Callable[[sqlite3.OperationalError], None] = _give_up
    ) -> None:
        """Open, creating the tables if there are none. Raises `ConfigurationError` for a file that is no ledger.

        `wait` is called each time that the disk refuses a write; it comes back when another try is due, or raises to
        give up. Then nothing of the transaction has happened.
        """
        self._wait = wait
        self._written: list[Statement] = []
        while True:
            try:
                self._db = self._opened(path, read_only=read_only)
            except sqlite3.OperationalError as error:
                if read_only or error.sqlite_errorcode & 0xFF not in PASSING:
                    raise ConfigurationError(f"The ledger {path} can't be opened: {error}.") from error
                wait(error)
            except sqlite3.Error as error:
                raise ConfigurationError(f"The ledger {path} can't be opened: {error}.") from error
            else:
                return

    def _opened(self, path: Path, *, read_only: bool) -> sqlite3.Connection:
        uri = f"file:{quote(str(path.absolute()))}?mode={'ro' if read_only else 'rwc'}"
        database = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10)
        try:
            database.row_factory = sqlite3.Row
            if not read_only:
                database.execute("PRAGMA auto_vacuum = INCREMENTAL")  # counts before there are tables
                database.execute("PRAGMA journal_mode = WAL")
                database.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
                database.execute("PRAGMA synchronous = FULL")
            _check_format(database, path, create=not read_only)
        except BaseException:
            database.close()
            raise
        return database

    def close(self) -> None:
        self._db.close()

    def commit(self) -> bool:
        """Make all that was written since the last commit durable; False if there was nothing."""
        if not self._written:
            return False
        try:
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._write_again(self._written, error, commit=True)
        self._written.clear()
        return True

    def accept(self, job: Job) -> Job:
        """Insert a new job; gives it back with its place in the order."""
        values = {**_columns(job), "spec": job.spec.as_json() if job.spec else None}
        del values["seq"]
        names = ", ".join(values)
        marks = ", ".join(f":{name}" for name in values)
        cursor = self._write(f"INSERT INTO jobs ({names}) VALUES ({marks})", values)  # noqa: S608 - names are ours
        assert cursor.lastrowid is not None
        return replace(job, seq=cursor.lastrowid)

    def save(self, job: Job) -> Job:
        """Write what has changed of a job (all but its spec). Refuses a state that the last one does not lead to."""
        values = _columns(job)
        before = [state.value for state in JobState if job.state in MOVES[state]] + [job.state.value]
        states = ", ".join(f"'{state}'" for state in before)
        sets = ", ".join(f"{name} = :{name}" for name in values if name not in {"seq", "job_id"})
        cursor = self._write(f"UPDATE jobs SET {sets} WHERE job_id = :job_id AND state IN ({states})", values)  # noqa: S608
        if cursor.rowcount != 1:
            raise IllegalMoveError(f"job {job.job_id} can't become {job.state}")
        return job

    def get(self, job_id: str) -> Job | None:
        """One job with its spec."""
        row = self._db.execute(f"SELECT {COLUMNS}, spec FROM jobs WHERE job_id = ?", (job_id,)).fetchone()  # noqa: S608
        return _job(row, row["spec"]) if row else None

    def undelivered(self) -> Iterator[Job]:
        """All jobs with which something is still to be done, without their specs, in order of acceptance."""
        for row in self._db.execute(f"SELECT {COLUMNS} FROM jobs WHERE delivered = 0 ORDER BY seq"):  # noqa: S608
            yield _job(row, None)

    def newest(self, limit: int, states: Iterable[JobState] = ()) -> list[Job]:
        """The last `limit` jobs, newest first, without their specs; only those in `states`, if given."""
        wanted = [state.value for state in states]
        among = f"WHERE state IN ({', '.join('?' * len(wanted))})" if wanted else ""
        query = f"SELECT {COLUMNS} FROM jobs {among} ORDER BY seq DESC LIMIT ?"  # noqa: S608 - names are ours
        rows = self._db.execute(query, (*wanted, limit))
        return [_job(row, None) for row in rows]

    def last_seq(self) -> int:
        """The place of the newest job in the order; 0 where there is none."""
        (seq,) = self._db.execute("SELECT coalesce(max(seq), 0) FROM jobs").fetchone()
        return int(seq)

    def since(self, seq: int) -> list[Job]:
        """The jobs accepted after the one at `seq`, without their specs."""
        rows = self._db.execute(f"SELECT {COLUMNS} FROM jobs WHERE seq > ? ORDER BY seq", (seq,))  # noqa: S608
        return [_job(row, None) for row in rows]

    def name_taken(self, folder: str, stem_key: str) -> bool:
        """Whether a job that is not delivered yet has this name."""
        query = "SELECT 1 FROM jobs WHERE delivered = 0 AND folder = ? AND stem_key = ?"
        return self._db.execute(query, (folder, stem_key)).fetchone() is not None

    def last_published(self, folder: str, stem_key: str) -> Job | None:
        """The job that last published under a name."""
        row = self._db.execute(
            f"SELECT {COLUMNS} FROM jobs WHERE folder = ? AND stem_key = ? AND delivered = 1 ORDER BY seq DESC LIMIT 1",  # noqa: S608
            (folder, stem_key),
        ).fetchone()
        return _job(row, None) if row else None

    def counts(self) -> dict[JobState, int]:
        """How many jobs are in each state."""
        rows = self._db.execute(
            "SELECT state, count(*) AS n FROM jobs INDEXED BY jobs_undelivered WHERE delivered = 0 GROUP BY state "
            "UNION ALL SELECT state, delivered - forgotten FROM totals"
        )
        found = dict.fromkeys(JobState, 0)
        for row in rows:
            found[JobState(row["state"])] += row["n"]
        return found

    def totals(self) -> Totals:
        """Of all jobs that were ever delivered."""
        row = self._db.execute(
            "SELECT sum(delivered) AS delivered, sum(forgotten) AS forgotten, sum(utterances) AS utterances, "
            "sum(from_store) AS from_store FROM totals"
        ).fetchone()
        return Totals(**dict(row))

    def forget(self, before: float, most: int) -> int:
        """Remove up to `most` delivered jobs that ended before this time, longest ago first; gives how many.

        The newest job stays, so that no place in the order is ever given twice.
        """
        rows = self._db.execute(FORGETTABLE, {"before": before, "most": max(0, most)})
        seqs = [row["seq"] for row in rows]
        if seqs:
            self._write(FORGET, {"seqs": json.dumps(seqs)})
        return len(seqs)

    def shrink(self, most: int) -> bool:
        """Give up to `most` free pages back to the disk, if there are more than new jobs may soon need."""
        (free,), (pages,) = (self._db.execute(f"PRAGMA {name}").fetchone() for name in ("freelist_count", "page_count"))
        spare = free - max(SPARE_PAGES, pages // SPARE_SHARE)
        for _ in range(min(spare, most)):
            self._write("PRAGMA incremental_vacuum(1)", {})  # sqlite3 would end any number after the first page
        return bool(spare > 0)

    def averages(self) -> dict[str, float | None]:
        """Mean wait and run of the last 100 jobs done, in seconds."""
        row = self._db.execute(
            "SELECT avg(wait_s) AS wait_s, avg(run_s) AS run_s FROM "
            "(SELECT wait_s, run_s FROM jobs WHERE state = 'done' ORDER BY seq DESC LIMIT 100)"
        ).fetchone()
        return {"wait_s": row["wait_s"], "run_s": row["run_s"]}

    def _write(self, statement: str, values: dict[str, Any]) -> sqlite3.Cursor:
        try:
            if not self._db.in_transaction:
                self._db.execute("BEGIN IMMEDIATE")
            cursor = self._db.execute(statement, values)
        except sqlite3.OperationalError as error:
            cursor = self._write_again([*self._written, (statement, values)], error)
        self._written.append((statement, values))
        return cursor

    def _write_again(
        self, statements: Sequence[Statement], error: sqlite3.OperationalError, *, commit: bool = False
    ) -> sqlite3.Cursor:
        """The disk is full or failing: do the whole transaction anew until it succeeds; gives the last cursor.

        Anew, since SQLite may have rolled it back by itself, and since pages that a failed fsync has left clean in
        the kernel's memory are only written to disk when they are written to again.
        """
        while True:
            self._wait(error)
            try:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._db.execute("BEGIN IMMEDIATE")
                for statement, values in statements:
                    cursor = self._db.execute(statement, values)
                if commit:
                    self._db.execute("COMMIT")
            except sqlite3.OperationalError as again:
                error = again
            else:
                return cursor


def _check_format(database: sqlite3.Connection, path: Path, *, create: bool) -> None:
    (found,) = database.execute("PRAGMA user_version").fetchone()
    if found == 0 and create:
        database.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;")
    elif found > FORMAT:
        raise NewerLedgerError(
            f"The ledger {path} has format {found}, this piperd knows {FORMAT}; install a newer one."
        )
    elif 0 < found < FORMAT:
        raise ConfigurationError(f"The ledger {path} is of a trial version (format {found}); move it away.")
    elif found != FORMAT:
        raise ConfigurationError(f"{path} is no ledger of piperd.")


def stem_key(stem: str) -> str:
    """What must differ between two names in one folder: names that differ in letter case only are one to Windows."""
    return stem.casefold()


def _columns(job: Job) -> dict[str, Any]:
    return {
        "seq": job.seq,
        "job_id": job.job_id,
        "source": job.source,
        "claimed": job.claimed,
        "size": job.size,
        "folder": job.folder,
        "stem": job.stem,
        "stem_key": stem_key(job.stem),
        "state": job.state.value,
        "delivered": int(job.delivered),
        "priority": job.priority,
        "attempt": job.attempt,
        "accepted_at": job.accepted_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "wait_s": job.wait_s,
        "run_s": job.run_s,
        "utterances": job.utterances,
        "spoken": job.spoken,
        "from_store": job.from_store,
        "crashes": job.crashes,
        "charges": json.dumps(job.charges) if job.charges else None,
        "fallbacks": json.dumps({scene: failure.as_dict() for scene, failure in job.fallbacks.items()})
        if job.fallbacks
        else None,
        "result": json.dumps(job.result, ensure_ascii=False) if job.result is not None else None,
        "failure": json.dumps(job.failure.as_dict(), ensure_ascii=False) if job.failure else None,
    }


def _job(row: sqlite3.Row, spec: str | None) -> Job:
    fields = {key: row[key] for key in row.keys() if key != "spec"}  # noqa: SIM118 - a Row iterates over values
    fields["state"] = JobState(fields["state"])
    fields["delivered"] = bool(fields["delivered"])
    fields["charges"] = json.loads(fields["charges"] or "{}")
    fallbacks = json.loads(fields["fallbacks"] or "{}")
    fields["fallbacks"] = {int(scene): Failure.from_dict(failure) for scene, failure in fallbacks.items()}
    fields["result"] = json.loads(fields["result"]) if fields["result"] else None
    fields["failure"] = Failure.from_dict(json.loads(fields["failure"])) if fields["failure"] else None
    return Job(**fields, spec=JobSpec.from_json(spec) if spec else None)
