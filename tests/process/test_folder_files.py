"""Folders' own files over real folders, events and threads: what files are handed over with, and when they wait."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from harness import Box, ThreadDaemon, wait_for
from inboxes import Desk, drop
from piperd.descent import Folders
from piperd.folderdefaults import MAX_BYTES, FolderFile
from piperd.ignore import Ignore
from piperd.inbox.defaults import KEPT, FolderFiles, Unsettled
from piperd.inbox.tree import Tree
from piperd.inbox.values import Pace
from piperd.settle import Sign

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from piperd.inbox import Arrival

MODES = pytest.mark.parametrize("mode", ["auto", "poll"])


def given(arrival: Arrival) -> list[tuple[bytes, bytes]]:
    """The files that count for an arrival, all of which could be read."""
    assert not any(file.problem for file in arrival.defaults)
    return [(file.path, file.content) for file in arrival.defaults]


@MODES
def test_a_file_comes_with_what_its_folders_ask_for(tmp_path: Path, mode: str) -> None:
    """The outermost first; folders beside its own don't count, and the folders' files stay where they are."""
    folder = tmp_path / "in"
    for name in ("piperd.toml", "a/piperd.toml", "a/b/c/piperd.toml", "z/piperd.toml"):
        drop(folder, name, f"# {name}")
    with Desk(folder, mode=mode) as desk:
        for name in ("a/b/c/deep.txt", "a/b/plain.txt", "top.txt"):
            drop(folder, name)
        found = {arrival.source: given(arrival) for arrival in desk.arrived(3)}
        inner = [(b"piperd.toml", b"# piperd.toml"), (b"a/piperd.toml", b"# a/piperd.toml")]
        assert found == {
            b"a/b/c/deep.txt": [*inner, (b"a/b/c/piperd.toml", b"# a/b/c/piperd.toml")],
            b"a/b/plain.txt": inner,
            b"top.txt": inner[:1],
        }
        desk.scanned()
        assert (desk.inbox.view.foreign, desk.inbox.view.ignored) == ((), {})
    assert (folder / "a/b/c/piperd.toml").exists()


@MODES
def test_a_change_counts_for_what_is_claimed_after_it(tmp_path: Path, mode: str) -> None:
    """Made, replaced, rewritten in place and removed: no drop sees what was there before."""
    folder = tmp_path / "in"
    (folder / "news").mkdir(parents=True)
    with Desk(folder, mode=mode) as desk:
        drop(folder, "news/0.txt")
        desk.arrived(1)
        drop(folder, "news/piperd.toml", "# one")
        drop(folder, "news/1.txt")
        desk.arrived(2)
        drop(folder, "news/piperd.toml", "# two")
        drop(folder, "news/2.txt")
        desk.arrived(3)
        (folder / "news/piperd.toml").write_text("# 333")
        drop(folder, "news/3.txt")
        desk.arrived(4)
        (folder / "news/piperd.toml").unlink()
        drop(folder, "news/4.txt")
        contents = [[content for _, content in given(arrival)] for arrival in desk.arrived(5)]
        assert contents == [[], [b"# one"], [b"# two"], [b"# 333"], []]


@MODES
def test_texts_wait_for_a_folders_file_that_is_being_written(tmp_path: Path, mode: str) -> None:
    """However long its writer pauses; who lies elsewhere, or can't be spoken anyway, does not wait."""
    folder = tmp_path / "in"
    (folder / "news").mkdir(parents=True)
    with Desk(folder, mode=mode) as desk:
        with (folder / "news/piperd.toml").open("w") as file:
            file.write("priority = ")
            file.flush()
            drop(folder, "news/sub/a.txt")
            desk.wait(lambda: "news/piperd.toml open for writing" in desk.reason(b"news/sub/a.txt"))
            drop(folder, "other.txt")
            drop(folder, "news/letter.docx")
            assert set(desk.sources(2)) == {b"other.txt", b"news/letter.docx"}
            assert not desk.inbox.view.idle
            file.write("9")
        assert given(desk.arrived(3)[2]) == [(b"news/piperd.toml", b"priority = 9")]


def test_texts_wait_until_a_folders_file_has_been_quiet(tmp_path: Path) -> None:
    """As long as `watch.settle`, also where nobody has it open; a text by a rename would be taken at once."""
    folder = tmp_path / "in"
    for name in ("news", "other"):
        (folder / name).mkdir(parents=True)
    with Desk(folder, settle=3600) as desk:
        drop(folder, "news/piperd.toml", "priority = 9")
        drop(folder, "news/a.txt")
        drop(folder, "other/b.txt")
        assert desk.only().source == b"other/b.txt"
        desk.wait(lambda: desk.reason(b"news/a.txt") == "news/piperd.toml changed just now")


@MODES
def test_an_empty_file_of_a_folder_asks_for_nothing(tmp_path: Path, mode: str) -> None:
    """It is waited for no longer than one with content."""
    with Desk(tmp_path / "in", mode=mode, empty_grace=3600) as desk:
        drop(desk.folder, "news/piperd.toml", "")
        drop(desk.folder, "news/a.txt")
        assert given(desk.only()) == [(b"news/piperd.toml", b"")]


def link(place: Path, top: Path) -> None:
    (top / "secret.toml").write_text("priority = 9")
    place.symlink_to(top / "secret.toml")


def hard_link(place: Path, top: Path) -> None:
    (top / "secret.toml").write_text("priority = 9")
    os.link(top / "secret.toml", place)


def unreadable(place: Path, _: Path) -> None:
    place.write_text("priority = 9")
    place.chmod(0)


PLANTED: list[tuple[str, Callable[[Path, Path], Any], str]] = [
    ("link", link, "This is a symbolic link, not a file of its own."),
    ("hard link", hard_link, "This is a file with several names (hard links), not a file of its own."),
    ("pipe", lambda place, _: os.mkfifo(place), "This is a pipe, not a file of its own."),
    ("folder", lambda place, _: place.mkdir(), "This is a folder, not a file of its own."),
    ("huge", lambda place, _: place.write_bytes(b"#" * (MAX_BYTES + 1)), "It has 65,537 bytes; 65,536 are allowed."),
    ("unreadable", unreadable, "It can't be read: Permission denied."),
]


@MODES
@pytest.mark.parametrize(("plant", "problem"), [each[1:] for each in PLANTED], ids=[each[0] for each in PLANTED])
def test_what_can_not_be_read_is_said_and_mended(
    tmp_path: Path, mode: str, plant: Callable[[Path, Path], Any], problem: str
) -> None:
    """It is never opened, or never followed; the texts come with the reason, and without it once it is mended."""
    if plant is unreadable and os.geteuid() == 0:
        pytest.skip("root may read everything")
    folder = tmp_path / "in"
    place = folder / "news/piperd.toml"
    place.parent.mkdir(parents=True)
    with Desk(folder, mode=mode) as desk:
        plant(place, tmp_path)
        drop(folder, "news/a.txt")
        assert desk.only().defaults == (FolderFile(b"news/piperd.toml", problem=problem),)
        place.rmdir() if place.is_dir() else place.unlink()
        drop(folder, "news/piperd.toml", "priority = 1")
        drop(folder, "news/b.txt")
        assert given(desk.arrived(2)[1]) == [(b"news/piperd.toml", b"priority = 1")]


@MODES
def test_letter_case_does_not_matter(tmp_path: Path, mode: str) -> None:
    """On a share that makes no difference nobody would see one; where there are several, `piperd.toml` counts."""
    folder = tmp_path / "in"
    with Desk(folder, mode=mode) as desk:
        drop(folder, "a/Piperd.TOML", "# capital")
        drop(folder, "a/1.txt")
        assert given(desk.only()) == [(b"a/Piperd.TOML", b"# capital")]
        drop(folder, "a/PIPERD.toml", "# loud")
        drop(folder, "a/2.txt")
        (found,) = desk.arrived(2)[1].defaults
        assert "a/PIPERD.toml and a/Piperd.TOML" in found.problem
        drop(folder, "a/piperd.toml", "# small")
        drop(folder, "a/3.txt")
        assert given(desk.arrived(3)[2]) == [(b"a/piperd.toml", b"# small")]
        desk.scanned()
        assert (desk.inbox.view.foreign, desk.inbox.view.ignored) == ((), {})


def test_folders_files_can_be_switched_off(tmp_path: Path) -> None:
    """What `watch.ignore` names is not read."""
    with Desk(tmp_path / "in", ignore=["piperd.toml"]) as desk:
        drop(desk.folder, "news/piperd.toml", "priority = 9")
        drop(desk.folder, "news/a.txt")
        assert desk.only().defaults == ()
        desk.scanned()
        assert desk.inbox.view.ignored == {"watch.ignore": 1}


def test_a_folder_that_is_moved_in_has_its_defaults(tmp_path: Path) -> None:
    """Its texts are not taken before they are known, however many there are."""
    stage = tmp_path / "stage"
    for number in range(300):
        drop(stage, f"{number}.txt")
    drop(stage, "piperd.toml", "priority = 9")
    with Desk(tmp_path / "in") as desk:
        stage.rename(desk.folder / "batch")
        for arrival in desk.arrived(300):
            assert given(arrival) == [(b"batch/piperd.toml", b"priority = 9")]
        assert len(desk.reported("folder_defaults_read")) == 1


class Share(Folders):
    """A share that may be out of order; it counts how often it was asked."""

    broken: int = 0
    asked = 0

    def descriptor(self, folder: bytes) -> int:
        self.asked += 1
        if self.broken:
            raise OSError(self.broken, os.strerror(self.broken))
        return super().descriptor(folder)


def reader(folder: Path, settle: float = 0.0) -> tuple[FolderFiles, Tree]:
    """What reads folders' files, and the tree of folders that it goes by."""
    tree = Tree(folder, mode="poll", ignore=Ignore(), report=lambda *_: None, known=lambda _: False)
    with Folders(folder) as folders:
        tree.walk(folders, [b""], whole=True)
    return FolderFiles(tree, Pace(settle, settle, 60), lambda *_: None), tree


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE])
def test_a_share_out_of_order_is_waited_for(tmp_path: Path, number: int) -> None:
    """No job fails for what passes by itself."""
    drop(tmp_path, "news/piperd.toml", "priority = 9")
    files, _ = reader(tmp_path)
    with Share(tmp_path) as share:
        share.broken = number
        found = files.above(share, b"news", 1.0)
        assert isinstance(found, Unsettled)
        assert os.strerror(number) in found.reason
        share.broken = 0
        assert files.above(share, b"news", 2.0) == (FolderFile(b"news/piperd.toml", b"priority = 9"),)


def test_what_may_not_be_read_is_said(tmp_path: Path) -> None:
    """Permissions don't pass by themselves, and are looked at anew each time: not all changes of them leave a trace."""
    drop(tmp_path, "news/piperd.toml", "priority = 9")
    files, _ = reader(tmp_path)
    with Share(tmp_path) as share:
        share.broken = errno.EACCES
        expected = FolderFile(b"piperd.toml", problem="It can't be read: Permission denied.")
        assert files.above(share, b"", 1.0) == (expected,)
        share.broken = 0
        assert files.above(share, b"", 2.0) == ()


def test_a_burst_of_files_costs_one_look(tmp_path: Path) -> None:
    """A hundred thousand files of one folder, due at once, ask each folder on the way once."""
    drop(tmp_path, "a/b/piperd.toml", "priority = 9")
    files, _ = reader(tmp_path)
    with Share(tmp_path) as share:
        found = {id(files.above(share, b"a/b", 1.0)) for _ in range(100_000)}
        assert len(found) == 1
        assert share.asked <= 4


def test_only_this_clock_counts(tmp_path: Path) -> None:
    """A file is quiet when nothing has changed for as long, whatever its times say."""
    path = drop(tmp_path, "piperd.toml", "one")
    os.utime(path, (10, 10))
    files, _ = reader(tmp_path, settle=5)
    with Folders(tmp_path) as folders:
        files.begin(folders, 100)
        assert files.above(folders, b"", 104.9) == Unsettled("piperd.toml changed just now", 105)
        path.write_text("two")
        os.utime(path, (10, 10))
        assert files.above(folders, b"", 105) == Unsettled("piperd.toml changed just now", 110)
        assert files.above(folders, b"", 110) == (FolderFile(b"piperd.toml", b"two"),)


def test_a_file_that_was_not_closed_is_waited_for(tmp_path: Path) -> None:
    """Where no lease can be had, a close is; events that were lost don't let it wait for ever."""
    drop(tmp_path, "piperd.toml", "half")
    files, tree = reader(tmp_path)
    tree.places[b""].shared = "NFS"
    with Folders(tmp_path) as folders:
        files.heard(b"piperd.toml", Sign.WRITTEN, unclosed=False)
        found = files.above(folders, b"", 1.0)
        assert found == Unsettled("piperd.toml was written to and not closed since")
        files.heard(b"piperd.toml", Sign.CLOSED, unclosed=False)
        assert files.above(folders, b"", 2.0) == (FolderFile(b"piperd.toml", b"half"),)
        files.heard(b"piperd.toml", Sign.RENAMED_IN, unclosed=True)
        assert isinstance(files.above(folders, b"", 3.0), Unsettled)
        files.assume_closed()
        assert files.above(folders, b"", 4.0) == (FolderFile(b"piperd.toml", b"half"),)


def test_what_is_remembered_is_bounded(tmp_path: Path) -> None:
    """Contents are few, and nothing is kept of folders that are gone; yet each file is read right."""
    for number in range(3 * KEPT):
        drop(tmp_path, f"{number}/piperd.toml", f"# {number}")
    files, tree = reader(tmp_path)
    with Folders(tmp_path) as folders:
        for number in range(3 * KEPT):
            expected = FolderFile(b"%d/piperd.toml" % number, b"# %d" % number)
            assert files.above(folders, b"%d" % number, 1.0) == (expected,)
        assert len(files._contents) == KEPT
        for number in range(3 * KEPT):
            shutil.rmtree(tmp_path / str(number))
        tree.walk(folders, [b""], whole=True)
        files.prune()
    assert (files._clocks, dict(files._contents)) == ({}, {})


def test_a_scan_forgets_what_was_in_folders_that_are_gone(tmp_path: Path) -> None:
    """A folder for each day does not fill the memory, also where no event tells of its end."""
    with Desk(tmp_path / "in", mode="poll") as desk:
        for day in range(20):
            drop(desk.folder, f"{day}/piperd.toml", "priority = 9")
            drop(desk.folder, f"{day}/a.txt")
        desk.arrived(20)
        known = desk.inbox._rounds._defaults._clocks
        assert len(known) == 20
        for day in range(20):
            shutil.rmtree(desk.folder / str(day))
        desk.scanned()
        desk.wait(lambda: not known)


def test_jobs_get_what_their_folder_asks_for(tmp_path: Path) -> None:
    """Settings, then folders, then the job's own fields; what was accepted stays as it was."""
    box = Box(tmp_path)
    box.drop("piperd.toml", 'loudness = -20\npriority = 2\ncaptions = ["vtt"]')
    box.drop("news/piperd.toml", "priority = 8\nspeed = 1.5")
    with ThreadDaemon(box, hold=True) as daemon:
        box.drop("plain.txt", "One.")
        box.drop("news/text.txt", "Two.")
        box.drop("news/own.json", {"text": "Three.", "priority": 9})
        wait_for(lambda: len(box.statuses()) == 3, "three accepted jobs")
        box.drop("news/piperd.toml", "priority = 0")
        daemon.engine.let_go()
        found = {name: box.final(name) for name in ("plain.json", "news/text.json", "news/own.json")}
        assert {name: status["priority"] for name, status in found.items()} == {
            "plain.json": 2, "news/text.json": 8, "news/own.json": 9,
        }  # fmt: skip
        wait_for(lambda: len(daemon.ended) == 3, "the ends")
        specs = {job.source: job.spec for job in daemon.ended}
        assert {spec and spec.loudness for spec in specs.values()} == {-20}
        assert {source: spec and spec.scenes[0].speed for source, spec in specs.items()} == {
            b"plain.txt": 1.0, b"news/text.txt": 1.5, b"news/own.json": 1.5,
        }  # fmt: skip
        assert {spec and spec.captions for spec in specs.values()} == {("vtt",)}


def test_a_broken_file_fails_the_jobs_under_it_until_it_is_mended(tmp_path: Path) -> None:
    """Those elsewhere go on; the message names it."""
    box = Box(tmp_path)
    box.drop("news/piperd.toml", "priority = high")
    with ThreadDaemon(box):
        box.drop("news/deep/a.txt", "One.")
        box.drop("b.txt", "Two.")
        error = box.final("news/deep/a.json")["error"]
        assert (error["code"], error["retryable"], error["field"]) == ("folder_defaults_invalid", False, None)
        assert error["message"].startswith("news/piperd.toml: Not valid TOML")
        assert box.final("b.json")["state"] == "done"
        assert box.files(box.failed) == {"news/deep/a.txt"}
        box.drop("news/piperd.toml", "voice = 'nobody'")
        box.drop("news/c.txt", "Three.")
        error = box.final("news/c.json")["error"]
        assert (error["code"], error["field"]) == ("voice_unknown", None)
        assert error["message"].startswith("news/piperd.toml: There is no voice 'nobody'")
        box.drop("news/piperd.toml", "priority = 7")
        box.drop("news/d.txt", "Four.")
        assert (box.final("news/d.json")["state"], box.final("news/d.json")["priority"]) == ("done", 7)
    assert box.files(box.inbox) == {"news/piperd.toml"}


def test_a_folder_teaches_words(tmp_path: Path) -> None:
    """Its lexicon counts there and below, over that of the folder above; captions and archive keep what was written."""
    box = Box(tmp_path, {"output": {"spoken_text": True}})
    box.drop("piperd.toml", '[lexicon]\n"GIF" = "jif"\n"SQL" = "sequel"')
    box.drop("a/piperd.toml", 'captions = ["srt"]\n[lexicon.en]\n"SQL" = "S Q L"')
    for name in ("top.txt", "a/deep/x.txt"):
        box.drop(name, "A GIF and SQL.")
    with ThreadDaemon(box, drain=True) as daemon:
        daemon.join()
    spoken = {name: status["scenes"][0]["spoken_text"] for name, status in box.statuses().items()}
    assert spoken == {"top.json": "A jif and sequel.", "a/deep/x.json": "A jif and S Q L."}
    assert "A GIF and SQL." in (box.outbox / "a/deep/x.srt").read_text()
