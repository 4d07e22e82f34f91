"""The whole daemon with a scripted engine: real folders, real threads, a real ledger."""

from __future__ import annotations

import json
import os
import signal
import wave
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from harness import Box, ThreadDaemon, wait_for
from piperd.errors import ConfigurationError
from piperd.folders import AlreadyRunningError
from piperd.job import JobState
from piperd.ledger import Ledger
from piperd.status import Status

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def drained(box: Box, **engine: Any) -> ThreadDaemon:
    """Run until nothing is left."""
    with ThreadDaemon(box, drain=True, **engine) as daemon:
        daemon.join()
    return daemon


def test_a_file_becomes_speech_and_the_folders_are_in_order(box: Box) -> None:
    """The main job: audio, status and archive, and nothing left behind anywhere."""
    box.drop("tales/story.txt", "Once upon a time. The end.")
    assert drained(box).code == 0
    status = box.status("tales/story.json")
    assert status is not None
    assert status["state"] == "done"
    assert status["source"] == "tales/story.txt"
    assert status["progress"] == {"utterances": 2, "spoken": 2, "from_store": 0}
    with wave.open(str(box.outbox / "tales" / status["audio"]["file"])) as audio:
        assert audio.getnframes() / audio.getframerate() == pytest.approx(status["audio"]["duration_s"])
    assert box.files(box.archive) == {"tales/story.txt"}
    assert not [name for name in box.files(box.inbox) if not name.startswith(".piperd/")]
    assert not box.files(box.inbox / ".piperd")
    assert not list((box.state / "work").iterdir())
    box.check_outputs()


def test_a_refused_input_fails_clearly_and_alone(box: Box) -> None:
    """Bad input ends with its code in a status, in `failed/`, and the job beside it is spoken."""
    box.drop("good.txt", "A good one.")
    box.drop("bad.json", {"text": "x", "sped": 2})
    daemon = drained(box)
    assert daemon.code == 1
    found = box.statuses()
    assert found["good.json"]["state"] == "done"
    assert found["bad.json"]["error"]["code"] == "job_file_invalid"
    assert found["bad.json"]["error"]["field"] == "sped"
    assert box.files(box.failed) == {"bad.json"}


def test_one_name_three_types(box: Box) -> None:
    """`a.txt` beside `a.json` beside `a.md`: three jobs, three names."""
    box.drop("a.txt", "First text.")
    box.drop("a.json", {"text": "Second text."})
    box.drop("a.md", "# Third text")
    drained(box)
    assert set(box.statuses()) == {"a.json", "a-2.json", "a-3.json"}
    assert {path.name for path in box.outbox.glob("*.wav")} == {"a.wav", "a-2.wav", "a-3.wav"}
    box.check_outputs()


def test_the_same_file_twice_is_spoken_once_and_published_twice(box: Box) -> None:
    """The second job costs nothing new and does not touch the first one's outputs."""
    box.drop("note.txt", "The same text.")
    first = drained(box)
    box.drop("note.txt", "The same text.")
    second = drained(box)
    assert (len(first.engine.spoken), len(second.engine.spoken)) == (1, 0)
    assert box.statuses()["note-2.json"]["progress"]["from_store"] == 1
    assert box.files(box.archive) == {"note.txt", "note-2.txt"}
    box.check_outputs()


def test_a_sentence_that_comes_twice_is_spoken_once(box: Box) -> None:
    """Within one job too."""
    box.drop("chorus.txt", "Row your boat. Gently down. Row your boat.")
    daemon = drained(box)
    assert sorted(daemon.engine.spoken) == ["Gently down.", "Row your boat."]
    assert box.statuses()["chorus.json"]["progress"] == {"utterances": 3, "spoken": 3, "from_store": 0}


def test_foreign_files_are_never_overwritten(box: Box) -> None:
    """What lies in the outbox already keeps its name and content, in whatever case."""
    (box.outbox / "Story.wav").write_text("mine")
    (box.outbox / "other.json").write_text("{}")
    box.drop("story.txt", "A story.")
    box.drop("other.txt", "Another.")
    drained(box)
    assert (box.outbox / "Story.wav").read_text() == "mine"
    assert (box.outbox / "other.json").read_text() == "{}"
    assert {"story-2.json", "other-2.json"} <= {path.name for path in box.outbox.iterdir()}


def test_a_name_taken_while_the_job_runs(box: Box) -> None:
    """Somebody puts a file under the name that a running job has: the job takes the next one, whole."""
    box.drop("story.txt", "A story.")
    with ThreadDaemon(box, hold=True) as daemon:
        wait_for(lambda: box.status("story.json"), "the first status")
        (box.outbox / "story.wav").write_text("mine")
        daemon.engine.let_go()
        box.final("story-2.json")
    assert (box.outbox / "story.wav").read_text() == "mine"
    assert {path.name for path in box.outbox.iterdir()} == {"story.wav", "story-2.wav", "story-2.json"}
    box.check_outputs()


def test_replace_replaces_only_our_own(box: Box) -> None:
    """With `on_collision = "replace"` a new version takes the place of the last one, never of a foreign file."""
    box.configure({"output": {"on_collision": "replace"}})
    box.drop("story.txt", "First version.")
    drained(box)
    before = (box.outbox / "story.wav").read_bytes()
    box.drop("story.txt", "The second version is longer.")
    drained(box)
    assert {path.name for path in box.outbox.iterdir()} == {"story.wav", "story.json"}
    assert (box.outbox / "story.wav").read_bytes() != before
    (box.outbox / "story.wav").write_text("edited by hand")
    box.drop("story.txt", "Third version.")
    drained(box)
    assert (box.outbox / "story.wav").read_text() == "edited by hand"
    box.check_outputs()


def test_priority_goes_first(box: Box) -> None:
    """A job of priority 9 overtakes those that wait."""
    box.drop("a.json", {"text": "First.", "priority": 1})
    with ThreadDaemon(box, hold=True, workers=1) as daemon:
        wait_for(lambda: box.status("a.json"), "the first job")
        for name, priority in (("b", 1), ("c", 9), ("d", 5)):
            box.drop(f"{name}.json", {"text": f"Text {name}.", "priority": priority})
            wait_for(partial(box.status, f"{name}.json"), "a job")
        daemon.engine.let_go()
        box.final("b.json")
    assert daemon.engine.spoken == ["First.", "Text c.", "Text d.", "Text b."]


def test_a_fault_of_ours_is_tried_again(box: Box) -> None:
    """A worker's death costs an attempt, not the job; the status tells how many it took."""
    box.drop("a.txt", "Dies once.")
    drained(box, faults={"Dies once.": ["died"]})
    assert box.statuses()["a.json"]["state"] == "done"
    assert box.statuses()["a.json"]["attempt"] == 2


def test_an_input_that_kills_workers_ends(box: Box) -> None:
    """After `attempts` it fails as `worker_died`; the job beside it is done."""
    box.drop("killer.json", {"text": "Always dies.", "attempts": 2})
    box.drop("peer.txt", "A peer.")
    daemon = drained(box, faults={"Always dies.": ["died"] * 9})
    found = box.statuses()
    assert found["killer.json"]["error"]["code"] == "worker_died"
    assert found["killer.json"]["attempt"] == 2
    assert daemon.engine.spoken.count("Always dies.") == 2
    assert found["peer.json"]["state"] == "done"


def test_a_corrupt_entry_is_spoken_anew(box: Box) -> None:
    """What a power loss tore is noticed while rendering, and costs only that utterance."""
    box.drop("a.txt", "One. Two. Three.")
    daemon = drained(box, faults={"Two.": ["corrupt"]})
    assert box.statuses()["a.json"]["state"] == "done"
    assert sorted(daemon.engine.spoken) == ["One.", "Three.", "Two.", "Two."]


def test_a_job_that_runs_too_long_fails(box: Box) -> None:
    """`timeout` counts running time; the engine's hands are freed."""
    box.drop("slow.json", {"text": "Held for ever.", "timeout": 0.2})
    with ThreadDaemon(box, hold=True) as daemon:
        status = box.final("slow.json")
        wait_for(lambda: not daemon.service.view.active, "an empty desk")
        assert daemon.engine.slots.idle == 2
    assert status["error"]["code"] == "timeout"


def test_stopping_puts_back_what_is_not_finished(box: Box) -> None:
    """TERM: what is in hand ends, the rest is queued again, and the next run ends it without another attempt."""
    box.configure({"pool": {"stop_timeout": 0.1}})
    box.drop("a.txt", "One. Two. Three. Four.")
    with ThreadDaemon(box, hold=True) as daemon:
        wait_for(lambda: daemon.service.view.active, "a running job")
    assert daemon.code == 0
    stored = box.status("a.json")
    assert stored is not None
    assert stored["state"] == "queued"
    drained(box)
    assert box.statuses()["a.json"]["state"] == "done"
    assert box.statuses()["a.json"]["attempt"] == 1


def test_a_restart_after_a_crash_goes_on(box: Box) -> None:
    """The ledger says running, no daemon does: the job is taken up, and its spoken utterances are not spoken again."""
    box.drop("a.txt", "One. Two.")
    drained(box)
    ledger = Ledger(box.state / "ledger.sqlite3")
    (done,) = ledger.newest(1)
    ledger._db.execute(
        "UPDATE jobs SET state = 'running', delivered = 0, result = NULL, finished_at = NULL WHERE job_id = ?",
        (done.job_id,),
    )
    ledger.close()
    daemon = drained(box)
    assert daemon.engine.spoken == []
    assert [job.state for job in daemon.ended] == [JobState.DONE]
    assert set(box.statuses()) == {"a.json"}
    box.check_outputs()


def test_a_claim_that_was_not_accepted_goes_back(box: Box) -> None:
    """A crash between claim and acceptance loses nothing: the next start gives the file back and takes it again."""
    drained(box)
    instance = (box.state / "instance").read_text().strip()
    claim = box.inbox / ".piperd" / instance / "01JDC000000000000000000000" / "sub"
    claim.mkdir(parents=True)
    (claim / "lost.txt").write_text("Nearly lost.")
    drained(box)
    assert box.statuses()["sub/lost.json"]["state"] == "done"


def test_a_claim_on_a_share_that_was_away_goes_back_when_it_returns(box: Box) -> None:
    """The daemon starts without its inbox; what it had claimed there is not forgotten."""
    (box.inbox / "marker").touch()
    box.configure({"watch": {"marker": "marker", "poll_interval": 0.1}})
    drained(box)
    instance = (box.state / "instance").read_text().strip()
    claim = box.inbox / ".piperd" / instance / "01JDC000000000000000000000"
    claim.mkdir(parents=True)
    (claim / "lost.txt").write_text("Nearly lost.")
    away = box.top / "away"
    box.inbox.rename(away)
    with ThreadDaemon(box) as daemon:
        wait_for(lambda: daemon.service.view.online is False, "the absence")
        assert not box.inbox.exists()
        away.rename(box.inbox)
        assert box.final("lost.json")["state"] == "done"


def test_a_pattern_that_is_none_stops_the_start(box: Box) -> None:
    """One sentence, not a traceback."""
    box.configure({"watch": {"ignore": ["[", "!"]}})
    with pytest.raises(ConfigurationError, match=r"watch\.ignore"):
        ThreadDaemon(box)


def test_a_second_daemon_is_refused(box: Box) -> None:
    """One state folder, one daemon."""
    with ThreadDaemon(box), pytest.raises(AlreadyRunningError):
        ThreadDaemon(box)


@pytest.mark.parametrize("place", ["outbox", "archive", "failed", "state"])
def test_overlapping_folders_are_refused(box: Box, place: str) -> None:
    """A result must never be taken for an input."""
    box.configure({"folders": {place: str(box.inbox / "inside")}})
    with pytest.raises(ConfigurationError, match="overlap"):
        ThreadDaemon(box)


def test_a_link_does_not_hide_an_overlap(box: Box) -> None:
    """Folders are compared by what they are, not by how they are called."""
    (box.top / "link").symlink_to(box.inbox)
    box.configure({"folders": {"outbox": str(box.top / "link" / "out")}})
    with pytest.raises(ConfigurationError, match="overlap"):
        ThreadDaemon(box)


def test_an_unknown_default_voice_stops_the_start(box: Box) -> None:
    """With the names of the voices that exist."""
    box.configure({"speech": {"voice": "xx_XX-none-low"}})
    with pytest.raises(ConfigurationError, match="en_US-joe-medium"):
        ThreadDaemon(box)


def test_reload_takes_all_or_nothing(box: Box) -> None:
    """HUP: a good file counts from the next job on; a bad one is refused as a whole."""
    with ThreadDaemon(box) as daemon:
        box.configure({"speech": {"sentence_pause": 3.0}})
        daemon.service.post_signal(signal.SIGHUP)
        wait_for(lambda: daemon.service._config.speech.sentence_pause == 3.0, "the new settings")
        box.drop("a.txt", "One. Two.")
        slow = box.final("a.json")
        box.configure({"speech": {"sentence_pause": "often"}})
        daemon.service.post_signal(signal.SIGHUP)
        box.drop("b.txt", "One. Two.")
        kept = box.final("b.json")
    assert slow["audio"]["duration_s"] > 3.0
    assert kept["audio"]["duration_s"] == slow["audio"]["duration_s"]


def test_lexicons_are_read_again_at_a_reload(box: Box) -> None:
    """A lexicon counts from the next job on; one that has become bad is refused as a whole and the old one stays."""
    words = box.top / "words.toml"
    words.write_text('["en"]\n"foo" = "bar"\n')
    box.configure({"speech": {"lexicon": [str(words)]}})
    with ThreadDaemon(box) as daemon:
        words.write_text('["en"]\n"foo" = "baz"\n')
        daemon.service.post_signal(signal.SIGHUP)
        wait_for(lambda: daemon.service._parts.intake.defaults.lexicon == {"en": {"foo": "baz"}}, "the new lexicon")
        words.write_text('["en"]\n"foo" = "bar"\n"bar" = "foo"\n')
        box.configure({"speech": {"lexicon": [str(words)], "sentence_pause": 3.0}})
        daemon.service.post_signal(signal.SIGHUP)
        box.drop("a.txt", "One.")
        box.final("a.json")
        assert daemon.service._config.speech.sentence_pause != 3.0
        assert daemon.service._parts.intake.defaults.lexicon == {"en": {"foo": "baz"}}
    with pytest.raises(ConfigurationError, match=r"words\.toml has an entry .* circle"):
        ThreadDaemon(box)


def test_the_outbox_comes_and_goes(box: Box) -> None:
    """An outbox that is away costs a wait, not a job."""
    with ThreadDaemon(box, hold=True) as daemon:
        box.drop("a.txt", "Patience.")
        wait_for(lambda: daemon.service.view.active, "a running job")
        box.outbox.rename(box.top / "away")
        daemon.engine.let_go()
        wait_for(
            lambda: (box.state / "work").exists() and list((box.state / "work").glob("*/audio.wav")), "the rendering"
        )
        (box.top / "away").rename(box.outbox)
        assert box.final("a.json")["state"] == "done"


def test_order_is_kept_in_a_burst(box: Box) -> None:
    """Many small files at once: all accepted, spoken in the order in which they came."""
    box.configure({"speech": {"normalize": False}})
    count = 300
    for number in range(count):
        box.drop(f"{number:03}.txt", f"Note {number}.")
        os.utime(box.inbox / f"{number:03}.txt", (number, number))
    daemon = drained(box, workers=1)
    assert daemon.engine.spoken == [f"Note {number}." for number in range(count)]
    assert len(box.statuses()) == count


def test_metadata_and_names_come_back(box: Box) -> None:
    """What a job carries is in its status, unchanged; `name` names the outputs and is no path."""
    metadata = {"k": [1, "ب", {"deep": None}], "n": 1e3}
    box.drop("x.json", {"text": "Named.", "name": "../../up/../and away", "metadata": metadata})
    drained(box)
    ((name, status),) = box.statuses().items()
    assert "/" not in name
    assert status["metadata"] == metadata
    assert not [path for path in box.top.iterdir() if "away" in path.name]


def test_a_name_that_is_no_utf8(box: Box) -> None:
    """It is taken, shown escaped, and archived under its own bytes."""
    box.drop(b"caf\xe9.txt", "A name in Latin-1.")
    drained(box)
    ((name, status),) = box.statuses().items()
    assert name == "caf_.json"
    assert status["source"] == "caf\\xe9.txt"
    assert os.listdir(os.fsencode(box.archive)) == [b"caf\xe9.txt"]  # noqa: PTH208 - bytes


def test_a_name_of_255_bytes(box: Box) -> None:
    """The outputs get a name that fits."""
    box.drop("n" * 251 + ".txt", "Long name.")
    drained(box)
    ((name, status),) = box.statuses().items()
    assert len(name) <= 105
    assert status["state"] == "done"


def test_deleted_after_done_when_asked(box: Box) -> None:
    """`after_done = "delete"` keeps no input of a done job, but failed ones are kept."""
    box.configure({"folders": {"after_done": "delete"}})
    box.drop("a.txt", "Gone.")
    box.drop("b.json", "{}")
    drained(box)
    assert not box.files(box.archive)
    assert box.files(box.failed) == {"b.json"}


def test_status_files_validate_against_their_schema(box: Box) -> None:
    """Done or failed: what is written is what `piperd schema status` says."""
    box.drop("a.txt", "Valid.")
    box.drop("b.json", "[]")
    drained(box)
    for path in box.outbox.glob("*.json"):
        Status.model_validate(json.loads(path.read_bytes()))
