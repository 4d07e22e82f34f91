"""The power goes after any operation of the daemon, and everything that was not synced may be gone: nothing is lost.

What is modelled, and what not, stands in `powerloss.py`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crash import straced
from crash.aftermath import Aftermath, count
from crash.oplog import ROOT, Cut, Enter, File, Folder, Leave, Move, Sync, Tree, Write
from crash.powerloss import Cutoff, Disk, Loss, distinct
from crash.straced import Log

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crash.oplog import Op
    from crash.tally import Tally

ROW = "power loss"
DROPS = {
    "story.json": {"scenes": [{"id": "a", "text": "Good day."}, {"id": "b", "text": "It rains."}]},
    "sub/note.txt": "A note.",
}
SHARE = {Loss.NOTHING: 8, Loss.JOURNALS: 6, Loss.JOURNAL: 6, Loss.SOME: 10, Loss.ALL: 4}
"""How many power losses of each kind every run of the tests has."""
ENOUGH = 5
"""Cases that went wrong, after which a kind of loss needs no more of them: each may take as long as patience lasts."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where the box lies: in memory if that can be had, since laying it out is what would take the time."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="piperd-power-loss-", dir=memory) as made:
        yield Path(made)


def every(disk: Disk, loss: Loss) -> list[Cutoff]:
    """One power loss after each operation, as far as they differ in what they leave."""
    return distinct(disk, (Cutoff(after, loss) for after in range(len(disk) + 1)))


def spread(cases: Sequence[Cutoff], wanted: int) -> list[Cutoff]:
    """Some of them, evenly, the last among them."""
    wanted = min(wanted, len(cases))
    return [cases[(number + 1) * len(cases) // wanted - 1] for number in range(wanted)]


def suffer(aftermath: Aftermath, disk: Disk, cases: Sequence[Cutoff], tally: Tally) -> list[str]:
    """Let the daemon recover from each; gives what was wrong."""
    wrong = []
    for cutoff in cases:
        found = aftermath.recover(disk.lose_power(cutoff))
        count(tally, ROW, found)
        if found:
            wrong.append("\n  ".join([str(cutoff), *(f"{finding.kind}: {finding.message}" for finding in found)]))
        if len(wrong) == ENOUGH:
            break
    return wrong


@pytest.mark.parametrize("workers", [0, 2], ids=["scripted", "workers"])
def test_nothing_is_lost_when_the_power_goes(place: Path, tally: Tally, torture: bool, workers: int) -> None:
    """Whatever survives of what was not synced, the next start ends every job once, with whole outputs."""
    with Aftermath(place / "box", DROPS, workers=workers) as aftermath:
        disk = Disk(aftermath.record())
        share = 1 if workers == 0 else 4
        wrong = []
        for loss in Loss:
            cases = every(disk, loss)
            wrong += suffer(aftermath, disk, cases if torture else spread(cases, SHARE[loss] // share), tally)
    assert not wrong, "\n".join(wrong)


def test_nothing_is_lost_when_it_goes_again_during_the_recovery(place: Path, tally: Tally, torture: bool) -> None:
    """The same, when the start after a power loss is cut off by the next one."""
    firsts, seconds = (8, 12) if torture else (1, 1)
    wrong = []
    with Aftermath(place / "box", DROPS) as aftermath:
        disk = Disk(aftermath.record())
        for loss in (Loss.NOTHING, Loss.JOURNAL, Loss.SOME):
            cases = every(disk, loss)
            # neither before anything was done nor after all was
            for cutoff in spread(cases[len(cases) // 4 :], firsts + 1)[:-1]:
                aftermath.lay_out(disk.lose_power(cutoff))
                again = Disk(aftermath.record())  # whether all is well after the first alone is tested above
                for second in (Loss.NOTHING, Loss.JOURNAL, Loss.SOME):
                    found = suffer(aftermath, again, spread(every(again, second), seconds + 2)[1:-1], tally)
                    wrong += [f"after {cutoff}: {line}" for line in found]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kind", ["the ledger", "outputs", "names"])
def test_every_kind_of_sync_is_needed(place: Path, kind: str) -> None:
    """Had the daemon not synced its ledger, its outputs or their names, it would show: the double bites."""
    with Aftermath(place / "box", DROPS) as aftermath:
        log = aftermath.record()
        disk = Disk(replace(log, ops=tuple(without(log, kind))))
        cases = [case for loss in (Loss.NOTHING, Loss.JOURNALS) for case in reversed(every(disk, loss))]
        assert any(aftermath.recover(disk.lose_power(cutoff)) for cutoff in cases)


def without(log: Log, kind: str) -> Iterator[Op]:
    """What was done, as if nothing of a kind had been synced."""
    end = log.end()
    outbox = end.below("outbox")
    ledger = {op.inode for op in log.ops if isinstance(op, Enter) and op.name.startswith(b"ledger")}
    for op in log.ops:
        if isinstance(op, Sync):
            of = "the ledger" if op.inode in ledger else None
            if op.inode in outbox:
                of = "names" if isinstance(end.nodes[op.inode], Folder) else "outputs"
            yield replace(op, upto=0) if of == kind else op
        else:
            yield op


# The double itself


def tree_of(*ops: Op) -> Tree:
    """A folder `state` (inode 1) and a folder `outbox` (inode 2), and what was done there."""
    tree = Tree()
    for op in (Enter(ROOT, b"state", 1, Folder), Enter(ROOT, b"outbox", 2, Folder), *ops):
        tree.apply(op)
    return tree


def left(loss: Loss, *ops: Op, seed: int = 0) -> dict[str, bytes]:
    """The files in both folders after a power loss."""
    tree = Disk(Log(tree_of(), ops, 0)).lose_power(Cutoff(len(ops), loss, seed))
    return {**tree.files("outbox"), **{f"state/{name}": data for name, data in tree.files("state").items()}}


NEW = (Enter(2, b"new", 3, File), Write(3, 0, b"data"))


def test_what_was_not_synced_is_gone() -> None:
    """A file without any fsync leaves nothing; synced itself but not in its folder, it has no name."""
    assert left(Loss.NOTHING, *NEW) == {}
    assert left(Loss.NOTHING, *NEW, Sync(3, 2)) == {}
    assert left(Loss.NOTHING, *NEW, Sync(2, 2)) == {"new": b""}
    assert left(Loss.NOTHING, *NEW, Sync(3, 2), Sync(2, 3)) == {"new": b"data"}


def test_a_sync_covers_only_what_was_done_before_it_began() -> None:
    """What another thread wrote while the call ran may have missed it."""
    assert left(Loss.NOTHING, *NEW, Sync(2, 2), Sync(3, 1)) == {"new": b""}


def test_a_journal_brings_names_without_their_data() -> None:
    """Any fsync on a file system makes its earlier names stable, and nobody else's data."""
    ops = (*NEW, Enter(1, b"other", 4, File), Sync(4, 3))
    assert left(Loss.JOURNAL, *ops) == {"new": b"", "state/other": b""}
    assert left(Loss.JOURNALS, *ops) == {"state/other": b""}


def test_a_rename_is_whole_or_not_at_all() -> None:
    """From folder to folder, and into a folder that was never synced itself: the file is never without a name."""
    born = (*NEW, Sync(3, 2), Sync(2, 3))
    moved = (*born, Enter(1, b"deep", 4, Folder), Move(2, b"new", 4, b"old"))
    assert left(Loss.NOTHING, *moved) == {"new": b"data"}
    assert left(Loss.NOTHING, *moved, Sync(2, 6)) == {"state/deep/old": b"data"}
    assert left(Loss.NOTHING, *moved, Sync(4, 6)) == {"state/deep/old": b"data"}


def test_a_folder_with_names_in_it_stays() -> None:
    """Its removal can't be stable before that of the names in it."""
    born = (Enter(1, b"deep", 3, Folder), Enter(3, b"file", 4, File), Sync(1, 2), Sync(3, 2))
    assert left(Loss.NOTHING, *born, Leave(3, b"file"), Leave(1, b"deep"), Sync(1, 6)) == {"state/deep/file": b""}


def test_lots_draw_beginnings_and_tear_writes() -> None:
    """Of pending writes some survive, in order, the last one torn, perhaps with zeros; nothing else comes about."""
    ops = (Enter(2, b"new", 3, File), Sync(2, 1), Write(3, 0, b"aaaa"), Write(3, 4, b"bbbb"), Cut(3, 2))
    seen = {left(Loss.SOME, *ops, seed=seed)["new"] for seed in range(300)}
    whole = b"aaaabbbb"
    prefixes = {whole[:length] for length in range(9)}
    zeros = {whole[:length].ljust(size, b"\0") for size in (4, 8) for length in range(size - 4, size)}
    assert seen == prefixes | zeros


PROGRAM = """
import os, subprocess, sys, threading
here = sys.argv[1]
folder = os.open(here + "/outbox", os.O_RDONLY)
os.mkdir("sub", dir_fd=folder)
file = os.open(f"/proc/self/fd/{folder}/sub/a", os.O_RDWR | os.O_CREAT)
os.write(file, b"one ")
os.write(os.dup(file), b"two ")
os.pwrite(file, b"ONE", 0)
os.lseek(file, 2, os.SEEK_END)
os.writev(file, [b"three", b"four"])
os.fsync(file)
os.rename("sub", "moved", src_dir_fd=folder, dst_dir_fd=folder)
os.ftruncate(file, 20)
os.link(here + "/outbox/moved/a", here + "/state/b")
os.unlink("moved/a", dir_fd=folder)
os.symlink("b", here + "/state/link")
with open(here + "/state/log", "ab") as log:
    subprocess.run(["sh", "-c", "echo said > " + here + "/state/child"], check=True)
    for number in range(3):
        threading.Thread(target=log.write, args=(b"line\\n",)).start()
with open(here + "/state/log", "rb") as log, open(here + "/state/copy", "wb") as copy:
    os.sendfile(copy.fileno(), log.fileno(), None, 4)
    os.copy_file_range(log.fileno(), copy.fileno(), 100)
"""


def test_a_program_is_recorded_whole(tmp_path: Path) -> None:
    """What the record says lies there when it has ended is what lies there; `record` looks itself."""
    for name in ("outbox", "state"):
        (tmp_path / name).mkdir()
    log = straced.record(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], tmp_path, ("outbox", "state"), into=tmp_path / "strace"
    )
    assert log.code == 0, (tmp_path / "strace.log").read_text()
    assert log.end().files("state")["b"] == b"ONE two \0\0threefour\0"
    (synced,) = [op for op in log.ops if isinstance(op, Sync)]
    assert log.ops[synced.upto - 1] == Write(synced.inode, 10, b"threefour")


def test_a_descriptor_is_free_before_its_closing_is_seen_to_end() -> None:
    """Another thread may get the number between the two lines that strace writes of a close."""
    place = "".join(f"\\x{byte:02x}" for byte in b"/top/outbox/")
    lines = [
        f'1 openat(AT_FDCWD, "{place}\\x61", O_WRONLY|O_CREAT, 0666) = 3\n',
        "1 close(3 <unfinished ...>\n",
        f'2 openat(AT_FDCWD, "{place}\\x62", O_WRONLY|O_CREAT, 0666) = 3\n',
        "1 <... close resumed>) = 0\n",
        '2 write(3, "\\x68\\x69", 2) = 2\n',
    ]
    clone = "1 clone3({flags=CLONE_VM|CLONE_THREAD} => {parent_tid=[2]}, 88) = 2\n"
    assert straced.read([clone, *lines], tree_of(), b"/top")[-1] == Write(4, 0, b"hi")


def test_a_record_that_misses_something_is_refused(tmp_path: Path) -> None:
    """Writes through shared memory are no calls: a program that uses them can't be recorded, and that is said."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "file").write_bytes(b"old")
    program = "import mmap, sys; file = open(sys.argv[1], 'r+b'); mmap.mmap(file.fileno(), 0)[:] = b'new'"
    command = [sys.executable, "-c", program, str(tmp_path / "state" / "file")]
    with pytest.raises(AssertionError, match="the record misses something"):
        straced.record(command, tmp_path, ("state",), into=tmp_path / "strace")
