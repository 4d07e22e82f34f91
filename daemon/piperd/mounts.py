"""On which mount a folder lies: so that the empty mount point of a missing share is not taken for the share."""

from __future__ import annotations

import errno
import os
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")


class Anchor:
    """Remembers on which mount a folder was when it was first seen; any thread may ask."""

    def __init__(self, folder: Path, point: str = "") -> None:
        """`point` is the mount point on which it lay when it was last seen, where that is known."""
        self._folder = folder
        self._mount = 0
        self._place = (0, 0)
        self._point = os.fsencode(point)

    @property
    def point(self) -> str:
        """The mount point on which it was last seen."""
        return os.fsdecode(self._point)

    def check(self, descriptor: int) -> None:
        """Raises OSError (ENODEV) where the open folder lies on what was below the mount: the share is not there.

        The same share mounted anew, even from another server, is as good as before.
        """
        status = os.fstat(descriptor)
        place = (status.st_dev, status.st_ino)
        if place == self._place:  # the very folder that passed; what is below a mount is another one
            return
        mount = _mount_id(descriptor)
        if mount in {0, self._mount}:
            self._place = place
            return
        point = _mount_point(mount)
        if self._point and point != self._point and self._point.startswith(point.rstrip(b"/") + b"/"):
            raise OSError(errno.ENODEV, f"{os.fsdecode(self._point)} is not mounted", str(self._folder))
        self._mount, self._point, self._place = mount, point, place

    def look(self) -> None:
        """The same for a folder that is not open. Raises OSError also where it is not there."""
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.check(descriptor)
        finally:
            os.close(descriptor)


def _mount_id(descriptor: int) -> int:
    """The kernel's number of the mount; 0 where nothing tells."""
    try:
        fields = Path(f"/proc/self/fdinfo/{descriptor}").read_bytes().split()
        return int(fields[fields.index(b"mnt_id:") + 1])
    except (OSError, ValueError):
        return 0


def _mount_point(mount: int) -> bytes:
    """Where it is mounted, as proc_pid_mountinfo(5) writes it; ``/`` where nothing tells."""
    try:
        lines = MOUNTINFO.read_bytes().splitlines()
    except OSError:
        return b"/"
    found = [fields[4] for fields in map(bytes.split, lines) if fields[0] == b"%d" % mount]
    return found[0] if found else b"/"
