"""Publishing on real folders: nothing foreign is touched, and every step may be done twice."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kills import kill_everywhere
from piperd.outbox import (
    FolderTakenError,
    NameTakenError,
    Outbox,
    OutboxOfflineError,
    Output,
    RenderingLostError,
    mirrored,
    numbered,
)

if TYPE_CHECKING:
    from collections.abc import Callable
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


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by name."""
    return {each.name: each.read_bytes() for each in folder.rglob("*") if each.is_file()}


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


def test_a_kill_at_any_moment_of_publishing(outbox: Outbox, tmp_path: Path) -> None:
    """No file is ever seen in part; the next try ends with all of them, once, and no temporary."""
    files = [output(tmp_path, "a.wav", b"one"), output(tmp_path, "b.wav", b"two")]
    place = tmp_path / "outbox/sub"

    def deliver() -> None:
        outbox.publish("mine", "sub", files, {"a.wav": hashlib.sha256(b"old").hexdigest()})
        outbox.write_status("mine", "sub", "a", status("mine", "done"), final=True)

    for _ in kill_everywhere(deliver):
        found = contents(place)
        assert found.get("a.wav", b"old") in {b"old", b"one"}
        assert found.get("b.wav", b"two") == b"two"
        assert json.loads(found.get("a.json", status("mine")))["state"] in {"queued", "done"}
        outbox.clear("mine", "sub", len(files))
        assert not [name for name in contents(place) if name.startswith(".")]
        deliver()
        assert contents(place) == {"a.wav": b"one", "b.wav": b"two", "a.json": status("mine", "done")}
        (place / "a.wav").write_bytes(b"old")
        (place / "b.wav").unlink()
        (place / "a.json").write_bytes(status("mine"))


@pytest.mark.parametrize("loss", ["torn", "empty", "missing", "link", "folder"])
def test_a_rendering_that_was_lost_is_not_published(outbox: Outbox, tmp_path: Path, loss: str) -> None:
    """What a power loss has left of a rendered file goes nowhere, nor do those that were whole."""
    files = [output(tmp_path, "a.wav", b"one"), output(tmp_path, "b.wav", b"two")]
    source = files[1].source
    if loss == "torn":
        source.write_bytes(b"tw\0")
    elif loss == "empty":
        os.truncate(source, 0)
    else:
        source.rename(tmp_path / "elsewhere")
        if loss == "link":
            source.symlink_to(tmp_path / "elsewhere")
        elif loss == "folder":
            source.mkdir()
    with pytest.raises(RenderingLostError):
        outbox.publish("mine", "", files, {})
    assert not contents(tmp_path / "outbox")


def test_a_full_outbox_is_not_a_lost_rendering(tmp_path: Path) -> None:
    """It says so, names the file as people know it, and nothing half done stays."""
    place = tmp_path / "outbox"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", place], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        with pytest.raises(OSError, match="No space left") as caught:
            Outbox(place).publish("mine", "sub", [output(tmp_path, "a.wav", b"x" * 100_000)], {})
        assert not contents(place / "sub")
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        with pytest.raises(OSError, match="Read-only") as caught:
            Outbox(place).publish("mine", "sub", [output(tmp_path, "a.wav", b"x")], {})
        assert caught.value.filename == str(place / "sub/.piperd-mine-0.tmp")
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("folder", ["..", "../outside", "a/../../outside", "a/./b", "/tmp", "a//b"])
def test_no_subfolder_leads_out(outbox: Outbox, tmp_path: Path, folder: str) -> None:
    """Whatever a subfolder is called, nothing is written but below the outbox."""
    (tmp_path / "outside").mkdir()
    files = [output(tmp_path, "a.wav", b"one")]
    with pytest.raises(OSError, match="not the name"):
        outbox.publish("mine", folder, files, {})
    with pytest.raises(OSError, match="not the name"):
        outbox.write_status("mine", folder, "a", status("mine"), final=False)
    assert not len(outbox.names_in(folder))
    assert not contents(tmp_path / "outbox")
    assert not contents(tmp_path / "outside")


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "a//b", "..", ""])
def test_no_name_leads_out(outbox: Outbox, tmp_path: Path, name: str) -> None:
    """Nor a name, whether something is published, shown or taken back."""
    (tmp_path / "outbox/a").mkdir()
    victim = tmp_path / "outside.json"
    victim.write_bytes(status("mine"))
    file = replace(output(tmp_path, "x", b"one"), name=name)
    with pytest.raises(OSError, match="not the name"):
        outbox.publish("mine", "", [file], {})
    (tmp_path / "outside").write_bytes(b"one")
    with pytest.raises(OSError, match="not the name"):
        outbox.withdraw("mine", "", "x", [file])
    if name == "../outside":
        acts: list[Callable[[], None]] = [
            lambda: outbox.write_status("mine", "", name, status("mine", "done"), final=True),
            lambda: outbox.withdraw("mine", "", name, []),
        ]
        for act in acts:
            with pytest.raises(OSError, match="not the name"):
                act()
    assert victim.read_bytes() == status("mine")
    assert (tmp_path / "outside").read_bytes() == b"one"
    assert not contents(tmp_path / "outbox")


def test_clearing_takes_the_temporaries_of_one_job(outbox: Outbox, tmp_path: Path) -> None:
    """Those of others stay, and what somebody put in their place; a folder that is not there has none."""
    outbox.clear("mine", "nowhere/at/all", 2)
    assert not contents(tmp_path / "outbox")
    for name in ("mine-0", "mine-1", "mine-status", "mine-2", "other-0"):
        (tmp_path / f"outbox/.piperd-{name}.tmp").touch()
    (tmp_path / "outbox/.piperd-theirs-0.tmp").mkdir()
    outbox.clear("mine", "", 2)
    outbox.clear("theirs", "", 1)
    left = {".piperd-mine-2.tmp", ".piperd-other-0.tmp", ".piperd-theirs-0.tmp"}
    assert {each.name for each in (tmp_path / "outbox").iterdir()} == left


def test_withdrawing_takes_back_only_what_is_ours(outbox: Outbox, tmp_path: Path) -> None:
    """A job that gives up its name leaves nothing of its own and everything of others."""
    files = [output(tmp_path, "a.wav", b"one"), output(tmp_path, "b.wav", b"two")]
    outbox.publish("mine", "", files, {})
    (tmp_path / "outbox/b.wav").write_bytes(b"edited")
    (tmp_path / "outbox/a.json").write_bytes(b"a user's own")
    outbox.withdraw("mine", "", "a", files)
    assert {path.name for path in (tmp_path / "outbox").iterdir()} == {"b.wav", "a.json"}


def test_a_name_is_whose_status_it_has(outbox: Outbox, tmp_path: Path) -> None:
    """Another daemon may have the very same audio under the very same name: it is not taken for our own."""
    files = [output(tmp_path, "a.wav", b"one")]
    outbox.reserve("theirs", "", "a", lambda: status("theirs"), replaces_job=None)
    outbox.publish("theirs", "", files, {})
    with pytest.raises(NameTakenError):
        outbox.reserve("mine", "", "a", lambda: status("mine"), replaces_job=None)
    outbox.withdraw("mine", "", "a", files)
    outbox.rename("mine", "", "a", [("a.wav", output(tmp_path, "a-2.wav", b"one"))])
    names = {path.name for path in (tmp_path / "outbox").iterdir()}
    assert names == {"a.wav", "a.json", "a-2.wav"}
    outbox.rename("theirs", "", "a", [("a.wav", output(tmp_path, "b.wav", b"one"))])
    assert {path.name for path in (tmp_path / "outbox").iterdir()} == {"b.wav", "a-2.wav"}


def test_a_name_that_is_reserved_stays_as_it_is(outbox: Outbox, tmp_path: Path) -> None:
    """A status of the job's own is not written again."""
    outbox.reserve("theirs", "", "a", lambda: status("theirs"), replaces_job=None)
    outbox.reserve("theirs", "", "a", lambda: b"not written again", replaces_job=None)
    assert (tmp_path / "outbox/a.json").read_bytes() == status("theirs")


def test_what_is_in_the_way_is_not_read_for_ever(outbox: Outbox, tmp_path: Path) -> None:
    """A pipe or a file of any length under the name of an output holds nobody up."""
    os.mkfifo(tmp_path / "outbox/a.wav")
    with (tmp_path / "outbox/b.wav").open("wb") as file:
        file.truncate(1 << 40)
    for name, content in (("a.wav", b""), ("b.wav", b"one")):
        with pytest.raises(NameTakenError, match=str(tmp_path / "outbox" / name)):
            outbox.publish("mine", "", [output(tmp_path, name, content)], {})


def test_a_missing_outbox_is_offline_and_not_made(tmp_path: Path) -> None:
    """An empty mount point must not fill up in place of the share."""
    outbox = Outbox(tmp_path / "gone")
    assert len(outbox.names_in("")) == 0
    with pytest.raises(OutboxOfflineError):
        outbox.write_status("mine", "", "story", status("mine"), final=True)
    with pytest.raises(OutboxOfflineError):
        outbox.publish("mine", "sub", [output(tmp_path, "a.wav", b"one")], {})
    assert not (tmp_path / "gone").exists()


def test_names_of_outputs() -> None:
    """Subfolders are mirrored, made safe for every file system; numbers stay within the length."""
    assert mirrored(b"tales/CON/st:ory.txt") == ("tales/_CON", "st_ory")
    assert mirrored("سلام.txt".encode()) == ("", "سلام")
    assert [numbered("story", number) for number in (1, 2, 3)] == ["story", "story-2", "story-3"]
    assert len(numbered("x" * 100, 12)) == 100


def test_a_file_in_a_folders_place_is_told_of(outbox: Outbox, tmp_path: Path) -> None:
    """Whoever wants to write there learns that it is taken; for whoever would take something back nothing is there."""
    (tmp_path / "outbox/a.json").write_bytes(b"mine")
    for folder in ("a.json", "a.json/sub"):
        with pytest.raises(FolderTakenError):
            outbox.reserve("mine", folder, "b", lambda: status("mine"), replaces_job=None)
        with pytest.raises(FolderTakenError):
            outbox.publish("mine", folder, [output(tmp_path, "b.wav", b"one")], {})
        outbox.withdraw("mine", folder, "b", [output(tmp_path, "b.wav", b"one")])
        outbox.clear("mine", folder, 1)
    assert contents(tmp_path / "outbox") == {"a.json": b"mine"}


def test_of_a_lost_rendering_nothing_stays_published(outbox: Outbox, tmp_path: Path) -> None:
    """Made anew it may sound otherwise: what a crash left of it would be nobody's. What others put there stays."""
    files = [output(tmp_path, f"{number}.wav", b"%d" % number) for number in range(3)]
    files = [replace(file, name=f"a/{file.name}") for file in files]
    outbox.publish("mine", "", files[:2], {})
    (tmp_path / "outbox/a/1.wav").write_bytes(b"changed")
    files[2].source.unlink()
    with pytest.raises(RenderingLostError):
        outbox.publish("mine", "", files, {})
    assert contents(tmp_path / "outbox") == {"1.wav": b"changed"}
