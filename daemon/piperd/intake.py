"""From claimed files to jobs-to-be: read names and contents on the inbox's thread, so that the main loop need not."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from piperd import folderdefaults, jobfile
from piperd.errors import Code, Failure, JobRefused
from piperd.job import new_job_id
from piperd.listings import Listings
from piperd.names import printable, safe_stem
from piperd.outbox import mirrored

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from piperd.folderdefaults import FolderFile
    from piperd.inbox import Arrival
    from piperd.job import JobSpec, Voice
    from piperd.listings import Listing
    from piperd.outbox import Outbox

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Parsed:
    """One claimed file, understood or refused."""

    arrival: Arrival
    folder: str
    stem: str
    spec: JobSpec | None
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class Arrived:
    """A batch of claimed files, in order of arrival."""

    parsed: Sequence[Parsed]
    names: Mapping[str, Listing]
    """What lies in each outbox folder concerned."""


class InFlight:
    """Ids of jobs between their claim and their acceptance, so that nobody takes such a claim for a lost one.

    By identity, not by age: clocks go back. Any thread may ask.
    """

    def __init__(self) -> None:
        self._ids: set[str] = set()

    def new(self) -> str:
        """An id for a file that is about to be claimed."""
        job_id = new_job_id(time.time_ns() // 1_000_000, os.urandom(10))
        self._ids.add(job_id)
        return job_id

    def discard(self, job_id: str) -> None:
        """The job was accepted."""
        self._ids.discard(job_id)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._ids


class Intake:
    """Understands what the inbox hands over and posts it to the main loop.

    `defaults` and `voices` are replaced as a whole on a reload; a batch uses those that it began with.
    """

    def __init__(
        self,
        outbox: Outbox,
        defaults: jobfile.Defaults,
        voices: Mapping[str, Voice],
        post: Callable[[Arrived], None],
    ) -> None:
        self._listings = Listings(outbox.names_in)
        self._post = post
        self.defaults = defaults
        self.voices = voices

    def __call__(self, arrivals: Sequence[Arrival]) -> None:
        layers, voices = _Layers(self.defaults), self.voices
        parsed = [_understand(arrival, layers, voices) for arrival in arrivals]
        names = {folder: self._listings.of(folder) for folder in {item.folder for item in parsed}}
        self._post(Arrived(parsed, names))


class _Layers:
    """The defaults of one batch by the folders' files over them, so that a burst in one folder has them read once."""

    def __init__(self, defaults: jobfile.Defaults) -> None:
        self._defaults = defaults
        self._known: dict[tuple[FolderFile, ...], jobfile.Defaults | Failure] = {}

    def over(self, files: tuple[FolderFile, ...]) -> jobfile.Defaults:
        """The defaults under these files. Raises `JobRefused` if one of them is broken."""
        if files not in self._known:
            try:
                self._known[files] = folderdefaults.layered(self._defaults, files)
            except JobRefused as refused:
                self._known[files] = refused.failure
        found = self._known[files]
        if isinstance(found, Failure):
            raise JobRefused(found.code, found.message, found.hint)
        return found


def _understand(arrival: Arrival, layers: _Layers, voices: Mapping[str, Voice]) -> Parsed:
    folder, stem = mirrored(arrival.source)
    if arrival.failure is not None:
        return Parsed(arrival, folder, stem, None, arrival.failure)
    name = os.fsdecode(arrival.source.rpartition(b"/")[2])
    try:
        spec = jobfile.parse(name, arrival.content or b"", layers.over(arrival.defaults), voices)
    except JobRefused as refused:
        return Parsed(arrival, folder, stem, None, refused.failure)
    except Exception:  # a fault of ours must cost this one job, not the thread that all jobs come through
        log.exception("input_not_understood", source=printable(arrival.source))
        failure = Failure(Code.SYNTHESIS_FAILED, "piperd failed while reading this file; the log has the details.")
        return Parsed(arrival, folder, stem, None, failure)
    return Parsed(arrival, folder, safe_stem(spec.name), spec, None)
