"""What must hold in ledger and folders at every moment, seen from outside, and what at the end."""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crash.life import Broken, digest_of, everything, visible
from piperd import audit, results
from piperd.job import JobState
from piperd.reception import MOST_CRASHES

if TYPE_CHECKING:
    from crash.rig import Drop, Rig

MOST_DAMAGE = 4
"""Entries of the store that a job finds corrupt before it may be given up."""
MOST_REFUSALS = 3
"""Errands that fail by no disk's fault before a job may be given up."""
FITS = {"inbox": {"none"}, "archive": {"done"}, "failed": {"failed", "cancelled"}}
"""Where inputs lie, and the states of their jobs."""
RESCUED = frozenset({"worker_died", "synthesis_failed"})


@dataclass(frozen=True, slots=True)
class Row:
    """A job as it is committed."""

    job_id: str
    state: JobState
    delivered: bool
    claimed: bytes
    name: str
    """Of its outputs, relative to the outbox, without a suffix."""
    crashes: int
    outputs: dict[str, str]
    """Published name and sha256 of each file that was rendered."""
    degraded: bool
    code: str | None


class Witness:
    """Looks at everything, and remembers."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._box = rig.box
        self._database: sqlite3.Connection | None = None
        self._before: dict[str, Row] = {}
        self._committed: set[str] = set()
        self.planted: dict[Path, str] = {}

    def close(self) -> None:
        if self._database is not None:
            self._database.close()

    def plant(self, path: Path, kind: str) -> None:
        """Somebody else puts something there, if the name is free."""
        if path.exists() or path.is_symlink():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "link":
            path.symlink_to(self._box.top / "elsewhere")
        elif kind == "folder":
            path.mkdir()
        else:
            path.write_text(f"mine {self._rig.number()}")
        self.planted[path] = self._mark(path)

    def look(self) -> None:
        """Raises `Broken` for what must never be seen."""
        jobs = self._jobs()
        self._check_moves(jobs)
        self._check_inputs(jobs)
        self._check_outbox(jobs)
        for path, mark in self.planted.items():
            if self._mark(path) != mark:
                raise Broken("lost", f"{path}, which is not piperd's, was changed")

    def judge(self) -> None:
        """The same, and what must hold when nothing is left to be done."""
        self.look()
        jobs = self._before
        for job in jobs.values():
            self._check_end(job, self._drop_of(job))
        if len(jobs) != len(self._rig.drops):
            raise Broken("lost", f"{len(self._rig.drops)} files were dropped, and there are {len(jobs)} jobs")
        wanted = {f"{job.name}.json" for job in jobs.values()}
        wanted |= {name for job in jobs.values() if job.state is JobState.DONE for name in job.outputs}
        there = {os.path.relpath(path, self._box.outbox) for path in self._ours()}
        if wanted != there:
            kind = "lost" if wanted - there else "duplicated"
            raise Broken(kind, f"in the outbox there should be {sorted(wanted)}, there is {sorted(there)}")

    def audit(self) -> None:
        """What the auditor says, which knows the contract and nothing of all this."""
        dropped = {drop.path: digest for digest, drop in self._rig.drops.items()}
        box = self._box
        report = audit.audit(
            audit.Places(box.inbox, box.outbox, box.archive, box.failed, box.state), drained=True, dropped=dropped
        )
        theirs = {str(path) for path in self.planted}
        for finding in report.findings:
            if any(path in finding.message for path in theirs):
                continue  # from outside it looks like an output that was left behind
            raise Broken(finding.kind, f"audit: {finding.message}")

    def _jobs(self) -> dict[str, Row]:
        """The ledger, as far as it is committed."""
        path = self._box.state / "ledger.sqlite3"
        if self._database is None:
            if not path.exists():
                return {}
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.row_factory = sqlite3.Row
        rows = self._database.execute("SELECT * FROM jobs ORDER BY seq").fetchall()
        jobs = {row["job_id"]: _row(row) for row in rows}
        self._committed |= {digest for job in jobs.values() for digest in job.outputs.values()}
        return jobs

    def _check_moves(self, jobs: dict[str, Row]) -> None:
        for job_id, before in self._before.items():
            if job_id not in jobs:
                raise Broken("lost", f"job {job_id} is in the ledger no more")
            now = jobs[job_id]
            if before.state.final and now.state is not before.state:
                raise Broken("duplicated", f"job {job_id} was {before.state} and is {now.state}")
            if (before.delivered and not now.delivered) or (now.delivered and not now.state.final):
                raise Broken("lost", f"job {job_id} is {now.state}, delivered: {now.delivered}")
        self._before = jobs

    def _check_inputs(self, jobs: dict[str, Row]) -> None:
        """Each content is in one place, and that place fits what the ledger says."""
        box = self._box
        places = [("inbox", path) for path in visible(box.inbox)]
        places += [("claims", path) for path in everything(box.inbox / ".piperd")]
        places += [("archive", path) for path in visible(box.archive)]
        places += [("failed", path) for path in visible(box.failed)]
        found = [(place, path, digest_of(path)) for place, path in places]
        owners = {job.claimed: job for job in jobs.values()}
        seen = Counter(digest for _, _, digest in found)
        for digest, drop in self._rig.drops.items():
            if seen[digest] != 1:
                kind = "duplicated" if seen[digest] else "lost"
                raise Broken(kind, f"{drop.path} is there {seen[digest]} times")
        whose = {self._rig.taken.get(claimed): job for claimed, job in owners.items()}
        if len(whose) != len(owners) or None in whose:
            raise Broken("duplicated", f"two jobs have one input, or one has none: {sorted(owners)}")
        for place, path, digest in found:
            job = whose.get(digest)
            state = job.state.value if job else "none"
            if place in FITS and state not in FITS[place]:
                raise Broken("lost", f"{path} is in {place}, and its job is {state}")
            if place == "claims" and job is not None and job.delivered:
                raise Broken("leaked", f"{path} is still claimed")

    def _check_outbox(self, jobs: dict[str, Row]) -> None:
        if not self._box.outbox.exists():  # the share is away
            return
        for path in self._ours():
            digest = digest_of(path)
            if digest in self._rig.rendered:
                if digest not in self._committed:
                    raise Broken("lost", f"{path} was there before the ledger knew of it")
            elif not path.endswith(".json"):
                raise Broken("torn", f"{path} is nothing that was rendered")
            else:
                self._check_status(path, jobs)

    def _check_status(self, path: str, jobs: dict[str, Row]) -> None:
        try:
            status: dict[str, Any] = json.loads(Path(path).read_bytes())
            job = jobs.get(status["job_id"])
        except (ValueError, KeyError) as error:
            raise Broken("torn", f"{path} is no status: {error}") from error
        if job is None:
            raise Broken("lost", f"{path} is of a job that the ledger does not know")
        if not JobState(status["state"]).final:
            return
        if status["state"] != job.state:
            raise Broken("lost", f"{path} says {status['state']}, the ledger {job.state}")
        for told in (status["audio"], *status["scenes"]):
            if told and told["file"]:
                audio = Path(path).parent / told["file"]
                if not audio.is_file() or digest_of(audio) != told["sha256"]:
                    raise Broken("torn", f"{path} names {audio.name}, which is not there or not the same")
        if (status["audio"] is not None) != (job.state is JobState.DONE):
            raise Broken("torn", f"{path} says {status['state']}, and its audio does not fit")

    def _check_end(self, job: Row, drop: Drop) -> None:
        cancelled = job.state is JobState.CANCELLED
        if (drop.cancelled == "surely" and not cancelled) or (cancelled and not drop.cancelled):
            raise Broken("lost", f"{drop.path} is {job.state}, cancelled: {drop.cancelled or 'no'}")
        if cancelled:
            return
        end = job.code or ("degraded" if job.degraded else "done")
        excused = (
            (end == "worker_died" and job.crashes >= MOST_CRASHES)
            or (end in RESCUED and self._rig.excuses.damaged >= MOST_DAMAGE)
            or (end == "output_failed" and self._rig.excuses.refused >= MOST_REFUSALS)
        )
        if end not in drop.ends and not excused:
            raise Broken("lost", f"{drop.path} ended {end}, expected: {sorted(drop.ends)}")

    def _drop_of(self, job: Row) -> Drop:
        return self._rig.drops[self._rig.taken[job.claimed]]

    def _ours(self) -> list[str]:
        theirs = {str(path) for path in self.planted}
        return [path for path in visible(self._box.outbox) if path not in theirs]

    def _mark(self, path: Path) -> str:
        """What there is, so that any change shows."""
        if self._rig.away is not None and path.is_relative_to(self._box.outbox):
            path = self._rig.away / path.relative_to(self._box.outbox)
        try:
            found = path.lstat()
        except FileNotFoundError:
            return "nothing"
        content = "" if path.is_dir() or path.is_symlink() else digest_of(path)
        return f"{found.st_ino} {found.st_mode:o} {content}"


def _row(row: sqlite3.Row) -> Row:
    name = os.path.join(row["folder"], row["stem"])  # noqa: PTH118 - a name to compare, no path to go
    result = json.loads(row["result"]) if row["result"] else None
    return Row(
        job_id=row["job_id"],
        state=JobState(row["state"]),
        delivered=bool(row["delivered"]),
        claimed=row["claimed"],
        name=name,
        crashes=row["crashes"],
        outputs={results.published(name, file): digest for file, digest in results.files(result)} if result else {},
        degraded=bool(row["fallbacks"]),
        code=json.loads(row["failure"])["code"] if row["failure"] else None,
    )
