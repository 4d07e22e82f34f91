"""The observer sees what must not be seen, and nothing else."""

from __future__ import annotations

import hashlib
import io
import json
import wave
from typing import TYPE_CHECKING, Any

import pytest

from crash.observer import Observer, Reader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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
    return json.dumps({"job_id": "J", "state": "done", "audio": audio} | fields)


def publish(folder: Path) -> None:
    """As it should be done."""
    (folder / ".hidden").write_bytes(sound())
    (folder / ".hidden").rename(folder / "a.wav")
    (folder / ".status").write_text(status("a.wav", sound()))
    (folder / ".status").rename(folder / "a.json")


def test_a_good_publishing_is_clean(tmp_path: Path) -> None:
    """By a process that reads meanwhile."""
    with Observer(tmp_path) as observer:
        publish(tmp_path)
    assert observer.violations == []
    assert observer.report["files"] == 2


def change_final(folder: Path) -> None:
    (folder / ".status").write_text(status("a.wav", sound(), state="running", audio=None))
    (folder / ".status").rename(folder / "a.json")


VIOLATIONS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "half a file": ("no whole WAV", lambda folder: (folder / "b.wav").write_bytes(sound()[:-10])),
    "an empty file": ("no whole WAV", lambda folder: (folder / "b.wav").touch()),
    "half a status": ("no whole JSON", lambda folder: (folder / "b.json").write_text('{"job')),
    "a status before its audio": (
        "is not there",
        lambda folder: (folder / "b.json").write_text(status("b.wav", sound())),
    ),
    "other audio": ("differs", lambda folder: (folder / "b.json").write_text(status("a.wav", sound(0.2)))),
    "audio changed in place": ("changed in place", lambda folder: (folder / "a.wav").write_bytes(sound(0.2))),
    "an end that was none": ("went from done to running", change_final),
}


@pytest.mark.parametrize("violation", VIOLATIONS)
def test_each_violation_is_seen(tmp_path: Path, violation: str) -> None:
    """At the next look."""
    words, act = VIOLATIONS[violation]
    reader = Reader(tmp_path)
    publish(tmp_path)
    reader.look()
    assert reader.violations == []
    act(tmp_path)
    reader.look()
    assert any(words in each for each in reader.violations), reader.violations
