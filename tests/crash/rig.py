"""A box with a daemon in it that may be stopped, starved and killed at any step; the folders outlive every crash."""

from __future__ import annotations

import array
import errno
import hashlib
import json
import os
import zlib
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from crash.life import ATTEMPTS, Broken, Life, digest_of, everything
from crash.tripwire import PowerCut, Tripwire, cut_power, die_within
from piperd import spoken, testing
from piperd.desk import MOST_REPAIRS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness import Box

FAULTS = {"silence": "died", "dying": "died", "failing": "failed", "torn": "corrupt"}
"""What goes wrong with a sentence, by the kind of its file."""
SAMPLES = 64
"""Of an utterance here: what counts is that no two are alike."""
MOST_ROUNDS = 400
"""Until all faults that were left have been waited for."""
CANNOT_FAIL = frozenset({"look_for_room", "start", "take_stock"})
"""Errands that let no error out."""


@dataclass(frozen=True)
class File:
    """What a user drops."""

    kind: str
    stem: str
    folder: str
    shared: list[str]
    times: int
    """How often its own sentence goes wrong."""

    @property
    def path(self) -> str:
        return f"{self.folder}{self.stem}{'.txt' if self.kind == 'text' else '.json'}"

    def written(self, own: str) -> tuple[bytes, set[str]]:
        """Its content, and how its job may end. `own` is a sentence that no other has."""
        text = "\n\n".join([*self.shared, own])
        if self.kind == "text":
            return text.encode(), {"done"}
        if self.kind == "broken":
            return f'{{"text": "{own}", '.encode(), {"job_file_invalid"}
        job: dict[str, Any] = {"scenes": [{"text": "It is quiet."}, {"text": text}], "captions": ["srt", "words"]}
        if self.kind == "hasty":
            return json.dumps({**job, "timeout": 3}).encode(), {"done", "timeout"}
        if self.kind == "silence":
            return json.dumps({**job, "fallback": "silence"}).encode(), {"degraded"}
        # done also after many faults: the daemon may have died before it had written down that a worker had
        may_fail = self.times > MOST_REPAIRS if self.kind == "torn" else self.times >= ATTEMPTS
        failure = {"dying": "worker_died", "failing": "synthesis_failed", "torn": "synthesis_failed"}.get(self.kind)
        return json.dumps(job).encode(), {"done", failure} if failure and may_fail else {"done"}


@dataclass(slots=True)
class Drop:
    """A file that was put into the inbox."""

    path: str
    """Relative to the inbox, as it was dropped."""
    digest: str
    ends: frozenset[str]
    """How its job may end: ``done``, ``degraded``, or the code of a failure."""
    cancelled: str = ""
    """``asked``, then ``surely`` once that is committed, or ``perhaps`` where the daemon died before."""


@dataclass(slots=True)
class Excuses:
    """What was done to all jobs alike that may rightly cost one of them its good end."""

    damaged: int = 0
    """Entries of the store."""
    refused: int = 0
    """Errands that failed in a way that no disk or share does."""


@dataclass(slots=True)
class Rig:
    """A box with a daemon in it, most of the time, and all that must be known to judge it."""

    box: Box
    now: float = 1000.0
    workers: int = 2
    store_bound: int = 0
    """Bytes that the store may have; 0 sets no bound."""
    life: Life | None = None
    drops: dict[str, Drop] = field(default_factory=dict)
    """By digest: no two are alike."""
    taken: dict[bytes, str] = field(default_factory=dict)
    """The digest of all that was ever claimed, by where it lay then."""
    faults: dict[str, deque[str]] = field(default_factory=dict)
    spoken: dict[str, None] = field(default_factory=dict)
    """Digests of all entries of the store that were ever written well, in order."""
    rendered: dict[str, None] = field(default_factory=dict)
    """Digests of all audio that was ever rendered, in order."""
    excuses: Excuses = field(default_factory=Excuses)
    away: Path | None = None
    """Where the outbox is while it is not where it should be."""
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def number(self) -> int:
        """One that was not given before."""
        return next(self._numbers)

    def wall(self) -> float:
        return 1.7e9 + self.now

    def speak(self, _: str, into: Path) -> float:
        """A tone that is never the same twice, as the voice's noise has it."""
        samples = array.array("f", [zlib.crc32(b"%d" % self.number()) / (1 << 33)]) * SAMPLES
        content = b"".join(spoken.pack(samples.tobytes(), testing.SAMPLE_RATE))
        into.write_bytes(content)
        self.spoken[hashlib.sha256(content).hexdigest()] = None
        return SAMPLES / testing.SAMPLE_RATE

    def drop(self, file: File) -> None:
        """Put a file into the inbox, if there is none of that name."""
        if (self.box.inbox / file.path).exists():
            return
        own = f"Number {len(self.drops)}."
        content, ends = file.written(own)
        if file.kind in FAULTS:
            self.faults[own] = deque([FAULTS[file.kind]] * (99 if file.kind == "silence" else file.times))
        self.box.drop(file.path, content)
        digest = hashlib.sha256(content).hexdigest()
        self.drops[digest] = Drop(file.path, digest, frozenset(ends))

    def start(self, power_cut_at: int | None = None) -> None:
        """Begin a life, which may end before it has come up."""
        self.life = Life(self)
        self.step(self.life.begin, power_cut_at)

    def step(self, action: Callable[[], object], power_cut_at: int | None = None) -> None:
        """Have the main thread do something, and perhaps die before it has changed so many files."""
        if power_cut_at is None:
            action()
            return
        try:
            with Tripwire(power_cut_at, cut_power):
                action()
        except PowerCut:
            pass
        self.crash()

    def crash(self, performed: int = 0) -> None:
        """The daemon is killed; its workers finish some of what it has given them last."""
        life, self.life = self.life, None
        if life is not None:
            if performed:
                life.act()
                self.committed()
                life.engine.perform(performed)
            life.die()
        self.committed("perhaps")

    def crash_with_hasty_courier(self, errands: int) -> None:
        """A turn whose errands are run the moment they are sent; the power is cut right after one of them."""
        assert self.life is not None
        self.life.courier.hasty = errands
        try:
            while self.life.hear(0):
                pass
            self.life.act()
        except PowerCut:
            pass
        self.crash()

    def crash_in_errand(self, number: int) -> None:
        """The daemon is killed while its courier changes files."""
        assert self.life is not None
        self.life.courier.step(partial(die_within, number=number))
        self.crash()

    def errand(self, mishap: str = "", number: int = 0, error: int = errno.EIO) -> bool:
        """Have the next errand run, which may fail `before`, `within` or `after` its work; False: there is none."""
        assert self.life is not None
        courier = self.life.courier
        if not mishap or courier.next_errand[1] in CANNOT_FAIL:
            return courier.step()
        self.excuses.refused += error == errno.ENOENT

        def run(action: Callable[[], object]) -> None:
            if mishap == "before":
                fail(error)
            with Tripwire(number if mishap == "within" else 1 << 30, partial(fail, error)):
                action()
            if mishap == "after":
                fail(error)

        return courier.step(run)

    def asked(self, job_id: str) -> None:
        """Somebody has cancelled a job."""
        for claimed, digest in self.taken.items():
            if job_id.encode() in claimed:
                self.drops[digest].cancelled = "asked"

    def committed(self, answer: str = "surely") -> None:
        """What was asked for until now is."""
        for drop in self.drops.values():
            if drop.cancelled == "asked":
                drop.cancelled = answer

    def damage(self, pattern: str, which: int, how: str) -> None:
        """Do to one of some files, counted from the newest, what a power loss does, or a bad disk."""
        age = {digest: number for known in (self.spoken, self.rendered) for number, digest in enumerate(known)}
        paths = sorted(self.box.state.glob(pattern), key=lambda path: (-age.get(digest_of(path), -1), path))
        if not paths:
            return
        path = paths[which % len(paths)]
        content = path.read_bytes()
        self.excuses.damaged += "work" not in path.relative_to(self.box.state).parts
        if how == "gone":
            path.unlink()
        elif how == "torn":
            path.write_bytes(content[:-4])
        else:
            path.write_bytes(content[:-4] + bytes([content[-4] ^ 1]) + content[-3:])

    def unmount(self) -> None:
        """The outbox goes away."""
        self.away = self.box.top / "unmounted"
        self.box.outbox.rename(self.away)

    def mount(self) -> None:
        """It comes back."""
        if self.away is not None:
            self.away.rename(self.box.outbox)
            self.away = None

    def drain(self, look: Callable[[], None]) -> None:
        """Go on, without further faults, until nothing is left to be done, and stop. `look` is called now and then."""
        for _ in range(MOST_ROUNDS):
            if self.life is None:
                self.start()
            assert self.life is not None
            life = self.life
            life.take()
            heard = 0
            while life.hear(0):
                heard += 1
            life.act()
            self.committed()
            while life.courier.step():
                heard += 1
            look()
            if life.takes_files and not (life.mailbox or life.delivery.open_jobs or everything(self.box.inbox)):
                break
            if not heard:
                due = life.next_due()
                if due is None or due == float("inf"):
                    raise Broken("lost", f"nothing happens any more, and there is {sorted(life.delivery.open_jobs)}")
                self.now = max(self.now, due)
        else:
            raise Broken("lost", f"it does not come to an end with {sorted(life.delivery.open_jobs)}")
        if held := life.housekeeping.store.held():
            raise Broken("leaked", f"nothing is open, and {len(held)} entries of the store are held")
        life.shut_down(hurry=False)
        self.life = None


def fail(number: int) -> None:
    """As the kernel does."""
    raise OSError(number, os.strerror(number))
