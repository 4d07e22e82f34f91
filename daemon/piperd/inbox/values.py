"""What the inbox hands over and what it shows of itself: immutable values."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from piperd.errors import Failure
    from piperd.folderdefaults import FolderFile
    from piperd.inbox.tree import Place
    from piperd.settle import Waiting


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file that was taken out of the inbox; it is the receiver's from now on."""

    job_id: str
    source: bytes
    """Path relative to the inbox, with ``/``."""
    claimed: bytes
    """Absolute path of where it lies now."""
    size: int
    """Bytes."""
    content: bytes | None
    """None where it was not read: `failure` says why, or it is no text by its name."""
    failure: Failure | None
    defaults: tuple[FolderFile, ...] = ()
    """Those of the folders on the way to it, as they were when it was claimed, the outermost first."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take, in seconds."""

    settle: float
    poll_interval: float
    rescan: float

    def quiet(self, place: Place) -> float:
        """How long a file must not change; where nothing is announced, two polls must find it the same."""
        return max(self.settle, self.poll_interval) if place.shared or place.deaf else self.settle


@dataclass(frozen=True, slots=True)
class InboxView:
    """The inbox at one moment."""

    online: bool = False
    offline_reason: str = "not looked at yet"
    scans: int = 0
    """Complete ones since the start."""
    waiting: tuple[Waiting, ...] = ()
    """Seen but not taken, in order of arrival."""
    ignored: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """How many files and folders are never touched, by reason, at the last look at each folder."""
    foreign: tuple[bytes, ...] = ()
    """Left alone, since they are nothing that piperd speaks: the first hundred."""
    handed_over: int = 0
    """Arrivals handed over since the start."""
    idle: bool = False
    """All that lay in the inbox was handed over: one scan at least was complete, and nothing waits or is in hand."""
    polled: tuple[bytes, ...] = ()
    """Folders that are looked at from time to time, since the kernel announces nothing there."""
