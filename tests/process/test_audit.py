"""The audit: it finds nothing in what the daemon leaves, and each broken promise by its kind."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import shutil
import sqlite3
import subprocess
import sys
import wave
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness import Box, ThreadDaemon, piperd
from piperd import audit
from piperd.audit.__main__ import main
from piperd.audit.files import TornError, family, read_wav
from piperd.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

DROPPED = {"a.txt": "Well begun.", "sub/b.txt": "Half done. Or more.", "bad.json": "{}", "A.md": "# Same name"}
FOLDERS = ("inbox", "outbox", "archive", "failed", "state")


def drain(box: Box) -> None:
    with ThreadDaemon(box, drain=True) as daemon:
        daemon.join()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folders of a daemon that has done all its work."""
    box = Box(tmp_path_factory.mktemp("finished"))
    for name, content in DROPPED.items():
        box.drop(name, content)
        drain(box)
    (box.outbox / "mine.txt").write_text("A user's own.")
    (box.outbox / "link.json").symlink_to("a.json")
    (box.archive / "notes.txt").write_text("A user's own.")
    yield box.top
    shutil.rmtree(box.top)


@pytest.fixture
def box(tmp_path: Path, finished: Path) -> Box:
    """A copy of them, to be broken."""
    for name in FOLDERS:
        shutil.copytree(finished / name, tmp_path / name, symlinks=True)
    return Box(tmp_path)


class Audit:
    """The program, on a box."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(
        self, box: Box, *options: str, dropped: Mapping[str, str] = DROPPED
    ) -> tuple[set[str], dict[str, Any]]:
        """The kinds of its findings, and its report."""
        manifest = box.top / "dropped.json"
        manifest.write_text(json.dumps({name: digest(text.encode()) for name, text in dropped.items()}))
        self._capsys.readouterr()
        code = main(["--config", str(box.config), "--dropped", str(manifest), "--json", *options])
        report = json.loads(self._capsys.readouterr().out)
        kinds = {finding["kind"] for finding in report["findings"]}
        assert code == bool(kinds)
        assert kinds <= audit.MEANINGS.keys()
        return kinds, report


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Audit:
    return Audit(capsys)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


RECOUNT = """
UPDATE totals SET delivered = forgotten + (SELECT count(*) FROM jobs WHERE jobs.delivered AND jobs.state = totals.state)
"""


def edit(box: Box, statement: str, also: str = RECOUNT) -> None:
    """As if it had always been so."""
    with sqlite3.connect(box.state / "ledger.sqlite3") as database:
        database.execute(statement)
        database.execute(also)
    database.close()


def rewrite(box: Box, name: str, **fields: Any) -> None:
    path = box.outbox / name
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def sound(seconds: float = 1) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(round(seconds * 8000) * 2))
    return buffer.getvalue()


def test_what_the_daemon_leaves_is_clean(box: Box, run: Audit) -> None:
    """And the sums are right; a user's own files are none of its business."""
    kinds, report = run(box, "--drained")
    assert not kinds, report["findings"]
    assert report["counts"] == {"accepted": 4, "done": 3, "failed": 1, "cancelled": 0, "open": 0}
    assert sorted(report["left_alone"]) == [str(box.outbox / name) for name in ("link.json", "mine.txt")]


def test_it_changes_nothing(box: Box, run: Audit) -> None:
    """No byte, no name, no time of any file or folder."""

    def everything() -> dict[Path, tuple[int, bytes]]:
        return {
            path: (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
            for name in FOLDERS
            for path in (box.top / name, *(box.top / name).rglob("*"))
        }

    before = everything()
    run(box, "--drained")
    assert everything() == before


def test_it_sees_what_a_killed_daemon_had_committed(box: Box, run: Audit) -> None:
    """The last rows are in the write-ahead log alone, which stays as it is."""
    database = sqlite3.connect(box.state / "ledger.sqlite3")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("UPDATE jobs SET attempt = 99 WHERE stem = 'a'")
    database.commit()
    before = {path: path.read_bytes() for path in box.state.glob("ledger*")}
    assert len(before) == 3
    kinds, _ = run(box)
    assert before == {path: path.read_bytes() for path in box.state.glob("ledger*")}
    database.close()
    assert kinds == {"attempts"}


def link_audio(box: Box) -> None:
    (box.outbox / "a.wav").rename(box.top / "elsewhere.wav")
    (box.outbox / "a.wav").symlink_to(box.top / "elsewhere.wav")


def change_audio(box: Box) -> None:
    content = (box.outbox / "a.wav").read_bytes()
    (box.outbox / "a.wav").write_bytes(content[:-1] + b"x")


def publish_other_audio(box: Box, content: bytes, **told: Any) -> None:
    """Audio, status and ledger agree with each other."""
    (box.outbox / "a.wav").write_bytes(content)
    audio = json.loads((box.outbox / "a.json").read_text())["audio"]
    rewrite(box, "a.json", audio=audio | {"sha256": digest(content), "bytes": len(content)} | told)
    edit(box, f"UPDATE jobs SET result = json_set(result, '$.audio.sha256', '{digest(content)}') WHERE stem = 'a'")


def tell_of_audio(box: Box, **told: Any) -> None:
    audio = json.loads((box.outbox / "a.json").read_text())["audio"]
    rewrite(box, "a.json", audio=audio | told)


def leave_a_claim(box: Box, job_id: str = "01JDC000000000000000000000") -> None:
    folder = box.inbox / "below/.piperd/i" / job_id
    folder.mkdir(parents=True)
    (folder / "x.txt").touch()


def leave_work(box: Box, job_id: str = "01JDC000000000000000000000") -> None:
    (box.state / "work" / job_id).mkdir(parents=True)


def job_of(box: Box, name: str) -> str:
    return str(json.loads((box.outbox / name).read_text())["job_id"])


def lose_a_job(box: Box) -> None:
    edit(box, "DROP TRIGGER job_forgotten", also="DELETE FROM jobs WHERE stem = 'bad'")
    (box.outbox / "bad.json").unlink()


def misplace_status(box: Box) -> None:
    (box.outbox / "a.json").rename(box.outbox / "sub/a.json")
    (box.outbox / "a.wav").rename(box.outbox / "sub/a.wav")


def tell_of_a_scene(box: Box) -> None:
    scenes = json.loads((box.outbox / "a.json").read_text())["scenes"]
    rewrite(box, "a.json", scenes=[scene | {"file": "a/01-x.wav", "sha256": "0" * 64} for scene in scenes])


def share_captions(box: Box) -> None:
    (box.outbox / "a.srt").touch()
    for name in ("a.json", "A-2.json"):
        rewrite(box, name, captions={"srt": "a.srt"})


def damage_the_ledger(box: Box) -> None:
    ledger = box.state / "ledger.sqlite3"
    ledger.write_bytes(ledger.read_bytes()[:4096] + b"\xff" * 40_000)


def damage_an_index(box: Box) -> None:
    """The jobs can still be read; SQLite's own check alone finds it."""
    ledger = box.state / "ledger.sqlite3"
    with sqlite3.connect(ledger) as database:
        (size,) = database.execute("PRAGMA page_size").fetchone()
        (page,) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'names'").fetchone()
    database.close()
    content = ledger.read_bytes()
    start = (page - 1) * size
    changed = content[start : start + size].replace(b"bad", b"bbd")
    ledger.write_bytes(content[:start] + changed + content[start + size :])


Damage = tuple[set[str], "Callable[[Box], object]"]

OUTPUTS: dict[str, Damage] = {
    "audio deleted": ({"torn"}, lambda box: (box.outbox / "a.wav").unlink()),
    "audio cut short": ({"torn"}, lambda box: (box.outbox / "a.wav").write_bytes(b"RIFF")),
    "audio changed": ({"torn"}, change_audio),
    "audio is a link": ({"torn"}, link_audio),
    "audio is no WAV file": ({"torn"}, lambda box: publish_other_audio(box, b"x" * 99)),
    "audio not whole": ({"torn"}, lambda box: publish_other_audio(box, sound()[:-2], duration_s=1.0, sample_rate=8000)),
    "audio longer than told": ({"torn"}, lambda box: tell_of_audio(box, duration_s=9)),
    "audio faster than told": ({"torn"}, lambda box: tell_of_audio(box, sample_rate=1)),
    "audio of another size": ({"torn"}, lambda box: tell_of_audio(box, bytes=1)),
    "audio elsewhere": ({"torn"}, lambda box: tell_of_audio(box, file="../archive/a.txt")),
    "audio unlike the ledger": (
        {"torn"},
        lambda box: edit(box, "UPDATE jobs SET result = json_set(result, '$.audio.sha256', 'x') WHERE stem = 'a'"),
    ),
    "audio twice": ({"duplicated"}, lambda box: shutil.copy(box.outbox / "a.wav", box.outbox / "a-7.wav")),
    "audio of another try": ({"duplicated"}, lambda box: (box.outbox / "sub/b-2.wav").write_bytes(sound())),
    "audio of a failed job": ({"duplicated"}, lambda box: (box.outbox / "bad.wav").write_bytes(sound())),
    "audio of two jobs": ({"duplicated", "torn"}, lambda box: rewrite(box, "A-2.json", audio=told_of(box, "a.json"))),
    "captions not there": ({"torn"}, lambda box: rewrite(box, "a.json", captions={"srt": "a.srt"})),
    "captions of two jobs": ({"duplicated", "torn"}, share_captions),
    "scene not there": ({"torn"}, tell_of_a_scene),
    "status deleted": ({"lost"}, lambda box: (box.outbox / "a.json").unlink()),
    "status twice": ({"duplicated"}, lambda box: shutil.copy(box.outbox / "a.json", box.outbox / "z.json")),
    "status misplaced": ({"duplicated"}, misplace_status),
    "status empty": ({"lost", "torn"}, lambda box: (box.outbox / "a.json").write_bytes(b"")),
    "status of zeros left": ({"torn"}, lambda box: (box.outbox / "a-2.json").write_bytes(bytes(700))),
    "status cut short": ({"torn"}, lambda box: (box.outbox / "a-2.json").write_bytes(status_of(box, "a.json")[:-9])),
    "status of the wrong form": ({"torn"}, lambda box: rewrite(box, "a.json", audio=["a.wav"])),
    "status not final": ({"torn"}, lambda box: rewrite(box, "a.json", state="running")),
    "status without an end": ({"torn"}, lambda box: rewrite(box, "a.json", finished_at=None)),
    "status without audio": ({"torn"}, lambda box: rewrite(box, "a.json", audio=None)),
    "success with an error": ({"torn"}, lambda box: rewrite(box, "a.json", error=told_of(box, "bad.json", "error"))),
    "failure unexplained": ({"torn"}, lambda box: rewrite(box, "bad.json", error=None)),
    "failure without a hint": (
        {"torn"},
        lambda box: rewrite(box, "bad.json", error=told_of(box, "bad.json", "error") | {"hint": ""}),
    ),
}
LEFTOVERS: dict[str, Damage] = {
    "temporary output": ({"leaked"}, lambda box: (box.outbox / "sub/.piperd-x.tmp").touch()),
    "temporary input": ({"leaked"}, lambda box: (box.inbox / ".piperd-x.tmp").touch()),
    "temporary in the archive": ({"leaked"}, lambda box: (box.archive / ".piperd-x.tmp").touch()),
    "temporary among the failed": ({"leaked"}, lambda box: (box.failed / ".piperd-x.tmp").touch()),
    "temporary in the state": ({"leaked"}, lambda box: (box.state / ".piperd-x.tmp").touch()),
    "staged utterance": ({"leaked"}, lambda box: (box.state / "store/staging/7").touch()),
    "work of nobody": ({"leaked"}, leave_work),
    "work of a job": ({"leaked"}, lambda box: leave_work(box, job_of(box, "a.json"))),
    "claim of nobody": ({"leaked"}, leave_a_claim),
    "claim of a job": ({"leaked"}, lambda box: leave_a_claim(box, job_of(box, "a.json"))),
}
LEDGER: dict[str, Damage] = {
    "job lost": ({"lost", "ledger"}, lose_a_job),
    "job not delivered": ({"lost"}, lambda box: edit(box, "UPDATE jobs SET delivered = 0 WHERE stem = 'a'")),
    "job open again": (
        {"lost"},
        lambda box: edit(box, "UPDATE jobs SET state = 'queued', delivered = 0 WHERE stem = 'a'"),
    ),
    "job delivered before its end": (
        {"ledger", "torn", "lost"},
        lambda box: edit(box, "UPDATE jobs SET state = 'running' WHERE stem = 'a'"),
    ),
    "tried too often": ({"attempts"}, lambda box: edit(box, "UPDATE jobs SET attempt = 4 WHERE stem = 'a'")),
    "tried less than never": ({"attempts"}, lambda box: edit(box, "UPDATE jobs SET attempt = -1 WHERE stem = 'a'")),
    "tried more often than it wanted": (
        {"attempts"},
        lambda box: edit(box, "UPDATE jobs SET attempt = 2, spec = json_set(spec, '$.attempts', 1) WHERE stem = 'a'"),
    ),
    "ended at no time": ({"ledger"}, lambda box: edit(box, "UPDATE jobs SET finished_at = NULL WHERE stem = 'a'")),
    "done without audio": ({"ledger"}, lambda box: edit(box, "UPDATE jobs SET result = NULL WHERE stem = 'a'")),
    "done with an error": ({"ledger"}, lambda box: edit(box, "UPDATE jobs SET failure = '{}' WHERE stem = 'a'")),
    "failed without reason": ({"ledger"}, lambda box: edit(box, "UPDATE jobs SET failure = NULL WHERE stem = 'bad'")),
    "row of no sense": ({"ledger", "lost"}, lambda box: edit(box, "UPDATE jobs SET failure = '{' WHERE stem = 'a'")),
    "ledger gone": ({"ledger", "lost"}, lambda box: (box.state / "ledger.sqlite3").unlink()),
    "index damaged": ({"ledger"}, damage_an_index),
    "ledger damaged": ({"ledger", "lost"}, damage_the_ledger),
}
INPUTS: dict[str, Damage] = {
    "archived input gone": ({"lost"}, lambda box: (box.archive / "sub/b.txt").unlink()),
    "failed input gone": ({"lost"}, lambda box: (box.failed / "bad.json").unlink()),
    "archived input changed": ({"lost"}, lambda box: (box.archive / "a.txt").write_text("Well")),
    "archived input twice": (
        {"duplicated"},
        lambda box: shutil.copy(box.archive / "sub/b.txt", box.archive / "sub/b-2.txt"),
    ),
}


def told_of(box: Box, name: str, field: str = "audio") -> Any:
    return json.loads((box.outbox / name).read_text())[field]


def status_of(box: Box, name: str) -> bytes:
    return (box.outbox / name).read_bytes()


@pytest.mark.parametrize(
    ("kinds", "damage"),
    [pytest.param(*each, id=name) for name, each in (OUTPUTS | LEFTOVERS | LEDGER | INPUTS).items()],
)
def test_each_broken_promise_is_found(box: Box, run: Audit, kinds: set[str], damage: Callable[[Box], object]) -> None:
    """By its kind, and no other kind beside it."""
    damage(box)
    found, report = run(box, "--drained")
    assert found == kinds, report["findings"]


@pytest.mark.parametrize(
    "damage",
    [OUTPUTS["audio changed"], LEFTOVERS["claim of a job"], LEFTOVERS["work of a job"], INPUTS["failed input gone"]],
)
def test_much_is_found_while_the_daemon_works(box: Box, run: Audit, damage: Damage) -> None:
    """What is wrong whatever a user does."""
    damage[1](box)
    assert run(box)[0] == damage[0]


def take_and_leave(box: Box) -> None:
    (box.outbox / "a.json").unlink()
    (box.outbox / "A-2.wav").unlink()
    (box.outbox / "sub/kept").mkdir()
    for name in ("b.json", "b.wav"):
        shutil.copy(box.outbox / "sub" / name, box.outbox / "sub/kept" / name)
    (box.outbox / "sub/b-2.wav").write_bytes(sound())


def test_users_may_take_and_leave_what_they_want(box: Box, run: Audit) -> None:
    """Only after a drain since which nobody came must all be there, and nothing else."""
    take_and_leave(box)
    kinds, report = run(box)
    assert not kinds, report["findings"]
    assert {"lost", "torn", "duplicated"} == run(box, "--drained")[0]


def test_a_daemon_at_work_is_not_at_fault(box: Box, run: Audit) -> None:
    """Open jobs have claims, work and temporaries."""
    edit(box, "UPDATE jobs SET state = 'running', delivered = 0, finished_at = NULL WHERE stem = 'a'")
    job_id = job_of(box, "a.json")
    rewrite(box, "a.json", state="running", audio=None, finished_at=None)
    leave_a_claim(box, job_id)
    leave_work(box, job_id)
    leave_a_claim(box, "01JDC111111111111111111111")
    (box.outbox / f".piperd-{job_id}-0.tmp").touch()
    kinds, report = run(box)
    assert not kinds, report["findings"]
    assert report["counts"]["open"] == 1


def test_two_open_jobs_of_one_name_are_found(box: Box, run: Audit) -> None:
    """Also where they differ in letter case."""
    edit(
        box,
        "UPDATE jobs SET state = 'queued', delivered = 0, finished_at = NULL, "
        "stem = iif(stem = 'a', 'a', 'A'), stem_key = job_id WHERE state = 'done'",
    )
    assert run(box)[0] == {"duplicated"}


def test_a_job_in_no_state_is_missed(box: Box, run: Audit) -> None:
    """Accepted are as many as done, failed, cancelled and open together."""
    with sqlite3.connect(box.state / "ledger.sqlite3") as database:
        database.execute("PRAGMA ignore_check_constraints = ON")
        database.execute("UPDATE jobs SET state = 'forgotten' WHERE stem = 'a'")
    database.close()
    _, report = run(box)
    assert (report["counts"]["accepted"], report["counts"]["done"], report["counts"]["open"]) == (4, 2, 0)
    assert any("not as many as were accepted" in finding["message"] for finding in report["findings"])


def test_a_second_status_is_found_while_the_daemon_works(box: Box, run: Audit) -> None:
    """Beside the first one, where no user would want it."""
    shutil.copy(box.outbox / "bad.json", box.outbox / "bad-9.json")
    assert run(box)[0] == {"duplicated"}


def test_audio_that_another_daemon_names_too_is_found(box: Box, run: Audit) -> None:
    """One of both has taken what is not its own."""
    shutil.copy(box.outbox / "a.json", box.outbox / "z.json")
    rewrite(box, "z.json", job_id="01JDC000000000000000000000")
    assert run(box, "--drained")[0] == {"duplicated"}


def test_files_that_another_daemon_names_are_its_own(box: Box, run: Audit) -> None:
    """Two daemons may share an outbox; what they speak may even sound the same."""
    shutil.copy(box.outbox / "a.wav", box.outbox / "a-3.wav")
    shutil.copy(box.outbox / "a.json", box.outbox / "a-3.json")
    rewrite(box, "a-3.json", job_id="01JDC000000000000000000000", audio=told_of(box, "a.json") | {"file": "a-3.wav"})
    kinds, report = run(box, "--drained")
    assert not kinds, report["findings"]
    assert str(box.outbox / "a-3.json") in report["left_alone"]


@pytest.mark.parametrize(
    ("options", "kind"),
    [({"output": {"on_collision": "replace"}}, "lost"), ({"folders": {"after_done": "delete"}}, "lost")],
    ids=["replace", "delete"],
)
def test_what_the_settings_want_is_no_fault(
    tmp_path: Path, run: Audit, options: dict[str, dict[str, str]], kind: str
) -> None:
    """To replace results, or to delete inputs; without these settings it would be one."""
    box = Box(tmp_path, options)
    for text in ("First.", "Second."):
        box.drop("a.txt", text)
        drain(box)
    kinds, report = run(box, "--drained", dropped={"a.txt": "Second."})
    assert not kinds, report["findings"]
    box.configure({})
    assert run(box, "--drained", dropped={"a.txt": "Second."})[0] == {kind}


def forget(box: Box, most: int) -> int:
    """What the daemon does with old jobs."""
    with closing(Ledger(box.state / "ledger.sqlite3")) as ledger:
        number = ledger.forget(1e12, most)
        ledger.commit()
    return number


@pytest.mark.parametrize("options", [{}, {"after_done": "delete"}], ids=["archive", "delete"])
def test_forgotten_jobs_are_no_broken_promises(tmp_path: Path, run: Audit, options: dict[str, str]) -> None:
    """Their files stay, whoever else has the same name or content; the report says that nothing is said of them."""
    box = Box(tmp_path, {"folders": options})
    for name, text in (("b.txt", "Alone."), *[("a.txt", "Same.")] * 3, ("a.txt", "Other.")):
        box.drop(name, text)
        drain(box)
    assert forget(box, 2) == 2
    (box.outbox / "a.json").unlink()  # a user's doing: whose the audio is can't be known any more
    kinds, report = run(box, "--drained", dropped={"a.txt": "Other.", "b.txt": "Alone."})
    assert not kinds, report["findings"]
    assert report["forgotten"] == 2
    checked = json.loads(piperd("check", "--audit", "--json", box=box).stdout)
    (found,) = [finding for finding in checked if finding["what"] == "audit"]
    assert "3 jobs (and 2 that are forgotten" in found["message"]


def test_what_a_forgotten_job_has_replaced_is_not_missed(tmp_path: Path, run: Audit) -> None:
    """Also where a clock that was set back let the later job be forgotten first."""
    box = Box(tmp_path, {"output": {"on_collision": "replace"}})
    for name in ("a.txt", "a.txt", "b.txt"):
        box.drop(name, f"This is {name}.")
        drain(box)
    edit(box, "UPDATE jobs SET finished_at = -seq")
    assert forget(box, 1) == 1
    kinds, report = run(box, "--drained", dropped={})
    assert not kinds, report["findings"]


def test_forgotten_jobs_excuse_as_many_inputs_and_no_more(box: Box, run: Audit) -> None:
    """What left the inbox beyond that was lost."""
    (box.archive / "a.txt").unlink()
    assert forget(box, 1) == 1
    assert "lost" in run(box, "--drained")[0], "its input was archived, and forgetting takes no files"
    (box.archive / "a.txt").write_text(DROPPED["a.txt"])
    assert not run(box, "--drained")[0]
    more = {**DROPPED, "c.txt": "Never seen."}
    (box.archive / "c.txt").write_text("Never seen.")
    assert run(box, "--drained", dropped=more)[0] == {"lost"}


def test_inputs_of_one_name_are_counted(tmp_path: Path, run: Audit) -> None:
    """What was dropped under one name again and again is as often in the archive, without knowing the contents."""
    box = Box(tmp_path)
    for text in ("First.", "Second.", "Second."):
        box.drop("a.txt", text)
        drain(box)
    assert not run(box, "--drained", dropped={})[0]
    (box.archive / "a-2.txt").unlink()
    assert run(box, "--drained", dropped={})[0] == {"lost"}


def test_equal_inputs_are_counted(box: Box, run: Audit) -> None:
    """One file in the archive does not stand for two that were dropped."""
    kinds, report = run(box, "--drained", dropped={**DROPPED, "sub/b-2.txt": DROPPED["sub/b.txt"]})
    assert kinds == {"lost"}
    assert len(report["findings"]) == 2


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("a/b.wav", "a/b-2.wav"),
        ("b", "b-17"),
        ("Straße.txt", "STRASSE-2.txt"),
        (f"{'n' * 100}.wav", f"{'n' * 96}-123.wav"),
        ("v1.5.txt", "v1.5-2.txt"),
        ("a.md/b.txt", "a-2.md/b.txt"),
        ("-2.json", "-2-2.json"),
        (".json", ".json-2"),
    ],
)
def test_numbered_names_are_kin(name: str, other: str) -> None:
    """A name that was taken got a number."""
    assert family(name) == family(other) != family(f"x{name}")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF",
        b"RIFX" + sound()[4:],
        sound()[:-1],
        sound() + b"x",
        sound(0),
        sound()[:4] + (len(sound()) - 9).to_bytes(4, "little") + sound()[8:-1],
        sound()[:4] + (len(sound()) + 2).to_bytes(4, "little") + sound()[8:],
        sound()[:12] + b"data" + sound()[16:],
    ],
    ids=[
        "empty",
        "a word",
        "of another kind",
        "cut",
        "too long",
        "silent",
        "cut, header fits",
        "header alone too long",
        "without format",
    ],
)
def test_a_wav_file_has_what_it_says(tmp_path: Path, content: bytes) -> None:
    """No more and no less; else it is torn."""
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with path.open("rb") as file, pytest.raises(TornError):
        read_wav(file)


def test_it_shares_no_code_with_what_it_audits() -> None:
    """Nothing of piperd but its own parts, and nothing but the standard library."""
    for path in Path(str(audit.__file__)).parent.glob("*.py"):
        tree = ast.parse(path.read_text())
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        strange = {name for name in names if name.partition(".")[0] not in sys.stdlib_module_names}
        assert all(f"{name}.".startswith("piperd.audit.") for name in strange), path


def test_it_speaks_to_people(box: Box) -> None:
    """Sums, what is wrong and what it means, and a verdict; names can't steer the terminal."""
    command = [sys.executable, "-m", "piperd.audit", "--drained"]
    folders = [option for name in FOLDERS for option in (f"--{name}", str(box.top / name))]
    good = subprocess.run([*command, *folders], capture_output=True, text=True, check=False)
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.splitlines()[0] == "4 accepted, 3 done, 1 failed, 0 cancelled, 0 open"
    assert good.stdout.splitlines()[-1] == "All promises were kept."
    (box.outbox / "sub/.piperd-\x1b[2J\udcff").touch()
    bad = subprocess.run([*command, *folders], capture_output=True, text=True, check=False)
    assert (bad.returncode, bad.stderr) == (1, "")
    assert r".piperd-\x1b[2J\udcff is a temporary" in bad.stdout
    assert "leaked means: something was left behind" in bad.stdout
    assert bad.stdout.splitlines()[-1] == "Not all promises were kept: 1 findings."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "inbox, outbox, archive, failed, state"),
        (["--config", "{top}/nowhere.toml"], "nowhere.toml"),
        (["--config", "{top}/broken.toml"], "broken.toml"),
        (["--config", "{top}/piperd.toml", "--dropped", "{top}/broken.toml"], "broken.toml"),
        (["--config", "{top}/piperd.toml", "--dropped", "{top}/list.json"], "no JSON object"),
    ],
)
def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    """Is told, with exit code 2."""
    box = Box(tmp_path)
    (box.top / "broken.toml").write_text("= broken")
    (box.top / "list.json").write_text("[]")
    with pytest.raises(SystemExit) as ended:
        main([argument.format(top=box.top) for argument in arguments])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_check_audits_too(box: Box) -> None:
    """`piperd check --audit` shows the findings among its own."""
    assert "All promises were kept" in piperd("check", "--audit", box=box).stdout
    (box.outbox / "a.wav").write_bytes(b"")
    result = piperd("check", "--audit", box=box)
    assert result.returncode == 1
    assert "which has 0 bytes" in result.stdout
    assert "It means: a file is not whole" in result.stdout
