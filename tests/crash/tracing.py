"""The system calls of one thread of the daemon: told, made fatal, or made to fail, with strace."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from harness import PATIENCE, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

CALLS = (
    *("fsync", "fdatasync", "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat"),
    *("rmdir", "mkdir", "mkdirat", "open", "openat", "creat", "write", "pwrite64", "writev", "ftruncate"),
)
"""All that change files, of which not every machine has all. What an open does only its flags tell."""
DESCRIPTORS = "/proc/self/fd/"
"""A way that piperd goes to files in folders which it has opened."""
INJECTED = "(INJECTED)"
_CALL = re.compile(r"^(\w+)\((.*)\) += (-?\d+)")
_WRITING = re.compile(r"O_(?:WRONLY|RDWR|CREAT|TRUNC)")
_STOP = re.compile(r"^--- SIG(?:TERM|INT) ")


@dataclass(frozen=True, slots=True)
class Call:
    """A call in the life of a thread."""

    name: str
    nth: int
    """Of all its calls of this name, counted as strace counts for ``when=``."""
    arguments: str
    """As strace writes them, descriptors with their paths."""
    succeeded: bool
    stopping: bool
    """Whether the daemon had been asked to stop by then."""

    def touches(self, folder: Path) -> bool:
        """Whether something below the folder is its matter."""
        return str(folder) in self.arguments or DESCRIPTORS in self.arguments

    @property
    def changes(self) -> bool:
        """Whether anything was another after it."""
        return self.succeeded and (not self.name.startswith("open") or _WRITING.search(self.arguments) is not None)

    def __str__(self) -> str:
        return f"{self.name} {self.nth}: {self.arguments}"


def read(record: Path) -> list[Call]:
    """The calls of one thread, in order."""
    calls, counts, stopping = [], Counter[str](), False
    for line in record.read_text(errors="replace").splitlines():
        stopping |= _STOP.match(line) is not None
        if (match := _CALL.match(line)) is not None:
            name, arguments, result = match.groups()
            counts[name] += 1
            calls.append(Call(name, counts[name], arguments, int(result) >= 0, stopping))
    return calls


def kill(call: Call) -> list[str]:
    """What makes strace end the process when a thread is about to do this."""
    return ["-e", f"inject={call.name}:signal=KILL:when={call.nth}"]


def fail(call: Call, error: str) -> list[str]:
    """What makes this call fail."""
    return ["-e", f"inject={call.name}:error={error}:when={call.nth}"]


def fail_from(call: Call, calls: Iterable[Call], error: str) -> list[str]:
    """What makes this one of `calls` fail and all that come after it, whatever they are called."""
    before: Counter[str] = Counter()
    for each in calls:
        if each == call:
            break
        before[each.name] += 1
    return [part for name in CALLS for part in ("-e", f"inject=?{name}:error={error}:when={before[name] + 1}+")]


class Strace:
    """Traces threads of a running process, each by itself, until they end or it is detached."""

    def __init__(self, threads: Sequence[int], folder: Path, faults: Sequence[str] = ()) -> None:
        """`folder` is emptied, and takes the records. Threads are told from each other there by their ids."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self._record = folder / "calls"
        self._said = folder / "said"
        which = [part for thread in threads for part in ("-p", str(thread))]
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [
                    *("strace", "-y", "-s", "0", "--output-separately", "-o", str(self._record)),
                    *("-e", f"trace={','.join(f'?{name}' for name in CALLS)}", *faults, *which),
                ],
                stdout=said, stderr=said,
            )  # fmt: skip
        try:
            wait_for(lambda: self._attached(len(threads)), "strace")
        except BaseException:
            self.detach()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()

    def record(self, thread: int) -> Path:
        """What a thread has done so far."""
        return self._record.with_name(f"{self._record.name}.{thread}")

    def bit(self, thread: int) -> bool:
        """Whether a fault has shown."""
        return INJECTED in self.record(thread).read_text(errors="replace")

    def wait(self) -> None:
        """Until all threads have ended, and all is recorded."""
        self._process.wait(PATIENCE)

    def detach(self) -> None:
        """Leave the threads alone; what was made to fail goes well from now on."""
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait()

    def _attached(self, wanted: int) -> bool:
        # in this order: a thread that is killed at its first call takes strace along before anybody looks
        ended = self._process.poll() is not None
        said = self._said.read_text(errors="replace")
        attached = said.count(" attached") == wanted
        assert attached or not ended, said
        return attached


def impediment(folder: Path) -> str:
    """Why no other process can be traced here; empty where it can be."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        try:
            Strace([process.pid], folder).detach()
        except AssertionError as error:
            return f"strace can't trace here: {error}"
        finally:
            process.kill()
    return ""
