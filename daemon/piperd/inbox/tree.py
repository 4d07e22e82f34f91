"""The folders of the inbox: which there are, which file system each lies on, whether it is watched or polled.

It reads folders and lists names; it opens no file and takes none.
"""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from piperd.descent import base, join, parent
from piperd.folderdefaults import NAME
from piperd.ignore import SYNC_CONFLICT
from piperd.inbox.filesystems import Mounted, mounted, shared_type
from piperd.jobfile import Kind, kind_of
from piperd.names import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from piperd.descent import Folders
    from piperd.ignore import Ignore
    from piperd.inbox.watch import Watches

CLAIMS = b".piperd"
"""The folder at the top of each file system that takes claimed files."""
FOREIGN_SHOWN = 100
REPORTED_AT_MOST = 1000
"""Names that are remembered so that each is reported once."""
CLAIM_OVERHEAD = 64
"""Bytes by which the path of a claimed file is longer than its own."""
LONGEST_PATH = 4095
"""Bytes, of an absolute path: PATH_MAX without its end."""
SLICE = 1000
"""Names that are looked at in one go."""
_NAME = NAME.encode()
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


@dataclass(slots=True)
class Place:
    """One folder."""

    path: bytes
    inode: int
    side: Mounted
    top: bytes
    """The topmost folder on the same side of all mounts: claims of its files go there."""
    shared: str
    """Type of the file system, if others write to it unseen by this kernel."""
    polled: str = ""
    """Why the kernel's events are not relied on; empty where they are."""
    deaf: bool = False
    """Files appeared that no event announced."""
    looks: int = 0
    """How often it was listed since it is watched."""
    ignored: Counter[str] = field(default_factory=Counter)
    foreign: list[bytes] = field(default_factory=list)
    defaults: set[bytes] = field(default_factory=set)
    """How the folder's own file is spelled here; empty where none was seen."""


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """A file that may become a job."""

    mtime_ns: int
    path: bytes
    overdue: bool = field(compare=False)
    """Its folder was watched and listed before, so an event should have announced it."""


class Tree:
    """All folders that are known. Owned by the inbox's thread."""

    def __init__(
        self,
        inbox: Path,
        *,
        mode: str,
        ignore: Ignore,
        report: Callable[[str, Mapping[str, Any]], None],
        known: Callable[[bytes], bool],
        rest: Callable[[float], None] = lambda _: None,
    ) -> None:
        """`mode` is auto, events or poll. `known` tells files that need not be found again; `rest` waits for some
        seconds, so that a long look never takes more than half of a CPU.
        """
        self.watches: Watches | None = None
        self._mode = mode
        self._ignore = ignore
        self._report = report
        self._known = known
        self._rest = rest
        self._longest = LONGEST_PATH - CLAIM_OVERHEAD - len(os.fsencode(inbox.absolute()))
        self._places: dict[bytes, Place] = {}
        self._inner: dict[bytes, set[bytes]] = {}
        self._polled: dict[bytes, None] = {}
        self._changed = True
        self._told: dict[str, set[bytes]] = {}
        self._with_defaults: dict[bytes, None] = {}
        self._short_of_watches = False

    @property
    def places(self) -> Mapping[bytes, Place]:
        """The folders by path."""
        return self._places

    @property
    def wants_events(self) -> bool:
        """Whether an inotify instance is of any use."""
        return self._mode != "poll"

    @property
    def polled(self) -> Collection[bytes]:
        """The folders that are looked at from time to time."""
        return self._polled.keys()

    def has_changed(self) -> bool:
        """Whether `ignored`, `foreign` or `polled` may have changed since this was last asked."""
        changed, self._changed = self._changed, False
        return changed

    def ignored(self) -> Mapping[str, int]:
        """How many names are never touched, by reason."""
        total: Counter[str] = Counter()
        for place in self._places.values():
            total.update(place.ignored)
        return dict(total)

    def foreign(self) -> tuple[bytes, ...]:
        """Files that are left alone, the first of them."""
        found: list[bytes] = []
        for place in self._places.values():
            found += place.foreign[: FOREIGN_SHOWN - len(found)]
            if len(found) >= FOREIGN_SHOWN:
                break
        return tuple(found)

    def walk(self, folders: Folders, start: Iterable[bytes], *, whole: bool = False) -> list[Found]:
        """List folders, and those in them that are not known yet; with `whole` all below them.

        What is found comes by mtime, then name. A new folder is watched first and listed then: no gap between.
        """
        found: list[Found] = []
        stack = list(start)
        before = self._below(stack) if whole else set()
        while stack:
            path = stack.pop()
            try:
                place = self._enter(folders, path)
                inner = self._list(folders, place, found)
            except OSError as error:
                self.leave(path)
                folders.drop(path)
                if error.errno not in _GONE:
                    self._tell("folder_unreadable", path, error=error.strerror or str(error))
                continue
            before.discard(path)
            self._told.get("folder_unreadable", set()).discard(path)
            stack += inner if whole else [each for each in inner if each not in self._places]
        for path in before:
            self.leave(path)
        found.sort()
        return found

    def leave(self, path: bytes) -> None:
        """A folder is gone, with all below it."""
        for each in self._below([path]):
            self._forget(each)

    def leave_all(self) -> None:
        """The inbox is gone, or what is known of it is not to be trusted."""
        for path in list(self._places):
            self._forget(path)

    def deafen(self, path: bytes) -> None:
        """No event announced what appeared in this folder: it is polled from now on."""
        place = self._places.get(path)
        if place is not None and not place.polled:
            place.deaf = True
            self._decide(place, -1)
            self._report("folder_polled", {"folder": printable(path) or ".", "reason": place.polled})

    def passes(self, path: bytes) -> Kind | None:
        """The kind of a file that may become a job, by its name; None for one that may not."""
        if self._ignore.file(path) is not None or len(path) > self._longest:
            return None
        kind = kind_of(os.fsdecode(base(path)))
        return None if kind is Kind.FOREIGN else kind

    def enters(self, path: bytes) -> bool:
        """Whether a folder is one to be walked, by its name."""
        return self._ignore.folder(path) is None and len(path) <= self._longest

    def is_folder_defaults(self, path: bytes) -> bool:
        """Whether a file gives defaults to its folder, by its name."""
        return base(path).lower() == _NAME and self._ignore.file(path) is None

    def note_defaults(self, path: bytes) -> None:
        """A folder has a file of its own."""
        place = self._places.get(parent(path))
        if place is not None:
            place.defaults.add(base(path))
            self._with_defaults[place.path] = None

    def with_defaults(self) -> Sequence[bytes]:
        """The folders whose own file has come to notice since this was last asked."""
        found, self._with_defaults = list(self._with_defaults), {}
        return found

    def is_foreign(self, path: bytes) -> bool:
        """Whether a file is neither ignored nor for piperd, by its name."""
        return self._ignore.file(path) is None and base(path).lower() != _NAME and self.passes(path) is None

    def leave_foreign(self, path: bytes) -> None:
        """A foreign file is there to stay."""
        place = self._places.get(parent(path))
        if place is not None and path not in place.foreign and len(place.foreign) < FOREIGN_SHOWN:
            place.foreign.append(path)
            self._changed = True
        self._tell("foreign_file_left", path, reason="piperd does not read files of this name")

    def _below(self, tops: Iterable[bytes]) -> set[bytes]:
        """The known folders that are these or lie in them."""
        found: set[bytes] = set()
        stack = [top for top in tops if top in self._places]
        while stack:
            path = stack.pop()
            found.add(path)
            stack += self._inner.get(path, ())
        return found

    def _enter(self, folders: Folders, path: bytes) -> Place:
        descriptor = folders.descriptor(path)
        status = os.fstat(descriptor)
        place = self._places.get(path)
        if place is None or (place.inode, place.side.device) != (status.st_ino, status.st_dev):
            self.leave(path)
            side = mounted(descriptor)
            above = self._places.get(parent(path)) if path else None
            if above is not None and above.side == side:
                place = Place(path, status.st_ino, side, above.top, above.shared)
            else:
                place = Place(path, status.st_ino, side, path, shared_type(descriptor))
            self._places[path] = place
            if path:
                self._inner.setdefault(parent(path), set()).add(path)
        self._decide(place, descriptor)
        return place

    def _decide(self, place: Place, descriptor: int) -> None:
        """Watch or poll."""
        reason = self._reason_to_poll(place)
        if not reason and not (self.watches and self.watches.watches(place.path)):
            reason = self._watch(place, descriptor)
        elif reason and self.watches:
            self.watches.remove(place.path)
        place.polled = reason
        self._changed = True
        if reason:
            place.looks = 0
            self._polled[place.path] = None
        else:
            self._polled.pop(place.path, None)

    def _reason_to_poll(self, place: Place) -> str:
        if self._mode == "poll":
            return "watch.mode is poll"
        if place.shared and self._mode != "events":
            return f"it lies on {place.shared}, where others write unseen by this kernel"
        if self.watches is None:
            return "there is no inotify instance"
        return "files appear in it without an event" if place.deaf else ""

    def _watch(self, place: Place, descriptor: int) -> str:
        assert self.watches is not None
        try:
            self.watches.add(place.path, descriptor)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                return f"it can't be watched: {error.strerror or error}"
            if not self._short_of_watches:
                self._short_of_watches = True
                self._report("watch_limit_reached", limit_report("fs.inotify.max_user_watches", place.path))
            return "the kernel gives no more watches"
        self._short_of_watches = False
        place.looks = 0
        return ""

    def _list(self, folders: Folders, place: Place, found: list[Found]) -> list[bytes]:
        """Look at all names in a folder; gives its folders and adds its files to `found`."""
        place.ignored, place.foreign, place.defaults = Counter(), [], set()
        inner = []
        overdue = not place.polled and place.looks > 0
        began = time.monotonic()
        with os.scandir(folders.descriptor(place.path)) as entries:
            for number, entry in enumerate(entries, 1):
                if number % SLICE == 0:
                    self._rest(time.monotonic() - began)
                    began = time.monotonic()
                path = join(place.path, os.fsencode(entry.name))
                if len(path) > self._longest:
                    place.ignored["path too long"] += 1
                    self._tell("path_too_long", path)
                elif entry.is_dir(follow_symlinks=False):
                    reason = self._ignore.folder(path)
                    if reason is None:
                        inner.append(path)
                        if self.is_folder_defaults(path):  # a mistake that its files will be told of
                            self.note_defaults(path)
                    elif base(path) != CLAIMS:
                        place.ignored[reason] += 1
                elif not self._known(path) and not self._leave_alone(place, path):
                    try:
                        mtime = entry.stat(follow_symlinks=False).st_mtime_ns
                    except OSError:  # gone meanwhile, or it will be found next time
                        continue
                    found.append(Found(mtime, path, overdue))
        place.looks += 1
        return inner

    def _leave_alone(self, place: Place, path: bytes) -> bool:
        reason = self._ignore.file(path)
        if reason is not None:
            place.ignored[reason] += 1
            if reason is SYNC_CONFLICT:
                self._tell("sync_conflict_left", path)
            return True
        if kind_of(os.fsdecode(base(path))) is not Kind.FOREIGN:
            return False
        if base(path).lower() == _NAME:
            self.note_defaults(path)
        else:
            self.leave_foreign(path)
        return True

    def _tell(self, event: str, path: bytes, **fields: Any) -> None:
        """Report a name once, as long as it can be remembered."""
        told = self._told.setdefault(event, set())
        if path not in told and len(told) < REPORTED_AT_MOST:
            told.add(path)
            self._report(event, {"source": printable(path) or ".", **fields})

    def _forget(self, path: bytes) -> None:
        del self._places[path]
        self._polled.pop(path, None)
        self._inner.get(parent(path), set()).discard(path)
        self._inner.pop(path, None)
        self._changed = True
        if self.watches:
            self.watches.remove(path)


def limit_report(setting: str, folder: bytes = b"") -> dict[str, Any]:
    """What to say where the kernel gives no more watches or instances."""
    return {
        "folder": printable(folder) or ".",
        "setting": setting,
        "hint": f"It is polled instead. Raise the limit: sysctl -w {setting}=<more>, and in /etc/sysctl.d to keep it.",
    }
