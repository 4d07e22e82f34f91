"""Single steps of work in the folders that people see, and a power loss after each thing they do to the disk."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from crash.powerloss import Cutoff, Disk, Loss
from crash.straced import record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PUBLISH = """
import hashlib, json, sys
from pathlib import Path
from piperd.outbox import Outbox, Output

top = Path(sys.argv[1])
outbox = Outbox(top / "outbox")
(top / "audio").write_bytes(b"sound" * 1000)
files = [Output(top / "audio", f"{name}.wav", hashlib.sha256(b"sound" * 1000).hexdigest()) for name in "ab"]
for state in ("queued", "running"):
    content = json.dumps({"schema": 1, "job_id": "mine", "state": state}).encode()
    outbox.write_status("mine", "deep/sub", "a", content, final=False)
outbox.publish("mine", "deep/sub", files, {})
"""
FINISH = """
content = json.dumps({"schema": 1, "job_id": "mine", "state": "done"}).encode()
outbox.write_status("mine", "deep/sub", "a", content, final=True)
"""
DISPOSE = """
import os, sys
from pathlib import Path
from piperd.inbox import dispose

top = Path(sys.argv[1])
claimed = top / "inbox/.piperd/0a1b2c3d/1/deep/sub/a.txt"
dispose(os.fsencode(claimed), b"deep/sub/a.txt", top / "archive", top / "inbox")
"""
LOTS = 20
FOLDERS = ("outbox", "inbox", "archive", "state")


@pytest.fixture
def top(tmp_path: Path) -> Path:
    for name in FOLDERS:
        (tmp_path / name).mkdir()
    return tmp_path


def recorded(top: Path, code: str) -> Disk:
    """What a program does below `top`, which it gets as its argument."""
    log = record([sys.executable, "-c", code, str(top)], top, FOLDERS, into=top / "strace")
    assert log.code == 0, (top / "strace.log").read_text()
    return Disk(log)


def every(disk: Disk) -> Iterator[Cutoff]:
    """All power losses; of those that are drawn by lot, some."""
    for loss in Loss:
        for after in range(len(disk) + 1):
            for seed in range(LOTS if loss is Loss.SOME else 1):
                yield Cutoff(after, loss, seed)


def test_what_is_seen_is_whole(top: Path) -> None:
    """Whatever a file system forgets: a name leads to a whole file or there is none, and done is said last."""
    disk = recorded(top, PUBLISH + FINISH)
    for cutoff in every(disk):
        found = disk.lose_power(cutoff).files("outbox")
        for name, content in found.items():
            if name.endswith(".wav"):
                assert content == b"sound" * 1000, (cutoff, name)
            elif name.endswith(".json"):
                assert json.loads(content)["job_id"] == "mine", (cutoff, name)
                assert b"done" not in content or {"deep/sub/a.wav", "deep/sub/b.wav"} <= found.keys(), cutoff


@pytest.mark.parametrize(
    ("code", "wanted"),
    [(PUBLISH, {"a.wav", "b.wav"}), (PUBLISH + FINISH, {"a.wav", "b.wav", "a.json"})],
    ids=["published", "finished"],
)
def test_what_is_said_to_be_done_stays(top: Path, code: str, wanted: set[str]) -> None:
    """When the call returns, nothing of it is left to chance: the ledger says so next."""
    disk = recorded(top, code)
    for cutoff in every(disk):
        if cutoff.after == len(disk):
            found = disk.lose_power(cutoff).files("outbox")
            assert {f"deep/sub/{name}" for name in wanted} <= found.keys(), cutoff
            assert "a.json" not in wanted or b"done" in found["deep/sub/a.json"], cutoff


@pytest.mark.parametrize("apart", [False, True], ids=["one file system", "two file systems"])
def test_an_input_is_always_somewhere(top: Path, apart: bool) -> None:
    """In the claims or in the archive, whole, whenever the power goes."""
    claimed = top / "inbox/.piperd/0a1b2c3d/1/deep/sub/a.txt"
    claimed.parent.mkdir(parents=True)
    claimed.write_text("content")
    mount = ["mount", "-t", "tmpfs", "none", str(top / "archive")]
    if apart and subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        disk = recorded(top, DISPOSE)
    finally:
        if apart:
            subprocess.run(["umount", top / "archive"], check=True)
    for cutoff in every(disk):
        tree = disk.lose_power(cutoff)
        found = {**tree.files("inbox"), **tree.files("archive")}
        assert {content for name, content in found.items() if name.endswith("a.txt")} == {b"content"}, (cutoff, found)
    assert disk.lose_power(Cutoff(len(disk), Loss.ALL)).files("archive") == {"deep/sub/a.txt": b"content"}
