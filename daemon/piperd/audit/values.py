"""What an audit is made of: the places that it looks at, its private notes, and what it has found."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from piperd.audit.files import family

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

OPEN = ("queued", "running")
ENDED = ("done", "failed", "cancelled")
COUNTS = ("accepted", *ENDED, "open")
FOLDERS = ("inbox", "outbox", "archive", "failed", "state")
TEMPORARY = ".piperd-"
MEANINGS = {
    "lost": "an input, a job or its outcome is nowhere to be found",
    "duplicated": "something is there more than once",
    "torn": "a file is not whole, or not what its status or the ledger says",
    "leaked": "something was left behind that should have been cleared away",
    "attempts": "a job was tried more often than it may be",
    "ledger": "the ledger is damaged, or contradicts itself",
}
NOTES = """
CREATE TABLE jobs (
    job_id TEXT PRIMARY KEY, seq INTEGER, state TEXT, delivered INTEGER, source BLOB, audio BLOB,
    name BLOB, kin BLOB, source_kin BLOB
);
CREATE INDEX jobs_by_source ON jobs (source_kin);
CREATE INDEX jobs_by_name ON jobs (name, seq);
CREATE INDEX jobs_by_kin ON jobs (kin);
CREATE TABLE statuses (job_id TEXT, path BLOB, PRIMARY KEY (job_id, path)) WITHOUT ROWID;
CREATE TABLE named (path BLOB, status BLOB, PRIMARY KEY (path, status)) WITHOUT ROWID;
CREATE INDEX named_by_status ON named (status);
CREATE TABLE outputs (job_id TEXT, sha256 TEXT, sound INTEGER, PRIMARY KEY (job_id, sha256)) WITHOUT ROWID;
CREATE TABLE published (path BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE inputs (place TEXT, kin BLOB, path BLOB, PRIMARY KEY (place, kin, path)) WITHOUT ROWID;
"""
"""What was seen: jobs with the path that their audio has or would have as WAV, its name in folded case (Windows sees
one) and the name's kin; the files that the ledger says they have; status files, what they name, what lies in the outbox
that may be an output, and inputs that have left the inbox. All paths are relative to their place."""


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one daemon."""

    inbox: Path
    outbox: Path
    archive: Path
    failed: Path
    state: Path
    deletes: bool = False
    """Inputs of jobs that are done are deleted."""
    replaces: bool = False
    """A later job of the same name replaces what an earlier one has published."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise that was not kept."""

    kind: str
    """A key of `MEANINGS`."""
    message: str
    job_id: str | None = None


@dataclass(slots=True)
class Report:
    """What was found."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    forgotten: int = 0
    """Delivered jobs that the ledger no longer has, as the settings want: what they have left behind is nobody's."""
    findings: list[Finding] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)
    """Files in the outbox that are none of ours."""

    def add(self, kind: str, message: str, job_id: str | None = None) -> None:
        self.findings.append(Finding(kind, message, job_id))


@dataclass(frozen=True, slots=True)
class Examination:
    """One audit on its way through the places."""

    places: Places
    drained: bool
    """Nothing is open or on its way, and nothing was taken out of the folders."""
    notes: sqlite3.Connection
    report: Report

    def job(self, job_id: str) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self.notes.execute("SELECT * FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
        return found

    def relative(self, audio: str) -> sqlite3.Row | None:
        """The job that has this path for its audio; else one that may have had it, best an open one."""
        query = "SELECT * FROM jobs WHERE kin = ? ORDER BY audio <> ?, delivered LIMIT 1"
        found: sqlite3.Row | None = self.notes.execute(query, (family(audio), os.fsencode(audio))).fetchone()
        return found


def error_fault(state: str, error: dict[str, object] | None) -> str | None:
    """What is wrong with the error of a job that has ended."""
    if state == "done" and error is not None:
        return "it is done and has an error"
    if state == "failed" and not all((error or {}).get(name) for name in ("code", "message", "hint")):
        return "it has failed, and not why and what to do about it"
    return None
