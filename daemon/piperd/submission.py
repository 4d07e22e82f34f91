"""Dropping a job into the inbox as it should be done: under a hidden temporary name, then one rename."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from piperd.durable import rename_no_replace, write_beside
from piperd.errors import ConfigurationError
from piperd.jobfile import Kind, kind_of
from piperd.outbox import numbered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from piperd.job import Job
    from piperd.ledger import Ledger


LISTS = frozenset({"captions"})
"""Fields with several values."""


def settings_of(assignments: list[str], voice: str | None) -> dict[str, Any]:
    """The fields of ``--set FIELD=VALUE`` and ``--voice``.

    A value is JSON where it can be read so, else text; captions may stand in a row: ``captions=srt,words``.
    """
    fields: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise ConfigurationError(f"--set {assignment}: write FIELD=VALUE, for example --set speed=0.9.")
        try:
            fields[name] = json.loads(value)
        except ValueError:
            fields[name] = value.split(",") if name in LISTS else value
    if voice:
        fields["voice"] = voice
    return fields


def with_settings(name: str, content: bytes, fields: Mapping[str, Any]) -> tuple[str, bytes]:
    """Name and content of the file to drop: with fields, a text becomes a job, and a job gets them."""
    if not fields:
        return name, content
    kind = kind_of(name)
    if kind is Kind.JOB:
        try:
            job = json.loads(content)
        except ValueError as error:
            raise ConfigurationError(f"{name} is not valid JSON, so --set can't be added to it: {error}.") from error
        if not isinstance(job, dict):
            raise ConfigurationError(f"{name} is not a job (an object in braces), so --set can't be added to it.")
    elif kind is Kind.TEXT:
        try:
            job = {"text": content.decode()}
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{name} is not UTF-8, so --set can't be added to it.") from error
    else:
        raise ConfigurationError(f"--set and --voice go with .txt and .json files, not with {name}.")
    stem = name[: name.rfind(".")]
    return f"{stem}.json", json.dumps({**job, **fields}, ensure_ascii=False).encode()


def drop(inbox: Path, name: str, content: bytes) -> str:
    """Put a file into the inbox; gives the name that it got (numbered where the name was taken)."""
    stem, dot, suffix = name.rpartition(".")
    temporary = write_beside(inbox / name, content)
    number = 1
    while True:
        candidate = f"{numbered(stem, number)}{dot}{suffix}" if number > 1 else name
        try:
            rename_no_replace(temporary, inbox / candidate)
        except FileExistsError:
            number += 1
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        else:
            return candidate


def follow(
    ledger: Ledger, sources: list[str], after: int, show: Callable[[int, int], None], alive: Callable[[], bool]
) -> list[Job] | None:
    """Wait until the jobs of these sources, accepted after `after`, are delivered.

    `show` gets how many have ended and how many there are. None: the daemon has gone meanwhile.
    """
    wanted = {source.encode(): None for source in sources}
    found: dict[bytes, Job] = {}
    while len(found) < len(wanted):
        for job in ledger.since(after):
            if job.source in wanted and job.delivered:
                found[job.source] = job
        show(len(found), len(wanted))
        if len(found) < len(wanted):
            if not alive():
                return None
            time.sleep(0.1)
    return [found[source] for source in wanted]
