"""A disk that loses power: which of a program's operations survive, and what lies there when the power is back.

The model, after ALICE (Pillai et al., OSDI '14) and CrashMonkey (Mohan et al., OSDI '18). Every operation on data
belongs to its file, every one on names to its folder (a rename to both of its folders). fsync makes stable what came
before it in that file or folder; everything else is pending, and may be gone.

- Within one file, and within one folder, operations survive in order: a later one never without the earlier ones.
  Between files, and between a file and its name, there is no order.
- A rename is one step, also from folder to folder: after the loss the file has its old name or its new one. It is
  stable as soon as one of the two folders has been synced, and brings the name of its target folder along. Every
  journalling file system does that; POSIX does not ask for it.
- A folder with names in it can't have been removed.
- A write that was pending may be torn at any byte, with zeros where the size is ahead of the data; bytes beside it
  are not harmed (SQLite's "powersafe overwrite"), and nothing stable is. Storage that lies about fsync is not modelled.
- What was in the folders before the program began is stable: a file that its own writer has not synced may be lost
  with its writer's power, whoever reads it.
- Changes through shared memory are not recorded: SQLite makes its -shm anew. Times and modes are not kept.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from crash.oplog import Cut, Enter, Move, Op, Sync, Tree, Write, folders_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crash.straced import Log


class Loss(StrEnum):
    """What survives of the operations that were pending."""

    NOTHING = "nothing"
    """Only what was synced: the least that POSIX grants."""
    JOURNALS = "journals"
    """Names in order up to the last fsync on the same file system, as with ext4 and XFS; the state folder is one,
    the other folders are another (a share). Of data only what was synced."""
    JOURNAL = "journal"
    """The same with all folders on one file system."""
    SOME = "some"
    """Of each file and each folder a beginning, drawn by lot; the last write torn."""
    ALL = "all"
    """Everything: no power loss, but a kill."""


@dataclass(frozen=True, slots=True)
class Cutoff:
    """One power loss: after how many operations, and what survives it."""

    after: int
    loss: Loss
    seed: int = 0


class Disk:
    """What a run of a program leaves on the disk if the power goes."""

    def __init__(self, log: Log, *, apart: str = "state") -> None:
        """`apart` is the folder that is a file system of its own, for `Loss.JOURNALS`."""
        self._start = log.start
        self._ops = log.ops
        self._apart = _below(log, apart)
        self._born = {op.inode: number for number, op in enumerate(log.ops) if isinstance(op, Enter)}

    def __len__(self) -> int:
        return len(self._ops)

    def lose_power(self, cutoff: Cutoff) -> Tree:
        """What is there when the power is back."""
        ops = self._ops[: cutoff.after]
        torn: dict[int, Op] = {}
        match cutoff.loss:
            case Loss.ALL:
                kept = set(range(len(ops)))
            case Loss.NOTHING:
                kept = _Survivors(ops, self._born).kept
            case Loss.JOURNAL | Loss.JOURNALS:
                kept = self._journalled(ops, one=cutoff.loss is Loss.JOURNAL)
            case Loss.SOME:
                survivors = _Survivors(ops, self._born)
                torn = survivors.draw(random.Random(f"{cutoff.seed} {cutoff.after}"))
                kept = survivors.kept
        tree = self._start.copy()
        for number, op in enumerate(ops):
            if number in kept:
                tree.apply(torn.get(number, op))
        return tree

    def _journalled(self, ops: tuple[Op, ...], *, one: bool) -> set[int]:
        kept = _Survivors(ops, self._born).kept
        stable: dict[bool, int] = {}
        for op in ops:
            if isinstance(op, Sync):
                stable[not one and op.inode in self._apart] = op.upto
        for number, op in enumerate(ops):
            folders = folders_of(op)
            if folders and number < stable.get(not one and folders[0] in self._apart, 0):
                kept.add(number)
        return kept


class _Survivors:
    """The operations that survive: first those that were synced, then by lot."""

    def __init__(self, ops: tuple[Op, ...], born: dict[int, int]) -> None:
        self._ops = ops
        self._born = born
        self.kept: set[int] = set()
        self._names: dict[int, list[int]] = defaultdict(list)
        self._data: dict[int, list[int]] = defaultdict(list)
        for number, op in enumerate(ops):
            if isinstance(op, Write | Cut):
                self._data[op.inode].append(number)
            for folder in folders_of(op):
                self._names[folder].append(number)
            if isinstance(op, Sync):
                self.kept.update(each for each in self._data[op.inode] if each < op.upto)
                self._keep_names(op.inode, op.upto)

    def _keep_names(self, folder: int, upto: int) -> None:
        """The names of a folder survive as they were after `upto` operations, with all that they stand on."""
        for number in self._names[folder]:
            if number >= upto:
                break
            if number in self.kept:
                continue
            self.kept.add(number)
            op = self._ops[number]
            for other in folders_of(op):
                self._keep_names(other, number + 1)
            if isinstance(op, Move) and op.to != op.folder and op.to in self._born:
                self._keep_name_of(op.to)

    def _keep_name_of(self, folder: int) -> None:
        born = self._born[folder]
        above = self._ops[born]
        assert isinstance(above, Enter)
        self._keep_names(above.folder, born + 1)
        if above.folder in self._born:
            self._keep_name_of(above.folder)

    def draw(self, lots: random.Random) -> dict[int, Op]:
        """Let some of the pending operations survive; gives the writes that are torn."""
        chance = lots.choice((0.5, 0.8, 0.95))
        ended: set[int] = set()
        for number, op in enumerate(self._ops):
            folders = folders_of(op)
            if not folders or number in self.kept:
                continue
            if ended.isdisjoint(folders) and lots.random() < chance:
                self._keep_names(folders[0], number + 1)
            else:
                ended.update(folders)
        torn: dict[int, Op] = {}
        for numbers in self._data.values():
            pending = [number for number in numbers if number not in self.kept]
            whole = lots.randint(0, len(pending))
            self.kept.update(pending[:whole])
            if whole < len(pending) and isinstance(op := self._ops[pending[whole]], Write):
                self.kept.add(pending[whole])
                torn[pending[whole]] = _tear(op, lots)
        return torn


def _tear(write: Write, lots: random.Random) -> Write:
    arrived = write.data[: lots.randint(0, len(write.data))]
    if lots.random() < 0.5:  # the size is ahead of the data
        arrived = arrived.ljust(len(write.data), b"\0")
    return replace(write, data=arrived)


def _below(log: Log, name: str) -> set[int]:
    """The inodes in a folder of the top, from beginning to end."""
    found = log.start.below(name)
    for op in log.ops:
        if isinstance(op, Enter) and op.folder in found:
            found.add(op.inode)
    return found


def distinct(disk: Disk, cutoffs: Iterable[Cutoff]) -> list[Cutoff]:
    """Power losses that differ in what they leave; of equal ones the first."""
    found: dict[bytes, Cutoff] = {}
    for cutoff in cutoffs:
        found.setdefault(disk.lose_power(cutoff).digest(), cutoff)
    return list(found.values())
