"""Somebody who reads the outbox all the time, as a media server or an impatient user would, and notes what must not be.

python tests/crash/observer.py OUTBOX REPORT

Says "ready" after its first look at every name that is not hidden, looks again and again until its standard input
ends, and writes what it has seen to REPORT: {"looks": 812, "files": 40, "violations": ["…"]}. It knows the contract
and none of the daemon's code.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

FINAL = {"done", "failed", "cancelled"}
PAUSE = 0.002
"""Seconds between two looks."""
HEADER = 44
Mark = tuple[int, int, int]
"""What tells one content of a file from another: inode, time and size."""


@dataclass(frozen=True)
class Sound:
    """An audio file, as it was read."""

    mark: Mark
    digest: str
    owner: str
    """Whose status lay beside it when this content was first seen; empty if there was none."""


@dataclass(frozen=True)
class Status:
    """A status file, as it was read."""

    mark: Mark
    job_id: str = ""
    """Empty for what is no status."""
    state: str = ""
    sounds: tuple[tuple[str, str], ...] = ()
    """Path and sum of each audio file that it names."""


class Reader:
    """Remembers what it saw under each name, so that only what is new is read."""

    def __init__(self, outbox: Path) -> None:
        self._outbox = str(outbox)
        self._sounds: dict[str, Sound] = {}
        self._statuses: dict[str, Status] = {}
        self._ended: dict[str, str] = {}
        self._names: set[str] = set()
        self._violations: dict[str, None] = {}
        self.looks = 0

    @property
    def files(self) -> int:
        """How many names were ever seen."""
        return len(self._names)

    @property
    def violations(self) -> list[str]:
        """Each once, however often it was seen."""
        return list(self._violations)

    def look(self) -> None:
        """See all that is there now."""
        self.looks += 1
        there = set()
        for path in _files(self._outbox):
            if path.endswith(".wav"):
                there.add(path)
                self._sound(path)
            elif path.endswith(".json"):
                there.add(path)
                self._check(path)
        self._names |= there
        # an inode that was given back may come again for another file
        for known in (self._sounds, self._statuses):
            for gone in known.keys() - there:
                del known[gone]

    def _check(self, path: str) -> None:
        """Whether a final status is true, also one that was seen before: its audio must stay."""
        status = self._status(path)
        if status is None or status.state not in FINAL:
            return
        for audio, wanted in status.sounds:
            found = self._sound(audio)
            digest = found.digest if found else ""
            # only if it has said the same all the while: it may have been withdrawn or replaced since
            if digest != wanted and _mark(path) == status.mark:
                self._note(f"{path} is final, and its audio {'differs' if digest else 'is not there'}")

    def _sound(self, path: str) -> Sound | None:
        """An audio file; None if it is not there."""
        known, mark = self._sounds.get(path), _mark(path)
        if mark is None or (known is not None and known.mark == mark):
            return known if mark else None
        read = _read(path)
        if read is None:
            return None
        mark, content = read
        if not _is_whole(content):
            self._note(f"{path} was seen with {len(content)} bytes that are no whole WAV file")
        digest = hashlib.sha256(content).hexdigest()
        owner = self._owner(path)
        if known is not None and known.digest != digest:
            if known.mark[0] == mark[0]:
                self._note(f"{path} was changed in place")
            elif owner and owner == known.owner:
                self._note(f"{path} was replaced, and its job is the same")
        elif known is not None:
            owner = known.owner
        self._sounds[path] = Sound(mark, digest, owner)
        return self._sounds[path]

    def _owner(self, path: str) -> str:
        """Whose status lies beside an audio file, or beside its folder, which may be that of a job's scenes."""
        for base in (path.removesuffix(".wav"), os.path.dirname(path)):  # noqa: PTH120 - see `_files`
            if (beside := self._status(f"{base}.json")) is not None and beside.job_id:
                return beside.job_id
        return ""

    def _status(self, path: str) -> Status | None:
        """A status file; None if it is not there or not whole."""
        known, mark = self._statuses.get(path), _mark(path)
        if mark is None or (known is not None and known.mark == mark):
            return known if mark else None
        read = _read(path)
        if read is None:
            return None
        mark, content = read
        try:
            found = json.loads(content)
        except ValueError:
            self._note(f"{path} was seen with {len(content)} bytes that are no whole JSON")
            return None
        status = _parsed(path, mark, found)
        was = self._ended.get(status.job_id)
        # a final status may be written again after a crash, but it says the same
        if was is not None and status.state != was:
            self._note(f"{path} went from {was} to {status.state}")
        if status.state in FINAL:
            self._ended[status.job_id] = status.state
        self._statuses[path] = status
        return status

    def _note(self, violation: str) -> None:
        self._violations.setdefault(violation)


def _parsed(path: str, mark: Mark, found: Any) -> Status:
    """What matters of a status; users may have JSON files of their own there."""
    try:
        told = [part for part in (found["audio"], *found["scenes"]) if part and part["file"]]
        folder = os.path.dirname(path)  # noqa: PTH120 - see `_files`
        sounds = tuple((os.path.join(folder, part["file"]), part["sha256"]) for part in told)  # noqa: PTH118
        return Status(mark, str(found["job_id"]), str(found["state"]), sounds)
    except (KeyError, TypeError):
        return Status(mark)


def _files(top: str) -> Iterator[str]:
    """All names that are not hidden; what goes away meanwhile is not there. Strings: a Path costs more than a look."""
    stack = [top]
    while stack:
        try:
            with os.scandir(stack.pop()) as entries:
                listed = [
                    (entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries if entry.name[0] != "."
                ]
        except OSError:
            continue
        stack += [path for path, is_folder in listed if is_folder]
        yield from (path for path, is_folder in listed if not is_folder)


def _mark(path: str) -> Mark | None:
    """Of a regular file."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return _mark_of(found) if stat.S_ISREG(found.st_mode) else None


def _mark_of(found: os.stat_result) -> Mark:
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(path: str) -> tuple[Mark, bytes] | None:
    """The mark that a file had before it was read, so that what was written meanwhile is read again."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            return _mark_of(os.fstat(descriptor)), file.read()
    except OSError:
        return None


def _is_whole(content: bytes) -> bool:
    """Whether a WAV file has all that its own header says."""
    if len(content) < HEADER or content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        return False
    if int.from_bytes(content[4:8], "little") + 8 != len(content):
        return False
    offset = 12
    while offset + 8 <= len(content):
        size = int.from_bytes(content[offset + 4 : offset + 8], "little")
        if content[offset : offset + 4] == b"data":
            return size > 0 and offset + 8 + size <= len(content)
        offset += 8 + size + size % 2
    return False


class Observer:
    """The reader as a process of its own, for the length of a `with` block; afterwards `report` has what it saw."""

    def __init__(self, outbox: Path) -> None:
        self._outbox = outbox
        self.report: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="piperd-observer-")
        self._path = Path(self._folder.name) / "report.json"
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self._outbox), str(self._path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", "the observer did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        with self._folder:
            assert self._process.returncode == 0, "the observer has died, and what it saw with it"
            self.report = json.loads(self._path.read_text())

    @property
    def violations(self) -> list[str]:
        """What must not have been seen."""
        return list(self.report["violations"])


def main() -> None:
    reader = Reader(Path(sys.argv[1]))
    reader.look()
    print("ready", flush=True)  # noqa: T201 - it is the answer
    ended = False
    while not ended:
        ended = bool(select.select([sys.stdin], [], [], PAUSE)[0])
        reader.look()
    found = {"looks": reader.looks, "files": reader.files, "violations": reader.violations}
    Path(sys.argv[2]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
