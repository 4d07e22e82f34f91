"""Where results appear: each file by one rename, whole, audio first and the final status last.

Nothing that piperd did not write is overwritten: a name that somebody else took is a `NameTakenError`, for the
caller to choose another one. Every step may be done again after a crash, with the same outcome.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from piperd.durable import (
    copy_beside,
    fsync_folder,
    make_folders,
    rename_no_replace,
    temporary_beside,
    write_beside,
)
from piperd.names import safe_stem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SUFFIXES = (".words.json", ".json", ".wav", ".srt", ".vtt", ".flac", ".mp3", ".ogg", ".opus")
"""Of all files that piperd publishes under a job's name."""
STATUS_LIMIT = 64 << 20
"""Bytes; a longer file is no status of ours."""


class NameTakenError(Exception):
    """Something that is not ours has the name."""


class OutboxOfflineError(OSError):
    """The outbox itself is not there: an unmounted share, not a fault of the job."""


class RenderingLostError(Exception):
    """A finished file is not what was rendered: it was not yet on disk when the power was lost."""


@dataclass(frozen=True, slots=True)
class Output:
    """A finished file, to be published."""

    source: Path
    """On local disk."""
    name: str
    sha256: str


class Outbox:
    """The folder with the results. All methods do slow I/O: they are called on the courier's thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names_in(self, folder: str) -> frozenset[str]:
        """The base names in a subfolder, in folded case, with which something is published or lies there."""
        try:
            with os.scandir(self._folder / folder) as entries:
                return frozenset(_stem(entry.name).casefold() for entry in entries)
        except OSError:  # not there yet, or out of reach: publishing will look again
            return frozenset()

    def publish(self, job_id: str, folder: str, outputs: Sequence[Output], replaces: Mapping[str, str]) -> None:
        """Publish files durably. `replaces` gives name and sha256 of files of ours that may be replaced.

        Raises `NameTakenError`, or OSError if the folder can't be written.
        """
        place = self._place(folder)
        for number, output in enumerate(outputs):
            target = place / output.name
            temporary = copy_beside(output.source, target, token=f"{job_id}-{number}")
            try:
                rename_no_replace(temporary, target)
            except FileExistsError:
                found = _sha256(target)
                if found == output.sha256:  # published before a crash
                    temporary.unlink()
                elif found is not None and found == replaces.get(output.name):
                    temporary.replace(target)
                else:
                    temporary.unlink()
                    raise NameTakenError(str(target)) from None
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        fsync_folder(place)

    def write_status(
        self, job_id: str, folder: str, stem: str, content: bytes, *, replaces_job: str | None = None, final: bool
    ) -> None:
        """Write or replace the status file of a job; the final one durably.

        `replaces_job` is the job whose status may be replaced too. Raises as `publish` does.
        """
        place = self._place(folder)
        target = place / f"{stem}.json"
        temporary = write_beside(target, content, durable=final, token=f"{job_id}-status")
        try:
            rename_no_replace(temporary, target)
        except FileExistsError:
            owner = _owner(target)
            if owner is None or owner not in {job_id, replaces_job}:
                temporary.unlink()
                raise NameTakenError(str(target)) from None
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if final:
            fsync_folder(place)

    def clear(self, job_id: str, folder: str, outputs: int) -> None:
        """Remove what an interrupted try of this job may have left half done."""
        for token in (*(f"{job_id}-{number}" for number in range(outputs)), f"{job_id}-status"):
            temporary_beside(self._folder / folder / "any", token)

    def withdraw(self, job_id: str, folder: str, stem: str, outputs: Sequence[Output]) -> None:
        """Take back what this job has published under a name that it gives up."""
        place = self._folder / folder
        status = place / f"{stem}.json"
        if _owner(status) == job_id:
            status.unlink(missing_ok=True)
        for output in outputs:
            if _sha256(place / output.name) == output.sha256:
                (place / output.name).unlink(missing_ok=True)

    def _place(self, folder: str) -> Path:
        # a missing outbox is an unmounted share, not a folder to be made
        if not self._folder.is_dir():
            raise OutboxOfflineError(f"the outbox {self._folder} is not there")
        place = self._folder / folder
        make_folders(place, below=self._folder)
        return place


def mirrored(source: bytes) -> tuple[str, str]:
    """Subfolder and base name in the outbox for an input: those of the inbox, made safe for every file system."""
    path = PurePosixPath(os.fsdecode(source))
    folder = "/".join(safe_stem(part) for part in path.parent.parts)
    return folder, safe_stem(path.stem)


def numbered(stem: str, number: int) -> str:
    """The base name to try next: ``story``, ``story-2``, ``story-3``, … within the length that is allowed."""
    if number == 1:
        return stem
    suffix = f"-{number}"
    room = 100 - len(suffix)
    return f"{stem[:room].rstrip()}{suffix}"


def _stem(name: str) -> str:
    suffix = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def _sha256(path: Path) -> str | None:
    """Hash of a regular file; None for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        try:
            return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return None


def _owner(status: Path) -> str | None:
    """The id of the job that wrote a status file; None where it is no status of ours."""
    try:
        descriptor = os.open(status, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            fields = json.loads(file.read(STATUS_LIMIT))
        return str(fields["job_id"]) if fields["schema"] == 1 else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
