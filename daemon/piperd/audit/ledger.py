"""The ledger: whether it is sound, and agrees with itself."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from piperd.audit.files import family
from piperd.audit.values import COUNTS, ENDED, OPEN, error_fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from piperd.audit.values import Examination

ATTEMPTS = 3
"""Of a job that does not say how many it may have."""
COPIES = 10
"""Tries to copy the ledger of a daemon that works, between two of its checkpoints."""
PAUSE = 0.05
"""Seconds between them."""
JOBS = """
SELECT job_id, seq, source, folder, stem, state, delivered, attempt, finished_at, failure,
       json_extract(spec, '$.attempts') AS attempts, result
FROM jobs ORDER BY seq
"""
ACCEPTED = "SELECT count(*) FROM jobs NOT INDEXED"
TOTALS = """
SELECT state, delivered - forgotten AS kept, forgotten,
       (SELECT count(*) FROM jobs WHERE jobs.delivered AND jobs.state = totals.state) AS there
FROM totals
"""
SHARED = "SELECT name, count(*) AS jobs FROM jobs WHERE NOT delivered GROUP BY name HAVING count(*) > 1"


def examine(examination: Examination) -> None:
    """Note all jobs. Works on a copy: to read the original could change it."""
    report = examination.report
    path = examination.places.state / "ledger.sqlite3"
    with tempfile.TemporaryDirectory(prefix="piperd-audit-") as folder:
        copy = Path(folder) / path.name
        _copy(path, copy)
        if not copy.exists():
            report.add("ledger", f"{path} is not there")
            return
        try:
            with contextlib.closing(sqlite3.connect(copy)) as ledger:
                ledger.row_factory = sqlite3.Row
                for (verdict,) in ledger.execute("PRAGMA integrity_check"):
                    if verdict != "ok":
                        report.add("ledger", f"{path} is damaged: {verdict}")
                for job in ledger.execute(JOBS):
                    _see(job, examination)
                (report.counts["accepted"],) = ledger.execute(ACCEPTED).fetchone()
                for total in ledger.execute(TOTALS):
                    report.forgotten += total["forgotten"]
                    if total["kept"] != total["there"]:
                        what = f"{total['kept']} delivered jobs that are {total['state']}, and has {total['there']}"
                        report.add("ledger", f"it should have {what}")
        except (sqlite3.Error, ValueError, TypeError) as error:
            report.add("ledger", f"{path} can't be read: {error}")
    if report.counts["accepted"] != sum(report.counts[name] for name in COUNTS[1:]):
        report.add("ledger", f"the jobs in all states are not as many as were accepted: {report.counts}")
    for shared in examination.notes.execute(SHARED):
        report.add("duplicated", f"{shared['jobs']} open jobs are to publish {os.fsdecode(shared['name'])}")


def _copy(path: Path, copy: Path) -> None:
    """With the write-ahead log, which has what a killed daemon had committed last; SQLite brings both together.

    A log that grows meanwhile is sound up to where it was read; only a checkpoint, which writes to the ledger itself,
    makes the two unlike.
    """
    for _ in range(COPIES):
        before = _mark(path)
        for suffix in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
        if _mark(path) == before:
            return
        time.sleep(PAUSE)


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size


def _see(job: sqlite3.Row, examination: Examination) -> None:
    """Note a job, and see whether its row agrees with itself."""
    report, state = examination.report, job["state"]
    if state in (*OPEN, *ENDED):
        report.counts[state if state in ENDED else "open"] += 1
    audio = f"{job['folder']}/{job['stem']}.wav".lstrip("/")
    examination.notes.execute(
        "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(job["job_id"], job["seq"], state, job["delivered"], job["source"], os.fsencode(audio)),
            *(os.fsencode(audio.casefold()), family(audio), family(os.fsdecode(job["source"]))),
        ),
    )
    rows = [(job["job_id"], digest, sound) for digest, sound in _outputs(job)]
    examination.notes.executemany("INSERT OR IGNORE INTO outputs VALUES (?, ?, ?)", rows)
    for kind, fault in _faults(job, drained=examination.drained):
        report.add(kind, fault, job["job_id"])


def _outputs(job: sqlite3.Row) -> Iterator[tuple[str, bool]]:
    """The sha256 of each file that was rendered for a job, and whether it is one with sound."""
    result = json.loads(job["result"]) if job["result"] else None
    for part in [result, *result["scenes"]] if result else ():
        if part["audio"]:
            yield part["audio"]["sha256"], True
        for file in part["captions"].values():
            yield file["sha256"], False


def _faults(job: sqlite3.Row, *, drained: bool) -> Iterator[tuple[str, str]]:
    state, delivered = job["state"], job["delivered"]
    most = ATTEMPTS if job["attempts"] is None else job["attempts"]
    if not 0 <= job["attempt"] <= most:
        yield "attempts", f"it was tried {job['attempt']} times; {most} are allowed"
    if drained and not delivered:
        yield "lost", f"it is {state} and not delivered, though nothing is left to do"
    if state not in ENDED:
        if delivered:
            yield "ledger", f"it is delivered, but {state}"
        return
    if job["finished_at"] is None:
        yield "ledger", "it has ended, but at no time"
    if fault := error_fault(state, json.loads(job["failure"]) if job["failure"] else None):
        yield "ledger", fault
    if state == "done" and not any(sound for _, sound in _outputs(job)):
        yield "ledger", "it is done and has no audio"
