"""A daemon in folders of its own, run as users run it."""

from __future__ import annotations

import json
import mmap
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import figures
from processes import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VOICE = "en_US-joe-medium"
BUILD = Path(__file__).parents[1] / "build" / "bench"
"""On the disk of the working copy: what /tmp is, in memory maybe, nobody knows."""
TUNED = BUILD / "voices"
DIGESTS = BUILD / "voices.json"
"""The voices' digests, which a daemon remembers as long as its state folder lives."""
SCRIPTED = Path(__file__).with_name("scripted_daemon.py")
SETTLED = 2.0
"""Seconds after which a daemon that has nothing to do is as warm as it will be."""
FOLDERS = ("inbox", "outbox", "archive", "failed", "state")


class Daemon:
    """`piperd run` with a fresh state; its log is read as JSON lines.

    With `scripted` its engine is the one of `scripted_daemon.py`, which costs nothing, and all else as it is.
    """

    def __init__(
        self,
        *,
        workers: int | None = None,
        level: str = "debug",
        settled: float = SETTLED,
        scripted: bool = False,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        before: Mapping[str, int] | None = None,
    ) -> None:
        """`level` debug logs each utterance. `before` are files to put into the inbox first: names and their bytes."""
        BUILD.mkdir(parents=True, exist_ok=True)
        self.top = Path(tempfile.mkdtemp(prefix="daemon-", dir=BUILD))
        self.inbox, self.outbox, self.archive, self.failed, self.state = (self.top / name for name in FOLDERS)
        self.state.mkdir()
        # the tuned copy of the voice is made once in the life of a state folder, and these are fresh
        TUNED.mkdir(exist_ok=True)
        (self.state / "voices").symlink_to(TUNED)
        if DIGESTS.exists():
            shutil.copy(DIGESTS, self.state / DIGESTS.name)
        for name, size in (before or {}).items():
            (self.inbox / name).parent.mkdir(parents=True, exist_ok=True)
            (self.inbox / name).write_bytes(bytes(size))
        workers = workers or figures.cores()
        config = self._configure(workers, level, options or {})
        self._tally = self.top / "tally"
        self._tally.write_bytes(bytes(8))
        program = [str(SCRIPTED), str(config), str(self._tally)]
        command = program if scripted else ["-m", "piperd.cli", "run", "--config", str(config)]
        self.log = self.top / "log"
        self.began = time.time()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([sys.executable, *command], stdout=log, stderr=log)
        try:
            wait_for(lambda: self._runs() and len(self.events("worker_ready")) >= workers, pause=0.02)
        except BaseException:
            self.process.kill()
            raise
        time.sleep(settled)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.top)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def delivered(self) -> int:
        """Jobs that a scripted daemon has nothing left to do for."""
        with self._tally.open("rb") as file, mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ) as view:
            return int(struct.unpack("<q", view[:])[0])

    @property
    def ready_s(self) -> float:
        """Seconds from the start of the process until all workers had said that they are ready."""
        return max(unix(event["timestamp"]) for event in self.events("worker_ready")) - self.began

    def events(self, name: str) -> list[dict[str, Any]]:
        """All log events of a name."""
        lines = [line for line in self.log.read_text().splitlines(keepends=True) if f'"{name}"' in line]
        events = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in events if event["event"] == name]

    def drop(self, name: str, text: str) -> float:
        """Put a text into the inbox; gives the moment of the rename."""
        temporary = self.top / name
        temporary.write_text(text)
        moment = time.monotonic()
        temporary.rename(self.inbox / name)
        return moment

    def drop_many(self, texts: Mapping[str, str]) -> float:
        """Put texts into the inbox by renames, one right behind the other; gives the moment of the first."""
        for name, text in texts.items():
            (self.top / name).write_text(text)
        moment = time.monotonic()
        for name in texts:
            (self.top / name).rename(self.inbox / name)
        return moment

    def wait_done(self, names: Sequence[str], patience: float = 600.0, pause: float = 0.005) -> float:
        """Wait until all these jobs have their final status; gives the moment to about `pause` seconds.

        Looks seldom and at one file at a time: whoever measures must not take the CPU from what is measured.
        """
        for name in names:
            wait_for(partial(self._is_done, name), patience, pause)
        return time.monotonic()

    def speech_seconds(self) -> float:
        """All that was spoken, without the silence between sentences, which costs nothing and must not count."""
        return float(sum(event["audio_s"] for event in self.events("utterance_spoken")))

    def _runs(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"the daemon has ended: {self.log.read_text()[-2000:]}")
        return True

    def _is_done(self, name: str) -> bool:
        try:
            state = json.loads((self.outbox / f"{name}.json").read_bytes())["state"]
        except (OSError, ValueError):
            return False
        if state == "failed":
            raise RuntimeError(f"{name} failed")
        return bool(state == "done")

    def _configure(self, workers: int, level: str, options: Mapping[str, Mapping[str, Any]]) -> Path:
        sections: dict[str, dict[str, Any]] = {
            "folders": {name: str(self.top / name) for name in FOLDERS},
            "pool": {"workers": workers},
            "log": {"level": level, "format": "json"},
        }
        for section, values in options.items():
            sections.setdefault(section, {}).update(values)
        lines = []
        for section, values in sections.items():
            lines += [f"[{section}]", *(f"{name} = {json.dumps(value)}" for name, value in values.items())]
        config = self.top / "piperd.toml"
        config.write_text("\n".join(lines) + "\n")
        return config


def unix(timestamp: str) -> float:
    """A timestamp of the log in seconds since 1970."""
    return datetime.fromisoformat(timestamp).timestamp()


def tuned_copy() -> str:
    """The name of the tuned copy that the daemons speak with, which is made now if there is none."""
    with Daemon(settled=0.0) as daemon:
        shutil.copy(daemon.state / DIGESTS.name, DIGESTS)
    return ", ".join(path.name for path in sorted(TUNED.glob("*.onnx"))) or "none: it is the original"
