"""The audit: it finds nothing in what the daemon leaves, and each broken promise by its kind."""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness import Box, ThreadDaemon, piperd
from piperd import audit

if TYPE_CHECKING:
    from collections.abc import Callable

DROPPED = {"a.txt": "Well begun.", "sub/b.txt": "Half done. Or more.", "bad.json": "{}", "A.md": "# Same name"}


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """A box whose daemon has done all its work."""
    box = Box(tmp_path)
    for name, content in DROPPED.items():
        box.drop(name, content)
    with ThreadDaemon(box, drain=True) as daemon:
        daemon.join()
    (box.outbox / "mine.txt").write_text("A user's own.")
    return box


def run(box: Box, *options: str) -> tuple[int, dict[str, Any]]:
    """Exit code and report of the program."""
    manifest = box.top / "dropped.json"
    manifest.write_text(json.dumps({name: hashlib.sha256(text.encode()).hexdigest() for name, text in DROPPED.items()}))
    command = [sys.executable, "-m", "piperd.audit", "--config", str(box.config), "--dropped", str(manifest), "--json"]
    result = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert not result.stderr
    return result.returncode, json.loads(result.stdout)


def edit(box: Box, statement: str) -> None:
    with sqlite3.connect(box.state / "ledger.sqlite3") as database:
        database.execute(statement)
    database.close()


def rewrite(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_what_the_daemon_leaves_is_clean(box: Box) -> None:
    """And the sums are right; a user's own file in the outbox is none of its business."""
    code, report = run(box, "--drained")
    assert (code, report["findings"]) == (0, [])
    assert report["counts"] == {"accepted": 4, "done": 3, "failed": 1}
    assert report["left_alone"] == [str(box.outbox / "mine.txt")]


def test_it_sees_what_a_killed_daemon_had_committed(box: Box) -> None:
    """The last rows are in the write-ahead log alone; the audit reads them and changes nothing."""
    database = sqlite3.connect(box.state / "ledger.sqlite3")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("UPDATE jobs SET attempt = 99 WHERE stem = 'a'")
    database.commit()
    before = {path: path.read_bytes() for path in box.state.glob("ledger*")}
    code, report = run(box)
    assert before == {path: path.read_bytes() for path in box.state.glob("ledger*")}
    database.close()
    assert [finding["kind"] for finding in report["findings"]] == ["attempts"]
    assert code == 1


def link_audio(box: Box) -> None:
    (box.outbox / "a.wav").rename(box.top / "elsewhere.wav")
    (box.outbox / "a.wav").symlink_to(box.top / "elsewhere.wav")


def change_audio(box: Box) -> None:
    content = (box.outbox / "a.wav").read_bytes()
    (box.outbox / "a.wav").write_bytes(content[:-1] + b"x")


def change_length(box: Box) -> None:
    audio = json.loads((box.outbox / "a.json").read_text())["audio"]
    rewrite(box.outbox / "a.json", audio=audio | {"duration_s": 9})


def leave_a_claim(box: Box) -> None:
    folder = box.inbox / ".piperd/i/01JDC000000000000000000000"
    folder.mkdir(parents=True)
    (folder / "x.txt").touch()


def forget_a_job(box: Box) -> None:
    edit(box, "DELETE FROM jobs WHERE stem = 'bad'")
    (box.outbox / "bad.json").unlink()


def damage_the_ledger(box: Box) -> None:
    ledger = box.state / "ledger.sqlite3"
    ledger.write_bytes(ledger.read_bytes()[:4096] + b"\xff" * 40_000)


BROKEN: dict[str, tuple[set[str], Callable[[Box], object]]] = {
    "audio deleted": ({"torn"}, lambda box: (box.outbox / "a.wav").unlink()),
    "audio cut short": ({"torn"}, lambda box: (box.outbox / "a.wav").write_bytes(b"RIFF")),
    "audio changed": ({"torn"}, change_audio),
    "audio is a link": ({"torn"}, link_audio),
    "audio twice": ({"duplicated"}, lambda box: shutil.copy(box.outbox / "a.wav", box.outbox / "a-7.wav")),
    "length differs": ({"torn"}, change_length),
    "status deleted": ({"lost", "duplicated"}, lambda box: (box.outbox / "a.json").unlink()),
    "status twice": ({"duplicated"}, lambda box: shutil.copy(box.outbox / "a.json", box.outbox / "z.json")),
    "status not final": ({"torn"}, lambda box: rewrite(box.outbox / "a.json", state="running")),
    "failure unexplained": ({"torn"}, lambda box: rewrite(box.outbox / "bad.json", error=None)),
    "temporary left": ({"leaked"}, lambda box: (box.outbox / "sub/.piperd-x.tmp").touch()),
    "staged file left": ({"leaked"}, lambda box: (box.state / "store/staging/7").touch()),
    "work left": ({"leaked"}, lambda box: (box.state / "work" / box.statuses()["a.json"]["job_id"]).mkdir()),
    "claim left": ({"leaked"}, leave_a_claim),
    "archived input gone": ({"lost"}, lambda box: (box.archive / "sub/b.txt").unlink()),
    "failed input gone": ({"lost"}, lambda box: (box.failed / "bad.json").unlink()),
    "job forgotten": ({"lost"}, forget_a_job),
    "job not delivered": ({"lost"}, lambda box: edit(box, "UPDATE jobs SET delivered = 0 WHERE stem = 'a'")),
    "job never ends": (
        {"lost", "torn"},
        lambda box: edit(box, "UPDATE jobs SET state = 'running', delivered = 0 WHERE stem = 'a'"),
    ),
    "tried too often": ({"attempts"}, lambda box: edit(box, "UPDATE jobs SET attempt = 4 WHERE stem = 'a'")),
    "ended at no time": ({"ledger"}, lambda box: edit(box, "UPDATE jobs SET finished_at = NULL WHERE stem = 'a'")),
    "failed without reason": ({"ledger"}, lambda box: edit(box, "UPDATE jobs SET failure = NULL WHERE stem = 'bad'")),
    "ledger gone": ({"ledger", "lost"}, lambda box: (box.state / "ledger.sqlite3").unlink()),
    "ledger damaged": ({"ledger", "lost"}, damage_the_ledger),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_each_broken_promise_is_found(box: Box, broken: str) -> None:
    """By its kind, and no other kind beside it."""
    kinds, damage = BROKEN[broken]
    damage(box)
    code, report = run(box, "--drained")
    assert code == 1
    assert {finding["kind"] for finding in report["findings"]} == kinds, report["findings"]


def test_results_that_were_taken_away_are_no_fault(box: Box) -> None:
    """People take what they asked for; only after a drain that nobody has touched must all be there."""
    for name in ("a.wav", "a.json"):
        (box.outbox / name).unlink()
    assert run(box)[0] == 0
    assert run(box, "--drained")[0] == 1


def test_it_shares_no_code_with_what_it_audits() -> None:
    """Nothing of piperd, nothing but the standard library."""
    tree = ast.parse(Path(str(audit.__file__)).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_check_audits_too(box: Box) -> None:
    """`piperd check --audit` shows the findings among its own."""
    assert "All promises were kept" in piperd("check", "--audit", box=box).stdout
    (box.outbox / "a.wav").write_bytes(b"")
    result = piperd("check", "--audit", box=box)
    assert result.returncode == 1
    assert "has another content" in result.stdout
