"""After a crash: lay a disk's content out, start the daemon again, and judge what has become of every file and job."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from crash import straced
from crash.nursery import Nursery
from harness import Box

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crash.oplog import Tree
    from crash.straced import Log
    from crash.tally import Tally

DAEMON = Path(__file__).with_name("daemon.py")
FOLDERS = ("inbox", "outbox", "archive", "failed", "state")
PATIENCE = 15
"""Seconds; a start after a crash that takes longer hangs."""
TEMPORARY = ".piperd-"
COLUMN = {"duplicated": "duplicated", "torn": "torn", "leaked": "leaked", "unexplained": "leaked"}
"""Of the tally, by kind of finding; all others count as lost."""


class Finding(NamedTuple):
    """Something that must not be."""

    kind: str
    message: str


class Aftermath:
    """A box that is emptied and filled again and again, always at the same path, since the ledger knows paths."""

    def __init__(self, top: Path, drops: Mapping[str, Any], *, workers: int = 0) -> None:
        """`drops` lie in the inbox at first. With `workers` the real pool runs, else a scripted engine."""
        top.mkdir()
        self.box = Box(top)
        self._side = top.with_name(f"{top.name}-side")
        self._side.mkdir()
        for name, content in drops.items():
            self.box.drop(name, content)
        self._drops = {name: (self.box.inbox / name).read_bytes() for name in drops}
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in self._drops.items()}
        (self._side / "dropped.json").write_text(json.dumps(digests))
        self._drain_it = [str(self.box.config), "--drain", *(["--workers", str(workers)] if workers else [])]
        self._nursery = Nursery()
        self._outputs: dict[str, bytes] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._nursery.__exit__()

    def record(self) -> Log:
        """Let the daemon run, and give what it did. The first run, which nothing disturbs, is what others are like."""
        log = straced.record(
            [sys.executable, str(DAEMON), *self._drain_it], self.box.top, FOLDERS, into=self._side / "strace"
        )
        if not self._outputs:
            assert log.code == 0, (self._side / "strace.log").read_text()
            self._outputs = log.end().files("outbox")
            assert sum(name.endswith(".wav") for name in self._outputs) >= len(self._drops)
        return log

    def lay_out(self, tree: Tree) -> None:
        """Make the box hold this and nothing else."""
        for name in FOLDERS:
            shutil.rmtree(self.box.top / name)
        tree.write(self.box.top)

    def recover(self, tree: Tree) -> list[Finding]:
        """Start the daemon on what a crash has left, until nothing is to be done; gives what is wrong then."""
        self.lay_out(tree)
        return self._seen_by_readers(tree) + self._drain() + self._audit() + self._ledger() + self._compare()

    def _drain(self) -> list[Finding]:
        log = self._side / "log"
        code = self._nursery.run(DAEMON, *self._drain_it, log=log, patience=PATIENCE)
        if code == 0:
            return []
        said = log.read_text(errors="replace")[-2000:]
        return [Finding("lost", f"the daemon {'hangs' if code < 0 else f'ended with {code}'}: …{said}")]

    def _seen_by_readers(self, tree: Tree) -> list[Finding]:
        """What readers of the outbox see between the crash and the start: whole audio, final statuses that hold."""
        found = []
        outbox = tree.files("outbox")
        for name, content in outbox.items():
            if name.endswith(".wav") and not os.path.basename(name).startswith("."):  # noqa: PTH119
                if content != self._outputs.get(name):
                    found.append(Finding("torn", f"after the crash {name} is not the audio"))
            elif name.endswith(".json") and (status := _status(content)) is not None and status["state"] == "done":
                for told in [part for part in (status["audio"], *status["scenes"]) if part["file"]]:
                    audio = os.path.join(os.path.dirname(name), told["file"])  # noqa: PTH118, PTH120
                    if hashlib.sha256(outbox.get(audio, b"")).hexdigest() != told["sha256"]:
                        found.append(Finding("torn", f"after the crash {name} says done; {audio} is not there whole"))
        return found

    def _audit(self) -> list[Finding]:
        """What the auditor says, which knows nothing of the daemon's code."""
        log = self._side / "audit"
        code = self._nursery.run(
            "piperd.audit", "--config", str(self.box.config), "--drained", "--json",
            "--dropped", str(self._side / "dropped.json"), log=log, patience=PATIENCE,
        )  # fmt: skip
        assert code in {0, 1}, log.read_text()
        findings = json.loads(log.read_text())["findings"]
        assert bool(findings) == bool(code)
        return [Finding(each["kind"], f"audit: {each['message']}") for each in findings]

    def _ledger(self) -> list[Finding]:
        """Each file that was dropped is one job, done and delivered."""
        uri = f"file:{self.box.state / 'ledger.sqlite3'}?mode=ro"
        with sqlite3.connect(uri, uri=True) as ledger:
            rows = ledger.execute("SELECT source, state, delivered FROM jobs").fetchall()
        ledger.close()
        found = []
        jobs = Counter(os.fsdecode(source) for source, _, _ in rows)
        for name in self._drops:
            if jobs[name] != 1:
                kind = "duplicated" if jobs[name] else "lost"
                found.append(Finding(kind, f"{name} has {jobs[name]} jobs in the ledger"))
        strangers = jobs.keys() - self._drops.keys()
        found += [Finding("duplicated", f"the ledger has a job of {name}, which nobody dropped") for name in strangers]
        for source, state, delivered in rows:
            if (state, delivered) != ("done", 1):
                found.append(Finding("lost", f"{os.fsdecode(source)} is {state}, delivered: {delivered}"))
        return found

    def _compare(self) -> list[Finding]:
        """All is as if nothing had happened: the same outputs, the inputs in the archive, nothing else."""
        there = {name: (self.box.outbox / name).read_bytes() for name in self._kept(self.box.outbox)}
        missing, strange = self._outputs.keys() - there.keys(), there.keys() - self._outputs.keys()
        found = [Finding("lost", f"{name} is not in the outbox") for name in missing]
        found += [Finding("duplicated", f"{name} is in the outbox, and should not be") for name in strange]
        for name in there.keys() & self._outputs.keys():
            status = _status(there[name])
            if not name.endswith(".json") and there[name] != self._outputs[name]:
                found.append(Finding("torn", f"{name} is not what was rendered"))
            elif name.endswith(".json") and (status is None or status["state"] != "done"):
                found.append(Finding("torn", f"{name} is no final status: {there[name][:200]!r}"))
        archived = {name: (self.box.archive / name).read_bytes() for name in self._kept(self.box.archive)}
        if archived != self._drops:
            kind = "duplicated" if self._drops.items() <= archived.items() else "lost"
            found.append(Finding(kind, f"in the archive: {sorted(archived)}, dropped: {sorted(self._drops)}"))
        for folder in (self.box.inbox, self.box.failed, self.box.state / "work", self.box.state / "store" / "staging"):
            found += [Finding("leaked", f"{name} is left in {folder.name}") for name in self._kept(folder)]
        every = self.box.files(self.box.top)
        return found + [Finding("leaked", f"{name} is left") for name in sorted(every) if TEMPORARY in name]

    def _kept(self, folder: Path) -> list[str]:
        """What lies in a folder, but temporaries."""
        return sorted(name for name in self.box.files(folder) if TEMPORARY not in name)


def count(tally: Tally, row: str, found: list[Finding]) -> None:
    """Count a case, by what is wrong in it."""
    columns = {COLUMN.get(finding.kind, "lost") for finding in found}
    tally.add(
        row,
        lost=int("lost" in columns),
        duplicated=int("duplicated" in columns),
        torn=int("torn" in columns),
        leaked=int("leaked" in columns),
    )


def _status(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "state" in found else None
