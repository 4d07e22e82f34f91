"""Somebody who reads the outbox all the time, as a media server or an impatient user would, and notes what must not be.

python tests/crash/observer.py OUTBOX REPORT

Sees every name that is not hidden, again and again, until its standard input ends; then writes what it has seen to
REPORT: {"looks": 812, "files": 40, "violations": ["…"]}. It knows the contract and none of the daemon's code.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

FINAL = {"done", "failed", "cancelled"}
PAUSE = 0.002
"""Seconds between two looks."""
HEADER = 44
Mark = tuple[int, int, int]


class Reader:
    """Remembers what it saw under each name, so that only what is new is read."""

    def __init__(self, outbox: Path) -> None:
        self._outbox = outbox
        self._audio: dict[Path, tuple[Mark, str]] = {}
        self._statuses: dict[Path, tuple[Mark, dict[str, Any]]] = {}
        self.looks = 0
        self.violations: list[str] = []

    @property
    def files(self) -> int:
        return len(self._audio) + len(self._statuses)

    def look(self) -> None:
        """See all that is there now."""
        self.looks += 1
        for folder, _, names in os.walk(self._outbox):
            for name in names:
                path = Path(folder) / name
                if name.startswith("."):
                    continue
                if path.suffix == ".wav":
                    self._see_audio(path)
                elif path.suffix == ".json":
                    self._see_status(path)

    def _see_audio(self, path: Path) -> str:
        """Its hash; empty if it is not there."""
        mark = _mark(path)
        if mark is None:
            return ""
        known = self._audio.get(path)
        if known and known[0] == mark:
            return known[1]
        content = _read(path)
        if content is None:
            return ""
        if not _is_whole(content):
            self.violations.append(f"{path} was seen with {len(content)} bytes that are no whole WAV file")
        digest = hashlib.sha256(content).hexdigest()
        if known and known[0][0] == mark[0]:
            self.violations.append(f"{path} was changed in place")
        self._audio[path] = mark, digest
        return digest

    def _see_status(self, path: Path) -> None:
        mark = _mark(path)
        known = self._statuses.get(path)
        if mark is None or (known and known[0] == mark):
            return
        content = _read(path)
        if content is None:
            return
        try:
            status = json.loads(content)
        except ValueError:
            self.violations.append(f"{path} was seen with {len(content)} bytes that are no whole JSON")
            return
        was = known[1]["state"] if known and known[1]["job_id"] == status["job_id"] else None
        # a final status may be written again after a crash, but it says the same
        if was in FINAL and status["state"] != was:
            self.violations.append(f"{path} went from {was} to {status['state']}")
        self._statuses[path] = mark, status
        if status["state"] in FINAL and status["audio"]:
            found = self._see_audio(path.with_name(status["audio"]["file"]))
            # the status may have been withdrawn or replaced between the two looks
            if found != status["audio"]["sha256"] and _read(path) == content:
                self.violations.append(f"{path} is final, and its audio {'differs' if found else 'is not there'}")


def _mark(path: Path) -> Mark | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _is_whole(content: bytes) -> bool:
    """Whether a WAV file has all that its own header says."""
    if len(content) < HEADER or content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        return False
    if struct.unpack("<I", content[4:8])[0] + 8 != len(content):
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
            [sys.executable, __file__, str(self._outbox), str(self._path)], stdin=subprocess.PIPE
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self.report = json.loads(self._path.read_text())
        self._folder.cleanup()

    @property
    def violations(self) -> list[str]:
        """What must not have been seen."""
        return list(self.report["violations"])


def main() -> None:
    reader = Reader(Path(sys.argv[1]))
    ended = False
    while not ended:
        ended = bool(select.select([sys.stdin], [], [], PAUSE)[0])
        reader.look()
    found = {"looks": reader.looks, "files": reader.files, "violations": reader.violations}
    Path(sys.argv[2]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
