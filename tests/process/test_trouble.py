"""What goes wrong while the daemon runs, and what becomes of the jobs: retries, silence, full disks."""

from __future__ import annotations

import os
import sqlite3
import wave
from typing import TYPE_CHECKING, Any

import pytest

from harness import Box, ThreadDaemon, wait_for
from piperd import gate, service
from piperd.claims import Orphans
from piperd.reception import MOST_CRASHES

if TYPE_CHECKING:
    from pathlib import Path

    from piperd.ledger import Ledger

TWO_SCENES = {
    "scenes": [{"id": "good", "text": "It is fine."}, {"id": "bad", "text": "Alas. Never mind."}],
    "attempts": 2,
}


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def drained(box: Box, **engine: Any) -> ThreadDaemon:
    """Run until nothing is left."""
    with ThreadDaemon(box, drain=True, **engine) as daemon:
        daemon.join()
    return daemon


def edit(box: Box, statement: str, *values: object) -> None:
    """Change the ledger behind the daemon's back, as if an earlier run had ended there."""
    database = sqlite3.connect(box.state / "ledger.sqlite3")
    with database:
        database.execute(statement, values)
    database.close()


# ---- attempts and silence


def test_each_utterance_has_its_own_tries(box: Box) -> None:
    """Two sentences that each fail twice of three times do not fail the job between them."""
    box.drop("a.txt", "One. Two. Three.")
    drained(box, faults={"One.": ["died", "died"], "Three.": ["died", "failed"]})
    status = box.statuses()["a.json"]
    assert (status["state"], status["attempt"]) == ("done", 3)


def test_tries_outlive_a_restart(box: Box) -> None:
    """What an utterance has done before the daemon was stopped still counts."""
    box.configure({"retry": {"backoff": 3600, "backoff_max": 3600}})
    box.drop("a.txt", "Poison.")
    with ThreadDaemon(box, faults={"Poison.": ["died"]}) as daemon:
        wait_for(lambda: (box.status("a.json") or {}).get("attempt") == 1, "the first try")
        wait_for(lambda: not daemon.service.view.active, "its failure")
    box.configure({"retry": {"backoff": 0.01}})
    daemon = drained(box, faults={"Poison.": ["died", "died"]})
    assert daemon.engine.spoken == ["Poison."] * 2
    status = box.statuses()["a.json"]
    assert (status["state"], status["attempt"], status["error"]["code"]) == ("failed", 3, "worker_died")


def test_silence_stands_in_for_a_scene_that_can_not_be_spoken(box: Box) -> None:
    """With `fallback` the job is done and degraded, the scene says why, and has about the length of its speech."""
    box.drop("a.json", TWO_SCENES | {"fallback": "silence"})
    daemon = drained(box, faults={"Alas.": ["died"] * 9})
    status = box.statuses()["a.json"]
    good, bad = status["scenes"]
    assert (status["state"], status["degraded"], status["error"]) == ("done", True, None)
    assert (good["fallback"], good["error"]) == (False, None)
    assert bad["fallback"]
    assert (bad["error"]["code"], bad["error"]["scene"]) == ("worker_died", "bad")
    assert bad["duration_s"] == pytest.approx(len("Alas.Never mind.") * 0.06 + 0.2, abs=0.01)
    assert daemon.engine.spoken.count("Alas.") == 2
    with wave.open(str(box.outbox / "a.wav")) as audio:
        audio.setpos(round((bad["start_s"] + 0.01) * audio.getframerate()))
        assert not any(audio.readframes(audio.getnframes()))
    assert box.files(box.archive) == {"a.json"}


def test_without_fallback_the_job_fails_and_names_the_scene(box: Box) -> None:
    """The default: nothing stands in for anything."""
    box.drop("a.json", TWO_SCENES)
    drained(box, faults={"Alas.": ["died"] * 9})
    status = box.statuses()["a.json"]
    assert (status["state"], status["degraded"], status["error"]["scene"]) == ("failed", False, "bad")


def test_silence_throughout_is_still_an_answer(box: Box) -> None:
    """All scenes lost: the film gets a file of the right length."""
    box.drop("a.json", {"text": "Alas.", "fallback": "silence", "attempts": 1})
    drained(box, faults={"Alas.": ["failed"]})
    status = box.statuses()["a.json"]
    assert (status["state"], status["degraded"]) == ("done", True)
    assert status["audio"]["duration_s"] == pytest.approx(0.3, abs=0.01)


def test_what_silence_stands_in_for_is_remembered(box: Box) -> None:
    """A crash behind that decision does not bring the scene's tries back."""
    box.drop("a.json", TWO_SCENES | {"fallback": "silence"})
    drained(box, faults={"Alas.": ["died"] * 2})
    for name in ("a.wav", "a.json"):
        (box.outbox / name).unlink()
    edit(box, "UPDATE jobs SET state = 'running', delivered = 0, result = NULL, finished_at = NULL")
    daemon = drained(box)
    assert daemon.engine.spoken == []
    assert box.statuses()["a.json"]["degraded"]


def test_a_job_that_ends_the_daemon_again_and_again_is_failed(box: Box) -> None:
    """No crash loop: after so many sudden ends of the daemon the job is taken for the reason."""
    box.drop("a.txt", "Fatal.")
    drained(box)
    for name in ("a.wav", "a.json"):
        (box.outbox / name).unlink()
    edit(box, "UPDATE jobs SET state = 'running', delivered = 0, result = NULL, crashes = ?", MOST_CRASHES - 1)
    drained(box)
    status = box.statuses()["a.json"]
    assert (status["state"], status["error"]["code"]) == ("failed", "worker_died")


# ---- what was rendered


@pytest.mark.parametrize("damage", [b"", b"torn", None])
def test_a_rendering_that_did_not_outlive_a_power_loss_is_made_again(box: Box, damage: bytes | None) -> None:
    """Empty, torn or gone: it is not published; the utterances are joined anew."""
    box.drop("a.txt", "Whole. Again.")
    drained(box)
    job_id = box.statuses()["a.json"]["job_id"]
    for name in ("a.wav", "a.json"):
        (box.outbox / name).unlink()
    edit(box, "UPDATE jobs SET state = 'running', delivered = 0, finished_at = NULL")
    if damage is not None:
        (box.state / "work" / job_id).mkdir()
        (box.state / "work" / job_id / "audio.wav").write_bytes(damage)
    daemon = drained(box)
    assert daemon.engine.spoken == []
    assert box.statuses()["a.json"]["state"] == "done"
    box.check_outputs()


def test_a_status_whose_name_was_taken_takes_its_audio_along(box: Box) -> None:
    """Published, then somebody put a file of his own where the status was: both get the next name, his file stays."""
    box.drop("a.txt", "Whole. Again.")
    drained(box)
    sound = (box.outbox / "a.wav").read_bytes()
    (box.outbox / "a.json").write_text('{"mine": true}')
    edit(box, "UPDATE jobs SET delivered = 0")
    drained(box)
    assert (box.outbox / "a.json").read_text() == '{"mine": true}'
    assert box.files(box.outbox) == {"a.json", "a-2.json", "a-2.wav"}
    status = box.status("a-2.json")
    assert status is not None
    assert (status["state"], status["audio"]["file"]) == ("done", "a-2.wav")
    assert (box.outbox / "a-2.wav").read_bytes() == sound


def test_unknown_files_in_the_work_folder_stay(box: Box) -> None:
    """What no job of the ledger accounts for is left alone."""
    drained(box)
    (box.state / "work" / "mine").mkdir(parents=True)
    drained(box)
    assert (box.state / "work" / "mine").exists()


# ---- limits


@pytest.mark.parametrize(
    "scene", [{"text": "Wait.", "pause_after": 59.9}, {"text": "[pause 59s] Wait. [pause 1s] So."}]
)
def test_pauses_count_as_audio(box: Box, scene: dict[str, Any]) -> None:
    """A small file can ask for hours of silence."""
    box.configure({"limits": {"max_audio": 60}})
    box.drop("a.json", {"scenes": [scene, {"text": "For it."}, {"text": "Now."}]})
    daemon = drained(box)
    error = box.statuses()["a.json"]["error"]
    assert (error["code"], "max_audio" in error["message"]) == ("text_too_long", True)
    assert daemon.engine.spoken == []


def test_too_much_audio_is_noticed_while_it_is_spoken(box: Box) -> None:
    """Not only at the end of a night."""
    box.configure({"limits": {"max_audio": 3}, "speech": {"sentence_pause": 0}})
    box.drop("a.txt", " ".join(f"This is sentence number {number}." for number in range(50)))
    daemon = drained(box, workers=1)
    assert box.statuses()["a.json"]["error"]["code"] == "text_too_long"
    assert len(daemon.engine.spoken) < 10


def test_a_full_queue_leaves_files_in_the_inbox(box: Box) -> None:
    """Never more jobs than allowed; what waits is taken in its turn, and none is lost."""
    box.configure({"limits": {"max_queued_jobs": 3}})
    for number in range(20):
        box.drop(f"{number:02}.txt", f"Number {number}.")
    with ThreadDaemon(box, hold=True) as daemon:
        wait_for(lambda: daemon.service.view.active + daemon.service.view.queued == 3, "a full queue")
        wait_for(lambda: daemon.service.view.waiting_files == 17, "the others in the inbox")
        assert len([name for name in box.files(box.inbox) if not name.startswith(".piperd")]) == 17
        reasons = {waiting.reason for waiting in daemon.service._parts.inbox.view.waiting}
        assert all("queue is full" in reason for reason in reasons)
        daemon.engine.let_go()
        for number in range(20):
            assert box.final(f"{number:02}.json")["state"] == "done"


def test_the_queue_is_counted_in_bytes_too(box: Box) -> None:
    """Few but large inputs fill it as well."""
    box.configure({"limits": {"max_queued_bytes": 1900}})
    for number in range(6):
        box.drop(f"{number}.txt", f"Number {number}. " + "x" * 985)
    with ThreadDaemon(box, hold=True) as daemon:
        wait_for(lambda: daemon.service.view.waiting_files == 4, "the others in the inbox")
        daemon.engine.let_go()
        for number in range(6):
            assert box.final(f"{number}.json")["state"] == "done"


# ---- disks and shares


@pytest.mark.parametrize("name", ["outbox", "archive"])
def test_a_folder_that_is_away_at_the_start_is_waited_for(box: Box, name: str) -> None:
    """It was there once, so it is a share that is not mounted: nothing is made in its place, and the job waits."""
    box.drop("first.txt", "Seen.")
    drained(box)
    folder = box.top / name
    folder.rename(box.top / "away")
    box.drop("a.txt", "Patience.")
    with ThreadDaemon(box):
        wait_for(lambda: list((box.state / "work").glob("*/audio.wav")), "the rendering")
        assert not folder.exists()
        (box.top / "away").rename(folder)
        wait_for((box.archive / "a.txt").exists, "its end")
    assert box.statuses()["a.json"]["state"] == "done"
    assert box.files(box.archive) == {"a.txt", "first.txt"}


def test_a_new_folder_is_made(box: Box) -> None:
    """What no start has seen yet is not missing."""
    drained(box)
    box.configure({"folders": {"outbox": str(box.top / "new/outbox")}})
    drained(box)
    assert (box.top / "new/outbox").is_dir()


def test_no_file_is_taken_without_room(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """With too little room on a disk files wait, and the view says why; with room again they are taken."""
    monkeypatch.setattr(gate, "LOOK_INTERVAL", 0.02)
    box.configure({"limits": {"min_free_bytes": 1 << 60}})
    box.drop("a.txt", "Room at last.")
    with ThreadDaemon(box) as daemon:
        taker = daemon.service._parts.inbox
        wait_for(lambda: any("min_free_bytes" in each.reason for each in taker.view.waiting), "the file that waits")
        assert "min_free_bytes" in daemon.service.view.held
        assert (box.inbox / "a.txt").exists()
        box.configure({"limits": {"min_free_bytes": 0}})
        daemon.service.post_signal(1)
        assert box.final("a.json")["state"] == "done"
        assert not daemon.service.view.held


def test_a_full_ledger_is_waited_for(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is done that the ledger does not know; with room again all goes on where it was."""
    monkeypatch.setattr(service, "LEDGER_PAUSE", 0.01)
    with ThreadDaemon(box) as daemon:
        box.drop("a.txt", "First.")
        box.final("a.json")
        ledger = daemon.service._parts.ledger
        daemon_full = FullDisk(ledger)
        box.drop("b.txt", "Second.")
        wait_for(lambda: daemon_full.refused > 2, "refused writes")
        assert box.status("b.json") is None
        daemon_full.room = True
        assert box.final("b.json")["state"] == "done"


def test_a_stop_while_the_ledger_is_full_loses_nothing(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon gives up with exit code 1; the next start finds the file and speaks it."""
    monkeypatch.setattr(service, "LEDGER_PAUSE", 0.01)
    with ThreadDaemon(box) as daemon:
        daemon_full = FullDisk(daemon.service._parts.ledger)
        box.drop("b.txt", "Second.")
        wait_for(lambda: daemon_full.refused > 2, "refused writes")
    assert daemon.code == 1
    drained(box)
    assert box.statuses()["b.json"]["state"] == "done"
    box.check_outputs()


class FullDisk:
    """A ledger's connection whose every second statement finds the disk full, until there is `room`."""

    def __init__(self, ledger: Ledger) -> None:
        self.room = False
        self.refused = 0
        self._db = ledger._db
        self._count = 0
        ledger._db = self  # type: ignore[assignment]  # it stands in for the connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def execute(self, statement: str, *values: Any) -> Any:
        if not statement.startswith(("INSERT", "UPDATE", "COMMIT")) or self.room:
            return self._db.execute(statement, *values)
        self._count += 1
        if self._count % 2 == 0 and statement != "COMMIT":
            return self._db.execute(statement, *values)
        self.refused += 1
        if self._count % 3 == 0:  # SQLite rolls back by itself for some of its errors
            self._db.execute("ROLLBACK")
        raise sqlite3.OperationalError("database or disk is full")


# ---- claims


def test_a_claim_that_is_on_its_way_is_no_orphan(box: Box) -> None:
    """The inbox comes back while a file is between claim and acceptance: by its id, whatever clocks say, it stays."""
    with ThreadDaemon(box) as daemon:
        parts = daemon.service._parts
        mine, old = parts.in_flight.new(), "01JDC000000000000000000000"
        claims = {}
        for job_id in (mine, old):
            claims[job_id] = box.inbox / ".piperd" / parts.instance / job_id / f"{job_id}.txt"
            claims[job_id].parent.mkdir(parents=True)
            claims[job_id].write_text("Spoken once.")
        found = [(job_id, os.fsencode(claim.name), os.fsencode(claim)) for job_id, claim in claims.items()]
        daemon.service._mailbox.put(Orphans(found))
        assert box.final(f"{old}.json")["state"] == "done"
        assert claims[mine].exists()


# ---- names in the outbox


@pytest.mark.parametrize("in_the_way", ["file", "link"])
def test_a_folder_that_can_not_be_made_does_not_hold_up_its_jobs(box: Box, in_the_way: str) -> None:
    """A user's file or link has its name: results go to the outbox itself, under a name of their own."""
    (box.outbox / "tales").write_text("mine") if in_the_way == "file" else (box.outbox / "tales").symlink_to(box.top)
    box.drop("tales/a.txt", "Out of the way.")
    box.drop("a.txt", "Top.")
    drained(box)
    assert {status["state"] for status in box.statuses().values()} == {"done"}
    assert box.files(box.outbox) == {"tales", "a.json", "a.wav", "a-2.json", "a-2.wav"}
    assert not list(box.top.glob("a.*"))
    box.check_outputs()


@pytest.mark.parametrize("names", [("x.txt", "x.json/a.txt"), ("x.json/a.txt", "x.txt")])
def test_a_folder_named_like_a_status_is_in_nobodys_way(box: Box, names: tuple[str, str]) -> None:
    """`x.txt` has its status in `x.json`, which may be a folder of the inbox as well: both end, whoever was first."""
    for name in names:
        box.drop(name, f"This is {name}.")
        drained(box)
    assert sorted(status["source"] for status in box.statuses().values()) == sorted(names)
    assert {status["state"] for status in box.statuses().values()} == {"done"}
    box.check_outputs()


def test_what_lies_under_a_name_is_taken_back_before_it_is_given_up(box: Box) -> None:
    """The audio's name is taken, the status under the same name is our own: it does not stay behind."""
    (box.outbox / "a.wav").write_bytes(b"mine")
    box.configure({"pool": {"stop_timeout": 0.1}})
    box.drop("a.txt", "Second.")
    with ThreadDaemon(box, hold=True) as daemon:
        wait_for(lambda: daemon.service.view.active, "a running job")
    edit(box, "UPDATE jobs SET stem = 'a', stem_key = 'a'")
    status = next(box.outbox.glob("a*.json"))
    if status.name != "a.json":
        status.rename(box.outbox / "a.json")
    drained(box)
    assert box.files(box.outbox) == {"a.wav", "a-2.json", "a-2.wav"}
    assert (box.outbox / "a.wav").read_bytes() == b"mine"
