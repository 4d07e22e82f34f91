"""The parts of the daemon, made from the settings and put together. Nothing is started here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from piperd import folders, inbox, jobfile, lexicons, staffing, strictjson, voices
from piperd.courier import Courier
from piperd.delivery import Delivery
from piperd.desk import Desk
from piperd.engine import Engine, Mail
from piperd.errors import ConfigurationError
from piperd.gate import Gate, Limits
from piperd.housekeeping import Bounds, Housekeeping
from piperd.intake import InFlight, Intake
from piperd.ledger import Ledger
from piperd.outbox import Outbox
from piperd.reception import Reception
from piperd.scheduler import Retry, Scheduler
from piperd.turn import Turn

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from piperd.job import Job, Voice
    from piperd.settings import Settings

log = structlog.get_logger()

EngineMaker = Callable[[Callable[[Mail], None]], Engine]

WARNINGS = frozenset(
    {
        *("inbox_offline", "inbox_failed", "watch_limit_reached", "events_lost", "folder_polled", "folder_unreadable"),
        *("file_given_back", "claim_failed", "claim_stranded", "hand_over_failed", "path_too_long"),
    }
)
"""What the inbox reports that an operator should see first."""


@dataclass(frozen=True, slots=True)
class InboxOnline:
    """The inbox can be read again, or for the first time."""


@dataclass(frozen=True, slots=True)
class Parts:
    """All that the loop works with."""

    ledger: Ledger
    turn: Turn
    scheduler: Scheduler
    courier: Courier
    engine: Engine
    delivery: Delivery
    reception: Reception
    desk: Desk
    gate: Gate
    housekeeping: Housekeeping
    intake: Intake
    in_flight: InFlight
    inbox: inbox.Inbox
    instance: str
    lock: int
    """Descriptor that keeps other daemons out of the state folder."""


def build(
    config: Settings,
    post: Callable[[Any], None],
    *,
    engine: EngineMaker | None = None,
    delivered: Callable[[Job], None] | None = None,
    ledger_waits: Callable[[sqlite3.OperationalError], None],
) -> Parts:
    """Make the parts; their threads `post` to the main loop. `ledger_waits` is what `Ledger` calls `wait`.

    Raises `ConfigurationError` or `AlreadyRunningError` where the daemon can't start as it is configured.
    """
    places = config.folders
    lock, points = _places(config)
    installed = find_voices(config)
    wishes = defaults(config)
    ledger = Ledger(places.state / "ledger.sqlite3", wait=ledger_waits)
    turn = Turn(ledger)
    scheduler = Scheduler(order=config.pool.order, aging=config.pool.aging)
    courier = Courier(post)
    outbox = Outbox(places.outbox, points.get(str(places.outbox), ""))
    speaker = engine(post) if engine else staffing.pool(config, post)
    instance = folders.instance(places.state)
    in_flight = InFlight()
    intake = Intake(outbox, wishes, installed, post)
    taker = _inbox(config, instance, in_flight, intake, partial(_report, post))
    gate = _gate(config, courier, taker, post)
    housekeeping = Housekeeping(bounds(config), places.state / "store", ledger, post=post, shortage=gate.shortage)
    delivery = _delivery(config, turn, outbox, courier, installed, gate, points, delivered)
    reception = Reception(turn, scheduler, delivery, in_flight, replace_own=config.output.on_collision == "replace")
    desk = Desk(
        turn,
        scheduler,
        speaker,
        housekeeping.store,
        delivery,
        voices=installed,
        retry=retry(config),
        max_audio=config.limits.max_audio,
        spoken_text=config.output.spoken_text,
        disk_is_full=lambda: gate.disk_is_full,
    )
    return Parts(
        ledger, turn, scheduler, courier, speaker, delivery, reception, desk, gate, housekeeping, intake, in_flight,
        taker, instance, lock,
    )  # fmt: skip


def find_voices(config: Settings) -> Mapping[str, Voice]:
    """The installed voices by name; the default voice must be among them."""
    installed = voices.installed(config.voices.dirs, config.folders.state / "voices.json")
    for problem in installed.problems:
        log.warning("voice_skipped", reason=problem)
    if config.speech.voice not in installed.found:
        names = ", ".join(sorted(installed.found)) or "none"
        raise ConfigurationError(f"speech.voice = {config.speech.voice!r} is not installed. Installed: {names}.")
    return installed.found


def retry(config: Settings) -> Retry:
    """How jobs are tried again."""
    return Retry(config.retry.backoff, config.retry.backoff_max)


def limits(config: Settings) -> Limits:
    """When files stay in the inbox."""
    found = config.limits
    return Limits(found.min_free_bytes, found.max_queued_jobs, found.max_queued_bytes)


def bounds(config: Settings) -> Bounds:
    """How much store and ledger keep."""
    return Bounds(config.store.max_bytes, config.retention.days, config.retention.jobs)


def defaults(config: Settings) -> jobfile.Defaults:
    """What jobs get where they do not say otherwise. Raises `ConfigurationError` where a lexicon can't be used."""
    speech, output = config.speech, config.output
    return jobfile.Defaults(
        voice=speech.voice,
        speed=speech.speed,
        noise_scale=speech.noise_scale,
        noise_w_scale=speech.noise_w_scale,
        sentence_pause=speech.sentence_pause,
        paragraph_pause=speech.paragraph_pause,
        scene_pause=speech.scene_pause,
        loudness=None if output.loudness == "off" else output.loudness,
        timeout=config.pool.job_timeout,
        attempts=config.retry.attempts,
        format=output.format,
        encoding=output.encoding,
        sample_rate=output.sample_rate,
        captions=output.captions,
        normalize=speech.normalize,
        lexicon=lexicons.load(speech.lexicon),
        max_text=config.limits.max_text,
    )


def _places(config: Settings) -> tuple[int, Mapping[str, str]]:
    """Make the folders ready; gives the lock of the state folder, and the mount point of each folder."""
    named = {name: getattr(config.folders, name) for name in ("inbox", "outbox", "archive", "failed", "state")}
    away = folders.prepare(named)
    lock = folders.lock(config.folders.state)
    for name in sorted(away):
        log.warning(
            "folder_offline", name=name, folder=str(named[name]), hint="Is its share mounted? It is waited for."
        )
    folders.remember(config.folders.state, (named[name] for name in named.keys() - away))
    return lock, folders.seen(config.folders.state)


def _gate(config: Settings, courier: Courier, taker: inbox.Inbox, post: Callable[[Any], None]) -> Gate:
    return Gate(
        limits(config),
        outbox=config.folders.outbox,
        state=config.folders.state,
        errand=partial(courier.send, "", "look_for_room"),
        post=post,
        hold=taker.hold,
        allow=lambda allowance: taker.allow(allowance.files, allowance.size),
    )


def _delivery(
    config: Settings,
    turn: Turn,
    outbox: Outbox,
    courier: Courier,
    installed: Mapping[str, Voice],
    gate: Gate,
    points: Mapping[str, str],
    delivered: Callable[[Job], None] | None,
) -> Delivery:
    places = config.folders
    return Delivery(
        turn=turn,
        outbox=outbox,
        courier=courier,
        voices=installed,
        inbox_folder=places.inbox,
        points=points,
        work=places.state / "work",
        archive=places.archive if places.after_done == "archive" else None,
        failed=places.failed,
        tries=config.retry.attempts,
        opened=gate.opened,
        closed=gate.closed,
        delivered=delivered,
    )


def _inbox(
    config: Settings,
    instance: str,
    in_flight: InFlight,
    intake: Intake,
    report: Callable[[str, Mapping[str, Any]], None],
) -> inbox.Inbox:
    watch = config.watch
    try:
        return inbox.Inbox(
            config.folders.inbox,
            instance=instance,
            new_id=in_flight.new,
            hand_over=intake,
            report=report,
            incomplete=strictjson.ends_too_early,
            mode=watch.mode,
            settle=watch.settle,
            poll_interval=watch.poll_interval,
            rescan=watch.rescan,
            empty_grace=watch.empty_grace,
            incomplete_grace=watch.incomplete_grace,
            ignore=watch.ignore,
            marker=watch.marker,
            max_bytes=config.limits.max_file_bytes,
        )
    except ValueError as error:
        raise ConfigurationError(f"watch.ignore has a pattern that can't be used: {error}.") from error


def _report(post: Callable[[Any], None], event: str, fields: Mapping[str, Any]) -> None:
    (log.warning if event in WARNINGS else log.info)(event, **fields)
    if event == "inbox_online":
        post(InboxOnline())
