"""A daemon in folders of its own, for tests: as a thread with a scripted engine, or as the real program."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from piperd import settings
from piperd.service import Service
from piperd.testing import ScriptedEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from piperd import engine as engines
    from piperd.job import Job

PATIENCE = 30.0
"""Seconds until a condition that does not come fails its test."""


def wait_for(condition: Callable[[], Any], what: str = "the condition", patience: float = PATIENCE) -> Any:
    """Wait until `condition` gives something true, and give that."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come within {patience:g} s"
        time.sleep(0.005)
    return found


class Box:
    """The five folders, and a configuration file that names them."""

    def __init__(self, top: Path, options: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.top = top
        self.inbox, self.outbox, self.archive, self.failed, self.state = (
            top / name for name in ("inbox", "outbox", "archive", "failed", "state")
        )
        for folder in (self.inbox, self.outbox, self.archive, self.failed, self.state):
            folder.mkdir(exist_ok=True)
        self.config = top / "piperd.toml"
        self.configure(options or {})

    def configure(self, options: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the configuration file; folders are always those of the box."""
        sections: dict[str, dict[str, Any]] = {
            "folders": {name: str(self.top / name) for name in ("inbox", "outbox", "archive", "failed", "state")},
            "watch": {"settle": 0.05, "empty_grace": 0.2, "incomplete_grace": 0.2},
            "retry": {"backoff": 0.01},
            # each box has a state of its own, and would make a copy of the voice for itself
            "voices": {"tune": False},
        }
        for section, values in options.items():
            sections.setdefault(section, {}).update(values)
        lines = []
        for section, values in sections.items():
            lines.append(f"[{section}]")
            lines += [f"{name} = {json.dumps(value)}" for name, value in values.items()]
        self.config.write_text("\n".join(lines) + "\n")

    def drop(self, name: str | bytes, content: Any) -> None:
        """Put a file into the inbox as it should be done: complete, by one rename. Objects become JSON."""
        if isinstance(content, str):
            content = content.encode()
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        target = self.inbox / os.fsdecode(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".drop-{os.urandom(4).hex()}")
        temporary.write_bytes(data)
        temporary.rename(target)

    def status(self, relative: str) -> dict[str, Any] | None:
        """A status file, if it is there."""
        try:
            return dict(json.loads((self.outbox / relative).read_bytes()))
        except (FileNotFoundError, json.JSONDecodeError):
            return None

    def final(self, relative: str, patience: float = PATIENCE) -> dict[str, Any]:
        """Wait for a job's last status."""

        def ended() -> dict[str, Any] | None:
            found = self.status(relative)
            return found if found and found["state"] in {"done", "failed", "cancelled"} else None

        return dict(wait_for(ended, f"the final status {relative}", patience))

    def statuses(self) -> dict[str, dict[str, Any]]:
        """All status files in the outbox."""
        found = {}
        for path in self.outbox.rglob("*.json"):
            if path.is_dir():
                continue
            data = json.loads(path.read_bytes())
            if "job_id" in data:  # else it has the times of words
                found[str(path.relative_to(self.outbox))] = data
        return found

    def check_outputs(self) -> None:
        """Every audio file that a status names is there with its sha256; nothing is left half done."""
        for relative, found in self.statuses().items():
            if found.get("state") == "done":
                for told in [part for part in (found["audio"], *found["scenes"]) if part and part["file"]]:
                    path = (self.outbox / relative).parent / told["file"]
                    assert hashlib.sha256(path.read_bytes()).hexdigest() == told["sha256"], relative
        assert not list(self.outbox.rglob(".*"))

    def files(self, folder: Path) -> set[str]:
        """What lies in a folder, relative to it; names that are no UTF-8 with surrogates."""
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}


class ThreadDaemon:
    """The real service with a scripted engine, on a thread of the test's process."""

    def __init__(self, box: Box, *, drain: bool = False, **engine: Any) -> None:
        """Build it; raises what the service raises where it can't start."""
        self.box = box
        self.ended: list[Job] = []
        self.engine: ScriptedEngine
        self.service: Service
        self.code: int | None = None
        self._drain = drain
        self._options = engine
        self._error: BaseException | None = None
        self._built = threading.Event()
        self._go = threading.Event()
        # the thread that builds the service runs it: its ledger is one thread's own
        self._thread = threading.Thread(target=self._run, name="piperd-main", daemon=True)
        self._thread.start()
        assert self._built.wait(PATIENCE)
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        self._go.set()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ask it to stop, and wait until it has."""
        if self._thread.is_alive():
            self.service.post_signal(number)
        self.join()

    def join(self) -> None:
        """Wait until it has ended."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the daemon does not end"

    def _run(self) -> None:
        try:
            self.service = Service(
                settings.load(self.box.config).settings,
                reload=lambda: settings.load(self.box.config).settings,
                drain=self._drain,
                delivered=self.ended.append,
                engine=self._engine,
                environment={},
            )
        except Exception as error:  # noqa: BLE001 - raised again on the test's thread
            self._error = error
            return
        finally:
            self._built.set()
        self._go.wait()
        self.code = self.service.run()

    def _engine(self, post: Callable[[engines.Mail], None]) -> ScriptedEngine:
        self.engine = ScriptedEngine(post, **self._options)
        return self.engine


class ProcessDaemon:
    """The real program as users start it."""

    def __init__(self, box: Box, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self.box = box
        self.log = box.top / "log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "piperd.cli", "run", "--config", str(box.config), *arguments],
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def events(self) -> list[dict[str, Any]]:
        """What it has logged, so far as it is whole lines of JSON."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                found.append(dict(json.loads(line)))
            except (json.JSONDecodeError, TypeError, ValueError):
                continue
        return found

    def saw(self, event: str) -> list[dict[str, Any]]:
        """All events of a name."""
        return [each for each in self.events() if each.get("event") == event]

    def wait_ready(self) -> None:
        """Wait until a worker can speak."""
        wait_for(lambda: self.saw("worker_ready"), "a ready worker")

    def stop(self, number: int = signal.SIGTERM, patience: float = PATIENCE) -> int:
        """Send a signal and give the exit code."""
        self.process.send_signal(number)
        return self.process.wait(patience)


def piperd(*arguments: str, box: Box | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    config = ["--config", str(box.config)] if box else []
    return subprocess.run(
        [sys.executable, "-m", "piperd.cli", *arguments, *config],
        capture_output=True, text=True, timeout=120, check=False, **options,
    )  # fmt: skip
