"""Operations on files as values, and a tree of inodes that they are applied to: what a disk holds, in memory."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ROOT = 0
"""The inode of the folder that everything lies in."""


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes were put into a file."""

    inode: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Cut:
    """A file was made this long, with zeros where it grew."""

    inode: int
    size: int


@dataclass(frozen=True, slots=True)
class Enter:
    """A name appeared in a folder: of a new inode, or another one of an old inode."""

    folder: int
    name: bytes
    inode: int
    kind: type[Folder | File | Link]
    target: bytes = b""
    """Where a symbolic link leads."""


@dataclass(frozen=True, slots=True)
class Move:
    """A name went elsewhere, in one step."""

    folder: int
    name: bytes
    to: int
    to_name: bytes


@dataclass(frozen=True, slots=True)
class Leave:
    """A name went away."""

    folder: int
    name: bytes


@dataclass(frozen=True, slots=True)
class Sync:
    """A file's data or a folder's names were made stable."""

    inode: int
    upto: int
    """How many operations had ended when it began: later ones, of other threads, may have missed it."""


Op = Write | Cut | Enter | Move | Leave | Sync


def folders_of(op: Op) -> tuple[int, ...]:
    """The folders whose names an operation changes; none for one on data."""
    match op:
        case Enter(folder=folder) | Leave(folder=folder):
            return (folder,)
        case Move(folder=folder, to=to):
            return (folder,) if folder == to else (folder, to)
        case _:
            return ()


@dataclass(slots=True)
class Folder:
    names: dict[bytes, int] = field(default_factory=dict)


@dataclass(slots=True)
class File:
    data: bytearray = field(default_factory=bytearray)


@dataclass(slots=True)
class Link:
    target: bytes = b""


class Tree:
    """Folders, files and links by inode."""

    def __init__(self) -> None:
        self.nodes: dict[int, Folder | File | Link] = {ROOT: Folder()}

    @classmethod
    def read(cls, top: Path, names: Sequence[str]) -> Tree:
        """What lies in some folders of `top`."""
        tree = cls()
        for name in names:
            tree._read(os.fsencode(top), ROOT, os.fsencode(name))
        return tree

    def _read(self, place: bytes, folder: int, name: bytes) -> None:
        path = place + b"/" + name
        inode = len(self.nodes)
        parent = self.nodes[folder]
        assert isinstance(parent, Folder)
        parent.names[name] = inode
        if os.path.islink(path):  # noqa: PTH114 - names are bytes here
            self.nodes[inode] = Link(os.readlink(path))  # noqa: PTH115
        elif os.path.isdir(path):  # noqa: PTH112
            self.nodes[inode] = Folder()
            for inner in sorted(os.listdir(path)):  # noqa: PTH208
                self._read(path, inode, inner)
        else:
            with open(path, "rb") as file:  # noqa: PTH123
                self.nodes[inode] = File(bytearray(file.read()))

    def copy(self) -> Tree:
        made = Tree()
        for inode, node in self.nodes.items():
            match node:
                case Folder(names):
                    made.nodes[inode] = Folder(dict(names))
                case File(data):
                    made.nodes[inode] = File(bytearray(data))
                case _:
                    made.nodes[inode] = replace(node)
        return made

    def folder(self, inode: int) -> dict[bytes, int]:
        """The names in a folder."""
        node = self.nodes[inode]
        assert isinstance(node, Folder)
        return node.names

    def apply(self, op: Op) -> None:
        """Do one operation. What has lost its ground with others that did not survive is left out."""
        match op:
            case Write(inode, offset, data):
                content = self._data(inode)
                content.extend(bytes(max(0, offset - len(content))))
                content[offset : offset + len(data)] = data
            case Cut(inode, size):
                content = self._data(inode)
                content.extend(bytes(max(0, size - len(content))))
                del content[size:]
            case Enter(folder, name, inode, kind, target):
                self.nodes.setdefault(inode, Link(target) if kind is Link else kind())
                self._ground(folder)[name] = inode
            case Move(folder, name, to, to_name):
                inode = self._ground(folder).pop(name, -1)
                if inode >= 0:
                    self._ground(to)[to_name] = inode
            case Leave(folder, name):
                names = self._ground(folder)
                node = self.nodes.get(names.get(name, -1))
                if not (isinstance(node, Folder) and node.names):  # no file system removes a folder with names in it
                    names.pop(name, None)
            case Sync():
                pass

    def _data(self, inode: int) -> bytearray:
        node = self.nodes.setdefault(inode, File())
        assert isinstance(node, File)
        return node.data

    def _ground(self, inode: int) -> dict[bytes, int]:
        node = self.nodes.setdefault(inode, Folder())
        assert isinstance(node, Folder)
        return node.names

    def walk(self, inode: int = ROOT, path: bytes = b"") -> Iterator[tuple[bytes, Folder | File | Link]]:
        """Everything that has a name, each folder before what is in it."""
        for name, inner in sorted(self.folder(inode).items()):
            here = path + b"/" + name if path else name
            node = self.nodes[inner]
            yield here, node
            if isinstance(node, Folder):
                yield from self.walk(inner, here)

    def below(self, folder: str) -> set[int]:
        """The inodes of a folder of the top and of everything in it."""
        found, stack = set(), [self.folder(ROOT)[os.fsencode(folder)]]
        while stack:
            found.add(inode := stack.pop())
            node = self.nodes[inode]
            if isinstance(node, Folder):
                stack.extend(node.names.values())
        return found

    def files(self, folder: str) -> dict[str, bytes]:
        """The files below a folder of the top, by their paths relative to it."""
        top = os.fsencode(folder) + b"/"
        return {
            os.fsdecode(path[len(top) :]): bytes(node.data)
            for path, node in self.walk()
            if isinstance(node, File) and path.startswith(top)
        }

    def digest(self) -> bytes:
        """The same for two trees that a program can't tell apart."""
        total = hashlib.sha256()
        for path, (kind, content) in self._contents().items():
            total.update(b"%s %d %d " % (kind.encode(), len(path), len(content)) + path + content)
        return total.digest()

    def differs(self, other: Tree) -> list[bytes]:
        """The paths where two trees are not the same."""
        ours, theirs = self._contents(), other._contents()
        return sorted(path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path))

    def _contents(self) -> dict[bytes, tuple[str, bytes]]:
        """By path, what is there. SQLite's -shm has none: it is changed through shared memory, and made anew."""
        found = {}
        for path, node in self.walk():
            match node:
                case File(data):
                    content = b"" if path.endswith(b"-shm") else bytes(data)
                case Link(content):
                    pass
                case _:
                    content = b""
            found[path] = type(node).__name__, content
        return found

    def write(self, top: Path) -> None:
        """Bring it to a real disk, below a folder that is there."""
        for name, node in self.walk():
            path = os.fsencode(top) + b"/" + name
            match node:
                case Folder():
                    os.mkdir(path)  # noqa: PTH102 - names are bytes here
                case File(data):
                    with open(path, "wb") as file:  # noqa: PTH123
                        file.write(data)
                case Link(target):
                    os.symlink(target, path)  # noqa: PTH211
