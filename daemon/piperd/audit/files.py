"""What the auditor reads: the names below a folder, the sums of files, status files, the sizes that a WAV file tells.

Like all of the audit it knows the contract alone, and imports nothing of piperd. No link is followed, and no file but
a status is held in memory as a whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from io import BufferedReader
    from pathlib import Path

STATUS_LIMIT = 64 << 20
"""Bytes; a longer file is no status."""
OURS = re.compile(rb'\s*\{\s*"schema"\s*:\s*1\s*,\s*"job_id"')
"""How a status begins."""
NUMBER = re.compile(r"(-\d+)+$")
"""A name that has a number of its own may get another one."""
KEPT = 80
"""Bytes of a name that surely stay where it is shortened to make room for a number."""
RIFF = struct.Struct("<4sI4s")
CHUNK = struct.Struct("<4sI")
FORMAT = struct.Struct("<2xHI4xH")
"""Channels, frames a second, bytes a frame."""


class TornError(ValueError):
    """A file is not whole; the message says what is wrong with it, as in "story.wav ends too early"."""


@dataclass(frozen=True, slots=True)
class Sound:
    """What a WAV file says of itself."""

    frames: int
    rate: int


def files(place: Path) -> Iterator[str]:
    """The paths of all that is no folder, relative to `place`. A folder that may not be read is an OSError."""
    stack = [""]
    while stack:
        folder = stack.pop()
        try:
            entries = os.scandir(place / folder)
        except (FileNotFoundError, NotADirectoryError):  # gone since it was listed
            continue
        with entries:
            for entry in entries:
                path = folder + entry.name
                if entry.is_dir(follow_symlinks=False):
                    stack.append(f"{path}/")
                else:
                    yield path


def family(path: str) -> bytes:
    """What a name has in common with those that are numbered since it was taken: of ``a/b-2.wav`` and ``a/b.wav``."""
    return b"/".join(map(_bare, path.split("/")))


def _bare(name: str) -> bytes:
    """A file's or folder's name without its number, which stands before the suffix."""
    stem, dot, suffix = name.rpartition(".")
    if not stem:
        stem, dot, suffix = name, "", ""
    return os.fsencode(NUMBER.sub("", stem).rstrip().casefold())[:KEPT] + os.fsencode(dot + suffix.casefold())


def sha256(path: Path) -> str:
    """Of a regular file; empty for anything else, and for what can't be read."""
    try:
        with _open(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def read_status(path: Path) -> dict[str, Any] | None:
    """A status file; None for what is none. Raises `TornError` for what may have been one."""
    try:
        with _open(path) as file:
            content = file.read(STATUS_LIMIT)
    except OSError:
        return None
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        # what a power loss leaves of a file that was not synced: nothing, or zeros
        if not content.strip(b"\0") or OURS.match(content):
            raise TornError(f"has {len(content)} bytes that are no whole status") from None
        return None
    ours = isinstance(found, dict) and found.get("schema") == 1 and isinstance(found.get("job_id"), str)
    return found if ours else None


def check_output(path: Path, told: Mapping[str, Any]) -> None:
    """Whether a file is what a status tells of it. Raises `TornError`, FileNotFoundError where there is nothing."""
    try:
        file = _open(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise TornError(f"can't be read: {error.strerror}") from error
    with file:
        size = os.fstat(file.fileno()).st_size
        if size != told.get("bytes", size):
            raise TornError(f"has {size} bytes, not {told['bytes']}")
        if hashlib.file_digest(file, "sha256").hexdigest() != told["sha256"]:
            raise TornError("has another content")
        if path.suffix != ".wav":
            return
        file.seek(0)
        sound = read_wav(file)
    if sound.rate != told.get("sample_rate", sound.rate):
        raise TornError(f"has {sound.rate} frames a second, not {told['sample_rate']}")
    if abs(sound.frames / sound.rate - told["duration_s"]) > 1 / sound.rate:
        raise TornError(f"lasts {sound.frames / sound.rate:.6f} s, not {told['duration_s']:.6f} s")


def read_wav(file: BinaryIO) -> Sound:
    """The length of a WAV file of any encoding. Raises `TornError` where it does not have what it says it has."""
    size = os.fstat(file.fileno()).st_size
    try:
        riff, length, kind = RIFF.unpack(file.read(RIFF.size))
        if (riff, kind) != (b"RIFF", b"WAVE"):
            raise TornError("is no WAV file")
        if length + CHUNK.size != size:
            raise TornError(f"says that it has {length + CHUNK.size} bytes, and has {size}")
        rate = frame = content = 0
        while header := file.read(CHUNK.size):
            name, length = CHUNK.unpack(header)
            start = file.tell()
            if start + length > size:
                raise TornError("ends too early")
            if name == b"fmt ":
                _, rate, frame = FORMAT.unpack(file.read(FORMAT.size))
            elif name == b"data":
                content = length
            file.seek(start + length + length % 2)
    except struct.error:
        raise TornError("ends too early") from None
    if not (rate and frame and content) or content % frame:
        raise TornError("is no whole WAV file")
    return Sound(content // frame, rate)


def _open(path: Path) -> BufferedReader:
    """A regular file that is no link; nothing that could keep the reader waiting."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise OSError(0, "it is no regular file", str(path))
    return file
