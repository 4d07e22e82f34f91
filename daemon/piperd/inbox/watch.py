"""Inotify: which folders are watched, and what the kernel's events say about files and folders; it looks at no file.

This stands one layer below watchdog's observers, on its `InotifyFD`. The observers hold back every rename for half a
second to find its other half, watch `.piperd` and ignored folders too, do not tell when events were lost or when a
subfolder got no watch, and cost a thread a watch.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from watchdog.observers.inotify_c import CallbackId, InotifyConstants, InotifyFD, Mask, WatchDescriptor

from piperd.descent import join, proc_path
from piperd.settle import Sign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from watchdog.observers.inotify_c import InotifyEvent

# No IN_DONT_FOLLOW: the path given is that of an open descriptor in /proc, which is a link, and safer than any path.
_MASK = Mask(
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_MODIFY
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_EXCL_UNLINK
)
_MOVES_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class FileSeen:
    """A file was made, written, closed or renamed in."""

    path: bytes
    sign: Sign
    unclosed: bool = False
    """It was written to under an earlier name and not closed since."""


@dataclass(frozen=True, slots=True)
class FileGone:
    path: bytes


@dataclass(frozen=True, slots=True)
class FolderSeen:
    """A folder was made or renamed in: it is to be watched, then walked."""

    path: bytes


@dataclass(frozen=True, slots=True)
class FolderGone:
    path: bytes


@dataclass(frozen=True, slots=True)
class Unsure:
    """What is known of the inbox may be wrong: it is to be scanned at once."""

    reason: str
    lost: bool = False
    """Events were lost."""


Notice = FileSeen | FileGone | FolderSeen | FolderGone | Unsure


class _Mailbox:
    """Watchdog's thread calls these; they only put things down for the inbox's thread and wake it."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.events: deque[InotifyEvent | WatchDescriptor | None] = deque()
        self._wake = wake

    def on_event(self, event: InotifyEvent) -> None:
        self.events.append(event)
        self._wake()

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        self.events.append(wd)
        self._wake()

    def on_queue_overflow(self) -> None:
        self.events.append(None)
        self._wake()


class Watches:
    """One inotify instance with a watch for each folder. All but the callbacks belongs to the inbox's thread."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """Raises OSError if the kernel gives no instance."""
        self._mailbox = _Mailbox(wake)
        self._ids = itertools.count()
        self._folders: dict[WatchDescriptor, bytes] = {}
        self._watches: dict[bytes, tuple[WatchDescriptor, CallbackId]] = {}
        self._unclosed: set[bytes] = set()
        self._moving: OrderedDict[int, None] = OrderedDict()
        self._inotify = InotifyFD()
        self._inotify.name = "piperd-inotify"
        self._inotify.start()

    @property
    def pending(self) -> bool:
        """Events wait to be heard. Any thread may ask."""
        return bool(self._mailbox.events)

    @property
    def alive(self) -> bool:
        """The thread that reads events still runs."""
        return self._inotify.is_alive()

    def close(self) -> None:
        """Give the instance back to the kernel."""
        self._inotify.stop()

    def add(self, folder: bytes, descriptor: int) -> None:
        """Watch an open folder. Raises OSError: ENOSPC if the kernel gives no more watches."""
        self.remove(folder)
        identity = CallbackId(next(self._ids))
        wd = self._inotify.add_callback(proc_path(descriptor), _MASK, self._mailbox, identity)
        if wd == -1:  # watchdog takes EACCES for a watch
            self._inotify.remove_callbacks([(wd, identity)])
            raise PermissionError(f"the folder may not be watched: {folder!r}")
        before = self._folders.get(wd)
        if before is not None:  # the same folder under an older name
            self._inotify.remove_callbacks([self._watches.pop(before)])
        self._folders[wd] = folder
        self._watches[folder] = (wd, identity)

    def remove(self, folder: bytes) -> None:
        """Watch a folder no longer; it need not be watched."""
        watch = self._watches.pop(folder, None)
        if watch is not None:
            del self._folders[watch[0]]
            self._inotify.remove_callbacks([watch])

    def watches(self, folder: bytes) -> bool:
        """Whether a folder is watched."""
        return folder in self._watches

    def hear(self) -> Iterator[Notice]:
        """What has happened since, in order."""
        events = self._mailbox.events
        while events:
            event = events.popleft()
            if event is None:
                # what was being written may have been closed unheard
                self._unclosed.clear()
                self._moving.clear()
                yield Unsure("the kernel's event queue overflowed", lost=True)
            elif isinstance(event, int):
                folder = self._folders.pop(event, None)
                if folder is not None:
                    del self._watches[folder]
                    yield self._lost_sight(folder)
            elif (folder := self._folders.get(event.wd)) is not None:
                yield from self._translate(folder, event)

    def _lost_sight(self, folder: bytes) -> Notice:
        return FolderGone(folder) if folder else Unsure("the inbox was moved, deleted or unmounted")

    def _translate(self, folder: bytes, event: InotifyEvent) -> Iterator[Notice]:
        if event.mask & InotifyConstants.IN_UNMOUNT:
            yield Unsure("a file system was unmounted")
        elif event.is_delete_self or event.is_move_self:
            yield self._lost_sight(folder)
        elif event.mask & InotifyConstants.IN_ISDIR:
            path = join(folder, event.name)
            if event.is_create or event.is_moved_to:
                yield FolderSeen(path)
            elif event.is_delete or event.is_moved_from:
                self._unclosed = {each for each in self._unclosed if not each.startswith(path + b"/")}
                yield FolderGone(path)
        else:
            yield self._of_file(join(folder, event.name), event)

    def _of_file(self, path: bytes, event: InotifyEvent) -> Notice:
        if event.is_modify:
            self._unclosed.add(path)
            return FileSeen(path, Sign.WRITTEN)
        was_unclosed = path in self._unclosed
        self._unclosed.discard(path)
        if event.is_close_write:
            return FileSeen(path, Sign.CLOSED)
        if event.is_moved_from:
            if was_unclosed:
                self._moving[event.cookie] = None
                if len(self._moving) > _MOVES_REMEMBERED:
                    self._moving.popitem(last=False)
            return FileGone(path)
        if event.is_moved_to:
            unclosed = event.cookie in self._moving
            if unclosed:
                del self._moving[event.cookie]
                self._unclosed.add(path)
            return FileSeen(path, Sign.RENAMED_IN, unclosed)
        return FileGone(path) if event.is_delete else FileSeen(path, Sign.FOUND)
