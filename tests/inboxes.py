"""An inbox on its real thread, over a real folder, with all that it hands over and reports."""

from __future__ import annotations

import itertools
import os
import threading
from typing import TYPE_CHECKING, Any, Self

from harness import wait_for
from piperd import strictjson
from piperd.inbox import Arrival, Inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_numbers = itertools.count()


class Desk:
    """Receives what an inbox hands over."""

    def __init__(self, folder: Path, **options: Any) -> None:
        """`options` go to the inbox; by default it is quick."""
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.arrivals: list[Arrival] = []
        self.batches: list[int] = []
        self.reports: list[tuple[str, Mapping[str, Any]]] = []
        self.failing = False
        self.blocked = threading.Event()
        self.blocked.set()
        settings: dict[str, Any] = {
            "instance": "0a1b2c3d",
            "new_id": lambda: f"{next(_numbers):026d}",
            "hand_over": self._receive,
            "report": lambda event, fields: self.reports.append((event, fields)),
            "incomplete": strictjson.ends_too_early,
            "settle": 0.05,
            "poll_interval": 0.05,
            "empty_grace": 0.1,
            "incomplete_grace": 0.2,
        }
        self.inbox = Inbox(folder, **{**settings, **options})

    def __enter__(self) -> Self:
        self.inbox.start()
        self.wait(lambda: self.inbox.view.scans or not self.inbox.view.offline_reason.startswith("not looked"))
        return self

    def __exit__(self, *_: object) -> None:
        self.blocked.set()
        assert self.inbox.stop(10.0)
        assert not self.reported("inbox_failed")

    def wait(self, condition: Callable[[], Any]) -> Any:
        """Wait for a condition; if it does not come, the test fails with what is waiting."""
        return wait_for(condition, f"the condition; waiting: {self.inbox.view.waiting}; {self.reports[-3:]}")

    def arrived(self, number: int) -> list[Arrival]:
        """Wait until so many arrivals have come in all."""
        self.wait(lambda: len(self.arrivals) >= number)
        assert len(self.arrivals) == number
        return self.arrivals

    def only(self) -> Arrival:
        """Wait for the one arrival."""
        return self.arrived(1)[0]

    def sources(self, number: int) -> list[bytes]:
        """Wait for so many arrivals; where they came from."""
        return [arrival.source for arrival in self.arrived(number)]

    def reason(self, source: bytes) -> str:
        """Why a file waits; empty if it does not."""
        return next((each.reason for each in self.inbox.view.waiting if each.source == source), "")

    def reported(self, event: str) -> list[Mapping[str, Any]]:
        """What was reported under this name."""
        return [fields for name, fields in self.reports if name == event]

    def scanned(self) -> None:
        """Wait for another scan."""
        before = self.inbox.view.scans
        self.inbox.scan_now()
        self.wait(lambda: self.inbox.view.scans > before)

    def idle(self) -> None:
        """Wait until nothing is left to do."""
        self.wait(lambda: self.inbox.view.idle)

    def _receive(self, batch: Sequence[Arrival]) -> None:
        assert self.blocked.wait(30)
        if self.failing:
            self.failing = False
            raise RuntimeError("the desk is closed")
        self.batches.append(len(batch))
        self.arrivals += batch


def drop(folder: Path, name: str | bytes, content: str | bytes = "Hello.") -> Path:
    """Put a file there as programs should: complete, by one rename."""
    target = folder / os.fsdecode(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".drop-{os.urandom(4).hex()}"
    temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    return temporary.rename(target)
