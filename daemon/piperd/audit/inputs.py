"""What came in: each input is where its job's end has brought it, and nothing that was needed on the way has stayed."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from piperd.audit.files import family, files, sha256
from piperd.audit.values import FOLDERS, TEMPORARY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from piperd.audit.values import Examination

CLAIMS = ".piperd"
STAGING = "store/staging/"
JOB_ID = re.compile(r"(?<![0-9A-Z])[0-9A-HJKMNP-TV-Z]{26}(?![0-9A-Z])")
MOST_NAMED = 3
UNEVEN = """
SELECT place, source_kin, count(*) AS wanted,
       (SELECT count(*) FROM inputs WHERE inputs.place = ended.place AND kin = source_kin) AS found
FROM (SELECT iif(state = 'done', 'archive', 'failed') AS place, source_kin FROM jobs WHERE delivered) AS ended
GROUP BY place, source_kin HAVING wanted <> found
"""


def examine(examination: Examination, dropped: Mapping[str, str] | None) -> None:
    """Look for what was left behind, and for the inputs."""
    for name in FOLDERS:
        place: Path = getattr(examination.places, name)
        for path in files(place):
            _see(name, path, examination)
    _check_work(examination)
    if examination.drained:
        _check_ended(examination)
    if dropped is not None:
        _check_dropped(examination, dropped)


def _see(name: str, path: str, examination: Examination) -> None:
    *above, last = path.split("/")
    whole = getattr(examination.places, name) / path
    if last.startswith(TEMPORARY):
        _leaked(examination, path, f"{whole} is a temporary")
    elif name == "inbox" and CLAIMS in above:
        _leaked(examination, path, f"{whole} is still claimed")
    elif name == "state" and path.startswith(STAGING):
        _leaked(examination, path, f"{whole} was never taken into the store")
    elif name in {"archive", "failed"} and examination.drained:
        row = (name, family(path), os.fsencode(path))
        examination.notes.execute("INSERT OR IGNORE INTO inputs VALUES (?, ?, ?)", row)


def _leaked(examination: Examination, path: str, message: str) -> None:
    """Report it if nobody needs it any more."""
    owner = next((job for found in JOB_ID.findall(path) if (job := examination.job(found))), None)
    if examination.drained or (owner is not None and owner["delivered"]):
        examination.report.add("leaked", message, owner["job_id"] if owner is not None else None)


def _check_work(examination: Examination) -> None:
    """Also folders that are empty."""
    work = examination.places.state / "work"
    for name in sorted(os.listdir(work)) if work.is_dir() else ():  # noqa: PTH208 - names are wanted
        if not name.startswith(TEMPORARY):
            _leaked(examination, name, f"{work / name} is no longer needed")


def _check_ended(examination: Examination) -> None:
    """As many inputs of a name, numbered or not, as jobs of that name have ended."""
    for row in examination.notes.execute(UNEVEN).fetchall():
        if row["place"] == "archive" and examination.places.deletes:
            continue
        name = os.fsdecode(row["source_kin"])
        if row["found"] < row["wanted"]:
            examination.report.add("lost", f"{row['wanted']} jobs {name!r}, {row['found']} inputs in {row['place']}")
        elif examination.report.forgotten:
            continue  # the others may be of jobs that are forgotten
        elif times := _most_alike(examination, row["place"], row["source_kin"]):
            examination.report.add("duplicated", f"{row['place']} has {times} times the same input {name!r}")


def _most_alike(examination: Examination, place: str, kin: bytes) -> int:
    """How often the same content is there; 0 if no two are alike, and what is too many is a user's own."""
    query = "SELECT path FROM inputs WHERE place = ? AND kin = ?"
    top: Path = getattr(examination.places, place)
    found = Counter(sha256(top / os.fsdecode(path)) for (path,) in examination.notes.execute(query, (place, kin)))
    found.pop("", None)
    most = max(found.values(), default=0)
    return most if most > 1 else 0


def _check_dropped(examination: Examination, dropped: Mapping[str, str]) -> None:
    """All that was ever dropped is still somewhere, and what has left the inbox is a job, or was one once."""
    forgotten = examination.report.forgotten
    by_content: defaultdict[str, list[str]] = defaultdict(list)
    for source, digest in dropped.items():
        by_content[digest].append(source)
    there, claimed = _contents(examination, by_content)
    left: defaultdict[bytes, list[str]] = defaultdict(list)
    gone, jobless = _Losses(forgotten if examination.places.deletes else 0), _Losses(forgotten)
    for digest, sources in by_content.items():
        kept = [source for source in sources if not _is_deleted(examination, source)]
        if there[digest] < len(kept):
            where = "in inbox, archive and failed"
            message = f"of {len(kept)} {_some(kept)} the content of {there[digest]} is {where}"
            gone.add(len(kept) - there[digest], message)
        for source in sources:
            waits = sha256(examination.places.inbox / source) == digest
            if not waits and (examination.drained or digest not in claimed):
                left[family(source)].append(source)
    for kin, sources in left.items():
        query = "SELECT count(*) FROM jobs WHERE source_kin = ?"
        (jobs,) = examination.notes.execute(query, (kin,)).fetchone()
        if jobs < len(sources):
            message = f"{_some(sources)} left the inbox, and {jobs} of {len(sources)} are jobs"
            jobless.add(len(sources) - jobs, message)
    for message in (*gone.told(), *jobless.told()):
        examination.report.add("lost", message)


class _Losses:
    """What is missing, which is no fault as long as so many forgotten jobs account for all of it."""

    def __init__(self, excused: int) -> None:
        self._excused = excused
        self._missing = 0
        self._messages: list[str] = []

    def add(self, missing: int, message: str) -> None:
        self._missing += missing
        self._messages.append(message)

    def told(self) -> list[str]:
        return self._messages if self._missing > self._excused else []


def _contents(examination: Examination, wanted: Iterable[str]) -> tuple[Counter[str], set[str]]:
    """How often each content is there, and which of them are among the claims."""
    there, claimed = Counter(dict.fromkeys(wanted, 0)), set()
    for place in (examination.places.inbox, examination.places.archive, examination.places.failed):
        for path in files(place):
            if (digest := sha256(place / path)) in there:
                there[digest] += 1
                if CLAIMS in path.split("/"):
                    claimed.add(digest)
    return there, claimed


def _is_deleted(examination: Examination, source: str) -> bool:
    if not examination.places.deletes:
        return False
    query = "SELECT 1 FROM jobs WHERE source_kin = ? AND state = 'done'"
    return examination.notes.execute(query, (family(source),)).fetchone() is not None


def _some(names: list[str]) -> str:
    more = ", …" if len(names) > MOST_NAMED else ""
    return ", ".join(repr(name) for name in names[:MOST_NAMED]) + more
