"""What a program does to the files below a folder, in order: run under strace, its record read as operations on inodes.

Offsets, descriptors and names are modelled, since strace shows calls, not inodes: `record` compares the model with
what really lies there when the program has ended, so that a call which it does not know can't go unnoticed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crash.oplog import ROOT, Cut, Enter, File, Folder, Leave, Link, Move, Op, Sync, Tree, Write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

CALLS = (
    "open,openat,creat,close,dup,dup2,dup3,fcntl,write,pwrite64,writev,pwritev,pwritev2,lseek,ftruncate,truncate,"
    "fallocate,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,fsync,"
    "fdatasync,sync,syncfs,copy_file_range,sendfile,clone,clone3,fork,vfork"
)
STRACE = ("strace", "-f", "-q", "-xx", "--seccomp-bpf", "-s", "100000000", "-e", "signal=none", "-e", f"trace={CALLS}")
# without strings, which are in hexadecimal: no quotes, brackets or commas to be mistaken for others
_ENDED = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+|\?)")
_BEGUN = re.compile(r"^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(?:\.\.\.)?')
_DESCRIPTOR_PATH = re.compile(rb"^/proc/(?:self|\d+)/fd/(\d+)(?:/(.*))?$", re.DOTALL)
_LIKE = {
    "openat": "open", "creat": "open", "dup2": "dup", "dup3": "dup", "writev": "write", "pwrite64": "pwrite",
    "pwritev": "pwrite", "pwritev2": "pwrite", "ftruncate": "truncate", "renameat": "rename", "renameat2": "rename",
    "linkat": "link", "rmdir": "unlink", "fdatasync": "fsync",
}  # fmt: skip
"""Calls that are read alike."""
PATIENCE = 60
"""Seconds until a program under strace, which slows it down, hangs."""
_SPAWNING = frozenset({"clone", "clone3", "fork", "vfork"})


@dataclass(frozen=True, slots=True)
class Log:
    """A run of a program."""

    start: Tree
    """What was there before."""
    ops: tuple[Op, ...]
    code: int

    def end(self) -> Tree:
        """What is there when all has reached the disk."""
        tree = self.start.copy()
        for op in self.ops:
            tree.apply(op)
        return tree


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that has succeeded."""

    pid: int
    name: str
    arguments: tuple[str, ...]
    """As strace writes them; strings are empty there."""
    strings: tuple[bytes, ...]
    result: int
    upto: int
    """How many operations had ended when it began."""


@dataclass(slots=True)
class Opened:
    """What a descriptor stands for; two that were duplicated share it."""

    inode: int
    append: bool = False
    offset: int = 0


def record(command: Sequence[str], top: Path, names: Sequence[str], *, into: Path) -> Log:
    """Run a program and give what it did in the folders `names` of `top`. strace's record goes to the file `into`.

    Raises TimeoutExpired if the program does not end.
    """
    start = Tree.read(top, names)
    with into.with_suffix(".log").open("wb") as log:
        # a session of its own: the program would outlive its tracer
        tracer = subprocess.Popen(
            [*STRACE, "-o", str(into), *command], cwd="/", stdout=log, stderr=log, start_new_session=True
        )
        try:
            code = tracer.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(tracer.pid, signal.SIGKILL)
            tracer.wait()
            raise
    with into.open() as lines:
        ops = read(lines, start, os.fsencode(top))
    found = Log(start, tuple(ops), code)
    differing = found.end().differs(Tree.read(top, names))
    assert not differing, f"the record misses something that was done to {differing}"
    return found


def read(lines: Iterable[str], start: Tree, top: bytes) -> list[Op]:
    """The operations below `top` in a record of strace; relative paths are those of a program that runs in ``/``."""
    model = Model(start, top)
    lines = list(lines)
    groups = _groups(lines)
    for call in _calls(lines, model.ops):
        model.see(call, groups.get(call.pid, call.pid))
    return model.ops


def _groups(lines: Sequence[str]) -> dict[int, int]:
    """The process that each thread belongs to."""
    groups: dict[int, int] = {}
    for call in _calls(lines, []):
        if call.name in _SPAWNING and "CLONE_THREAD" in " ".join(call.arguments):
            groups[call.result] = groups.get(call.pid, call.pid)
    return groups


def _calls(lines: Iterable[str], ops: Sequence[Op]) -> Iterator[Call]:
    """Calls that have succeeded, in the order in which they ended (closing: began); `ops` has what came of them."""
    begun: dict[str, tuple[str, int]] = {}
    for line in lines:
        upto = len(ops)
        if (match := _BEGUN.match(line)) is not None:
            pid, name, arguments = match.groups()
            if name != "close":
                begun[pid] = f"{pid} {name}({arguments}", upto
                continue
            # the number may be another thread's before this one is seen to end
            line = f"{pid} close({arguments}) = 0"  # noqa: PLW2901 - one call, told in two lines
        elif (match := _RESUMED.match(line)) is not None:
            if match[2] == "close":
                continue
            first, upto = begun.pop(match[1])
            line = first + match[3]  # noqa: PLW2901 - the same
        if (match := _ENDED.match(line)) is None or match[4] == "?" or match[4].startswith("-"):
            continue
        strings = tuple(bytes.fromhex(text.replace("\\x", "")) for text in _STRING.findall(match[3]))
        arguments = tuple(_STRING.sub("", match[3]).split(", "))
        yield Call(int(match[1]), match[2], arguments, strings, int(match[4], 0), upto)


class Model:
    """Names, descriptors and inodes, as the calls change them."""

    def __init__(self, start: Tree, top: bytes) -> None:
        self.ops: list[Op] = []
        self._tree = start.copy()
        self._top = top
        self._next = max(start.nodes) + 1
        self._opened: dict[tuple[int, int], Opened] = {}
        self._group = 0

    def see(self, call: Call, group: int) -> None:
        """One call of a process."""
        self._group = group
        if call.name in _SPAWNING:
            return
        reader = getattr(self, f"_{_LIKE.get(call.name, call.name)}", None)
        assert reader is not None, f"a call that the model does not know: {call}"
        reader(call)

    def _do(self, op: Op) -> None:
        self.ops.append(op)
        self._tree.apply(op)

    # Names

    def _place(self, folder: str, path: bytes) -> tuple[int, bytes] | None:
        """The folder and the name that a path leads to; None outside. A folder's own path gives no name."""
        if (match := _DESCRIPTOR_PATH.match(path)) is not None:
            opened = self._opened.get((self._group, int(match[1])))
            if opened is None:
                return None
            here, rest = opened.inode, match[2] or b""
        elif path.startswith(b"/"):
            if path != self._top and not path.startswith(self._top + b"/"):
                return None
            here, rest = ROOT, path[len(self._top) + 1 :]
        else:
            opened = None if folder == "AT_FDCWD" else self._opened.get((self._group, int(folder)))
            if opened is None:
                return None
            here, rest = opened.inode, path
        parts = [part for part in rest.split(b"/") if part not in {b"", b"."}]
        if here == ROOT and parts and parts[0] not in self._tree.folder(ROOT):
            return None
        for part in parts[:-1]:
            here = self._tree.folder(here)[part]
        return here, parts[-1] if parts else b""

    def _inode(self, place: tuple[int, bytes]) -> int | None:
        folder, name = place
        return self._tree.folder(folder).get(name) if name else folder

    def _make(self, place: tuple[int, bytes] | None, kind: type[Folder | File | Link], target: bytes = b"") -> int:
        assert place is not None
        self._do(Enter(*place, self._next, kind, target))
        self._next += 1
        return self._next - 1

    def _mkdir(self, call: Call) -> None:
        if (place := self._place("AT_FDCWD", call.strings[0])) is not None:
            self._make(place, Folder)

    def _mkdirat(self, call: Call) -> None:
        if (place := self._place(call.arguments[0], call.strings[0])) is not None:
            self._make(place, Folder)

    def _symlink(self, call: Call) -> None:
        if (place := self._place("AT_FDCWD", call.strings[1])) is not None:
            self._make(place, Link, call.strings[0])

    def _symlinkat(self, call: Call) -> None:
        if (place := self._place(call.arguments[1], call.strings[1])) is not None:
            self._make(place, Link, call.strings[0])

    def _unlink(self, call: Call) -> None:
        if (place := self._place("AT_FDCWD", call.strings[0])) is not None:
            self._do(Leave(*place))

    def _unlinkat(self, call: Call) -> None:
        if (place := self._place(call.arguments[0], call.strings[0])) is not None:
            self._do(Leave(*place))

    def _rename(self, call: Call) -> None:
        relative = len(call.arguments) > 2  # renameat and renameat2 name the folders
        folders = (call.arguments[0], call.arguments[2]) if relative else ("AT_FDCWD", "AT_FDCWD")
        source, target = (self._place(*each) for each in zip(folders, call.strings, strict=True))
        assert (source is None) == (target is None), f"a rename into or out of the folders: {call}"
        assert "RENAME_EXCHANGE" not in call.arguments[-1]
        if source is not None and target is not None:
            self._do(Move(*source, *target))

    def _link(self, call: Call) -> None:
        relative = len(call.arguments) > 2
        folders = (call.arguments[0], call.arguments[2]) if relative else ("AT_FDCWD", "AT_FDCWD")
        source, target = (self._place(*each) for each in zip(folders, call.strings, strict=True))
        assert (source is None) == (target is None), f"a link into or out of the folders: {call}"
        if source is not None and target is not None:
            inode = self._inode(source)
            assert inode is not None
            self._do(Enter(*target, inode, File))

    # Descriptors

    def _open(self, call: Call) -> None:
        relative = call.name == "openat"
        folder = call.arguments[0] if relative else "AT_FDCWD"
        flags = "O_CREAT|O_TRUNC" if call.name == "creat" else call.arguments[2 if relative else 1]
        place = self._place(folder, call.strings[0])
        self._opened.pop((self._group, call.result), None)
        if place is None:
            return
        assert "O_TMPFILE" not in flags
        inode = self._inode(place)
        if inode is None:
            assert "O_CREAT" in flags, call
            inode = self._make(place, File)
        if "O_TRUNC" in flags and self._size(inode):
            self._do(Cut(inode, 0))
        self._opened[self._group, call.result] = Opened(inode, append="O_APPEND" in flags)

    def _close(self, call: Call) -> None:
        self._opened.pop((self._group, int(call.arguments[0])), None)

    def _dup(self, call: Call) -> None:
        opened = self._opened.get((self._group, int(call.arguments[0])))
        self._opened.pop((self._group, call.result), None)
        if opened is not None:
            self._opened[self._group, call.result] = opened

    def _fcntl(self, call: Call) -> None:
        if call.arguments[1].startswith("F_DUPFD"):
            self._dup(call)

    def _at(self, argument: str) -> Opened | None:
        return self._opened.get((self._group, int(argument)))

    # Data

    def _size(self, inode: int) -> int:
        node = self._tree.nodes[inode]
        return len(node.data) if isinstance(node, File) else 0

    def _lseek(self, call: Call) -> None:
        if (opened := self._at(call.arguments[0])) is not None:
            opened.offset = call.result

    def _write(self, call: Call) -> None:
        if (opened := self._at(call.arguments[0])) is not None:
            self._put(opened, b"".join(call.strings)[: call.result])

    def _pwrite(self, call: Call) -> None:
        if (opened := self._at(call.arguments[0])) is not None and call.result:
            # the flags of pwritev2 stand behind the offset
            offset = call.arguments[-2 if call.name == "pwritev2" else -1]
            self._do(Write(opened.inode, int(offset), b"".join(call.strings)[: call.result]))

    def _put(self, opened: Opened, data: bytes) -> None:
        if data:
            offset = self._size(opened.inode) if opened.append else opened.offset
            self._do(Write(opened.inode, offset, data))
            opened.offset = offset + len(data)

    def _truncate(self, call: Call) -> None:
        if call.strings:
            place = self._place("AT_FDCWD", call.strings[0])
            inode = None if place is None else self._inode(place)
        else:
            opened = self._at(call.arguments[0])
            inode = None if opened is None else opened.inode
        if inode is not None:
            self._do(Cut(inode, int(call.arguments[1])))

    def _fallocate(self, call: Call) -> None:
        if (opened := self._at(call.arguments[0])) is not None:
            assert call.arguments[1] == "0", f"holes are not modelled: {call}"
            size = int(call.arguments[2]) + int(call.arguments[3])
            self._do(Cut(opened.inode, max(size, self._size(opened.inode))))

    def _copy_file_range(self, call: Call) -> None:
        self._copy(call, call.arguments[0], call.arguments[1], call.arguments[2])
        assert call.arguments[3] == "NULL" or self._at(call.arguments[2]) is None

    def _sendfile(self, call: Call) -> None:
        self._copy(call, call.arguments[1], call.arguments[2], call.arguments[0])

    def _copy(self, call: Call, source: str, offset: str, target: str) -> None:
        reader, writer = self._at(source), self._at(target)
        if writer is None:
            return
        assert reader is not None, f"data from outside: {call}"
        assert offset == "NULL"
        node = self._tree.nodes[reader.inode]
        assert isinstance(node, File)
        self._put(writer, bytes(node.data[reader.offset : reader.offset + call.result]))
        reader.offset += call.result

    def _fsync(self, call: Call) -> None:
        if (opened := self._at(call.arguments[0])) is not None:
            self._do(Sync(opened.inode, call.upto))
