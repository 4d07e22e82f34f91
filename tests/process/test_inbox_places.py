"""The inbox where things are not as they should be: folders that vanish, mounts, lost events, short kernel limits."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from inboxes import Desk, drop
from kills import kill_everywhere
from piperd.descent import OfflineError
from piperd.inbox import dispose, give_back, orphans

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTANCE = "0a1b2c3d"


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    """Another file system in a subfolder of the inbox."""
    place = tmp_path / "in" / "usb"
    place.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "none", place], check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=False, capture_output=True)


@pytest.mark.parametrize("mode", ["auto", "poll"])
def test_the_inbox_vanishes_and_comes_back(tmp_path: Path, mode: str) -> None:
    """It is said once, nothing is concluded from it, and all goes on when it is back."""
    folder = tmp_path / "in"
    with Desk(folder, mode=mode) as desk:
        (folder / "sub").mkdir()
        desk.scanned()
        folder.rename(tmp_path / "away")
        desk.wait(lambda: not desk.inbox.view.online)
        assert desk.inbox.view.offline_reason
        assert not desk.inbox.view.idle
        drop(tmp_path / "away", "sub/a.txt")
        (tmp_path / "away").rename(folder)
        assert desk.only().source == b"sub/a.txt"
        desk.idle()
        assert desk.inbox.view.online
        assert [len(desk.reported(event)) for event in ("inbox_offline", "inbox_online")] == [1, 1]
        drop(folder, "b.txt")
        desk.arrived(2)


def test_the_marker(tmp_path: Path) -> None:
    """An empty mount point is not an empty inbox; the marker itself is no job."""
    folder = tmp_path / "in"
    drop(folder, "a.txt")
    with Desk(folder, marker="here.txt") as desk:
        assert "here.txt" in desk.inbox.view.offline_reason
        assert not desk.arrivals
        drop(folder, "here.txt")
        assert desk.only().source == b"a.txt"
        desk.idle()
        assert (folder / "here.txt").exists()


def test_another_file_system(tmp_path: Path, mount: Path) -> None:
    """Files on a mount are claimed on that mount, found again there, and kept on another file system."""
    (mount / "sub").mkdir()
    with Desk(tmp_path / "in") as desk:
        drop(mount, "sub/a.txt", "on the mount")
        arrival = desk.only()
        assert arrival.source == b"usb/sub/a.txt"
        assert arrival.claimed == os.fsencode(mount / ".piperd" / INSTANCE / arrival.job_id / "sub/a.txt")
        assert list(orphans(tmp_path / "in", INSTANCE)) == [(arrival.job_id, arrival.source, arrival.claimed)]
        archive = tmp_path / "archive"
        archive.mkdir()
        moved = dispose(arrival.claimed, arrival.source, archive, tmp_path / "in")
        assert moved == os.fsencode(archive / "usb/sub/a.txt")
        assert (archive / "usb/sub/a.txt").read_text() == "on the mount"
        assert not list((mount / ".piperd" / INSTANCE).iterdir())
        subprocess.run(["umount", mount], check=True)
        drop(tmp_path / "in", "usb/b.txt")
        desk.arrived(2)


def test_copies_keep_what_can_be_kept(tmp_path: Path, mount: Path) -> None:
    """Links and pipes come to the archive too; a copy that a crash interrupted is not made twice."""
    archive = tmp_path / "archive"
    archive.mkdir()
    job = mount / ".piperd" / INSTANCE / "1"
    job.mkdir(parents=True)
    (job / "link.txt").symlink_to("/nowhere")
    os.mkfifo(job / "pipe.txt")
    inbox = tmp_path / "in"
    for name in ("link.txt", "pipe.txt"):
        assert dispose(os.fsencode(job / name), name.encode(), archive, inbox)
    assert (archive / "link.txt").readlink() == Path("/nowhere")
    assert (archive / "pipe.txt").is_fifo()
    for _ in range(2):  # as if the original's removal had not come to pass
        job.mkdir()
        (job / "a.txt").write_text("a")
        (job / "a.txt").chmod(0o400)
        os.utime(job / "a.txt", ns=(5, 5))
        assert dispose(os.fsencode(job / "a.txt"), b"a.txt", archive, inbox) == os.fsencode(archive / "a.txt")
    assert (archive / "a.txt").stat().st_mode & 0o777 == 0o600
    job.mkdir()
    (job / "a.txt").write_text("another")
    assert dispose(os.fsencode(job / "a.txt"), b"a.txt", archive, inbox) == os.fsencode(archive / "a-2.txt")
    job.mkdir()
    (job / "a.txt").write_text("b")
    (job / "a.txt").chmod(0o600)
    os.utime(job / "a.txt", ns=(5, 5))
    assert dispose(os.fsencode(job / "a.txt"), b"a.txt", archive, inbox) == os.fsencode(archive / "a-3.txt")
    for name, target in (("link.txt", "/nowhere"), ("link.txt", "/anywher")):  # the first as if it were still there
        job.mkdir()
        (job / name).symlink_to(target)
        mtime = (archive / name).lstat().st_mtime_ns
        os.utime(job / name, ns=(mtime, mtime), follow_symlinks=False)
        assert dispose(os.fsencode(job / name), name.encode(), archive, inbox)
    files = {"a.txt", "a-2.txt", "a-3.txt"}
    assert {each.name for each in archive.iterdir()} == {"link.txt", "link-2.txt", "pipe.txt", *files}


def test_a_kill_while_a_file_goes_to_another_file_system(tmp_path: Path, mount: Path) -> None:
    """Whenever it comes, the next try leaves one file, whole, and no temporary."""
    inbox = tmp_path / "in"
    claims = mount / ".piperd" / INSTANCE
    archive = tmp_path / "archive"
    claimed = os.fsencode(claims / "1/sub/a.txt")

    def prepare() -> None:
        shutil.rmtree(archive, ignore_errors=True)
        archive.mkdir()
        drop(claims, "1/sub/a.txt", "content")

    prepare()
    left: set[str] = set()
    for _ in kill_everywhere(lambda: dispose(claimed, b"usb/sub/a.txt", archive, inbox)):
        left.update(each.name for each in archive.rglob("*.t*"))
        moved = dispose(claimed, b"usb/sub/a.txt", archive, inbox)
        assert moved in {None, os.fsencode(archive / "usb/sub/a.txt")}
        assert [each for each in archive.rglob("*") if not each.is_dir()] == [archive / "usb/sub/a.txt"]
        assert (archive / "usb/sub/a.txt").read_text() == "content"
        assert not list(claims.iterdir())
        prepare()
    assert left == {".piperd-1-input.tmp", "a.txt"}


def test_disposing(tmp_path: Path) -> None:
    """Nothing is overwritten, empty claim folders go, and doing it twice is no error."""
    archive = tmp_path / "archive"
    archive.mkdir()
    claims = tmp_path / "in" / ".piperd" / INSTANCE
    for number, expected in enumerate(["f/a.txt", "f/a-2.txt", "f/a-3.txt"]):
        claimed = os.fsencode(drop(claims, f"{number}/f/a.txt", str(number)))
        assert dispose(claimed, b"f/a.txt", archive, tmp_path / "in") == os.fsencode(archive / expected)
        assert dispose(claimed, b"f/a.txt", archive, tmp_path / "in") is None
        assert (archive / expected).read_text() == str(number)
    drop(archive, "x.txt")
    claimed = os.fsencode(drop(claims, "4/x.txt/a.txt"))
    assert dispose(claimed, b"x.txt/a.txt", archive, tmp_path / "in") == os.fsencode(archive / "x-2.txt/a.txt")
    claimed = os.fsencode(drop(claims, "5/gone.txt"))
    assert dispose(claimed, b"gone.txt", None, tmp_path / "in") is None
    assert not list(claims.iterdir())
    claimed = os.fsencode(drop(claims, "6/a.txt"))
    with pytest.raises(FileNotFoundError):
        dispose(claimed, b"a.txt", tmp_path / "unmounted", tmp_path / "in")
    assert Path(os.fsdecode(claimed)).exists()
    (tmp_path / "in").rename(tmp_path / "away")
    with pytest.raises(OfflineError):  # absence is never read as deletion
        dispose(claimed, b"a.txt", archive, tmp_path / "in")
    (tmp_path / "away").rename(tmp_path / "in")
    (archive / "a.txt").mkdir()
    # the settings name another inbox by now
    assert dispose(claimed, b"a.txt", archive, tmp_path / "other") == os.fsencode(archive / "a-2.txt")
    # another's folder in place of the file is left alone, wherever it should go
    (claims / "7" / "a.txt").mkdir(parents=True)
    for into in (archive, None):
        assert dispose(os.fsencode(claims / "7" / "a.txt"), b"a.txt", into, tmp_path / "in") is None
    assert (claims / "7" / "a.txt").is_dir()
    (tmp_path / "in").rename(tmp_path / "away")
    assert dispose(claimed, b"a.txt", archive, tmp_path / "other") is None


def test_giving_back(tmp_path: Path) -> None:
    """What an earlier run had claimed goes back under a free name; claims of others stay."""
    inbox = tmp_path / "in"
    claims = inbox / ".piperd" / INSTANCE
    drop(claims, "2/f/a.txt", "two")
    drop(claims, "1/b.tar.txt", "one")
    drop(claims.with_name("ffffffff"), "3/c.txt")
    (claims / "4" / "f").mkdir(parents=True)
    drop(inbox, "b.tar.txt", "new")
    found = list(orphans(inbox, INSTANCE))
    assert [(job_id, source) for job_id, source, _ in found] == [("1", b"b.tar.txt"), ("2", b"f/a.txt")]
    assert [give_back(claimed, source, inbox) for _, source, claimed in found] == [b"b.tar-2.txt", b"f/a.txt"]
    assert (inbox / "b.tar-2.txt").read_text() == "one"
    assert (inbox / "f/a.txt").read_text() == "two"
    assert not list(claims.iterdir())
    assert (claims.with_name("ffffffff") / "3/c.txt").exists()
    assert not list(orphans(tmp_path / "nowhere", INSTANCE))


def test_lost_events(tmp_path: Path) -> None:
    """After an overflow everything is looked at again, at once."""
    with Desk(tmp_path / "in") as desk:
        watches = desk.inbox._rounds.tree.watches
        assert watches is not None
        desk.idle()
        events, watches._mailbox.events = watches._mailbox.events, deque(maxlen=0)
        drop(desk.folder, "a.txt")
        drop(desk.folder, "sub/b.txt")
        watches._mailbox.events = events
        watches._mailbox.on_queue_overflow()
        assert set(desk.sources(2)) == {b"a.txt", b"sub/b.txt"}
        assert desk.reported("events_lost")
        assert not desk.inbox.view.polled


def test_a_folder_without_events(tmp_path: Path) -> None:
    """Where files appear that nothing announced, the folder is polled from then on."""
    with Desk(tmp_path / "in") as desk:
        watches = desk.inbox._rounds.tree.watches
        assert watches is not None
        desk.idle()
        watches._mailbox.events = deque(maxlen=0)
        drop(desk.folder, "a.txt")
        desk.scanned()
        desk.arrived(1)
        desk.wait(lambda: desk.inbox.view.polled == (b"",))
        assert desk.reported("folder_polled")
        drop(desk.folder, "b.txt")
        desk.arrived(2)


def test_a_planted_link_in_place_of_the_claims(tmp_path: Path) -> None:
    """Nothing is claimed to where somebody else wants it; the file waits, and it is said why."""
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (folder / ".piperd").symlink_to(tmp_path / "elsewhere")
    with Desk(folder) as desk:
        drop(folder, "a.txt")
        desk.wait(lambda: "can't be claimed" in desk.reason(b"a.txt"))
        assert len(desk.reported("claim_failed")) == 1
        assert not list((tmp_path / "elsewhere").iterdir())
        (folder / ".piperd").unlink()
        desk.arrived(1)


@pytest.mark.parametrize(
    ("limit", "value", "sysctl"),
    [
        ("max_inotify_watches", 2, "fs.inotify.max_user_watches"),
        ("max_inotify_instances", 0, "fs.inotify.max_user_instances"),
    ],
)
def test_out_of_watches(tmp_path: Path, limit: str, value: int, sysctl: str) -> None:
    """Folders that get no watch are polled, and the log names what to set."""
    code = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from inboxes import Desk, drop
from kills import kill_everywhere
Path("/proc/sys/user/{limit}").write_text("{value}")
folder = Path({str(tmp_path / "in")!r})
for name in "abc":
    (folder / name).mkdir(parents=True)
with Desk(folder) as desk:
    for name in "abc":
        drop(folder, f"{{name}}/x.txt")
    desk.arrived(3)
    assert len(desk.inbox.view.polled) == 4 - {value}, desk.inbox.view
    assert [each["setting"] for each in desk.reported("watch_limit_reached")] == ["{sysctl}"]
"""
    unshare = ["unshare", "--user", "--map-root-user"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no user namespace can be made here")
    subprocess.run([*unshare, sys.executable, "-c", code], check=True, timeout=60)


def test_without_privileges(tmp_path: Path) -> None:
    """Where no lease may be asked for, files settle by time; what can't be read holds up nobody."""
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    code = f"""
import os, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from inboxes import Desk, drop
from kills import kill_everywhere
folder = Path({str(tmp_path / "in")!r})
folder.mkdir()
folder.chmod(0o777)
secret = drop(folder, "secret.txt")
secret.chmod(0)
drop(folder, "closed/x.txt").parent.chmod(0)
drop(folder, "theirs.txt")
os.setuid(65534)
with Desk(folder) as desk:
    with (folder / "mine.txt").open("w") as file:
        file.write("x")
        file.flush()
        assert desk.sources(1) == [b"theirs.txt"]
        desk.wait(lambda: "open" in desk.reason(b"mine.txt"))
    assert desk.arrived(2)[1].content == b"x"
    assert "Permission" in desk.reason(b"secret.txt")
    assert [each["source"] for each in desk.reported("folder_unreadable")] == ["closed"]
"""
    for part in (tmp_path, *tmp_path.parents[:2]):
        part.chmod(0o755)
    tmp_path.chmod(0o777)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
