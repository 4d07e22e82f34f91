"""Files of other programs are left alone, and everything else is not."""

from __future__ import annotations

import pytest

from piperd.ignore import Ignore


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b".hidden.txt", "hidden"), (b".piperd-x.tmp", "hidden"), (b"~$letter.docx", "lock"), (b"story.lock", "lock"),
        (b"~syncthing~story.txt.tmp", "temporary"), (b"#story.txt#", "temporary"), (b"story.txt~", "temporary"),
        (b"story.tmp", "temporary"), (b"story.txt.TEMP", "temporary"), (b"story.txt.part", "temporary"),
        (b"story.partial", "temporary"), (b"story.txt.filepart", "temporary"), (b"a.crdownload", "temporary"),
        (b"a.download", "temporary"), (b"a.swp", "temporary"), (b"a.swo", "temporary"), (b"a.swx", "temporary"),
        (b"a.sync-conflict-20261123-190308-ABCDEFG.txt", "sync conflict"), (b"Thumbs.db", "system"),
        (b"EHTHUMBS.DB", "system"), (b"desktop.ini", "system"), (b"two\nlines.tmp", "temporary"),
    ],
)  # fmt: skip
def test_files_of_programs_are_left_alone(name: bytes, reason: str) -> None:
    """In every folder, in upper and lower case."""
    assert Ignore().file(name) == reason
    assert Ignore().file(b"news/today/" + name) == reason


@pytest.mark.parametrize(
    "name",
    [b"story.txt", b"#1.txt", b"a#", b"~.txt", b"$5.txt", b"part.txt", b"tmp", b"desktop.ini.txt", b"\xff\xfe.txt"],
)
def test_everything_else_is_not(name: bytes) -> None:
    """Likeness is not enough."""
    assert Ignore().file(name) is None


@pytest.mark.parametrize(
    "name",
    [
        b"@eaDir", b"@Recycle", b"@Recently-Snapshot", b"@SynoResource", b".@__thumb", b"#recycle", b"$RECYCLE.BIN",
        b"$Recycle.Bin", b"System Volume Information", b"__MACOSX", b"lost+found", b".piperd", b".git",
    ],
)  # fmt: skip
def test_folders_of_systems_are_not_entered(name: bytes) -> None:
    """Nor below others."""
    assert Ignore().folder(name)
    assert Ignore().folder(b"news/" + name)


def test_other_folders_are_entered() -> None:
    """Even those whose name looks like a file's."""
    assert not any(Ignore().folder(name) for name in (b"x.json", b"a.tmp", b"@home", b"\xff"))


def test_configured_patterns() -> None:
    """They are read like a .gitignore: unanchored names, folders, anchors and exceptions."""
    ignore = Ignore(["*.bak", "drafts/", "/top.txt", "!keep.bak"])
    assert ignore.file(b"a/b.bak") == "watch.ignore"
    assert ignore.file(b"a/keep.bak") is None
    assert ignore.folder(b"a/drafts") == "watch.ignore"
    assert ignore.file(b"drafts") is None
    assert ignore.file(b"top.txt")
    assert ignore.file(b"a/top.txt") is None
    assert Ignore(["*.bak"]).file(b"\xff.bak") == "watch.ignore"


def test_the_marker_is_never_taken() -> None:
    """It is a file like any other, but for being at the top."""
    ignore = Ignore(marker=b"here.txt")
    assert ignore.file(b"here.txt") == "marker"
    assert ignore.file(b"a/here.txt") is None


def test_configured_patterns_meet_any_name() -> None:
    """Names that are not UTF-8 are matched like any other."""
    ignore = Ignore(["*.bak"])
    assert ignore.file(b"\xff\xfe.bak") == "watch.ignore"
    assert ignore.file(b"\xff\xfe.txt") is None
