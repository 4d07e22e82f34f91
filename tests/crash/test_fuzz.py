"""A drop folder in the hands of a monkey: the daemon stays up and small, and accounts for every file."""

from __future__ import annotations

import contextlib
import json
import os
import random
import stat
import time
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Any

from crash import oddities
from crash.ordeal import Bystander, Finding, Life, Ordeal, new_seed, record, seen, told

if TYPE_CHECKING:
    from pathlib import Path

    from crash.tally import Tally

ROW = "drop fuzzer"
FOLDERS = 40
SHARES = 10
"""After each tenth the daemon may catch up, and its memory is looked at."""
PATIENCE = 120.0
MOST_MEMORY = 200 << 20
MOST_GROWTH = 24 << 20
"""Bytes, from the second tenth to the last: what caches and the allocator may take."""
OPTIONS: dict[str, dict[str, Any]] = {
    "watch": {"settle": 0.03, "empty_grace": 0.1, "incomplete_grace": 0.1, "rescan": 5},
    "limits": {"max_text": 1000, "max_file_bytes": 1 << 19, "max_audio": 100},
}
TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
"""What turns the reading order around, and the byte order mark."""
SECRET = b"This must never be spoken."


class Monkey:
    """Drops things, and knows what should become of them."""

    def __init__(self, ordeal: Ordeal, lots: random.Random) -> None:
        self.ordeal = ordeal
        self.taken: list[bytes] = []
        """What was dropped and is to become a job."""
        self._lots = lots
        self._inbox = ordeal.box.inbox
        self._outside = ordeal.box.top / "outside"
        self._outside.mkdir()
        self.secret = self._outside / "secret.txt"
        self.secret.write_bytes(SECRET)
        self._folders = [b""] * FOLDERS + self._make_folders()
        self._left: dict[Path, tuple[int, int]] = {}

    def play(self) -> None:
        """Do one thing to the inbox."""
        lots = self._lots
        folder = lots.choice(self._folders)
        path = folder + b"/" + oddities.name(lots) if folder else oddities.name(lots)
        if lots.random() < 0.06:
            self._plant(path)
        elif lots.random() < 0.01:
            self._move_in(path)
        else:
            self._drop(path, oddities.content(lots, path))

    def untouched(self) -> list[Finding]:
        """What was not to be taken lies where it was put, as it was."""
        found = []
        for path, mark in self._left.items():
            with contextlib.suppress(OSError):
                if _mark(path) == mark:
                    continue
            found.append(Finding("lost", f"{str(path)!r} was not for piperd, and is not what it was"))
        if self.secret.read_bytes() != SECRET:
            found.append(Finding("torn", "a file outside of the inbox was changed"))
        return found

    def _make_folders(self) -> list[bytes]:
        found: list[bytes] = []
        while len(found) < FOLDERS:
            folder = oddities.folder(self._lots)
            with contextlib.suppress(FileExistsError, NotADirectoryError):
                self._at(folder).mkdir(parents=True, exist_ok=True)
                found.append(folder)
        return found

    def _at(self, path: bytes) -> Path:
        return self._inbox / os.fsdecode(path)

    def _drop(self, path: bytes, content: bytes) -> None:
        taken = oddities.is_taken(path)
        ends = "" if taken else "inbox"
        if not self.ordeal.drop(path, content, ends=ends, pieces=self._lots.choice((0, 0, 1, 2))):
            return
        if not taken:
            self._left[self._at(path)] = _mark(self._at(path))
            return
        self.taken.append(path)
        if self._lots.random() < 0.03:
            # no hindrance to root; whoever else runs this has the daemon wait for the file
            with contextlib.suppress(OSError):
                self._at(path).chmod(0 if os.geteuid() == 0 else 0o600)

    def _plant(self, path: bytes) -> None:
        """Something that is no plain file."""
        target = self._at(path)
        if self._lots.random() < 0.1:
            with contextlib.suppress(FileExistsError):
                target.mkdir()
                self._folders.append(path)
            return
        plants = (
            self._link,
            self._link_nowhere,
            self._link_folder,
            self._hard_link,
            self._pipe,
            self._socket,
            self._hole,
        )
        try:
            self._lots.choice(plants)(target, path)
        except FileExistsError:
            return
        if oddities.is_taken(path):
            self.taken.append(path)
        else:
            self._left[target] = _mark(target)

    def _link(self, target: Path, _: bytes) -> None:
        target.symlink_to(self.secret)

    def _link_nowhere(self, target: Path, _: bytes) -> None:
        target.symlink_to(self._lots.choice(("nowhere", target.name, "/proc/self/mem", "x" * 900)))

    def _link_folder(self, target: Path, _: bytes) -> None:
        target.symlink_to(self._outside)

    def _hard_link(self, target: Path, path: bytes) -> None:
        content = b"Linked %d" % self._lots.getrandbits(40)
        other = self._outside / f"linked-{len(self.taken)}-{len(self._left)}"
        other.write_bytes(content)
        target.hardlink_to(other)
        self.ordeal.remember(path, content, "failed" if oddities.is_taken(path) else "inbox")

    def _pipe(self, target: Path, _: bytes) -> None:
        os.mkfifo(target)

    def _socket(self, target: Path, _: bytes) -> None:
        os.mknod(target, stat.S_IFSOCK | 0o600)

    def _hole(self, target: Path, path: bytes) -> None:
        size = self._lots.choice((1, 5000, 1 << 20))
        with target.open("xb") as file:
            file.truncate(size)
        self.ordeal.remember(path, bytes(size), "failed" if oddities.is_taken(path) else "inbox")

    def _move_in(self, path: bytes) -> None:
        """A whole folder appears at once."""
        target = self._at(path)
        if target.exists() or target.is_symlink():
            return
        built = self._outside / "built"
        built.mkdir()
        names = {oddities.name(self._lots) for _ in range(5)}
        contents = {each: oddities.content(self._lots, each) for each in names}
        for each, content in contents.items():
            (built / os.fsdecode(each)).write_bytes(content)
        built.rename(target)
        for each, content in contents.items():
            whole = path + b"/" + each
            taken = oddities.is_taken(whole)
            self.ordeal.remember(whole, content, "" if taken else "inbox")
            if taken:
                self.taken.append(whole)
            else:
                self._left[self._at(whole)] = _mark(self._at(whole))


def _mark(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_ino, found.st_mtime_ns


def catch_up(monkey: Monkey, daemon: Life) -> None:
    """Wait until all that was dropped is delivered."""
    ordeal = monkey.ordeal
    deadline = time.monotonic() + PATIENCE
    while daemon.alive and ordeal.count("delivered = 1") < len(monkey.taken):
        assert time.monotonic() < deadline, f"these do not end: {outstanding(monkey)}"
        time.sleep(0.01)
    assert daemon.alive, f"the daemon ended with {daemon.wait()}: {ordeal.log.read_text(errors='replace')[-2000:]}"


def outstanding(monkey: Monkey) -> list[bytes]:
    """Paths of files that are to become jobs, and have not ended as such."""
    return list(
        (Counter(monkey.taken) - Counter(job["source"] for job in monkey.ordeal.jobs("delivered = 1"))).elements()
    )


def clean_log(ordeal: Ordeal) -> list[Finding]:
    """Whatever names there are, each event is a line of JSON in which nothing moves a terminal or turns text around."""
    found = []
    for line in ordeal.log.read_bytes().splitlines():
        try:
            json.loads(line)
        except ValueError:
            found.append(Finding("unexplained", f"a line of the log is none: {line[:200]!r}"))
        else:
            if bad := [
                each for each in line.decode() if each in TURNING or unicodedata.category(each) in {"Cc", "Zl", "Zp"}
            ]:
                found.append(Finding("unexplained", f"a line of the log has {bad!r}: {line[:200]!r}"))
    return found


def test_nothing_that_is_dropped_harms_the_daemon(tmp_path: Path, tally: Tally, torture: bool) -> None:
    """It stays up within bounded memory, without a fault of its own, and every file ends where it belongs."""
    seed = new_seed()
    files = 10_000 if torture else 1000
    ordeal = Ordeal(tmp_path / "box", OPTIONS)
    monkey = Monkey(ordeal, random.Random(seed))
    memory = []
    with Bystander(ordeal.box.outbox) as observer, ordeal.start() as daemon:
        for _ in range(SHARES):
            for _ in range(files // SHARES):
                monkey.play()
            catch_up(monkey, daemon)
            memory.append(daemon.rss())
        assert daemon.stop() == 0
    found = ordeal.drain() + ordeal.verdict() + monkey.untouched() + clean_log(ordeal)
    found += seen(observer)
    found += [Finding("lost", f"{path!r} became no job") for path in outstanding(monkey)]
    if (jobs := ordeal.count()) > len(monkey.taken):
        found.append(Finding("duplicated", f"{jobs} jobs of {len(monkey.taken)} files"))
    record(tally, ROW, found, cases=files)
    assert not found, f"seed {seed}:\n{told(found[:30])}"
    assert max(memory) < MOST_MEMORY, f"seed {seed}: {memory}"
    assert memory[-1] - memory[1] < MOST_GROWTH, f"seed {seed}: {memory}"
    assert sorted(path.name for path in ordeal.box.top.iterdir()) == sorted(
        ("inbox", "outbox", "archive", "failed", "state", "outside", "piperd.toml")
    )
