"""The inbox over real files, events and threads: everything that is dropped is taken, once, whole and in order."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from inboxes import Desk, drop
from piperd.descent import Folders
from piperd.errors import Code
from piperd.ignore import Ignore
from piperd.inbox.tree import SLICE, Tree

if TYPE_CHECKING:
    from pathlib import Path

MODES = pytest.mark.parametrize("mode", ["auto", "poll"])


@MODES
def test_a_dropped_file_is_taken(tmp_path: Path, mode: str) -> None:
    """It leaves the inbox by a rename, and its content comes along."""
    with Desk(tmp_path / "in", mode=mode) as desk:
        drop(desk.folder, "news/hello.txt", "Hello.")
        arrival = desk.only()
        assert (arrival.source, arrival.content, arrival.failure) == (b"news/hello.txt", b"Hello.", None)
        assert arrival.size == 6
        claimed = desk.folder / f".piperd/0a1b2c3d/{arrival.job_id}/news/hello.txt"
        assert arrival.claimed == os.fsencode(claimed)
        assert claimed.read_text() == "Hello."
        assert not (desk.folder / "news/hello.txt").exists()
        desk.idle()
        assert desk.inbox.view.handed_over == 1
        assert bool(desk.inbox.view.polled) == (mode == "poll")


@MODES
def test_a_file_being_written_waits(tmp_path: Path, mode: str) -> None:
    """However long the writer pauses, nothing is taken before it has closed the file; others go ahead."""
    with Desk(tmp_path / "in", mode=mode) as desk:
        with (desk.folder / "slow.txt").open("wb") as file:
            file.write(b"first, ")
            file.flush()
            desk.wait(lambda: "open" in desk.reason(b"slow.txt"))
            drop(desk.folder, "fast.txt")
            assert desk.sources(1) == [b"fast.txt"]
            assert not desk.inbox.view.idle
            file.write(b"then")
        assert desk.arrived(2)[1].content == b"first, then"


def test_a_preallocated_file_waits_while_it_is_open(tmp_path: Path) -> None:
    """A copy from Windows sets the full size first and may stall; a rename before the close changes nothing."""
    with Desk(tmp_path / "in") as desk:
        with (desk.folder / "copy.tmp").open("wb") as file:
            file.truncate(100)
            (desk.folder / "copy.tmp").rename(desk.folder / "copy.txt")
            desk.wait(lambda: "open" in desk.reason(b"copy.txt"))
            file.write(b"x" * 100)
        assert desk.only().content == b"x" * 100


def test_what_lay_there_before(tmp_path: Path) -> None:
    """At the start the same rules hold; the order is that of mtime, then name."""
    folder = tmp_path / "in"
    for name, when in (("b.txt", 20), ("sub/c.txt", 10), ("a.txt", 20), ("d.txt", 5)):
        os.utime(drop(folder, name), (when, when))
    with Desk(folder) as desk:
        assert desk.sources(4) == [b"d.txt", b"sub/c.txt", b"a.txt", b"b.txt"]
        desk.idle()


@MODES
def test_many_at_once_keep_their_order(tmp_path: Path, mode: str) -> None:
    """A burst is taken whole, in the order of arrival, in batches."""
    names = [f"{number:04d}.txt" for number in range(1500)]
    with Desk(tmp_path / "in", mode=mode) as desk:
        for name in names:
            drop(desk.folder, name, name)
        desk.arrived(len(names))
        assert sorted(arrival.content or b"" for arrival in desk.arrivals) == [name.encode() for name in names]
        if mode == "auto":
            assert [os.fsdecode(arrival.source) for arrival in desk.arrivals] == names
        assert len(desk.batches) < len(names)


def test_folders_that_come_with_files_in_them(tmp_path: Path) -> None:
    """No file is missed in a folder that was made, or moved in, a moment ago, and a folder may be named like a file."""
    with Desk(tmp_path / "in") as desk:
        expected = set()
        for number in range(50):
            deep = desk.folder / f"made-{number}.json" / "a" / "b"
            deep.mkdir(parents=True)
            (deep / "x.txt").write_text("x")
            (deep.parent / "y.txt").write_text("y")
            stage = tmp_path / f"stage-{number}" / "inner"
            stage.mkdir(parents=True)
            (stage / "z.txt").write_text("z")
            stage.parent.rename(desk.folder / f"moved-{number}")
            expected |= {f"made-{number}.json/a/b/x.txt", f"made-{number}.json/a/y.txt", f"moved-{number}/inner/z.txt"}
        assert {os.fsdecode(source) for source in desk.sources(150)} == expected
        (desk.folder / "moved-0").rename(desk.folder / "renamed")
        drop(desk.folder, "renamed/inner/later.txt")
        assert desk.arrived(151)[150].source == b"renamed/inner/later.txt"
        assert not desk.inbox.view.polled


def test_a_deep_tree(tmp_path: Path) -> None:
    """Depth costs neither recursion nor descriptors; what is too deep to be claimed is told."""
    folder = tmp_path / "in"
    folder.mkdir()
    here = os.open(folder, os.O_RDONLY)
    for _ in range(2500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    deep = folder.joinpath(*["d"] * 600)
    (deep / "x.txt").write_text("x")
    with Desk(folder) as desk:
        assert desk.only().source == b"d/" * 600 + b"x.txt"
        desk.wait(lambda: desk.reported("path_too_long"))
    subprocess.run(["rm", "-rf", folder], check=True)


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    """What is ignored is counted, what is foreign is shown and reported once; neither is touched."""
    folder = tmp_path / "in"
    left = [".hidden.txt", "a.txt.part", "@eaDir/b.txt", "c.sync-conflict-1.txt", "my.bak.txt", "photo.jpg", "noname"]
    left.append("piperd.toml")
    for name in left:
        drop(folder, name)
    with Desk(folder, ignore=["*.bak.txt"]) as desk:
        drop(folder, "sedAbC123").unlink()
        drop(folder, "later.dat")
        drop(folder, "ok.txt")
        assert desk.only().source == b"ok.txt"
        desk.wait(lambda: len(desk.inbox.view.foreign) == 3)
        desk.scanned()
        desk.scanned()
        view = desk.inbox.view
        expected = {"hidden": 1, "temporary": 1, "system": 1, "sync conflict": 1, "watch.ignore": 1}
        assert dict(view.ignored) == expected
        assert set(view.foreign) == {b"photo.jpg", b"noname", b"later.dat"}
        told = [fields["source"] for fields in desk.reported("foreign_file_left")]
        assert sorted(told) == ["later.dat", "noname", "photo.jpg"]
        assert len(desk.reported("sync_conflict_left")) == 1
        desk.idle()
    assert all((folder / name).exists() for name in left)


def test_what_is_no_file_of_its_own(tmp_path: Path) -> None:
    """Links, pipes and sockets are claimed unopened and refused; a link to a folder is not followed."""
    folder = tmp_path / "in"
    with Desk(folder) as desk:
        secret = tmp_path / "secret.txt"
        secret.write_text("secret")
        (tmp_path / "elsewhere").mkdir()
        drop(tmp_path / "elsewhere", "x.txt")
        (folder / "link.txt").symlink_to(secret)
        (folder / "folder").symlink_to(tmp_path / "elsewhere")
        (folder / "folder.txt").symlink_to(tmp_path / "elsewhere")
        os.mkfifo(folder / "pipe.md")
        os.link(secret, folder / "hard.txt")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "socket.json"))
            desk.arrived(5)
        assert {arrival.source for arrival in desk.arrivals} == {
            b"link.txt", b"folder.txt", b"pipe.md", b"hard.txt", b"socket.json"
        }  # fmt: skip
        for arrival in desk.arrivals:
            assert arrival.failure is not None
            assert arrival.failure.code is Code.NOT_A_REGULAR_FILE
            assert arrival.content is None
        assert secret.read_text() == "secret"
        assert (tmp_path / "elsewhere" / "x.txt").exists()


def test_what_is_not_read(tmp_path: Path) -> None:
    """Empty and oversized files come with a failure, documents without content."""
    with Desk(tmp_path / "in", max_bytes=10) as desk:
        (desk.folder / "empty.txt").touch()
        drop(desk.folder, "big.txt", "x" * 11)
        drop(desk.folder, "limit.txt", "x" * 10)
        drop(desk.folder, "doc.docx", "PK")
        found = {arrival.source: arrival for arrival in desk.arrived(4)}
        failures = {source: arrival.failure.code for source, arrival in found.items() if arrival.failure}
        assert failures == {b"empty.txt": Code.TEXT_EMPTY, b"big.txt": Code.FILE_TOO_LARGE}
        assert found[b"limit.txt"].content == b"x" * 10
        assert found[b"doc.docx"].content is None


def test_an_empty_file_may_be_filled(tmp_path: Path) -> None:
    """A Finder copy opens with an empty file and a close."""
    with Desk(tmp_path / "in", empty_grace=30.0) as desk:
        (desk.folder / "a.txt").touch()
        desk.wait(lambda: "empty" in desk.reason(b"a.txt"))
        (desk.folder / "a.txt").write_text("full")
        assert desk.only().content == b"full"


def test_json_that_ends_too_early(tmp_path: Path) -> None:
    """It is waited for; what comes is taken whole, and what never ends is taken in the end."""
    with Desk(tmp_path / "in", incomplete_grace=30.0) as desk:
        drop(desk.folder, "a.json", '{"text": "Hel')
        desk.wait(lambda: "early" in desk.reason(b"a.json"))
        with (desk.folder / "a.json").open("a") as file:
            file.write('lo."}')
        assert desk.only().content == b'{"text": "Hello."}'
    with Desk(tmp_path / "in") as desk:
        drop(desk.folder, "b.json", '{"text": "Hel')
        assert desk.only().content == b'{"text": "Hel'


@pytest.mark.parametrize("name", [b"\xff\xfe.txt", b"x" * 251 + b".txt", b"a\nb.txt", b" .TXT", "سلام.md".encode()])
def test_names(tmp_path: Path, name: bytes) -> None:
    """A name is bytes, whatever they mean."""
    with Desk(tmp_path / "in") as desk:
        drop(desk.folder, name)
        arrival = desk.only()
        assert arrival.source == name
        assert os.stat(arrival.claimed).st_size == 6  # noqa: PTH116 - a name that may be no text


def test_a_file_that_changes_while_it_is_claimed_is_given_back(tmp_path: Path) -> None:
    """The last look finds it out, and the next time it is taken whole."""
    folder = tmp_path / "in"
    changes = iter([" and more"])

    def change(_content: bytes) -> bool:
        for more in changes:
            with (folder / "a.json").open("a") as file:
                file.write(more)
            break
        return False

    with Desk(folder, incomplete=change) as desk:
        drop(folder, "a.json", "text")
        assert desk.only().content == b"text and more"
        assert len(desk.reported("file_given_back")) == 1


def test_another_file_under_the_name_is_given_back(tmp_path: Path) -> None:
    """What is claimed must be what was read."""
    folder = tmp_path / "in"
    changes = iter(["other"])

    def change(_content: bytes) -> bool:
        for content in changes:
            drop(folder, "a.json", content)
        return False

    with Desk(folder, incomplete=change) as desk:
        drop(folder, "a.json", "first")
        assert desk.only().content == b"other"


def test_held_and_released(tmp_path: Path) -> None:
    """While it is held nothing is taken, and the view says why; afterwards all is."""
    with Desk(tmp_path / "in") as desk:
        desk.inbox.hold("the disk is full")
        drop(desk.folder, "a.txt")
        desk.wait(lambda: "the disk is full" in desk.reason(b"a.txt"))
        drop(desk.folder, "b.txt")
        desk.wait(lambda: "the disk is full" in desk.reason(b"b.txt"))
        assert not desk.arrivals
        desk.inbox.hold("")
        assert desk.sources(2) == [b"a.txt", b"b.txt"]


def test_another_reason_has_nothing_looked_at_again(tmp_path: Path) -> None:
    """It may change every few seconds, as the free bytes of a disk do, while ten thousand files wait for room."""
    inbox = Desk(tmp_path / "in").inbox
    for reason, released in (("1 MiB is free", False), ("2 MiB are free", False), ("", True)):
        inbox.hold(reason)
        assert (inbox._rounds.held, inbox._rounds.released) == (reason, released)


def test_a_long_look_leaves_the_cpu_to_others(tmp_path: Path) -> None:
    """After each thousand names it rests as long as they took; every file is found all the same, once."""
    for number in range(3 * SLICE + 10):
        (tmp_path / f"{number}.txt").touch()
    rests: list[float] = []
    tree = Tree(
        tmp_path, mode="poll", ignore=Ignore(), report=lambda *_: None, known=lambda _: False, rest=rests.append
    )
    began = time.monotonic()
    with Folders(tmp_path) as folders:
        found = tree.walk(folders, [b""])
    assert {each.path for each in found} == {b"%d.txt" % number for number in range(3 * SLICE + 10)}
    assert len(found) == 3 * SLICE + 10
    assert len(rests) == 3
    assert min(rests) > 0
    assert sum(rests) <= time.monotonic() - began


def test_a_receiver_that_fails(tmp_path: Path) -> None:
    """Its files go back and are offered again."""
    with Desk(tmp_path / "in") as desk:
        desk.failing = True
        drop(desk.folder, "a.txt")
        assert desk.only().content == b"Hello."
        assert desk.reported("hand_over_failed")
        assert not (desk.folder / "a.txt").exists()


def test_stop_does_not_wait_for_what_hangs(tmp_path: Path) -> None:
    """A share that does not answer costs the time that was granted, no more; to stop again is no fault."""
    desk = Desk(tmp_path / "in")
    assert desk.inbox.stop()
    desk = Desk(tmp_path / "in")
    with desk:
        desk.blocked.clear()
        drop(desk.folder, "a.txt")
        desk.wait(lambda: desk.reported("file_claimed"))
        assert not desk.inbox.stop(0.05)
        desk.blocked.set()
        assert desk.inbox.stop(10.0)
        assert desk.inbox.stop()
        assert len(desk.arrivals) == 1


def test_two_daemons_on_one_inbox(tmp_path: Path) -> None:
    """Each file is taken by one of them, whole."""
    folder = tmp_path / "in"
    with Desk(folder) as one, Desk(folder, instance="ffffffff") as two:
        for number in range(300):
            drop(folder, f"{number:03d}.txt")
        one.wait(lambda: len(one.arrivals) + len(two.arrivals) >= 300)
        one.idle()
        two.idle()
        taken = sorted(arrival.source for arrival in one.arrivals + two.arrivals)
        assert taken == [b"%03d.txt" % number for number in range(300)]


def test_leases_are_harmless() -> None:
    """A writer that breaks a lease of ours sends a signal; it must not kill us."""
    code = """
import os, subprocess, sys, tempfile
from piperd.inbox.filesystems import ask_lease
file = tempfile.NamedTemporaryFile(); file.file.close()
descriptor = os.open(file.name, os.O_RDONLY)
writer = subprocess.Popen([sys.executable, "-c", f"for _ in range(3000): open({file.name!r}, 'ab').close()"])
answers = set()
while writer.poll() is None:
    answers.add(ask_lease(descriptor).name)
assert answers == {"FREE", "HELD"}, answers
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
