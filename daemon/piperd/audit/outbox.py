"""The outbox as anybody can read it: each job has one status, and each status is true."""

from __future__ import annotations

import os
import posixpath
import re
from typing import TYPE_CHECKING, Any

from piperd.audit.files import TornError, check_output, files, read_status, sha256
from piperd.audit.values import ENDED, TEMPORARY, error_fault

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from piperd.audit.values import Examination

TWICE_OWN = "SELECT job_id, count(*) AS times FROM statuses GROUP BY job_id HAVING count(*) > 1"
TWICE_NAMED = "SELECT path, count(*) AS times FROM named GROUP BY path HAVING count(*) > 1"
DELIVERED = """
SELECT jobs.*, statuses.path AS status,
       EXISTS (SELECT 1 FROM jobs AS later WHERE later.name = jobs.name AND later.seq > jobs.seq) AS followed
FROM jobs LEFT JOIN statuses USING (job_id) WHERE delivered ORDER BY seq
"""
UNNAMED = "SELECT path FROM published WHERE path NOT IN (SELECT path FROM named)"
SUFFIXES = re.compile(r"\.(wav|flac|mp3|ogg|opus|srt|vtt|words\.json)$")
"""Of all that may be published beside a status."""
SCENE_FILE = re.compile(r"\d{2,}(-.*)?")
"""Names of the files of scenes, in a folder of the job's name."""


def examine(examination: Examination) -> None:
    """Note what lies there, and compare it with the jobs."""
    outbox = _Outbox(examination)
    for path in files(examination.places.outbox):
        if not posixpath.basename(path).startswith(TEMPORARY):
            outbox.see(path)
    outbox.check_numbers()
    outbox.check_delivered()
    for (path,) in examination.notes.execute(UNNAMED).fetchall():
        outbox.check_unnamed(os.fsdecode(path))


class _Outbox:
    def __init__(self, examination: Examination) -> None:
        self._examination = examination
        self._notes = examination.notes
        self._report = examination.report
        self._drained = examination.drained
        self._place: Path = examination.places.outbox

    def see(self, path: str) -> None:
        """Note an audio or status file; all else is left alone."""
        whole = self._place / path
        stem, suffix = posixpath.splitext(path)
        if suffix != ".json" and SUFFIXES.search(path) and not whole.is_symlink():
            self._see_output(path)
            return
        try:
            status = read_status(whole) if suffix == ".json" else None
        except TornError as fault:
            if job := self._examination.relative(f"{stem}.wav"):
                self._report.add("torn", f"{whole} {fault}", job["job_id"])
                return
            status = None
        if status is None and SUFFIXES.search(path):  # the times of its words
            self._see_output(path)
        elif status is None or not self._see_status(path, status):
            self._report.left_alone.append(str(whole))

    def _see_output(self, path: str) -> None:
        self._notes.execute("INSERT OR IGNORE INTO published VALUES (?)", (os.fsencode(path),))

    def _see_status(self, path: str, status: Mapping[str, Any]) -> bool:
        """False if it is of no job that we know, or a copy that somebody made for himself."""
        job = self._examination.job(status["job_id"])
        if job is not None and not self._drained:
            at_home = posixpath.dirname(path) == posixpath.dirname(os.fsdecode(job["audio"]))
            job = job if at_home else None
        try:
            faults = list(self._faults(path, status, job)) if job else []
            named = [self._named(path, name) for name in _names(status)]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            faults, named = [f"is not what a status is: {error!r}"], []
        # also what another daemon's status names: then it is not for us to wonder whose that is
        rows = [(os.fsencode(name), os.fsencode(path)) for name in named]
        self._notes.executemany("INSERT OR IGNORE INTO named VALUES (?, ?)", rows)
        if job is None:
            return False
        row = (job["job_id"], os.fsencode(path))
        self._notes.execute("INSERT OR IGNORE INTO statuses VALUES (?, ?)", row)
        for fault in faults:
            self._report.add("torn", f"{self._place / path} {fault}", job["job_id"])
        return True

    def _named(self, path: str, name: str) -> str:
        """The path of a file that a status names."""
        found = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
        if found.startswith(("/", "../")):
            raise ValueError(f"{name} is not in the outbox")
        return found

    def _faults(self, path: str, status: Mapping[str, Any], job: sqlite3.Row) -> Iterator[str]:
        state = status["state"]
        if job["delivered"] and state != job["state"]:
            yield f"says {state}, the ledger says {job['state']}"
        if state not in ENDED:
            return
        if status["finished_at"] is None:
            yield f"says {state}, and not since when"
        if fault := error_fault(state, status["error"]):
            yield f"says that {fault}"
        sounds = list(_sounds(status))
        if (state == "done") != bool(sounds):
            yield f"says {state}, and {'has' if sounds else 'has no'} audio"
        known = self._digests(job)
        if known and {told["sha256"] for told in sounds} != {digest for digest, sound in known.items() if sound}:
            yield "has another sha256 than the ledger"
        yield from self._file_faults(path, status, known)

    def _digests(self, job: sqlite3.Row) -> dict[str, bool]:
        """The sha256 of each file that the ledger says a job has, and whether it has sound."""
        query = "SELECT sha256, sound FROM outputs WHERE job_id = ?"
        return {digest: bool(sound) for digest, sound in self._notes.execute(query, (job["job_id"],))}

    def _file_faults(self, path: str, status: Mapping[str, Any], known: Mapping[str, bool]) -> Iterator[str]:
        """What is wrong with the files that a final status names."""
        for told in _sounds(status):
            try:
                check_output(self._place / self._named(path, told["file"]), told)
            except TornError as fault:
                yield f"names {told['file']}, which {fault}"
            except FileNotFoundError:
                if self._drained:  # else somebody has taken what he asked for
                    yield f"names {told['file']}, which is not there"
        for part in (status, *status["scenes"]):
            for name in part["captions"].values():
                digest = sha256(self._place / self._named(path, name))
                if not digest and self._drained:
                    yield f"names {name}, which is not there"
                if digest and known and digest not in known:
                    yield f"names {name}, which has another content"

    def check_numbers(self) -> None:
        """No status and no audio is there twice."""
        for row in self._notes.execute(TWICE_OWN):
            self._report.add("duplicated", f"{row['times']} status files are its own", row["job_id"])
        for row in self._notes.execute(TWICE_NAMED):
            self._report.add("duplicated", f"{row['times']} status files name {os.fsdecode(row['path'])}")

    def check_delivered(self) -> None:
        """Each status is where the ledger says, if nobody was at the outbox since."""
        for job in self._notes.execute(DELIVERED) if self._drained else ():
            wanted = os.fsdecode(job["audio"]).removesuffix(".wav") + ".json"
            # by a job that may be forgotten itself
            replaced = (job["followed"] or self._report.forgotten) and self._examination.places.replaces
            if job["status"] is None and not replaced:
                self._report.add("lost", f"it is {job['state']}, and {wanted} is not there", job["job_id"])
            elif job["status"] is not None and os.fsdecode(job["status"]) != wanted:
                where = os.fsdecode(job["status"])
                self._report.add("duplicated", f"its status is {where}, and should be {wanted}", job["job_id"])

    def check_unnamed(self, path: str) -> None:
        """An output that no status names: on its way, taken apart by a user, one too many, or none of ours."""
        whole = self._place / path
        audio, job = self._owner(path)
        if job is not None and not job["delivered"]:
            return
        if (
            job is not None
            and job["state"] == "done"
            and os.fsdecode(job["audio"]) == audio
            and not self._names_any(job)
        ):
            return  # that its status is not there, or is broken, has been said
        if job is not None and self._report.forgotten and os.fsdecode(job["audio"]) != audio:
            job = None  # whose status is gone may be a forgotten job's
        again = job is not None and self._is_again(whole, job)
        if job is not None and (again or self._drained):
            what = "its output once more" if again else "named like its output, and no status names it"
            self._report.add("duplicated", f"{whole} is {what}", job["job_id"])
        else:
            self._report.left_alone.append(str(whole))

    def _owner(self, path: str) -> tuple[str, sqlite3.Row | None]:
        """The job whose output this seems to be, by name, with the path of its audio as WAV."""
        stem = SUFFIXES.sub("", path)
        folder, _, name = stem.rpartition("/")
        for base in (stem, folder) if folder and SCENE_FILE.fullmatch(name) else (stem,):
            if (job := self._examination.relative(f"{base}.wav")) is not None:
                return f"{base}.wav", job
        return f"{stem}.wav", None

    def _names_any(self, job: sqlite3.Row) -> bool:
        """Whether a job's status names any file."""
        query = "SELECT 1 FROM statuses JOIN named ON status = statuses.path WHERE job_id = ?"
        return self._notes.execute(query, (job["job_id"],)).fetchone() is not None

    def _is_again(self, whole: Path, job: sqlite3.Row) -> bool:
        query = "SELECT 1 FROM jobs JOIN outputs USING (job_id) WHERE kin = ? AND sha256 = ?"
        return self._notes.execute(query, (job["kin"], sha256(whole))).fetchone() is not None


def _names(status: Mapping[str, Any]) -> Iterator[str]:
    """All files that a status names."""
    yield from (told["file"] for told in _sounds(status))
    for part in (status, *status["scenes"]):
        yield from part["captions"].values()


def _sounds(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What a status tells of each file with sound."""
    if status["audio"] is not None:
        yield status["audio"]
    yield from (scene for scene in status["scenes"] if scene["file"] is not None)
