"""`piperd check`: looks at configuration, folders, watching, voices and the machine, and says what to do."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from piperd import audit, folderdefaults, folders, inbox, jobfile, lexicons, machine, parts, settings, store, voices
from piperd.errors import ConfigurationError, JobRefused
from piperd.ledger import Ledger
from piperd.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from piperd.settings import Loaded, Settings

FEW_WATCHES = 8_192
"""Inotify watches a user may have; one is needed for each folder of the inbox."""
MOST_NAMED = 10
"""Files listed by name."""
SAMPLE = b'{"scenes": [{"text": "One."}, {"text": "Two."}]}'
"""A job that asks for nothing, so that what is refused is its folder's wish."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was looked at."""

    what: str
    fault: bool
    message: str
    hint: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine(loaded: Loaded) -> list[Finding]:
    """Look at everything; nothing is changed but missing folders, which the daemon would make too."""
    config = loaded.settings
    source = str(loaded.file) if loaded.file else "none; all settings are at their defaults or from the environment"
    return [
        Finding("configuration", fault=False, message=f"Read from: {source}."),
        *_daemon(config),
        *_folders(config),
        *_space(config),
        *_watching(config),
        *_lexicon(config),
        *_inbox(config),
        *_voices(config),
        *_kept(config),
        *_machine(config),
    ]


def promises(config: Settings) -> Iterator[Finding]:
    """Whether ledger, folders and status files agree with one another."""
    places = config.folders
    kept = (places.inbox, places.outbox, places.archive, places.failed, places.state)
    replaces = config.output.on_collision == "replace"
    try:
        report = audit.audit(audit.Places(*kept, deletes=places.after_done == "delete", replaces=replaces))
    except OSError as error:
        hint = "Run it as the user that the daemon runs as."
        yield Finding("audit", fault=True, message=printable(f"{error.filename}: {error.strerror}."), hint=hint)
        return
    for fault in report.findings:
        whose = f" (job {fault.job_id})" if fault.job_id else ""
        meaning = f"It means: {audit.MEANINGS[fault.kind]}."
        yield Finding("audit", fault=True, message=printable(f"{fault.kind}: {fault.message}{whose}"), hint=meaning)
    if not report.findings:
        jobs = f"{report.counts['accepted']:,} jobs"
        jobs += f" (and {report.forgotten:,} that are forgotten, as the settings want)" if report.forgotten else ""
        yield Finding("audit", fault=False, message=f"All promises were kept: {jobs} and their files agree.")


def _daemon(config: Settings) -> Iterator[Finding]:
    pid = folders.running(config.folders.state)
    yield Finding("daemon", fault=False, message=f"Runs as process {pid}." if pid else "Does not run.")


def _folders(config: Settings) -> Iterator[Finding]:
    places = {name: getattr(config.folders, name) for name in ("inbox", "outbox", "archive", "failed", "state")}
    try:
        away = folders.prepare(places)
    except ConfigurationError as error:
        yield Finding("folders", fault=True, message=str(error), hint="Mend the folder, or the [folders] settings.")
    else:
        for name in sorted(away):
            message = f"folders.{name} = {places[name]} is away, and was there before."
            yield Finding("folders", fault=True, message=message, hint="Mount its share; the daemon waits for it.")
        if not away:
            yield Finding("folders", fault=False, message="All can be read, written and renamed in, and none overlap.")
    if config.folders.state.is_dir() and (kind := inbox.network_type(config.folders.state)):
        yield Finding(
            "folders",
            fault=True,
            message=f"folders.state = {config.folders.state} is on a network file system ({kind}).",
            hint="SQLite is not safe there: put the state on a local disk.",
        )


def _space(config: Settings) -> Iterator[Finding]:
    for name in ("outbox", "state"):
        place: Path = getattr(config.folders, name)
        if not place.is_dir():
            continue
        free, least = shutil.disk_usage(place).free, config.limits.min_free_bytes
        yield Finding(
            "space",
            fault=free < least,
            message=f"folders.{name} has {free / 2**30:.1f} GiB free.",
            hint=f"Make room: with less than limits.min_free_bytes ({least / 2**30:.1f} GiB) no files are taken."
            if free < least
            else "",
        )


def _watching(config: Settings) -> Iterator[Finding]:
    place = config.folders.inbox
    if not place.is_dir():
        return
    network = inbox.network_type(place)
    if network and config.watch.mode == "events":
        yield Finding(
            "watching",
            fault=True,
            message=f"The inbox {place} is on {network}, which announces no changes of other hosts.",
            hint='Set watch.mode to "auto" or "poll".',
        )
    else:
        how = "polled" if network or config.watch.mode == "poll" else "watched by kernel events"
        yield Finding("watching", fault=False, message=f"The inbox is {how}.")
    try:
        allowed = int(Path("/proc/sys/fs/inotify/max_user_watches").read_text())
    except (OSError, ValueError):
        return
    yield Finding(
        "watching",
        fault=allowed < FEW_WATCHES,
        message=f"{allowed} inotify watches are allowed; each folder of the inbox takes one.",
        hint="sysctl fs.inotify.max_user_watches=65536" if allowed < FEW_WATCHES else "",
    )


def _inbox(config: Settings) -> Iterator[Finding]:
    place = config.folders.inbox
    if place.is_dir():
        survey = inbox.survey(place, config.watch.ignore)
        yield from _left_alone(survey)
        yield from _folder_defaults(survey, config)


def _left_alone(survey: inbox.Survey) -> Iterator[Finding]:
    """What lies in the inbox and is not for piperd, by reason; it is no fault."""
    for reason, number in sorted(survey.ignored.items()):
        yield Finding("inbox", fault=False, message=f"{number} left alone: {reason}.")
    if survey.foreign:
        named = ", ".join(printable(name) for name in survey.foreign[:MOST_NAMED])
        more = f" and {len(survey.foreign) - MOST_NAMED} more" if len(survey.foreign) > MOST_NAMED else ""
        yield Finding(
            "inbox",
            fault=False,
            message=f"Not for piperd, by their names: {named}{more}.",
            hint="piperd speaks .txt, .md and .json files.",
        )


def _lexicon(config: Settings) -> Iterator[Finding]:
    try:
        words = sum(map(len, lexicons.load(config.speech.lexicon).values()))
    except ConfigurationError as error:
        yield Finding("lexicon", fault=True, message=str(error), hint="Mend it: without it piperd does not start.")
        return
    if config.speech.lexicon:
        yield Finding("lexicon", fault=False, message=f"{words:,} words and phrases are said otherwise.")


def _folder_defaults(survey: inbox.Survey, config: Settings) -> Iterator[Finding]:
    """What every job in some folder would fail for, said once for all folders below."""
    installed = voices.installed([place for place in config.voices.dirs if place.is_dir()], None).found
    try:
        settled = parts.defaults(config)
    except ConfigurationError:  # a lexicon that can't be used has been told of
        settled = parts.defaults(config.model_copy(update={"speech": config.speech.model_copy(update={"lexicon": ()})}))
    faults: dict[str, str] = {}
    for chain in survey.defaults.values():
        try:
            folderdefaults.read(chain[-1])  # by itself: one further out may be broken, too
            jobfile.parse("check.json", SAMPLE, folderdefaults.layered(settled, chain), installed)
        except JobRefused as refused:
            message = refused.failure.message
            # what is said of no folder's file is the settings' fault, and is found elsewhere
            if message.startswith(tuple(f"{printable(file.path)}: " for file in chain)):
                faults[message] = str(refused.failure.as_dict()["hint"])
    for message, hint in faults.items():
        yield Finding("folder defaults", fault=True, message=message, hint=hint)
    for reason in survey.unsettled:
        yield Finding("folder defaults", fault=False, message=f"Not read, since {reason}.")
    if survey.defaults and not faults:
        number = len(survey.defaults)
        folders_have = "1 folder has" if number == 1 else f"{number} folders have"
        yield Finding(
            "folder defaults", fault=False, message=f"{folders_have} a piperd.toml, and nothing is wrong there."
        )


def _voices(config: Settings) -> Iterator[Finding]:
    for place in config.voices.dirs:
        if not place.is_dir():
            yield Finding(
                "voices", fault=True, message=f"voices.dirs: {place} is no folder.", hint="Create it, or take it out."
            )
    installed = voices.installed([place for place in config.voices.dirs if place.is_dir()], None)
    for problem in installed.problems:
        yield Finding("voices", fault=True, message=printable(problem), hint="Install the voice again.")
    for refused in (config.folders.state / "voices").glob("*.refused"):
        yield Finding("voices", fault=False, message=f"Not fully tuned: {refused.read_text().strip()}.")
    names = ", ".join(sorted(installed.found)) or "none"
    missing = config.speech.voice not in installed.found
    yield Finding(
        "voices",
        fault=missing,
        message=f"Installed: {names}; speech.voice is {config.speech.voice}.",
        hint="Set speech.voice to one of those installed." if missing else "",
    )


def _kept(config: Settings) -> Iterator[Finding]:
    """What store and ledger hold, and how often the store was of use."""
    place, path = config.folders.state / "store", config.folders.state / "ledger.sqlite3"
    try:
        stock = store.take_stock(place, (), 0) if place.is_dir() else store.Stock(0, 0, ())
    except OSError as error:
        message = printable(f"{error.filename} can't be read: {error.strerror}.")
        yield Finding("store", fault=True, message=message, hint="Run it as the user that the daemon runs as.")
    else:
        bound = f"of {_size(config.store.max_bytes)}" if config.store.max_bytes else "without a bound"
        message = f"{stock.entries:,} spoken utterances take {_size(stock.size)} {bound}."
        yield Finding("store", fault=False, message=message)
    if not path.exists():
        return
    try:
        with contextlib.closing(Ledger(path, read_only=True)) as ledger:
            totals, counts = ledger.totals(), ledger.counts()
    except ConfigurationError as error:
        yield Finding("ledger", fault=True, message=str(error), hint="Without it piperd does not start.")
        return
    if totals.utterances:
        share = 100 * totals.from_store / totals.utterances
        message = f"{share:.1f} % of {totals.utterances:,} utterances were there already."
        yield Finding("store", fault=False, message=message)
    jobs = f"{sum(counts.values()):,} jobs, {sum(counts.values()) - totals.kept:,} of them not delivered"
    message = f"{jobs}, in {_size(path.stat().st_size)}; {totals.forgotten:,} older ones are forgotten."
    yield Finding("ledger", fault=False, message=message)


def _size(number: float) -> str:
    """Bytes for people."""
    for unit in ("bytes", "KiB", "MiB"):
        if number < 1024:  # noqa: PLR2004 - what the units are
            return f"{number:,.0f} {unit}" if unit == "bytes" else f"{number:,.1f} {unit}"
        number /= 1024
    return f"{number:,.1f} GiB"


def _machine(config: Settings) -> Iterator[Finding]:
    found = machine.read_machine()
    workers = settings.resolve_workers(config.pool.workers, found)
    memory = f"{found.memory / 2**30:.1f} GiB of memory" if found.memory is not None else "an unknown amount of memory"
    yield Finding(
        "machine",
        fault=False,
        message=f"{found.cpus:g} CPUs and {memory} may be used: {workers} workers.",
        hint="More workers than CPUs only take each other's time." if workers > (os.cpu_count() or workers) else "",
    )
