"""Publishing on real folders: nothing foreign is touched, and every step may be done twice."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest

from piperd.outbox import NameTakenError, Outbox, OutboxOfflineError, Output, mirrored, numbered

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    (tmp_path / "outbox").mkdir()
    return Outbox(tmp_path / "outbox")


def status(job_id: str, state: str = "queued") -> bytes:
    return json.dumps({"schema": 1, "job_id": job_id, "state": state}).encode()


def output(folder: Path, name: str, content: bytes) -> Output:
    source = folder / f"source-{name}"
    source.write_bytes(content)
    return Output(source, name, hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("foreign", [b"{}", b"", b"not json", status("other"), b'{"schema": 2, "job_id": "mine"}'])
def test_a_status_file_of_somebody_else_is_not_replaced(outbox: Outbox, tmp_path: Path, foreign: bytes) -> None:
    """Whatever it is: only a status that this very job wrote gives way."""
    (tmp_path / "outbox/story.json").write_bytes(foreign)
    with pytest.raises(NameTakenError):
        outbox.write_status("mine", "", "story", status("mine"), final=True)
    assert (tmp_path / "outbox/story.json").read_bytes() == foreign
    assert os.listdir(tmp_path / "outbox") == ["story.json"]  # noqa: PTH208 - hidden ones too


def test_a_link_in_place_of_a_status_is_not_followed(outbox: Outbox, tmp_path: Path) -> None:
    """Nor is what it leads to."""
    victim = tmp_path / "victim"
    victim.write_bytes(status("mine"))
    (tmp_path / "outbox/story.json").symlink_to(victim)
    with pytest.raises(NameTakenError):
        outbox.write_status("mine", "", "story", status("mine", "done"), final=True)
    assert victim.read_bytes() == status("mine")


def test_our_own_status_is_replaced(outbox: Outbox, tmp_path: Path) -> None:
    """From queued to done; and one of an earlier job, where that is asked for."""
    outbox.write_status("mine", "a/b", "story", status("mine"), final=False)
    outbox.write_status("mine", "a/b", "story", status("mine", "done"), final=True)
    assert (tmp_path / "outbox/a/b/story.json").read_bytes() == status("mine", "done")
    outbox.write_status("next", "a/b", "story", status("next"), replaces_job="mine", final=False)
    assert (tmp_path / "outbox/a/b/story.json").read_bytes() == status("next")


def test_publishing_twice_is_publishing_once(outbox: Outbox, tmp_path: Path) -> None:
    """After a crash between two files, the same call ends what was begun."""
    files = [output(tmp_path, "a.wav", b"one"), output(tmp_path, "b.wav", b"two")]
    outbox.publish("mine", "", files[:1], {})
    outbox.publish("mine", "", files, {})
    assert {path.name: path.read_bytes() for path in (tmp_path / "outbox").iterdir()} == {
        "a.wav": b"one",
        "b.wav": b"two",
    }


def test_what_a_crash_left_is_taken_up(outbox: Outbox, tmp_path: Path) -> None:
    """The temporary of the same job has the same name, so none stays behind."""
    (tmp_path / "outbox/.piperd-mine-0.tmp").write_bytes(b"ha")
    outbox.publish("mine", "", [output(tmp_path, "a.wav", b"half")], {})
    assert [path.name for path in (tmp_path / "outbox").iterdir()] == ["a.wav"]


def test_withdrawing_takes_back_only_what_is_ours(outbox: Outbox, tmp_path: Path) -> None:
    """A job that gives up its name leaves nothing of its own and everything of others."""
    files = [output(tmp_path, "a.wav", b"one"), output(tmp_path, "b.wav", b"two")]
    outbox.publish("mine", "", files, {})
    (tmp_path / "outbox/b.wav").write_bytes(b"edited")
    (tmp_path / "outbox/a.json").write_bytes(status("other"))
    outbox.withdraw("mine", "", "a", files)
    assert {path.name for path in (tmp_path / "outbox").iterdir()} == {"b.wav", "a.json"}


def test_a_missing_outbox_is_offline_and_not_made(tmp_path: Path) -> None:
    """An empty mount point must not fill up in place of the share."""
    with pytest.raises(OutboxOfflineError):
        Outbox(tmp_path / "gone").write_status("mine", "", "story", status("mine"), final=True)
    assert not (tmp_path / "gone").exists()


def test_names_of_outputs() -> None:
    """Subfolders are mirrored, made safe for every file system; numbers stay within the length."""
    assert mirrored(b"tales/CON/st:ory.txt") == ("tales/_CON", "st_ory")
    assert mirrored("سلام.txt".encode()) == ("", "سلام")
    assert [numbered("story", number) for number in (1, 2, 3)] == ["story", "story-2", "story-3"]
    assert len(numbered("x" * 100, 12)) == 100
