"""Whether the promises were kept, seen from outside: ledger, folders and status files must agree with one another.

python -m piperd.audit (--config FILE | --inbox D --outbox D --archive D --failed D --state D) [--drained]
                       [--dropped FILE] [--json]

An auditor must not share the errors of what it audits: this program knows the contract, and imports nothing of piperd.
It changes nothing, and may run beside the daemon; what is on its way at that moment may then look like a fault.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import sqlite3
import sys
import tempfile
import tomllib
import wave
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

STATES = ("done", "failed", "cancelled")
FOLDERS = ("inbox", "outbox", "archive", "failed", "state")
OPEN = ("queued", "running")
TEMPORARY = re.compile(r"\.piperd-.*")
NUMBERED = re.compile(r"(.+)-\d+")
LIMIT = 64 << 20
"""Bytes of a status file, at most."""
MEANINGS = {
    "lost": "an input or its outcome is nowhere to be found",
    "duplicated": "something appeared more than once",
    "torn": "a file is not what its status says, or not whole",
    "leaked": "something was left behind that should have been cleared away",
    "attempts": "a job was tried more often than it may be",
    "ledger": "the ledger contradicts itself",
}


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

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)
    """Files in the outbox that are none of ours."""

    def add(self, kind: str, message: str, job_id: str | None = None) -> None:
        self.findings.append(Finding(kind, message, job_id))


def audit(places: Places, *, drained: bool = False, dropped: Mapping[str, str] | None = None) -> Report:
    """Examine everything. With `drained` nothing may be open, on its way, or taken out of the outbox since.

    `dropped` gives the SHA-256 of all that was ever dropped, by its path in the inbox.
    """
    report = Report()
    jobs = _read_ledger(places.state / "ledger.sqlite3", report)
    _check_jobs(jobs, report, drained=drained)
    outbox = _Outbox(places.outbox, report)
    outbox.check(jobs, drained=drained)
    _check_leftovers(places, jobs, report, drained=drained)
    if dropped is not None:
        _check_inputs(places, jobs, dropped, report)
    return report


def _read_ledger(path: Path, report: Report) -> dict[str, dict[str, Any]]:
    """All jobs by their ids, from a copy: it holds what a killed daemon had committed, and nothing is changed."""
    with tempfile.TemporaryDirectory(prefix="piperd-audit-") as folder:
        copy = Path(folder) / path.name
        for suffix in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
        if not copy.exists():
            report.add("ledger", f"{path} is not there")
            return {}
        try:
            with contextlib.closing(sqlite3.connect(copy)) as database:
                database.row_factory = sqlite3.Row
                for (verdict,) in database.execute("PRAGMA integrity_check"):
                    if verdict != "ok":
                        report.add("ledger", f"{path} is damaged: {verdict}")
                return {row["job_id"]: _job(row) for row in database.execute("SELECT * FROM jobs ORDER BY seq")}
        except (sqlite3.Error, KeyError, ValueError) as error:
            report.add("ledger", f"{path} can't be read: {error}")
            return {}


def _job(row: sqlite3.Row) -> dict[str, Any]:
    """What is needed of a job; its text is not."""
    kept = ("job_id", "seq", "source", "claimed", "folder", "stem", "state", "delivered", "attempt", "finished_at")
    spec = json.loads(row["spec"]) if row["spec"] else {}
    result = json.loads(row["result"]) if row["result"] else None
    return {
        **{name: row[name] for name in kept},
        "attempts": spec.get("attempts", 3),
        "sha256": result["audio"]["sha256"] if result else None,
        "failure": json.loads(row["failure"]) if row["failure"] else None,
    }


def _check_jobs(jobs: Mapping[str, dict[str, Any]], report: Report, *, drained: bool) -> None:
    """Each job by itself, and the sums."""
    names: Counter[tuple[str, str]] = Counter()
    for job_id, job in jobs.items():
        state = job["state"]
        report.counts[state if state in STATES else "open"] += 1
        if state not in (*STATES, *OPEN):
            report.add("ledger", f"its state is {state!r}", job_id)
        if state in STATES and job["finished_at"] is None:
            report.add("ledger", "it has ended, but at no time", job_id)
        if job["delivered"] and state not in STATES:
            report.add("ledger", f"it is delivered, but {state}", job_id)
        if drained and not job["delivered"]:
            report.add("lost", f"it is {state} and not delivered, though nothing is left to do", job_id)
        if not 0 <= job["attempt"] <= job["attempts"]:
            report.add("attempts", f"it was tried {job['attempt']} times; {job['attempts']} are allowed", job_id)
        if state == "failed" and not all((job["failure"] or {}).get(name) for name in ("code", "message", "hint")):
            report.add("ledger", "it has failed and does not say why and what to do", job_id)
        if state == "done" and job["failure"] is not None:
            report.add("ledger", "it is done and has an error", job_id)
        if not job["delivered"]:
            names[job["folder"], job["stem"].casefold()] += 1
    for (folder, stem), number in names.items():
        if number > 1:
            report.add("duplicated", f"{number} open jobs have the name {folder}/{stem}")
    report.counts["accepted"] = len(jobs)


class _Outbox:
    """The results, as anybody can read them."""

    def __init__(self, place: Path, report: Report) -> None:
        self._place = place
        self._report = report
        self._statuses: dict[Path, dict[str, Any]] = {}
        self._audio: set[Path] = set()
        for path in _files(place):
            if TEMPORARY.fullmatch(path.name):
                continue
            status = _status(path) if path.suffix == ".json" else None
            if status is not None:
                self._statuses[path] = status
            elif path.suffix == ".wav" and not path.is_symlink():
                self._audio.add(path)
            else:
                report.left_alone.append(str(path))

    def check(self, jobs: Mapping[str, dict[str, Any]], *, drained: bool) -> None:
        """Every status against its job and its audio, and every job against its status."""
        owners: Counter[str] = Counter()
        named: Counter[Path] = Counter()
        for path, status in self._statuses.items():
            job = jobs.get(status["job_id"])
            if job is None:
                self._report.left_alone.append(str(path))
                continue
            owners[status["job_id"]] += 1
            self._compare(path, status, job)
            if status.get("audio"):
                named[path.with_name(status["audio"]["file"])] += 1
        for job_id, number in owners.items():
            if number > 1:
                self._report.add("duplicated", f"{number} status files are its own", job_id)
        for path, number in named.items():
            if number > 1:
                self._report.add("duplicated", f"{number} status files name {path}")
        last = {(job["folder"], job["stem"].casefold()): job["seq"] for job in jobs.values() if job["delivered"]}
        for job_id, job in jobs.items():
            replaced = last.get((job["folder"], job["stem"].casefold()), 0) > job["seq"]
            if drained and job["delivered"] and not owners[job_id] and not replaced:
                self._report.add("lost", f"it is {job['state']}, and has no status file", job_id)
        self._check_unnamed(jobs, set(named))

    def _compare(self, path: Path, status: Mapping[str, Any], job: Mapping[str, Any]) -> None:
        job_id = job["job_id"]
        if job["delivered"] and path != self._place / job["folder"] / f"{job['stem']}.json":
            self._report.add("duplicated", f"its status is {path}, not {job['folder']}/{job['stem']}.json", job_id)
        if (job["delivered"] or status.get("state") in STATES) and status.get("state") != job["state"]:
            self._report.add("torn", f"{path} says {status.get('state')}, the ledger says {job['state']}", job_id)
        if status.get("state") not in STATES:
            return
        if (status["state"] == "failed") != (status.get("error") is not None and status["state"] != "cancelled"):
            self._report.add("torn", f"{path} says {status['state']}, and its error does not fit", job_id)
        if (status["state"] == "done") != (status.get("audio") is not None):
            self._report.add("torn", f"{path} says {status['state']}, and its audio does not fit", job_id)
        if status.get("audio"):
            fault = _audio_fault(path, status["audio"])
            if fault is None and job["sha256"] != status["audio"]["sha256"]:
                fault = "has another sha256 than the ledger knows"
            if fault is not None:
                self._report.add("torn", f"{status['audio']['file']}, which {path} names, {fault}", job_id)

    def _check_unnamed(self, jobs: Mapping[str, dict[str, Any]], named: set[Path]) -> None:
        """Audio that no status names: of an open job it may be on its way, else it is one too many, or not ours."""
        stems = {(job["folder"], job["stem"].casefold()): job for job in jobs.values()}
        for path in self._audio - named:
            folder = str(path.parent.relative_to(self._place))
            folder = "" if folder == "." else folder
            numbered = NUMBERED.fullmatch(path.stem)
            job = stems.get((folder, path.stem.casefold()))
            if job is None and numbered:
                job = stems.get((folder, numbered[1].casefold()))
            if job is None:
                self._report.left_alone.append(str(path))
            elif job["delivered"] and job["sha256"] == _sha256(path):
                self._report.add("duplicated", f"{path} is its audio once more", job["job_id"])
            elif job["delivered"]:
                self._report.left_alone.append(str(path))


def _audio_fault(status: Path, audio: Mapping[str, Any]) -> str | None:
    """What is wrong with the file that a status names."""
    path = status.with_name(audio["file"])
    try:
        if path.is_symlink() or not path.is_file():
            return "is not there"
        if path.stat().st_size != audio["bytes"] or _sha256(path) != audio["sha256"]:
            return "has another content"
        with wave.open(str(path)) as file:
            frames, rate = file.getnframes(), file.getframerate()
            content = file.readframes(frames)
        if len(content) != frames * file.getsampwidth() * file.getnchannels():
            return "ends too early"
        if rate != audio["sample_rate"] or abs(frames / rate - audio["duration_s"]) > 1 / rate:
            return "has another length or rate"
    except (OSError, EOFError, wave.Error) as error:
        return f"is no whole WAV file: {error}"
    return None


def _check_leftovers(places: Places, jobs: Mapping[str, dict[str, Any]], report: Report, *, drained: bool) -> None:
    """Temporaries, claims and work files of what has ended."""
    for place in (places.inbox, places.outbox, places.archive, places.failed, places.state):
        for path in _files(place):
            owner = next((job_id for job_id in _ids_in(path) if job_id in jobs), None)
            ended = drained or (owner is not None and jobs[owner]["delivered"])
            if TEMPORARY.fullmatch(path.name) and ended:
                report.add("leaked", f"{path} is a temporary", owner)
            elif ".piperd" in path.parts and place is places.inbox and ended:
                report.add("leaked", f"{path} is still claimed", owner)
    for path in _files(places.state / "store" / "staging") if drained else ():
        report.add("leaked", f"{path} was never taken into the store")
    work = places.state / "work"
    for path in sorted(work.iterdir()) if work.is_dir() else ():
        if path.name in jobs and jobs[path.name]["delivered"]:
            report.add("leaked", f"{path} is no longer needed", path.name)


def _ids_in(path: Path) -> Iterator[str]:
    """What looks like a job id in a path."""
    for part in path.parts:
        yield from re.findall(r"[0-9A-HJKMNP-TV-Z]{26}", part)


def _check_inputs(
    places: Places, jobs: Mapping[str, dict[str, Any]], dropped: Mapping[str, str], report: Report
) -> None:
    """Everything that was ever dropped is still somewhere, and is a job if it has left the inbox."""
    there = Counter(_sha256(path) for place in (places.inbox, places.archive, places.failed) for path in _files(place))
    sources: dict[str, list[str]] = {}
    for job in jobs.values():
        sources.setdefault(os.fsdecode(job["source"]), []).append(job["state"])
    for source, digest in dropped.items():
        states = sources.get(source, [])
        deleted = places.deletes and "done" in states
        if not there[digest] and not deleted:
            report.add("lost", f"the content of {source!r} is neither in the inbox nor archived nor among the failed")
        if not states and not _is(places.inbox / source, digest) and not _is_numbered(source, sources):
            report.add("lost", f"{source!r} has left the inbox and is no job")


def _is_numbered(source: str, sources: Mapping[str, object]) -> bool:
    """Whether it may have been taken as `name-2`, since its name was taken when it was given back."""
    stem, dot, suffix = source.rpartition(".")
    return any(re.fullmatch(re.escape(stem) + r"-\d+" + re.escape(dot + suffix), other) for other in sources)


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and _sha256(path) == digest


def _files(place: Path) -> Iterator[Path]:
    """All that is no folder, links not followed."""
    for folder, _, names in os.walk(place):
        for name in names:
            yield Path(folder) / name


def _status(path: Path) -> dict[str, Any] | None:
    """A status file of piperd; None for anything else."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > LIMIT:
            return None
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    ours = isinstance(found, dict) and found.get("schema") == 1 and isinstance(found.get("job_id"), str)
    return found if ours else None


def _sha256(path: Path) -> str:
    """Of a regular file; empty for anything else."""
    try:
        if path.is_symlink() or not path.is_file():
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m piperd.audit", description="Were the promises kept?")
    parser.add_argument("--config", type=Path, help="the daemon's configuration file, with its [folders]")
    for name in FOLDERS:
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--drained", action="store_true", help="nothing may be open, and nothing taken away")
    parser.add_argument("--dropped", type=Path, help="JSON object: path in the inbox to SHA-256 of its content")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    folders = tomllib.loads(asked.config.read_text())["folders"] if asked.config else {}
    given = {name: Path(getattr(asked, name) or folders.get(name, "")) for name in FOLDERS}
    if missing := [name for name, path in given.items() if path == Path()]:
        parser.error(f"which folders? Missing: {', '.join(missing)}")
    places = Places(**given, deletes=folders.get("after_done") == "delete")
    dropped = json.loads(asked.dropped.read_bytes()) if asked.dropped else None
    report = audit(places, drained=asked.drained, dropped=dropped)
    lines = [json.dumps(_as_dict(report))] if asked.json else _in_words(report)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return int(bool(report.findings))


def _as_dict(report: Report) -> dict[str, Any]:
    findings = [asdict(finding) for finding in report.findings]
    return {"counts": report.counts, "findings": findings, "left_alone": report.left_alone}


def _in_words(report: Report) -> Iterator[str]:
    counts = {name: report.counts[name] for name in ("accepted", *STATES, "open")}
    yield ", ".join(f"{number:,} {name}" for name, number in counts.items())
    for finding in report.findings:
        whose = f" (job {finding.job_id})" if finding.job_id else ""
        yield f"{finding.kind}: {finding.message}{whose}"
    for kind in dict.fromkeys(finding.kind for finding in report.findings):
        yield f"{kind} means: {MEANINGS[kind]}."
    yield "All promises were kept." if not report.findings else f"{len(report.findings)} findings."


if __name__ == "__main__":
    sys.exit(main())
