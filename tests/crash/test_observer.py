"""The observer sees what must not be seen, and nothing else."""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
import wave
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crash.observer import Observer, Reader, Sound
from harness import Box, ThreadDaemon, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable


def sound(seconds: float = 0.1) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(22_050)
        file.writeframes(bytes(round(seconds * 44_100) // 2 * 2))
    return buffer.getvalue()


def status(name: str, content: bytes, **fields: Any) -> str:
    audio = {"file": name, "sha256": hashlib.sha256(content).hexdigest()}
    return json.dumps({"job_id": "J", "state": "done", "audio": audio, "scenes": []} | fields)


def rename(folder: Path, name: str, content: str | bytes) -> None:
    """Put a file there as it should be done."""
    (folder / ".hidden").write_bytes(content.encode() if isinstance(content, str) else content)
    (folder / ".hidden").rename(folder / name)


def publish(folder: Path, seconds: float = 0.1, job_id: str = "J") -> None:
    """A job from its acceptance to its end."""
    rename(folder, "a.json", status("a.wav", b"", job_id=job_id, state="running", audio=None))
    rename(folder, "a.wav", sound(seconds))
    rename(folder, "a.json", status("a.wav", sound(seconds), job_id=job_id))


def test_a_good_publishing_is_clean(tmp_path: Path) -> None:
    """By a process that reads meanwhile, from before the first file."""
    with Observer(tmp_path) as observer:
        publish(tmp_path)
    assert observer.violations == []
    assert observer.report["files"] == 2
    assert observer.report["looks"] >= 2


def has_ended(daemon: ThreadDaemon, jobs: int) -> bool:
    return len(daemon.ended) == jobs


def test_the_daemon_is_clean(tmp_path: Path) -> None:
    """With jobs that replace each other's results, too."""
    box = Box(tmp_path, {"output": {"on_collision": "replace"}})
    with Observer(box.outbox) as observer, ThreadDaemon(box) as daemon:
        for number in range(5):
            for name in ("a.txt", "b/c.txt"):
                box.drop(name, f"Number {number}." * (number + 1))
            wait_for(partial(has_ended, daemon, 2 * number + 2), "the end of the jobs")
    assert observer.violations == []
    assert observer.report["files"] == 4


def change_final(folder: Path) -> None:
    rename(folder, "a.json", status("a.wav", sound(), state="running", audio=None))


def change_audio(folder: Path) -> None:
    content = (folder / "a.wav").read_bytes()
    (folder / "a.wav").write_bytes(content[:-1] + b"x")


VIOLATIONS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "half a file": ("b.wav was seen with", lambda folder: (folder / "b.wav").write_bytes(sound()[:-10])),
    "an empty file": ("b.wav was seen with 0 bytes", lambda folder: (folder / "b.wav").touch()),
    "a header alone": ("b.wav was seen with 44 bytes", lambda folder: (folder / "b.wav").write_bytes(sound(0))),
    "half a status": ("no whole JSON", lambda folder: (folder / "b.json").write_text('{"job')),
    "a status before its audio": ("is not there", lambda folder: rename(folder, "b.json", status("b.wav", sound()))),
    "other audio": ("differs", lambda folder: rename(folder, "b.json", status("a.wav", sound(0.2), job_id="K"))),
    "audio changed in place": ("changed in place", change_audio),
    "audio replaced under its status": ("its audio differs", lambda folder: rename(folder, "a.wav", sound(0.2))),
    "audio taken from its status": ("is not there", lambda folder: (folder / "a.wav").unlink()),
    "audio that becomes a link": ("is not there", lambda folder: link(folder / "a.wav")),
    "an end that was none": ("went from done to running", change_final),
    "another end": (
        "went from done to failed",
        lambda folder: rename(folder, "z.json", status("", b"", state="failed", audio=None)),
    ),
}


def link(path: Path) -> None:
    path.rename(path.with_name(".moved"))
    path.symlink_to(".moved")


@pytest.mark.parametrize(("words", "act"), VIOLATIONS.values(), ids=VIOLATIONS)
def test_each_violation_is_seen(tmp_path: Path, words: str, act: Callable[[Path], object]) -> None:
    """At the next look; and it is told once, however often it is seen."""
    reader = Reader(tmp_path)
    publish(tmp_path)
    reader.look()
    assert reader.violations == []
    act(tmp_path)
    reader.look()
    found = reader.violations
    assert any(words in each for each in found), found
    reader.look()
    assert reader.violations == found


def test_a_job_has_one_audio_also_before_its_end(tmp_path: Path) -> None:
    """What was spoken twice is not published twice under one name."""
    reader = Reader(tmp_path)
    rename(tmp_path, "a.json", status("", b"", state="running", audio=None))
    rename(tmp_path, "a.wav", sound())
    reader.look()
    rename(tmp_path, "a.wav", sound(0.2))
    reader.look()
    assert reader.violations == [f"{tmp_path / 'a.wav'} was replaced, and its job is the same"]


def test_a_later_job_may_replace_what_was_there(tmp_path: Path) -> None:
    """Each step of it may be seen."""
    reader = Reader(tmp_path)
    publish(tmp_path)
    reader.look()
    rename(tmp_path, "a.json", status("", b"", job_id="K", state="queued", audio=None))
    reader.look()
    rename(tmp_path, "a.wav", sound(0.2))
    reader.look()
    rename(tmp_path, "a.json", status("a.wav", sound(0.2), job_id="K"))
    reader.look()
    assert reader.violations == []


class Late(Reader):
    """Somebody is at the outbox between each look at a status and that at its audio."""

    def __init__(self, outbox: Path, act: Callable[[], object]) -> None:
        super().__init__(outbox)
        self._act = act

    def _sound(self, path: str) -> Sound | None:
        self._act()
        return super()._sound(path)


def test_a_status_is_judged_only_while_it_stands(tmp_path: Path) -> None:
    """It may be withdrawn, with its audio, before that was looked at."""
    rename(tmp_path, "a.json", status("a.wav", sound()))
    reader = Late(tmp_path, (tmp_path / "a.json").unlink)
    reader.look()
    assert reader.violations == []


def test_what_was_taken_may_come_again(tmp_path: Path) -> None:
    """A name that is free again says nothing of what it was, even where the file system gives out an inode twice."""
    reader = Reader(tmp_path)
    publish(tmp_path)
    reader.look()
    for name in ("a.json", "a.wav"):
        (tmp_path / name).unlink()
    reader.look()
    publish(tmp_path, 0.2, job_id="K")
    reader.look()
    assert reader.violations == []


def test_what_others_put_there_is_their_own(tmp_path: Path) -> None:
    """Documents, links, pipes that nobody writes to, folders and names that are no text."""
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "words.json").write_text('{"schema": 1, "words": []}')
    (tmp_path / "link.wav").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    os.close(os.open(os.fsencode(tmp_path) + b"/\xff.txt", os.O_CREAT | os.O_WRONLY))
    with Observer(tmp_path) as observer:
        pass
    assert observer.violations == []


def test_a_file_that_is_written_slowly_is_seen(tmp_path: Path) -> None:
    """By the process, without being told when to look."""
    content = sound()
    with Observer(tmp_path) as observer, (tmp_path / "slow.wav").open("wb", buffering=0) as file:
        for start in range(0, len(content), len(content) // 5):
            file.write(content[start : start + len(content) // 5])
            time.sleep(0.05)
    assert any("slow.wav was seen with" in each for each in observer.violations)


def test_it_keeps_pace_with_many_files(tmp_path: Path) -> None:
    """Nothing is read again that has not changed."""
    for number in range(200):
        rename(tmp_path, f"{number}.wav", sound())
        rename(tmp_path, f"{number}.json", status(f"{number}.wav", sound(), job_id=str(number)))

    def bytes_read() -> int:
        counters = Path("/proc/self/io").read_text().split()
        return int(counters[counters.index("rchar:") + 1])

    reader = Reader(tmp_path)
    before = bytes_read()
    reader.look()
    first = bytes_read()
    reader.look()
    assert first - before > 200 * len(sound())
    assert bytes_read() - first < len(sound())
    assert (reader.violations, reader.files) == ([], 400)
