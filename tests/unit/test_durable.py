"""Files come whole or not at all, and nothing foreign is overwritten."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import threading
from typing import TYPE_CHECKING, cast

import pytest

from kills import kill_everywhere
from piperd import durable

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO


def test_rename_refuses_a_taken_name(tmp_path: Path) -> None:
    """What is there stays, and the source too."""
    (tmp_path / "a").write_text("new")
    (tmp_path / "b").write_text("old")
    with pytest.raises(FileExistsError):
        durable.rename_no_replace(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "old"
    assert (tmp_path / "a").read_text() == "new"


def test_of_many_renames_to_one_name_one_wins(tmp_path: Path) -> None:
    """Two daemons that publish under one name never take the place of each other."""
    sources = [tmp_path / f"source-{number}" for number in range(16)]
    for source in sources:
        source.write_text(source.name)
    won = []

    def attempt(source: Path) -> None:
        try:
            durable.rename_no_replace(source, tmp_path / "target")
        except FileExistsError:
            return
        won.append(source.name)

    threads = [threading.Thread(target=attempt, args=(source,)) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [(tmp_path / "target").read_text()]


def test_a_reader_sees_the_old_or_the_new(tmp_path: Path) -> None:
    """While a file is replaced again and again, no read is empty or mixed."""
    path = tmp_path / "status.json"
    contents = [bytes([letter]) * 50_000 for letter in b"ab"]
    durable.write_atomically(path, contents[0])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for content in contents:
                durable.write_atomically(path, content, durable=False)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(path.read_bytes() in contents for _ in range(300))
    finally:
        stop.set()
        writer.join()
    assert [each.name for each in tmp_path.iterdir()] == ["status.json"]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    """An error on the way removes the temporary."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        durable.write_atomically(tmp_path / "folder", b"x")
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


@pytest.fixture
def old_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel refuses the flag, as it does on NFS: it is asked with one that it does not know."""
    monkeypatch.setattr(durable, "RENAME_NOREPLACE", 1 << 20)


@pytest.mark.usefixtures("old_share")
def test_without_the_flag_a_taken_name_is_refused_too(tmp_path: Path) -> None:
    """Files, links and folders keep their names, and go to free ones."""
    (tmp_path / "file").write_text("new")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()
    (tmp_path / "taken").write_text("old")
    for name in ("file", "link", "folder"):
        with pytest.raises(FileExistsError):
            durable.rename_no_replace(tmp_path / name, tmp_path / "taken")
        durable.rename_no_replace(tmp_path / name, tmp_path / f"{name}-2")
    assert {each.name for each in tmp_path.iterdir()} == {"taken", "file-2", "link-2", "folder-2"}
    assert (tmp_path / "taken").read_text() == "old"
    assert (tmp_path / "file-2").read_text() == "new"


@pytest.mark.usefixtures("old_share")
def test_a_kill_between_link_and_unlink_is_taken_up(tmp_path: Path) -> None:
    """What has both names then has the new one only, once it is tried again."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("content")
    seen = []
    for _ in kill_everywhere(lambda: durable.rename_no_replace(source, target)):
        seen.append(sorted(each.name for each in tmp_path.iterdir()))
        durable.rename_no_replace(source, target)
        assert [each.name for each in tmp_path.iterdir()] == ["target"]
        target.rename(source)
    assert seen == [["source"], ["source", "target"]]


def test_a_copy_tells_what_it_holds(tmp_path: Path) -> None:
    """The digest is that of the copy; times and rights are the original's where that is asked for."""
    source = tmp_path / "source"
    source.write_bytes(b"x" * 3_000_000)
    source.chmod(0o440)
    os.utime(source, ns=(5, 6))
    for alike, mode in ((True, 0o640), (False, 0o644)):
        with source.open("rb") as file:
            copy, digest = durable.copy_beside(file, tmp_path / "target", token="token", alike=alike)
        assert copy == tmp_path / ".piperd-token.tmp"
        assert digest == hashlib.sha256(copy.read_bytes()).hexdigest()
        assert copy.read_bytes() == source.read_bytes()
        assert copy.stat().st_mode & 0o777 == mode
        assert (copy.stat().st_mtime_ns == 6) is alike


class Failing(io.FileIO):
    """A file on a disk that breaks, in a folder where nothing can be cleaned up either."""

    def __init__(self, path: Path, temporary: Path) -> None:
        super().__init__(path)
        self._temporary = temporary

    def read(self, _size: int | None = -1) -> bytes:
        self._temporary.unlink()
        self._temporary.mkdir()
        raise OSError(errno.EIO, "the disk breaks")


def test_the_first_error_is_told(tmp_path: Path) -> None:
    """That a temporary could not be removed hides nothing."""
    (tmp_path / "source").touch()
    failing = Failing(tmp_path / "source", tmp_path / ".piperd-token.tmp")
    with pytest.raises(OSError, match="the disk breaks"), failing as source:
        durable.copy_beside(cast("BinaryIO", source), tmp_path / "target", token="token")


def test_a_planted_temporary_is_not_written_through(tmp_path: Path) -> None:
    """A link under the temporary's name is removed, never followed."""
    victim = tmp_path / "victim"
    victim.write_text("keep")
    (tmp_path / ".piperd-token.tmp").symlink_to(victim)
    durable.write_atomically(tmp_path / "a", b"content", token="token")
    assert victim.read_text() == "keep"
    assert (tmp_path / "a").read_bytes() == b"content"
