"""A daemon that is killed and starved in a box that remembers all that was ever dropped into it, and the verdict."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from crash.cradle import cradle
from crash.observer import Observer
from harness import Box, wait_for
from piperd import results
from piperd.durable import rename_no_replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from crash.cradle import Born
    from crash.tally import Tally

PATIENCE = 60.0
"""Seconds for whatever ends by itself; a daemon that takes longer hangs."""
COLUMNS = {"duplicated": "duplicated", "torn": "torn", "leaked": "leaked", "unexplained": "leaked"}
"""Of the tally, by kind of finding; all others count as lost."""


class Finding(NamedTuple):
    """Something that must not be."""

    kind: str
    message: str


class Dropped(NamedTuple):
    """A file that was put into the inbox."""

    path: str
    """Relative to the inbox."""
    digest: str
    ends: str
    """Where it must end: ``archive``, ``failed``, ``inbox`` if it is not to be taken, or empty for wherever."""


class Life:
    """A daemon from its start to its end, and perhaps beyond."""

    def __init__(self, start: Callable[[], Born | subprocess.Popen[bytes]]) -> None:
        self._start = start
        self.revive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def workers(self) -> list[int]:
        """The ids of its child processes."""
        return [pid for pid, parent in _processes() if parent == self.pid] if self.alive else []

    def rss(self) -> int:
        """Its resident memory, in bytes; 0 if it has ended."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except FileNotFoundError:
            return 0
        kibibytes = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(kibibytes[0]) << 10 if kibibytes else 0

    def revive(self) -> None:
        """Start it, for the first time or again."""
        self._process = self._start()

    def kill(self) -> None:
        """End it at once; its workers follow."""
        workers = self.workers()
        self._process.kill()
        self._process.wait()
        for worker in workers:
            # they are no children of ours, but they have lost their parent and must end by themselves
            wait_for(partial(_is_gone, worker), "the end of an orphaned worker")

    def kill_worker(self, lots: random.Random) -> bool:
        """End one of its workers at once; False if there is none."""
        workers = self.workers()
        if not workers:
            return False
        try:
            os.kill(lots.choice(workers), signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def stop(self, patience: float = PATIENCE) -> int | None:
        """Ask it to end; gives its exit code, None if it hangs."""
        self._process.terminate()
        return self.wait(patience)

    def wait(self, patience: float = PATIENCE) -> int | None:
        """Its exit code; None if it does not end."""
        try:
            return self._process.wait(patience)
        except subprocess.TimeoutExpired:
            return None


class Ordeal:
    """One box, its daemons, and what was dropped."""

    def __init__(
        self,
        top: Path,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        real: bool = False,
        inbox: Path | None = None,
    ) -> None:
        """`real` starts the program that users start, with its voice. `inbox` is one that others use, too."""
        top.mkdir()
        folders = {"folders": {"inbox": str(inbox)}} if inbox else {}
        self.box = Box(top, {**(options or {}), **folders})
        if inbox:
            self.box.inbox = inbox
        self._side = top.with_name(f"{top.name}-side")
        self._side.mkdir()
        self.log = self._side / "log"
        self.log.touch()
        self.dropped: list[Dropped] = []
        self._real = real

    def drop(self, path: str | bytes, content: bytes, *, ends: str = "", pieces: int = 0, pause: float = 0.0) -> bool:
        """Put a file into the inbox, by one rename or written to in pieces; False if its name is taken there."""
        target = self.box.inbox / os.fsdecode(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if pieces:
                _write(target, content, pieces, pause)
            else:
                _rename(target, content)
        except FileExistsError:
            return False
        self.remember(path, content, ends)
        return True

    def remember(self, path: str | bytes, content: bytes, ends: str = "") -> None:
        """A file was put into the inbox."""
        self.dropped.append(Dropped(os.fsdecode(path), hashlib.sha256(content).hexdigest(), ends))

    def start(self, *arguments: str) -> Life:
        """A daemon begins to live."""
        return Life(partial(self._bear, arguments))

    def _bear(self, arguments: Sequence[str]) -> Born | subprocess.Popen[bytes]:
        config = str(self.box.config)
        if not self._real:
            return cradle().bear([config, *arguments], self.log)
        command = [sys.executable, "-m", "piperd.cli", "run", "--config", config, *arguments]
        with self.log.open("ab") as file:
            return subprocess.Popen(command, stdout=file, stderr=file)

    def drain(self, *arguments: str, patience: float = PATIENCE) -> list[Finding]:
        """Let a daemon work until nothing is left to be done; gives what is wrong with that."""
        with self.start("--drain", *arguments) as daemon:
            code = daemon.wait(patience)
        if code in {0, 1}:
            return []
        what = "hangs" if code is None else f"ended with {code}"
        return [Finding("lost", f"the daemon {what}: …{self.log.read_text(errors='replace')[-1500:]}")]

    def events(self, *names: str) -> list[dict[str, Any]]:
        """What the daemons have logged under these names, in order; a line that a kill has torn is passed over."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and event.get("event") in names:
                found.append(event)
        return found

    def jobs(self, where: str = "1") -> list[dict[str, Any]]:
        """The rows of the ledger."""
        return self._rows(f"SELECT * FROM jobs WHERE {where} ORDER BY seq")

    def count(self, where: str = "1") -> int:
        """How many rows that would be."""
        return sum(row["n"] for row in self._rows(f"SELECT count(*) AS n FROM jobs WHERE {where}"))

    def _rows(self, query: str) -> list[dict[str, Any]]:
        """Nothing where there is no ledger yet."""
        try:
            database = sqlite3.connect(f"file:{self.box.state / 'ledger.sqlite3'}?mode=ro", uri=True, timeout=10)
        except sqlite3.OperationalError:
            return []
        try:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(query)]
        except sqlite3.OperationalError:
            return []
        finally:
            database.close()

    def verdict(self, since: int = 0) -> list[Finding]:
        """All that is wrong after a drain; paths of what was dropped before the number `since` are not looked for."""
        return [*self.audit(self.dropped[since:]), *self.account(), *self.outputs(), *self.faults()]

    def audit(self, dropped: Iterable[Dropped]) -> list[Finding]:
        """What the auditor says, which knows nothing of the daemon's code."""
        wanted: dict[str, str] = {}
        for each in dropped:
            wanted.setdefault(each.path, each.digest)
        (self._side / "dropped.json").write_text(json.dumps(wanted))
        asked = subprocess.run(
            [
                *(sys.executable, "-m", "piperd.audit", "--config", str(self.box.config), "--drained", "--json"),
                *("--dropped", str(self._side / "dropped.json")),
            ],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert asked.returncode in {0, 1}, asked.stderr
        findings = json.loads(asked.stdout)["findings"]
        assert bool(findings) == bool(asked.returncode)
        return [Finding(each["kind"], f"audit: {each['message']}") for each in findings]

    def account(self, *others: Ordeal) -> list[Finding]:
        """Each content that was dropped lies where it must end, as often as it was dropped.

        `others` share the inbox.
        """
        there = {
            "archive": contents(*(each.box.archive for each in (self, *others))),
            "failed": contents(*(each.box.failed for each in (self, *others))),
            "inbox": contents(self.box.inbox),
        }
        everywhere = sum(there.values(), Counter[str]())
        found = []
        for digest, times in Counter(each.digest for each in self.dropped).items():
            drops = [each for each in self.dropped if each.digest == digest]
            if everywhere[digest] != times:
                kind = "lost" if everywhere[digest] < times else "duplicated"
                names = ", ".join(repr(each.path) for each in drops[:3])
                found.append(Finding(kind, f"{names}: dropped {times} times, there {everywhere[digest]} times"))
            for place, wanted in Counter(each.ends for each in drops).items():
                if place and there[place][digest] < wanted:
                    names = ", ".join(repr(each.path) for each in drops if each.ends == place)
                    found.append(Finding("lost", f"{names} did not end in {place}"))
        return found

    def outputs(self) -> list[Finding]:
        """The jobs are all delivered; those done have their files, and there are no others."""
        jobs = self.jobs()
        found = [
            Finding("lost", f"{job['source']!r} is {job['state']}, not delivered")
            for job in jobs
            if not job["delivered"]
        ]
        wanted = Counter(name for job in jobs if job["state"] == "done" for name in outputs_of(job))
        # a subfolder of the inbox may be called so, and keeps its name
        there = Counter(
            str(path.relative_to(self.box.outbox))
            for path in self.box.outbox.rglob("*")
            if path.is_file() and not self._is_status(path)
        )
        found += [Finding("lost", f"{name} is not in the outbox") for name in (wanted - there)]
        return found + [Finding("duplicated", f"{name} is of no job") for name in (there - wanted)]

    def _is_status(self, path: Path) -> bool:
        if path.suffix != ".json":
            return False
        found = json.loads(path.read_bytes())
        return isinstance(found, dict) and "job_id" in found

    def faults(self) -> list[Finding]:
        """Faults of the daemon's own, which cost no file but should not be."""
        said = self.log.read_text(errors="replace")
        return [
            Finding("unexplained", f"the log has: {said[max(0, said.find(word) - 200) : said.find(word) + 1500]}")
            for word in ("Traceback", "inbox_failed", "hand_over_failed")
            if word in said
        ]


def outputs_of(job: Mapping[str, Any]) -> list[str]:
    """What a row of the ledger says it has published, relative to the outbox."""
    name = os.path.join(job["folder"], job["stem"])  # noqa: PTH118 - a name to compare
    return [results.published(name, file) for file, _ in results.files(json.loads(job["result"]))]


def contents(*folders: Path) -> Counter[str]:
    """How often each content lies in some folders, by sha256; regular files only."""
    return Counter(
        hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in folder.rglob("*")
        if not path.is_symlink() and path.is_file()
    )


class Bystander(Observer):
    """An observer who takes less of the processors than those who are observed, or a test would take twice as long."""

    def __enter__(self) -> Self:
        # a thread of Linux has a priority of its own, which processes that it starts inherit
        before = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, 0, min(19, before + 5))
        try:
            return super().__enter__()
        finally:
            with contextlib.suppress(PermissionError):  # nobody but root may take it back
                os.setpriority(os.PRIO_PROCESS, 0, before)


def seen(observer: Observer) -> list[Finding]:
    """What somebody has seen in the outbox that must not be seen."""
    return [Finding("torn", f"seen: {violation}") for violation in observer.violations]


def record(tally: Tally, row: str, found: Iterable[Finding], *, cases: int = 1) -> None:
    """Count cases, and what is wrong in them."""
    tally.add(row, cases=cases, **Counter(COLUMNS.get(each.kind, "lost") for each in found))


def told(found: Iterable[Finding]) -> str:
    """Findings as lines."""
    return "\n".join(f"{each.kind}: {each.message}" for each in found)


def new_seed() -> int:
    """What all lots of a test are drawn from; ``ORDEAL_SEED`` has them drawn again."""
    return int(os.environ.get("ORDEAL_SEED", random.SystemRandom().randrange(1 << 32)))


def _rename(target: Path, content: bytes) -> None:
    temporary = target.with_name(f".drop-{os.urandom(4).hex()}")
    temporary.write_bytes(content)
    try:
        rename_no_replace(temporary, target)
    except BaseException:
        temporary.unlink()
        raise


def _write(target: Path, content: bytes, pieces: int, pause: float) -> None:
    """As a program does that writes slowly to the final name."""
    size = -(-len(content) // pieces) or 1
    with target.open("xb", buffering=0) as file:
        for start in range(0, len(content), size):
            file.write(content[start : start + size])
            time.sleep(pause)


def _is_gone(pid: int) -> bool:
    return pid not in dict(_processes())


def _processes() -> Iterator[tuple[int, int]]:
    """All processes that run, with their parents'."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:  # it has ended meanwhile
                continue
            if state != "Z":
                yield int(folder.name), int(parent)
