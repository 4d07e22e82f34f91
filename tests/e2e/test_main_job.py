"""The main job with the real voice, as users run it: files in, sound out, judged from outside."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from harness import Box, ProcessDaemon, piperd, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

RATE = 22_050


def heard(path: Path) -> tuple[float, float]:
    """Seconds and root mean square of a WAV, which must be of the rate and form that the contract says."""
    with soundfile.SoundFile(path) as file:
        assert (file.samplerate, file.channels, file.subtype) == (RATE, 1, "PCM_16")
        samples = file.read(dtype="float32")
    return len(samples) / RATE, float(np.sqrt(np.mean(samples**2)))


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path, {"pool": {"workers": 2}})


def test_the_main_job(box: Box, bare_seconds: Callable[[str], float]) -> None:
    """Text, Markdown and job are spoken: the right rate and length, not silent, at the level asked for."""
    text = "Hello from the inbox. This is the second sentence."
    box.drop("hello.txt", text)
    box.drop("TITLE.MD", "# Title\n\nSome *marked* text with `code`.\n")
    box.drop("sub/deep/slow.json", {"text": text, "speed": 0.7, "loudness": -23})
    result = piperd("run", "--drain", box=box)
    assert result.returncode == 0, result.stderr
    found = box.statuses()
    assert {name: status["state"] for name, status in found.items()} == dict.fromkeys(
        ("hello.json", "TITLE.json", "sub/deep/slow.json"), "done"
    )
    for name, status in found.items():
        seconds, rms = heard((box.outbox / name).parent / status["audio"]["file"])
        assert seconds == pytest.approx(status["audio"]["duration_s"], abs=0.001)
        assert rms > 0.01
        assert not status["warnings"]
    expected = bare_seconds("Hello from the inbox.") + 0.2 + bare_seconds("This is the second sentence.")
    assert found["hello.json"]["audio"]["duration_s"] == pytest.approx(expected, rel=0.15)
    assert found["sub/deep/slow.json"]["audio"]["duration_s"] > 1.2 * found["hello.json"]["audio"]["duration_s"]
    assert found["sub/deep/slow.json"]["audio"]["loudness_lufs"] == pytest.approx(-23, abs=0.5)
    for name in ("hello.txt", "TITLE.md", "slow.json"):
        assert name.split(".")[0] in result.stdout
    box.check_outputs()


def test_a_long_text_is_spoken_by_all_workers_and_joined_in_order(box: Box) -> None:
    """Sentences of one text are spoken side by side, and the file has them in their order."""
    box.configure({"pool": {"workers": 2}, "log": {"level": "debug", "format": "json"}})
    sentences = [f"Sentence number {number} speaks of the river and the hills beyond it." for number in range(24)]
    box.drop("long.json", {"text": " ".join(sentences), "noise_scale": 0, "noise_w_scale": 0})
    with ProcessDaemon(box) as daemon:
        status = box.final("long.json", patience=60)
        spoken = daemon.saw("utterance_spoken")
        assert daemon.stop() == 0
    by_worker = Counter(each["worker"] for each in spoken)
    assert len(by_worker) == 2
    assert min(by_worker.values()) > len(spoken) / 4, by_worker
    together = sum(each["audio_s"] for each in spoken) + 0.2 * (len(spoken) - 1)
    assert status["audio"]["duration_s"] == pytest.approx(together, abs=0.05)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("empty.txt", "", "text_empty"),
        ("blank.txt", " \n\t ", "text_empty"),
        ("dots.txt", "...", "unspeakable_text"),
        ("binary.txt", bytes(range(256)) * 9, "not_text"),
        ("zero.txt", b"Hello\0there, this is some text.", "not_text"),
        ("letter.docx", b"PK\x03\x04", "unsupported_type"),
        ("cut.json", '{"text": "abc', "job_file_invalid"),
        ("unknown.json", {"text": "a", "sped": 2}, "job_file_invalid"),
        ("type.json", {"text": 5}, "job_file_invalid"),
        ("range.json", {"text": "a", "speed": 99}, "job_file_invalid"),
        ("double.json", '{"text":"a","text":"b"}', "job_file_invalid"),
        ("nan.json", '{"text":"a","speed":NaN}', "job_file_invalid"),
        ("deep.json", '{"text":"a","metadata":' + '{"a":' * 99 + "1" + "}" * 100, "job_file_invalid"),
        ("surrogate.json", '{"text":"a\\ud800"}', "job_file_invalid"),
        ("voice.json", {"text": "a", "voice": "xx_XX-none-low"}, "voice_unknown"),
        ("long.txt", "word " * 5_000, "text_too_long"),
        ("large.txt", "x" * 200_000, "file_too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value and len(value) < 20 else "",
)
def test_bad_input(scripted: Callable[..., Box], name: str, content: Any, code: str) -> None:
    """Each ends as a failed status with its code, message and hint, in `failed/`; the file beside it is spoken."""
    box = scripted(
        {name: content, "good.txt": "A good one."}, {"limits": {"max_text": 9_000, "max_file_bytes": 100_000}}
    )
    found = box.statuses()
    status = found[f"{name.rpartition('.')[0]}.json"]
    assert (status["state"], status["error"]["code"]) == ("failed", code)
    assert len(status["error"]["message"]) > 10
    assert status["error"]["hint"]
    assert box.files(box.failed) == {name}
    assert found["good.json"]["state"] == "done"


def test_what_is_no_regular_file(scripted: Callable[..., Box]) -> None:
    """A link, a pipe and a folder named like a job: failed without being opened, or walked."""

    def plant(box: Box) -> None:
        (box.inbox / "link.txt").symlink_to("/etc/passwd")
        os.mkfifo(box.inbox / "pipe.txt")
        box.drop("x.json/inside.txt", "In a folder with a suffix.")

    box = scripted({}, {}, plant)
    found = box.statuses()
    assert found["link.json"]["error"]["code"] == "not_a_regular_file"
    assert found["pipe.json"]["error"]["code"] == "not_a_regular_file"
    assert found["x.json/inside.json"]["state"] == "done"
    assert (box.failed / "link.txt").readlink() == Path("/etc/passwd")


PERSIAN = "سلام دنیا. این یک متن فارسی است."


@pytest.mark.parametrize(
    ("name", "content", "warned"),
    [
        ("word.txt", "a" * 5_000, False),
        ("bracket.txt", "An open [[ bracket is spoken.", True),
        ("utf16.txt", "A text in UTF-16.".encode("utf-16"), False),
        ("western.txt", "Die Tür schließt nicht mehr, sagte die Königin über das Schloß.".encode("cp1252"), True),
        ("arabic.txt", (PERSIAN * 3).replace("ی", "ي").encode("cp1256"), True),
        ("persian.txt", PERSIAN, True),
        ("bom.txt", b"\xef\xbb\xbfA text with a mark in front.", False),
    ],
)  # fmt: skip
def test_odd_input_is_spoken_as_well_as_can_be(box: Box, name: str, content: Any, *, warned: bool) -> None:
    """With the real voice; what was changed or doubtful is said in the status."""
    box.drop(name, content)
    result = piperd("run", "--drain", box=box)
    assert result.returncode == 0, result.stderr + result.stdout
    (status,) = box.statuses().values()
    seconds, rms = heard(box.outbox / status["audio"]["file"])
    assert seconds > 0.5
    assert rms > 0.01
    assert bool(status["warnings"]) == warned


def test_a_slow_writer_is_waited_for(box: Box) -> None:
    """A file that is open for writing is not taken, however long its writer pauses."""
    box.configure({"log": {"format": "json"}})
    with ProcessDaemon(box) as daemon:
        daemon.wait_ready()
        with (box.inbox / "slow.txt").open("w") as file:
            file.write("First half is here. ")
            file.flush()
            os.fsync(file.fileno())
            box.drop("other.txt", "Another file does not wait for it.")
            box.final("other.json")
            assert box.status("slow.json") is None
            file.write("The second half comes later.")
        assert box.final("slow.json")["progress"]["utterances"] == 2
        assert daemon.stop() == 0


def test_term_drains_and_a_killed_daemon_is_picked_up(box: Box) -> None:
    """SIGKILL in the middle loses nothing: the next start ends the job, and speaks only what is missing."""
    box.configure({"log": {"level": "debug", "format": "json"}, "pool": {"workers": 2}})
    box.drop("long.txt", " ".join(f"Sentence {number} tells of the harbour in the morning." for number in range(40)))
    with ProcessDaemon(box) as daemon:
        wait_for(lambda: len(daemon.saw("utterance_spoken")) >= 5, "five utterances")
        daemon.stop(signal.SIGKILL)
    result = piperd("run", "--drain", box=box)
    assert result.returncode == 0, result.stderr
    status = box.statuses()["long.json"]
    assert status["state"] == "done"
    assert status["progress"]["from_store"] >= 5
    assert status["progress"]["utterances"] == 40
    box.check_outputs()


def test_workers_die_with_their_daemon(box: Box) -> None:
    """SIGKILL leaves no worker behind, not even one that hangs and would never notice."""
    box.configure({"log": {"format": "json"}, "pool": {"workers": 2}})
    with ProcessDaemon(box) as daemon:
        wait_for(lambda: len(daemon.saw("worker_ready")) == 2, "two workers")
        pids = [event["pid"] for event in daemon.saw("worker_ready")]
        os.kill(pids[0], signal.SIGSTOP)
        daemon.stop(signal.SIGKILL)
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the end of the workers")


def test_the_daemon_stays_light(box: Box) -> None:
    """Its own process has neither numpy nor ONNX Runtime nor piper in it, and is small."""
    box.configure({"log": {"format": "json"}})
    with ProcessDaemon(box) as daemon:
        box.drop("a.txt", "Some work first.")
        box.final("a.json")
        process = Path(f"/proc/{daemon.process.pid}")
        maps = process.joinpath("maps").read_text()
        status = process.joinpath("status").read_text()
        assert daemon.stop() == 0
    assert not [name for name in ("numpy", "onnxruntime", "espeak", "scipy") if f"/{name}" in maps]
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert resident < 90_000, "kB"


def test_log_lines_are_json_and_tell_the_story(box: Box) -> None:
    """One event a line, past-tense names, the same fields."""
    box.configure({"log": {"format": "json"}})
    box.drop("a.txt", "Tell the story.")
    with ProcessDaemon(box) as daemon:
        box.final("a.json")
        wait_for(lambda: daemon.saw("job_done"), "the event")
        assert daemon.stop() == 0
        events = daemon.events()
        assert len(events) == len(daemon.log.read_text().splitlines())
    story = [event["event"] for event in events if event.get("source") == "a.txt"]
    assert [name for name in story if name.startswith("job_")] == ["job_accepted", "job_started", "job_done"]
    done = next(event for event in events if event["event"] == "job_done")
    assert {"job_id", "source", "voice", "wait_s", "run_s"} <= set(done)


def test_metadata_survives_the_way(box: Box) -> None:
    """Unchanged, in any script."""
    box.drop("m.json", {"text": "With metadata.", "metadata": {"k": [1, "ب"]}})
    assert piperd("run", "--drain", box=box).returncode == 0
    assert json.loads((box.outbox / "m.json").read_text())["metadata"] == {"k": [1, "ب"]}
