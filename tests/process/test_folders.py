"""The folders at the start: what can't work is refused in one sentence, and looking leaves nothing behind."""

from __future__ import annotations

import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from kills import kill_everywhere
from piperd import folders
from piperd.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("inbox", "outbox", "archive", "failed", "state")


def places(top: Path, **others: Path) -> dict[str, Path]:
    return {name: others.get(name, top / name) for name in NAMES}


def left(top: Path) -> list[Path]:
    """All that is no folder."""
    return [each for each in top.rglob("*") if not each.is_dir()]


def test_a_kill_while_folders_are_tried_out(tmp_path: Path) -> None:
    """What it leaves, the next start takes up."""
    seen: set[str] = set()
    for _ in kill_everywhere(lambda: folders.prepare(places(tmp_path))):
        seen.update(each.name for each in left(tmp_path))
        folders.prepare(places(tmp_path))
        assert not left(tmp_path)
    assert len(seen) == 2, seen


def test_daemons_that_share_a_folder_do_not_share_the_probe(tmp_path: Path) -> None:
    """Each is known by its state folder, also if that has two paths."""
    shared = tmp_path / "outbox"
    (tmp_path / "b").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    probes = []
    for name in ("a", "b", "link"):
        top = tmp_path / name
        for _ in kill_everywhere(lambda top=top: folders.prepare(places(top, outbox=shared))):  # type: ignore[misc] # mypy does not see the default
            if found := left(shared):
                probes.append(found[0].name.removesuffix("-renamed"))
            folders.prepare(places(top, outbox=shared))
    assert len(set(probes)) == 2, probes
    assert probes[0] == probes[-1]


def test_starts_at_the_same_moment_do_not_refuse_each_other(tmp_path: Path) -> None:
    """`piperd check` may look while a daemon starts."""
    errors = []
    folders.prepare(places(tmp_path))

    def start() -> None:
        try:
            for _ in range(30):
                folders.prepare(places(tmp_path))
        except Exception as error:  # noqa: BLE001 - told by the test
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert not left(tmp_path)


def test_a_planted_link_is_not_written_through(tmp_path: Path) -> None:
    """The probe's name can be guessed; what a link under it leads to is not touched."""
    folders.prepare(places(tmp_path))
    victim = tmp_path / "victim"
    victim.write_text("keep")
    names: set[str] = set()
    for _ in kill_everywhere(lambda: folders.prepare(places(tmp_path))):
        names.update(each.name for each in left(tmp_path / "outbox"))
        folders.prepare(places(tmp_path))
    for target in (victim, tmp_path / "new"):
        for name in names:
            (tmp_path / "outbox" / name).symlink_to(target)
        folders.prepare(places(tmp_path))
    assert not (tmp_path / "new").exists()
    assert left(tmp_path) == [victim]
    assert victim.read_text() == "keep"


def test_a_read_only_folder_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """Also where nothing can be cleaned up."""
    folders.prepare(places(tmp_path))
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", tmp_path / "failed"], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        with pytest.raises(ConfigurationError, match=r"folders\.failed = .* can't be written to .*: Read-only"):
            folders.prepare(places(tmp_path))
    finally:
        subprocess.run(["umount", tmp_path / "failed"], check=True)


def test_a_folder_under_the_name_of_the_probe_is_refused(tmp_path: Path) -> None:
    """It is not ours to be removed."""
    names: set[str] = set()
    for _ in kill_everywhere(lambda: folders.prepare(places(tmp_path))):
        names.update(each.name for each in left(tmp_path / "outbox"))
        folders.prepare(places(tmp_path))
    for name in names:
        (tmp_path / "outbox" / name).mkdir()
        with pytest.raises(ConfigurationError, match=r"folders\.outbox"):
            folders.prepare(places(tmp_path))
        (tmp_path / "outbox" / name).rmdir()


def test_the_instance_is_made_once(tmp_path: Path) -> None:
    """A kill while it is made leaves no temporary that stays."""
    for _ in kill_everywhere(lambda: folders.instance(tmp_path)):
        first = folders.instance(tmp_path)
        assert len(first) == 8
        assert folders.instance(tmp_path) == first
        assert left(tmp_path) == [tmp_path / "instance"]
        (tmp_path / "instance").unlink()
