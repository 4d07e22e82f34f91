"""The folders of the daemon, looked at before it starts: that they exist, don't overlap and can be worked in.

What is wrong is a `ConfigurationError` of one sentence; nothing is half started.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import time
from itertools import combinations
from typing import TYPE_CHECKING

from piperd.durable import discard, write_atomically
from piperd.errors import ConfigurationError
from piperd.mounts import Anchor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

LOCK = "lock"
INSTANCE = "instance"
SEEN = "folders.json"
LOCK_TRIES = 10
LOCK_PAUSE = 0.03
"""Seconds."""
PROBE_TRIES = 10


class AlreadyRunningError(Exception):
    """Another daemon works with this state folder (exit code 4)."""


def prepare(folders: Mapping[str, Path]) -> frozenset[str]:
    """Create what is missing, and refuse what can't work. `folders` maps the settings' names to paths.

    Gives the names of those that an earlier start has seen and that are away now: shares that are not mounted. They
    are waited for, and nothing is made in their place.
    """
    everything = folders
    points = seen(everything["state"])
    folders = {name: folder for name, folder in everything.items() if not _is_away(folder, points.get(str(folder)))}
    for name, folder in folders.items():
        _make(name, folder)
    for (name, folder), (other_name, other) in combinations(folders.items(), 2):
        _check_apart(name, folder, other_name, other)
    # the same at each start with this state folder, so that what a kill left is taken up; others have their own
    identity = os.fsencode(os.uname().nodename) + b":" + bytes(folders["state"].resolve())
    token = hashlib.sha256(identity).hexdigest()[:12]
    for name, folder in folders.items():
        _check_usable(name, folder, folder / f".piperd-probe-{token}")
    return frozenset(everything) - frozenset(folders)


def seen(state: Path) -> dict[str, str]:
    """The folders that an earlier start has seen, each with the mount point on which it lay."""
    try:
        found = json.loads((state / SEEN).read_bytes())
    except (OSError, ValueError):
        return {}
    return dict(found) if isinstance(found, dict) else {}


def remember(state: Path, folders: Iterable[Path]) -> None:
    """Note where these folders lie, for the next start. The state folder must be locked."""
    before = seen(state)
    points = before.copy()
    for folder in folders:
        anchor = Anchor(folder)
        anchor.look()
        points[str(folder)] = anchor.point
    if points != before:
        write_atomically(state / SEEN, json.dumps(points, indent=2).encode(), token="seen")  # noqa: S106 - a name's part


def lock(state: Path) -> int:
    """Make the state folder this process's own; gives a descriptor to be kept open. Raises `AlreadyRunningError`.

    The kernel lets go of the lock when the process ends, however it ends.
    """
    descriptor = os.open(state / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:  # a `piperd status` may hold it for the moment of its look
            time.sleep(LOCK_PAUSE)
    else:
        os.close(descriptor)
        holder = running(state)
        who = f" (process {holder})" if holder else ""
        raise AlreadyRunningError(f"Another piperd{who} works with the state folder {state}.")
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def running(state: Path) -> int | None:
    """The process id of the daemon that works with this state folder; None if there is none."""
    try:
        descriptor = os.open(state / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        text = os.pread(descriptor, 32, 0).strip()
        return int(text) if text.isdigit() else 0
    else:
        return None
    finally:
        os.close(descriptor)


def instance(state: Path) -> str:
    """A short id of this state folder, made at its first use: claims in a shared inbox are told apart by it."""
    path = state / INSTANCE
    try:
        found = path.read_text().strip()
    except FileNotFoundError:
        found = ""
    if not found:
        found = os.urandom(4).hex()
        # the lock makes this the only one to write it
        write_atomically(path, f"{found}\n".encode(), token=INSTANCE)
    return found


def _is_away(folder: Path, point: str | None) -> bool:
    if point is None:
        return False
    try:
        Anchor(folder, point).look()
    except OSError as error:
        return error.errno in {errno.ENOENT, errno.ENODEV, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN}
    return False


def _make(name: str, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise ConfigurationError(f"folders.{name} = {folder} is not a folder.") from None
    except OSError as error:
        raise ConfigurationError(f"folders.{name} = {folder} can't be created: {error.strerror}.") from error


def _check_apart(name: str, folder: Path, other_name: str, other: Path) -> None:
    for outer_name, outer, inner_name, inner in ((name, folder, other_name, other), (other_name, other, name, folder)):
        identity = _identity(outer)
        # by device and inode too: bind mounts give one folder two real paths
        if any(_identity(place) == identity for place in (inner.resolve(), *inner.resolve().parents)):
            raise ConfigurationError(
                f"folders.{inner_name} = {inner} lies in folders.{outer_name} = {outer}; they must not overlap."
            )


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _check_usable(name: str, folder: Path, probe: Path) -> None:
    for _ in range(PROBE_TRIES):
        try:
            _try_out(name, folder, probe)
        except (FileExistsError, FileNotFoundError):  # another start with this state folder tries the same just now
            time.sleep(LOCK_PAUSE)
        else:
            return
    raise ConfigurationError(f"folders.{name} = {folder} can't be tried out: {probe} comes and goes.")


def _try_out(name: str, folder: Path, probe: Path) -> None:
    renamed = probe.with_name(f"{probe.name}-renamed")
    step = "read"
    try:
        with os.scandir(folder) as entries:
            next(entries, None)
        step = "written to"
        discard(probe)
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        step = "renamed in"
        probe.rename(renamed)
        step = "deleted from"
        renamed.unlink()
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError as error:
        discard(probe)
        raise ConfigurationError(
            f"folders.{name} = {folder} can't be {step} by user {os.geteuid()}: {error.strerror}."
        ) from error
