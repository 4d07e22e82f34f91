"""The commands, as their help shows them: beside a running daemon, and without one."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from harness import Box, ProcessDaemon, ThreadDaemon, piperd, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from piperd.job import Job

COMMANDS = ("run", "submit", "status", "jobs", "voices", "check", "config", "schema")


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def drained(box: Box) -> list[Job]:
    """Let a daemon with a scripted engine do what is there."""
    with ThreadDaemon(box, drain=True) as daemon:
        daemon.join()
    return daemon.ended


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command: str) -> None:
    """`--help` ends with a line to copy."""
    result = piperd(command, "--help")
    assert result.returncode == 0
    assert f"piperd {command}" in result.stdout.partition("Example:")[2]


def test_without_any_run_there_is_nothing_to_show(box: Box) -> None:
    """Exit code 3, and what to do."""
    for command in ("status", "jobs"):
        result = piperd(command, box=box)
        assert result.returncode == 3
        assert "has not run yet" in result.stderr


def test_status_and_jobs_need_no_daemon(box: Box) -> None:
    """They read the ledger, whether or not somebody runs."""
    box.drop("a.txt", "One.")
    box.drop("b.json", "[]")
    ended = drained(box)
    found = json.loads(piperd("status", "--json", box=box).stdout)
    assert (found["running"], found["done"], found["failed"]) == (False, 1, 1)
    listed = json.loads(piperd("jobs", "--json", box=box).stdout)
    assert [job["source"] for job in listed] == ["b.json", "a.txt"]
    failed = json.loads(piperd("jobs", "--state", "failed", "--json", box=box).stdout)
    assert [job["source"] for job in failed] == ["b.json"]
    one = json.loads(piperd("status", ended[0].job_id, "--json", box=box).stdout)
    assert one["source"] == ended[0].source.decode()
    assert piperd("jobs", "--limit", "1", box=box).stdout.count("\n") == 2
    assert piperd("status", "nobody", box=box).returncode == 2
    with ThreadDaemon(box):
        assert json.loads(piperd("status", "--json", box=box).stdout)["running"] is True


def test_submit_drops_under_a_free_name(box: Box) -> None:
    """Never over a file that waits; settings make a job of a text."""
    text = box.top / "note.txt"
    text.write_text("A note.")
    first = piperd("submit", str(text), box=box)
    second = piperd(
        "submit", str(text), "--set", "speed=0.9", "--set", "captions=srt,words", "--voice", "en_US-joe-medium", box=box
    )
    third = piperd("submit", "-t", "Spoken words.", "-", box=box, input="From a pipe.")
    assert [result.returncode for result in (first, second, third)] == [0, 0, 0]
    assert box.files(box.inbox) == {"note.txt", "note.json", "standard-input.txt", "text.txt"}
    assert json.loads((box.inbox / "note.json").read_text()) == {
        "text": "A note.",
        "speed": 0.9,
        "captions": ["srt", "words"],
        "voice": "en_US-joe-medium",
    }
    piperd("submit", str(text), box=box)
    assert (box.inbox / "note-2.txt").read_text() == "A note."


def test_submit_says_what_is_wrong(box: Box) -> None:
    """Exit code 2, nothing dropped."""
    for arguments in (["nowhere.txt"], [], ["-t", "x", "--set", "speed"]):
        result = piperd("submit", *arguments, box=box)
        assert result.returncode == 2, arguments
        assert result.stderr.startswith("piperd: ")
    assert not box.files(box.inbox)


def test_submit_waits_for_the_outcome(box: Box) -> None:
    """With `--wait` the exit code is the job's."""
    assert piperd("submit", "-t", "Nobody is there.", "--wait", box=box).returncode == 3
    box.configure({"log": {"format": "json"}})
    with ProcessDaemon(box) as daemon:
        daemon.wait_ready()
        good = piperd("submit", "-t", "Dinner is ready.", "--set", "speed=0.9", "--wait", "--json", box=box)
        bad = piperd("submit", "-t", "Dinner is ready.", "--set", "speed=99", "--wait", box=box)
        assert daemon.stop() == 0
    assert (good.returncode, bad.returncode) == (0, 1), good.stderr
    assert json.loads(good.stdout)[0]["state"] == "done"
    assert "99" in bad.stdout


def test_voices_tells_what_is_installed(box: Box) -> None:
    """The embedded voice, with what matters about it."""
    found = json.loads(piperd("voices", "--json", box=box).stdout)
    assert found["en_US-joe-medium"]["sample_rate"] == 22_050
    assert "en_US-joe-medium" in piperd("voices", box=box).stdout


def test_config_says_where_each_value_came_from(box: Box) -> None:
    """Environment over file over default."""
    box.configure({"pool": {"workers": 2}})
    result = piperd("config", "--json", box=box, env={"PIPERD_POOL__WORKERS": "3", "PATH": "/usr/bin", "HOME": "/root"})
    found = json.loads(result.stdout)
    assert found["pool.workers"]["value"] == 3
    assert "PIPERD_POOL__WORKERS" in found["pool.workers"]["from"]
    assert str(box.config) in found["watch.settle"]["from"]
    assert found["watch.rescan"]["from"] == "default"


@pytest.mark.parametrize("what", ["job", "folder", "status", "config"])
def test_schemas_are_json(what: str) -> None:
    """For editors and other programs."""
    assert json.loads(piperd("schema", what).stdout)["type"] == "object"


@pytest.mark.parametrize("what", ["job", "folder"])
def test_the_schemas_in_config_are_those_that_count(pytestconfig: pytest.Config, what: str) -> None:
    """`config/job.schema.json` and `config/folder.schema.json` do not fall behind."""
    assert (pytestconfig.rootpath / f"config/{what}.schema.json").read_text() == piperd("schema", what).stdout


def test_check_lists_the_folders_that_ask_for_what_can_not_be(box: Box) -> None:
    """Each once, with the reason, and also where a person could not see it; what others inherit is not repeated."""
    box.drop("good/piperd.toml", "joined = false")
    box.drop("bad/piperd.toml", "voice = 'nobody'")
    box.drop("bad/below/piperd.toml", "priority = 1")
    box.drop("typo/piperd.toml", "sped = 1")
    box.drop("typo/inner/piperd.toml", "priority")
    (box.inbox / "link").mkdir()
    (box.inbox / "link/piperd.toml").symlink_to("/etc/hostname")
    result = piperd("check", "--json", box=box)
    assert result.returncode == 1
    found = [each for each in json.loads(result.stdout) if each["what"] == "folder defaults"]
    assert sorted(each["message"].partition(": ")[0] for each in found if each["fault"]) == [
        "bad/piperd.toml", "link/piperd.toml", "typo/inner/piperd.toml", "typo/piperd.toml",
    ]  # fmt: skip
    assert all(each["hint"] for each in found)
    box.configure({"watch": {"ignore": ["typo/", "bad/", "link/"]}})
    found = json.loads(piperd("check", "--json", box=box).stdout)
    (told,) = [each for each in found if each["what"] == "folder defaults"]
    assert (told["fault"], told["message"]) == (False, "1 folder has a piperd.toml, and nothing is wrong there.")


def test_wrong_configuration_is_one_sentence(box: Box) -> None:
    """Exit code 2, no traceback, the setting named."""
    box.configure({"pool": {"wrokers": 2}})
    result = piperd("run", box=box)
    assert result.returncode == 2
    assert re.fullmatch(r"piperd: .*wrokers.*workers.*\n", result.stderr)


def test_a_second_daemon_exits_with_four(box: Box) -> None:
    """One state folder, one daemon; the message names the other."""
    with ThreadDaemon(box):
        result = piperd("run", box=box)
    assert result.returncode == 4
    assert str(box.state) in result.stderr


def test_check_finds_nothing_in_a_good_place(box: Box) -> None:
    """And says what it looked at; exit code 0."""
    result = piperd("check", "--json", box=box)
    assert result.returncode == 0, result.stdout
    assert {"configuration", "folders", "voices"} <= {finding["what"] for finding in json.loads(result.stdout)}


def test_check_finds_what_is_wrong(box: Box) -> None:
    """Exit code 1, with what to do."""
    (box.inbox / "photo.jpg").write_text("foreign")
    (box.inbox / "~$letter.docx").write_text("lock")
    box.configure({"folders": {"outbox": str(box.inbox / "out")}, "voices": {"dirs": [str(box.top / "nowhere")]}})
    result = piperd("check", "--json", box=box)
    assert result.returncode == 1
    text = result.stdout
    assert "overlap" in text
    assert "nowhere" in text
    assert "photo.jpg" in text


def test_a_lexicon_that_can_not_be_used_is_named(box: Box) -> None:
    """By `check`, with all that else it looks at, and by a start that is refused."""
    words = box.top / "words.toml"
    words.write_text('[en]\n"SQL" = "sequel"\n"GIF" = "jif"\n')
    box.configure({"speech": {"lexicon": [str(words)]}})
    assert "2 words and phrases" in piperd("check", box=box).stdout
    words.write_text('[en]\n"one" = "two"\n"two" = "one"\n')
    box.drop("sub/piperd.toml", "speed = 99")
    result = piperd("check", "--json", box=box)
    faults = {finding["what"]: finding["message"] for finding in json.loads(result.stdout) if finding["fault"]}
    assert faults.keys() == {"lexicon", "folder defaults"}
    assert str(words) in faults["lexicon"]
    refused = piperd("run", "--drain", box=box)
    assert refused.returncode == 2
    assert str(words) in refused.stderr


def test_names_can_not_drive_the_terminal(box: Box) -> None:
    """Control characters in a file name are shown, never sent."""
    box.drop(b"evil\x1b[2Jname\n.txt", "Evil.")
    drained(box)
    for command in ("jobs", "status"):
        out = piperd(command, box=box).stdout
        assert "\x1b" not in out
    assert "evil\\x1b[2Jname" in piperd("jobs", box=box).stdout


def test_term_during_a_long_job_keeps_the_queue(box: Box) -> None:
    """A stop is quick, exits with 0, and the job is queued for the next start."""
    box.configure({"log": {"format": "json", "level": "debug"}, "pool": {"workers": 2}})
    box.drop("long.txt", " ".join(f"Sentence {number} goes on about the weather." for number in range(60)))
    with ProcessDaemon(box) as daemon:
        wait_for(lambda: daemon.saw("utterance_spoken"), "speech")
        assert daemon.stop() == 0
    assert json.loads(piperd("status", "--json", box=box).stdout)["queued"] == 1
    status = box.status("long.json")
    assert status is not None
    assert status["state"] == "queued"
