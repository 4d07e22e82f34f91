"""What all measurements need: a daemon in folders of its own, the machine's description, medians with their spread."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RESULTS = Path(__file__).parent / "results"
VOICE = "en_US-joe-medium"
SETTLED = 2.0
"""Seconds after which a daemon that has nothing to do is as warm as it will be."""
TUNED = Path(tempfile.gettempdir()) / "piperd-bench-voices"


class Daemon:
    """`piperd run` with a fresh state; its log is read as JSON lines."""

    def __init__(self, *, workers: int = 2, level: str = "debug") -> None:
        self.top = Path(tempfile.mkdtemp(prefix="piperd-bench-"))
        self.inbox, self.outbox, self.state = (self.top / name for name in ("inbox", "outbox", "state"))
        # the tuned copy of the voice is made once in the life of a state folder, and these are fresh
        TUNED.mkdir(exist_ok=True)
        self.state.mkdir()
        (self.state / "voices").symlink_to(TUNED)
        names = ("inbox", "outbox", "archive", "failed", "state")
        folders = "\n".join(f'{name} = "{self.top / name}"' for name in names)
        self.config = self.top / "piperd.toml"
        self.config.write_text(
            f'[folders]\n{folders}\n[pool]\nworkers = {workers}\n[log]\nlevel = "{level}"\nformat = "json"\n'
        )
        self.log = self.top / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "piperd.cli", "run", "--config", str(self.config)], stdout=log, stderr=log
            )
        wait_for(lambda: len(self.events("worker_ready")) == workers)
        time.sleep(SETTLED)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        shutil.rmtree(self.top)

    def events(self, name: str) -> list[dict[str, Any]]:
        """All log events of a name."""
        lines = self.log.read_text().splitlines()
        return [
            event for event in (json.loads(line) for line in lines if f'"{name}"' in line) if event["event"] == name
        ]

    def drop(self, name: str, text: str) -> float:
        """Put a text into the inbox; gives the moment of the rename."""
        temporary = self.top / name
        temporary.write_text(text)
        moment = time.monotonic()
        temporary.rename(self.inbox / name)
        return moment

    def wait_done(self, names: Sequence[str], patience: float = 600.0) -> float:
        """Wait until all these jobs have their final status; gives the moment to about 5 ms.

        Looks seldom and at one file at a time: whoever measures must not take the CPU from what is measured.
        """
        for name in names:
            wait_for(partial(self._is_done, name), patience, pause=0.005)
        return time.monotonic()

    def _is_done(self, name: str) -> bool:
        try:
            state = json.loads((self.outbox / f"{name}.json").read_bytes())["state"]
        except (OSError, ValueError):
            return False
        if state == "failed":
            raise RuntimeError(f"{name} failed")
        return bool(state == "done")

    def speech_seconds(self) -> float:
        """All that was spoken, without the silence between sentences, which costs nothing and must not count."""
        seconds = 0.0
        for entry in (self.state / "store").glob("??/*"):
            with entry.open("rb") as file:
                header = json.loads(file.readline())
            seconds += header["samples"] / header["sample_rate"]
        return seconds

    def audio_seconds(self) -> float:
        """All audio published so far."""
        found = (json.loads(path.read_bytes()) for path in self.outbox.rglob("*.json"))
        return float(sum(status["audio"]["duration_s"] for status in found if status["audio"]))


def wait_for(condition: Callable[[], Any], patience: float = 120.0, pause: float = 0.002) -> None:
    """Look every `pause` seconds until the condition holds."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the measurement does not come to its end")
        time.sleep(pause)


def spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """Median, extremes and number of repeated measurements."""
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
        "n": len(values),
    }


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    packages = ("piperd", "piper-tts", "onnxruntime", "numpy", "watchdog")
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "voice": VOICE,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
