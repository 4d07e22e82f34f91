"""Files come whole or not at all, and nothing foreign is overwritten."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from piperd import durable

if TYPE_CHECKING:
    from pathlib import Path


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


def test_folders_are_not_made_through_a_planted_link(tmp_path: Path) -> None:
    """Whoever can write to the outbox must not lead piperd elsewhere."""
    outside = tmp_path / "outside"
    outside.mkdir()
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    (outbox / "news").symlink_to(outside)
    with pytest.raises(NotADirectoryError):
        durable.make_folders(outbox / "news" / "today", below=outbox)
    assert not list(outside.iterdir())


def test_a_planted_temporary_is_not_written_through(tmp_path: Path) -> None:
    """A link under the temporary's name is removed, never followed."""
    victim = tmp_path / "victim"
    victim.write_text("keep")
    (tmp_path / ".piperd-token.tmp").symlink_to(victim)
    durable.write_atomically(tmp_path / "a", b"content", token="token")
    assert victim.read_text() == "keep"
    assert (tmp_path / "a").read_bytes() == b"content"
