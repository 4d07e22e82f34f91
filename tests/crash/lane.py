"""A box in which a job is done again and again, each time by a daemon that something befalls, always from one start."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import sqlite3
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from crash.aftermath import Finding
from crash.nursery import Nursery
from crash.tracing import Strace
from harness import Box, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STORY = {
    "scenes": [
        {"id": "a", "text": "Good day. It rains."},
        {"id": "b", "text": "It snows. The end."},
    ]
}
DAEMON = Path(__file__).with_name("daemon.py")
HELD = Path(__file__).with_name("held.py")
THREADS = ("main", "piperd-inbox", "piperd-courier")
NAMES = ("story.json", "story-2.json")
"""Of the job's status; the second one where it takes the first for somebody else's."""
PATIENCE = 20
"""Seconds; what takes longer hangs."""
STILL = 4
"""Looks, one after the other, in which a thread has not run: it waits for something to do."""


class Lane:
    """A box in which one case after the other is tried, each from the same start."""

    def __init__(self, top: Path) -> None:
        top.mkdir()
        self._top = top
        (top / "box").mkdir()
        self.box = Box(top / "box")
        self._nursery = Nursery()
        self._runner = ThreadPoolExecutor(1)
        assert self.run("--drain") == 0, self.log()
        self.fresh = self.keep("fresh")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._nursery.__exit__()
        self._runner.shutdown()

    def keep(self, name: str) -> Path:
        """A copy of the box as it is now."""
        shutil.rmtree(self._top / name, ignore_errors=True)
        return shutil.copytree(self.box.top, self._top / name)

    def lay_out(self, tree: Path) -> None:
        """Make the box such a copy. Its path is the same always, since the ledger knows paths."""
        shutil.rmtree(self.box.top)
        shutil.copytree(tree, self.box.top)

    def log(self) -> str:
        """What the daemon has said, this time."""
        return (self._top / "log").read_text(errors="replace")

    def run(self, *arguments: str) -> int:
        """Run the daemon until it ends."""
        return self._order(DAEMON, str(self.box.config), *arguments)

    def start(self) -> Running:
        """The daemon, when it has nothing to do."""
        running = self._start(DAEMON, str(self.box.config), "--threads", str(self._told()))
        wait_for(running.still, "an idle daemon")
        return running

    def start_held(self, thread: str) -> Running:
        """The daemon on its way to do all that there is to do, a thread of it waiting at its first step."""
        return self._start(HELD, str(self.box.config), thread, str(self._told()), "--drain")

    def trace(self, threads: Iterable[int], faults: Sequence[str] = ()) -> Strace:
        return Strace(list(threads), self._top / "strace", faults)

    def drop(self) -> None:
        self.box.drop("story.json", STORY)

    def ended(self) -> bool:
        """Whether the job has a final status, and its input has been put away."""
        statuses = [self.box.status(name) for name in NAMES]
        away = self.box.files(self.box.archive) | self.box.files(self.box.failed)
        return bool(away) and any(status is not None and status["state"] in {"done", "failed"} for status in statuses)

    def recover(self, names: Sequence[str] = NAMES[:1]) -> list[Finding]:
        """Start the daemon until nothing is to be done; gives what is wrong then. `names` may be the status's."""
        code = self.run("--drain")
        found = self.heard()
        if code != 0:
            ended = "hangs" if code == -signal.SIGKILL else f"ends with {code}"
            found.append(Finding("lost", f"the next start {ended}: …{self.log()[-1500:]}"))
        statuses = self.box.statuses()
        if [status["state"] for status in statuses.values()] != ["done"] or not statuses.keys() <= set(names):
            found.append(Finding("lost", f"the job is not done: {statuses}"))
        return found + self._audit()

    def ledger(self) -> list[tuple[str, int]]:
        """State of each job, and whether it is delivered. Read from a copy: reading could change it."""
        copy = self.keep("ledger") / "state" / "ledger.sqlite3"
        with contextlib.closing(sqlite3.connect(copy)) as ledger:
            return ledger.execute("SELECT state, delivered FROM jobs").fetchall()

    def heard(self) -> list[Finding]:
        """What the log must not have."""
        log = self.log()
        where = log.find("Traceback")
        return [Finding("lost", f"the log has a traceback: {log[where - 500 : where + 2500]}")] if where >= 0 else []

    def _told(self) -> Path:
        return self._top / "threads"

    def _start(self, program: Path, *arguments: str) -> Running:
        self._told().unlink(missing_ok=True)
        code = self._runner.submit(self._order, program, *arguments)
        wait_for(lambda: self._told().exists() or code.done(), "the daemon")
        assert not code.done(), self.log()
        return Running(json.loads(self._told().read_text()), code)

    def _order(self, program: Path, *arguments: str) -> int:
        return self._nursery.run(program, *arguments, log=self._top / "log", patience=3 * PATIENCE)

    def _audit(self) -> list[Finding]:
        """What the auditor says, which knows nothing of the daemon's code."""
        dropped, report = self._top / "dropped", self._top / "audit"
        dropped.write_text(json.dumps({"story.json": hashlib.sha256(json.dumps(STORY).encode()).hexdigest()}))
        code = self._nursery.run(
            "piperd.audit", "--config", str(self.box.config), "--drained", "--json", "--dropped", str(dropped),
            log=report, patience=PATIENCE,
        )  # fmt: skip
        assert code in {0, 1}, report.read_text()
        findings = json.loads(report.read_text())["findings"]
        assert bool(findings) == bool(code)
        return [Finding(each["kind"], f"audit: {each['message']}") for each in findings]


@dataclass
class Running:
    """A daemon that was started."""

    threads: dict[str, int]
    """Their ids; that of the main thread is the process's."""
    code: Future[int]
    _seen: tuple[str, int] = ("", 0)

    def ask_to_stop(self) -> None:
        if not self.code.done():
            os.kill(self.threads["main"], signal.SIGTERM)

    def still(self) -> bool:
        """Whether no thread has anything to do; to be asked again and again."""
        switches = "".join(
            line
            for thread in self.threads.values()
            for line in Path(f"/proc/{thread}/status").read_text().splitlines()
            if line.startswith(("State:", "voluntary_ctxt"))
        )
        before, times = self._seen
        self._seen = switches, times + 1 if switches == before and switches.count("sleeping") == len(THREADS) else 0
        return self._seen[1] >= STILL
