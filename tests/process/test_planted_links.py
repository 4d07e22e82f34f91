"""Others may write where piperd works, and put a link in place of any folder at any moment: it leads nowhere."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import itertools
import os
import subprocess
import threading
from typing import TYPE_CHECKING, Self

import pytest

from inboxes import drop
from piperd.descent import Folders
from piperd.inbox import dispose, give_back, orphans
from piperd.outbox import FolderTakenError, Outbox, Output

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

INSTANCE = "0a1b2c3d"
FILES = 200
RENAME_EXCHANGE = 2
AT_FDCWD = -100

_libc = ctypes.CDLL(None, use_errno=True)


def exchange(one: Path, other: Path) -> None:
    """Let two names change places, in one step of the kernel."""
    if _libc.renameat2(AT_FDCWD, bytes(one), AT_FDCWD, bytes(other), RENAME_EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), "the names do not change places", str(one), None, str(other))


class Swapping:
    """Puts a link in place of a folder (or a file) and takes it away again, all the time."""

    def __init__(self, victim: Path, target: Path) -> None:
        self._victim = victim
        self._link = victim.with_name(f".{victim.name}-link")
        self._link.symlink_to(target)
        self._stop = threading.Event()
        self.swaps = 0
        self._thread = threading.Thread(target=self._swap)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._link.unlink()

    def _swap(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(FileNotFoundError):  # what is to be swapped may be gone for a moment
                exchange(self._victim, self._link)
                exchange(self._victim, self._link)
                self.swaps += 1


def insist(action: Callable[[], object], *, tries: int = 5000) -> int:
    """Try until it works; gives how often a link was in the way."""
    for number in range(tries):
        with contextlib.suppress(NotADirectoryError, FileNotFoundError):
            action()
            return number
    raise AssertionError("it never works")


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    return folder


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    folder = tmp_path / "outbox"
    folder.mkdir()
    return folder


@pytest.fixture
def wave(tmp_path: Path) -> Output:
    (tmp_path / "audio").write_bytes(b"sound")
    return Output(tmp_path / "audio", "a.wav", hashlib.sha256(b"sound").hexdigest())


@pytest.mark.parametrize("depth", [1, 2])
def test_the_outbox_follows_no_planted_link(
    tmp_path: Path, outbox: Path, outside: Path, wave: Output, depth: int
) -> None:
    """Nothing is written, looked up, or removed through it, and the error says what is in the way."""
    victims = {"a.wav": b"sound", "a.json": b'{"schema": 1, "job_id": "mine"}', ".piperd-mine-0.tmp": b"x"}
    below = outside if depth == 1 else outside / "sub"
    below.mkdir(exist_ok=True)
    for name, content in victims.items():
        (below / name).write_bytes(content)
    link = outbox / "news"
    link.symlink_to(outside)
    folder = "news" if depth == 1 else "news/sub"
    before = tree(tmp_path)
    room = Outbox(outbox)
    acts: list[Callable[[], None]] = [
        lambda: room.publish("mine", folder, [wave], {}),
        lambda: room.reserve("mine", folder, "a", lambda: b"{}", replaces_job=None),
        lambda: room.write_status("mine", folder, "a", b"{}", final=True),
    ]
    for act in acts:
        with pytest.raises(FolderTakenError, match="is a symlink, which is not followed") as caught:
            act()
        assert caught.value.filename == str(link)
    room.withdraw("mine", folder, "a", [wave])  # there is nothing of ours
    room.clear("mine", folder, 1)
    assert not len(room.names_in(folder))
    assert tree(tmp_path) == before


def test_the_outbox_itself_may_be_a_link(tmp_path: Path, outside: Path, wave: Output) -> None:
    """Its path is the operator's."""
    (tmp_path / "link").symlink_to(outside)
    Outbox(tmp_path / "link").publish("mine", "news", [wave], {})
    assert tree(outside) == {"news/a.wav": b"sound"}


def test_publishing_while_links_are_swapped_in(outbox: Path, outside: Path, wave: Output) -> None:
    """Of all files none lands elsewhere, and all arrive once the folder is there."""
    (outbox / "news").mkdir()
    room = Outbox(outbox)
    met = 0
    with Swapping(outbox / "news", outside) as swapping:
        for number in range(FILES):
            output = Output(wave.source, f"{number}.wav", wave.sha256)
            met += insist(lambda output=output, number=number: room.publish(f"job{number}", "news", [output], {}))  # type: ignore[misc] # mypy does not see the defaults
            met += insist(
                lambda number=number: room.write_status(f"job{number}", "news", f"{number}", b"{}", final=False)  # type: ignore[misc] # the same
            )
    assert swapping.swaps
    assert met
    assert not tree(outside)
    assert set(tree(outbox)) == {f"news/{number}.{suffix}" for number in range(FILES) for suffix in ("wav", "json")}


@pytest.mark.parametrize("where", ["", f"{INSTANCE}", f"{INSTANCE}/7", f"{INSTANCE}/7/sub"])
def test_no_claim_is_reached_through_a_planted_link(tmp_path: Path, outside: Path, where: str) -> None:
    """What lies behind it is neither moved nor removed nor found: the claim is not there."""
    inbox, archive = tmp_path / "in", tmp_path / "archive"
    archive.mkdir()
    claimed = drop(inbox, f".piperd/{INSTANCE}/7/sub/a.txt")
    linked = inbox / ".piperd" / where
    linked.rename(outside / "real")
    linked.symlink_to(outside / "real")
    before = tree(outside)
    assert before
    for into in (archive, None):
        assert dispose(os.fsencode(claimed), b"sub/a.txt", into, inbox) is None
    with pytest.raises(NotADirectoryError):
        give_back(os.fsencode(claimed), b"sub/a.txt", inbox)
    assert [source for _, source, _ in orphans(inbox, INSTANCE) if source.endswith(b"a.txt")] == []
    assert tree(outside) == before
    assert not tree(archive)
    assert linked.is_symlink()


def test_the_archive_follows_no_planted_link(tmp_path: Path, outside: Path) -> None:
    """The subfolder gets another number, as where a file has its name."""
    inbox, archive = tmp_path / "in", tmp_path / "archive"
    archive.mkdir()
    (archive / "sub").symlink_to(outside)
    claimed = os.fsencode(drop(inbox, f".piperd/{INSTANCE}/7/sub/a.txt"))
    assert dispose(claimed, b"sub/a.txt", archive, inbox) == os.fsencode(archive / "sub-2/a.txt")
    assert not tree(outside)


@pytest.mark.parametrize("way", ["archive", "delete", "give_back"])
def test_claims_go_while_links_are_swapped_in(tmp_path: Path, outside: Path, way: str) -> None:
    """What lies behind the link, under the same names, stays; all that was claimed ends where it belongs."""
    inbox, archive = tmp_path / "in", tmp_path / "archive"
    archive.mkdir()
    claims = inbox / ".piperd" / INSTANCE
    claimed = []
    for number in range(FILES):
        claimed.append(os.fsencode(drop(claims, f"{number}/sub/{number}.txt", "ours")))
        drop(outside, f"{number}/sub/{number}.txt", "theirs")
    before = tree(outside)

    def go(number: int) -> None:
        source = b"sub/%d.txt" % number
        if way == "give_back":
            give_back(claimed[number], source, inbox)
        else:
            dispose(claimed[number], source, archive if way == "archive" else None, inbox)

    with Swapping(claims, outside) as swapping:
        for turn, number in enumerate(itertools.cycle(range(FILES))):
            if turn > 20 * FILES:
                break
            with contextlib.suppress(NotADirectoryError, FileNotFoundError):
                go(number)
    for number in range(FILES):  # those that always met the link
        with contextlib.suppress(FileNotFoundError):
            go(number)
    assert swapping.swaps
    assert tree(outside) == before
    expected = {"archive": archive, "delete": tmp_path / "nowhere", "give_back": inbox}[way]
    wanted = {} if way == "delete" else {f"sub/{number}.txt": b"ours" for number in range(FILES)}
    assert tree(expected) == wanted
    assert not list(claims.iterdir())


def test_archiving_while_links_are_swapped_in(tmp_path: Path, outside: Path) -> None:
    """In place of the archive's subfolder: all inputs are in the archive, under one number or another."""
    inbox, archive = tmp_path / "in", tmp_path / "archive"
    (archive / "sub").mkdir(parents=True)
    with Swapping(archive / "sub", outside):
        for number in range(FILES):
            claimed = os.fsencode(drop(inbox, f".piperd/{INSTANCE}/{number}/sub/{number}.txt", f"{number}"))
            insist(lambda claimed=claimed, number=number: dispose(claimed, b"sub/%d.txt" % number, archive, inbox))  # type: ignore[misc] # mypy does not see the defaults
    assert not tree(outside)
    assert sorted(int(content) for content in tree(archive).values()) == list(range(FILES))


def test_a_file_that_becomes_a_link_is_not_copied(tmp_path: Path, outside: Path) -> None:
    """To another file system, what a link leads to never gets into the archive."""
    inbox, archive = tmp_path / "in", tmp_path / "archive"
    archive.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", archive], check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        secret = drop(outside, "secret.txt", "secret")
        for number in range(FILES):
            claimed = drop(inbox, f".piperd/{INSTANCE}/{number}/a.txt", "ours")
            with Swapping(claimed, secret), contextlib.suppress(OSError):
                dispose(os.fsencode(claimed), b"a.txt", archive, inbox)
        assert {each.read_text() for each in archive.iterdir() if not each.is_symlink()} <= {"ours"}
        assert secret.read_text() == "secret"
        assert not [each for each in archive.iterdir() if each.name.startswith(".")]
    finally:
        subprocess.run(["umount", archive], check=True)


def test_errors_name_real_paths(tmp_path: Path) -> None:
    """Nobody knows what /proc/self/fd/7 was."""
    (tmp_path / "top/sub").mkdir(parents=True)
    (tmp_path / "top/file").touch()
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "top/sub/gone")), Folders(tmp_path / "top") as folders:
        folders.path(b"sub", b"gone").unlink()
    with pytest.raises(FileNotFoundError) as caught, Folders(tmp_path / "top") as folders, folders.held(b"sub") as held:
        os.rename(f"/proc/self/fd/{held}/a", folders.path(b"", b"b"))  # noqa: PTH104 - two descriptors in one error
    assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / "top/sub/a"), str(tmp_path / "top/b"))
    for folder, expected in ((b"file/x", "top/file"), (b"sub/gone", "top/sub/gone"), (b"x" * 300, f"top/{'x' * 300}")):
        with pytest.raises(OSError, match=str(tmp_path / expected)), Folders(tmp_path / "top") as folders:
            folders.descriptor(folder)
    with pytest.raises(OSError, match=str(tmp_path / "top/file")), Folders(tmp_path / "top") as folders:
        folders.make(b"file/x")


@pytest.mark.parametrize("name", [b"..", b".", b"", b"sub/../..", b"sub/x"])
def test_a_name_is_one_step_down(tmp_path: Path, name: bytes) -> None:
    """Neither dots nor slashes lead anywhere else."""
    (tmp_path / "top/sub").mkdir(parents=True)
    with Folders(tmp_path / "top") as folders:
        with pytest.raises(OSError, match="not the name"):
            folders.path(b"sub", name)
        if b"/" not in name:
            for act in (folders.descriptor, folders.make):
                with pytest.raises(OSError, match="not the name"):
                    act(b"sub/" + name)


def test_deep_folders_cost_few_descriptors(tmp_path: Path) -> None:
    """A path as deep as can be is entered, and nothing stays open."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counted, not kept
    deep = b"/".join([b"d"] * 300)
    with Folders(tmp_path) as folders:
        folders.make(deep)
        folders.path(deep, b"file").touch()
        folders.sync(deep)
        assert len(os.listdir("/proc/self/fd")) < before + 60  # noqa: PTH208 - the same
    assert (tmp_path / os.fsdecode(deep) / "file").exists()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - the same
