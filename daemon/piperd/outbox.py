"""Where results appear: each file by one rename, whole, audio first and the final status last.

Nothing that piperd did not write is overwritten: a name that somebody else took is a `NameTakenError`, for the
caller to choose another one. Every step may be done again after a crash, with the same outcome. Others may write to
these folders: all is reached through descriptors, and no link below the outbox is followed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from piperd.descent import NOT_THERE, Folders, OfflineError, base, join, open_regular, parent, proc_path
from piperd.durable import copy_beside, discard, rename_no_replace, temporary_beside, write_beside
from piperd.mounts import Anchor
from piperd.names import safe_stem
from piperd.nameset import NameSet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SUFFIXES = (".words.json", ".json", ".wav", ".srt", ".vtt", ".flac", ".mp3", ".ogg", ".opus")
"""Of all files that piperd publishes under a job's name."""
STATUS_LIMIT = 64 << 20
"""Bytes; a longer file is no status of ours."""
OUTPUT_LIMIT = 4 << 30
"""Bytes, what the sizes in a WAV file can tell; a longer file is no output of ours."""
_NO_FILE = frozenset(
    {
        *(errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EINVAL),
        *(errno.EACCES, errno.EPERM),
    }
)
"""What is said of a name that is free, or that has nothing of ours: what piperd has written it can read."""


class NameTakenError(Exception):
    """Something that is not ours has the name."""

    def __init__(self, path: str, name: str) -> None:
        super().__init__(path)
        self.name = name
        """Relative to the job's folder: ``story.wav``, ``story/01-intro.wav``."""


class FolderTakenError(NotADirectoryError):
    """A file or a link has the name of the subfolder that is needed."""


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
    """Relative to the job's folder; it may lie in a subfolder there."""
    sha256: str


class Outbox:
    """The folder with the results. All methods do slow I/O: they are called on the courier's thread."""

    def __init__(self, folder: Path, point: str = "") -> None:
        """`point` is the mount point on which the outbox lay at the last start, where that is known."""
        self._folder = folder
        self._anchor = Anchor(folder, point)

    def names_in(self, folder: str) -> NameSet:
        """The base names in a subfolder, in folded case, with which something is published or lies there.

        A folder's name ends with a slash.
        """
        try:
            with self._folders() as folders, os.scandir(folders.descriptor(os.fsencode(folder))) as entries:
                return NameSet(
                    f"{entry.name}/".casefold() if entry.is_dir() else _stem(entry.name).casefold() for entry in entries
                )
        except OSError:  # not there yet, or out of reach: publishing will look again
            return NameSet()

    def publish(self, job_id: str, folder: str, outputs: Sequence[Output], replaces: Mapping[str, str]) -> None:
        """Publish files durably. `replaces` gives name and sha256 of files of ours that may be replaced, or are removed
        where nothing takes their place.

        Raises `NameTakenError`, `RenderingLostError` before anything is published, or OSError if the folder can't be
        written.
        """
        place = os.fsencode(folder)
        copies: list[tuple[Output, Path]] = []
        with self._folders() as folders:
            self._make(folders, place)
            with folders.held(place) as descriptor:
                # temporaries lie beside the status, wherever their targets do: there they are looked for after a crash
                beside = Path(os.fsdecode(proc_path(descriptor, b"any")))
                try:
                    for number, output in enumerate(outputs):
                        target = self._target(folders, place, output.name)
                        try:
                            copies.append((output, _copy(output, beside, token=f"{job_id}-{number}")))
                        except RenderingLostError:
                            if _sha256(target) != output.sha256:  # else it was published before the power was lost
                                raise
                    for output, temporary in copies:
                        self._show(folders, output, temporary, place, replaces.get(output.name))
                except BaseException as error:
                    for _, temporary in copies:
                        discard(temporary)
                    if isinstance(error, RenderingLostError):
                        # what is rendered anew may sound otherwise: nothing of this rendering may stay
                        _remove(folders, folder, {output.name: output.sha256 for output in outputs})
                    raise
            gone = replaces.keys() - {output.name for output in outputs}
            _remove(folders, folder, {name: replaces[name] for name in gone})
            for subfolder in {place, *(_split(place, output.name)[0] for output in outputs)}:
                folders.sync(subfolder)

    def reserve(
        self, job_id: str, folder: str, stem: str, content: Callable[[], bytes], *, replaces_job: str | None
    ) -> None:
        """Make sure that the status under this name is the job's own; it may take the place of that of `replaces_job`.
        `content` gives what it says, where it is not there yet.

        Before any audio, so that no final status ever names what is being replaced. Raises as `publish` does.
        """
        with self._folders() as folders:
            status = _place(folders, folder, f"{stem}.json")
            if status is not None and _owner(status) == job_id:
                return
        self.write_status(job_id, folder, stem, content(), replaces_job=replaces_job, final=False)

    def write_status(
        self, job_id: str, folder: str, stem: str, content: bytes, *, replaces_job: str | None = None, final: bool
    ) -> None:
        """Write or replace the status file of a job; its content durably, and with the final one its name.

        `replaces_job` is the job whose status may be replaced too. Raises as `publish` does.
        """
        place, name = os.fsencode(folder), os.fsencode(f"{stem}.json")
        with self._folders() as folders:
            self._make(folders, place)
            target = folders.path(place, name)
            # one that only shows progress too: torn by a power loss, it would be nobody's, and in the way for ever
            temporary = write_beside(target, content, token=f"{job_id}-status")
            try:
                try:
                    rename_no_replace(temporary, target)
                except FileExistsError:
                    owner = _owner(target)
                    if owner is None or owner not in {job_id, replaces_job}:
                        raise NameTakenError(self._shown(place, name), f"{stem}.json") from None
                    temporary.replace(target)
            except BaseException:
                discard(temporary)
                raise
            if final:
                folders.sync(place)

    def clear(self, job_id: str, folder: str, outputs: int) -> None:
        """Remove what an interrupted try of this job may have left half done. Raises OSError if that can't be done."""
        with self._folders() as folders:
            beside = _place(folders, folder, "any")
            if beside is None:
                return
            for token in (*(f"{job_id}-{number}" for number in range(outputs)), f"{job_id}-status"):
                with contextlib.suppress(IsADirectoryError):  # that is none of ours
                    temporary_beside(beside, token)

    def withdraw(self, job_id: str, folder: str, stem: str, outputs: Sequence[Output]) -> None:
        """Take back what this job has published under a name that it gives up, unless another job has it now."""
        with self._folders() as folders:
            status = _place(folders, folder, f"{stem}.json")
            if status is None:
                return
            owner = _owner(status)
            if owner in {job_id, None}:
                _remove(folders, folder, {output.name: output.sha256 for output in outputs})
            if owner == job_id:
                folders.path(os.fsencode(folder), os.fsencode(f"{stem}.json")).unlink(missing_ok=True)

    def rename(self, job_id: str, folder: str, stem: str, outputs: Sequence[tuple[str, Output]]) -> None:
        """Give files that were published under `stem` other names: each an old name, and the output under its new one.

        What is not there, or is another job's by now, is published from its source. Raises as `publish` does.
        """
        place = os.fsencode(folder)
        missing = []
        with self._folders() as folders:
            self._make(folders, place)
            owner = _owner(folders.path(place, os.fsencode(f"{stem}.json")))
            for old, output in outputs:
                published = _place(folders, *_lies(folder, old)) if owner in {job_id, None} else None
                if published is not None and _sha256(published) == output.sha256:
                    with folders.held(_split(place, old)[0]) as descriptor:
                        before = Path(os.fsdecode(proc_path(descriptor, os.fsencode(published.name))))
                        self._show(folders, output, before, place, None)
                else:
                    missing.append(output)
            _remove(folders, folder, {old: output.sha256 for old, output in outputs if "/" in old})
            if owner == job_id:  # it could not be read for a moment, and is our own after all
                folders.path(place, os.fsencode(f"{stem}.json")).unlink(missing_ok=True)
            folders.sync(place)
        self.publish(job_id, folder, missing, {})

    def _make(self, folders: Folders, place: bytes) -> None:
        try:
            folders.make(place)
        except OSError as error:
            if error.errno in {errno.ENOTDIR, errno.ELOOP}:
                raise FolderTakenError(error.errno, error.strerror, error.filename) from error
            raise

    def _target(self, folders: Folders, place: bytes, name: str) -> Path:
        """Where an output is to lie; its subfolder is made. Raises `NameTakenError` where that can't be a folder."""
        subfolder, last = _split(place, name)
        try:
            folders.make(subfolder)
        except OSError as error:
            if error.errno in {errno.ENOTDIR, errno.ELOOP}:
                raise NameTakenError(self._shown(b"", subfolder), name) from error
            raise
        return folders.path(subfolder, last)

    def _show(self, folders: Folders, output: Output, temporary: Path, place: bytes, replaced: str | None) -> None:
        """Give a copy its name. The temporary is gone then."""
        target = self._target(folders, place, output.name)
        try:
            rename_no_replace(temporary, target)
        except FileExistsError:
            found = _sha256(target)
            if found == output.sha256:  # published before a crash
                temporary.unlink()
            elif found is not None and found == replaced:
                temporary.replace(target)
            else:
                raise NameTakenError(self._shown(place, os.fsencode(output.name)), output.name) from None

    def _folders(self) -> Folders:
        try:
            folders = Folders(self._folder)
        except OfflineError as error:  # an unmounted share, not a folder to be made
            raise OutboxOfflineError(f"the outbox {self._folder} is not there: {error.strerror}") from error
        try:
            self._anchor.check(folders.descriptor(b""))
        except OSError as error:
            folders.__exit__(None, None, None)
            raise OutboxOfflineError(f"the outbox {self._folder} is not there: {error.strerror}") from error
        return folders

    def _shown(self, place: bytes, name: bytes) -> str:
        return str(self._folder / os.fsdecode(join(place, name)))


def _place(folders: Folders, folder: str, name: str) -> Path | None:
    """Where a name in a subfolder is; None where there is no such folder, or a file or a link has its name.

    Then nothing of ours lies there; who wants to write there is told by `Folders.make`.
    """
    try:
        return folders.path(os.fsencode(folder), os.fsencode(name))
    except OSError as error:
        if error.errno in NOT_THERE:
            return None
        raise


def _split(place: bytes, name: str) -> tuple[bytes, bytes]:
    """The folder of an output, and its name there."""
    path = join(place, os.fsencode(name))
    return parent(path), base(path)


def _lies(folder: str, name: str) -> tuple[str, str]:
    """The same in text."""
    subfolder, last = _split(os.fsencode(folder), name)
    return os.fsdecode(subfolder), os.fsdecode(last)


def _remove(folders: Folders, folder: str, files: Mapping[str, str]) -> None:
    """Remove what is still as we published it, by name and sha256, and subfolders that are empty then."""
    left = set()
    for name, digest in files.items():
        subfolder, last = _lies(folder, name)
        published = _place(folders, subfolder, last)
        if published is not None and _sha256(published) == digest:
            published.unlink(missing_ok=True)
        if subfolder != folder:
            left.add(os.fsencode(subfolder))
    for path in left:
        folders.drop(path)
        with contextlib.suppress(OSError):  # something is in it, and stays
            os.rmdir(base(path), dir_fd=folders.descriptor(parent(path)))


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


def _copy(output: Output, target: Path, *, token: str) -> Path:
    """A temporary beside `target` with the content that was rendered."""
    try:
        with open_regular(output.source) as source:
            temporary, found = copy_beside(source, target, token=token)
    except OSError as error:
        # the disk of the rendering, or that of the outbox?
        if not _is_whole(output):
            raise RenderingLostError(f"{output.source} can't be read: {error.strerror}") from error
        raise
    if found != output.sha256:
        discard(temporary)
        raise RenderingLostError(f"{output.source} is not what was rendered")
    return temporary


def _is_whole(output: Output) -> bool:
    try:
        return _sha256(output.source) == output.sha256
    except OSError:
        return False


def _sha256(path: Path) -> str | None:
    """Hash of a regular file; None for anything else. Raises OSError where the disk does not say what it is."""
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > OUTPUT_LIMIT:
                return None
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise
        return None


def _owner(status: Path) -> str | None:
    """The id of the job that wrote a status file; None where it is no status of ours. Raises as `_sha256` does."""
    try:
        with open_regular(status) as file:
            fields = json.loads(file.read(STATUS_LIMIT))
        return str(fields["job_id"]) if fields["schema"] == 1 else None
    except OSError as error:
        if error.errno not in _NO_FILE:  # a share that stutters must not cost a job its name
            raise
        return None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
