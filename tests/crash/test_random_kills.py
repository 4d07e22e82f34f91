"""Daemon and workers are killed at random moments, again and again: every job ends once, where it belongs."""

from __future__ import annotations

import json
import random
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crash.ordeal import Bystander, Finding, Life, Ordeal, new_seed, record, seen, told

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from crash.tally import Tally

JOBS = 20
ROUNDS_A_BOX = 5
"""They share ledger, store and outbox: names collide, and what one leaves behind the next one finds."""
SIDE_BY_SIDE = 2
MOST_STRIKES = 3
MOST_WORKERS_KILLED = 2
"""In a round. A sentence that three workers have died of fails its job, and rightly so."""
STEMS = ("story", "Story", "STORY", "stra\u00dfe", "STRASSE", "caf\u00e9", "cafe\u0301", "a b", "news.v2", "Ωmega")
SUFFIXES = (".txt", ".TXT", ".md", ".json")
FOLDERS = ("", "tales/", "Tales/", "tales/old/", "x.txt/")
COMMON = ("It rains.", "It is so.", "Never mind.", "The end.")


@dataclass(frozen=True)
class Strike:
    """A kill to come."""

    after: float
    """Seconds since the daemon's start, or since the strike before."""
    daemon: bool
    worker: bool


@dataclass(frozen=True)
class Kind:
    """What is killed."""

    row: str
    jobs: int
    latest: float
    """Seconds until the last moment that a kill comes."""
    real: bool
    arguments: tuple[str, ...]


TONES = Kind("random kills", JOBS, 1.3, real=False, arguments=("--workers", "2"))
VOICE = Kind("random kills, real voice", 6, 2.5, real=True, arguments=("--workers", "2"))


def draw_strikes(lots: random.Random, latest: float) -> list[Strike]:
    """One to three kills; the second one often hits the recovery from the first."""
    strikes = []
    workers = 0
    for _ in range(lots.choice((1, 1, 2, 2, MOST_STRIKES))):
        victim = lots.choice(("daemon", "worker", "both"))
        worker = victim != "daemon" and workers < MOST_WORKERS_KILLED
        workers += worker
        strikes.append(Strike(lots.uniform(0, latest), victim != "worker" or not worker, worker))
    return strikes


def draw_content(lots: random.Random, suffix: str, mark: str) -> tuple[bytes, str]:
    """A content that no other file has, and where it must end."""
    # short, since a tone costs as much as it is long; many, since each sentence is a moment to be killed in
    said = [f"{mark} {letter}." for letter in "ABCDEFGH"[: lots.randint(1, 8)]] + lots.sample(COMMON, lots.randrange(3))
    if suffix.lower() != ".json":
        if lots.random() < 0.1:
            return mark.encode() + bytes(range(256)), "failed"
        return "\n\n".join(said).encode(), "archive"
    if lots.random() < 0.2:
        bad = lots.choice(({"txet": mark}, {"text": mark, "voice": "nobody"}, {"text": mark, "priority": 99}))
        return json.dumps(bad).encode(), "failed"
    scenes = [{"text": sentence} for sentence in said]
    return json.dumps({"scenes": scenes, "priority": lots.randrange(10)}).encode(), "archive"


def drop_all(ordeal: Ordeal, lots: random.Random, jobs: int, within: float) -> None:
    """Drop a round's files, some whole and some slowly, while the daemon lives and dies."""
    places = [folder + stem + suffix for folder in FOLDERS for stem in STEMS for suffix in SUFFIXES]
    for number, place in enumerate(lots.sample(places, jobs)):
        time.sleep(lots.uniform(0, 2 * within / jobs))
        content, ends = draw_content(lots, place[place.rindex(".") :], f"{lots.getrandbits(24):x} {number}")
        assert ordeal.drop(place, content, ends=ends, pieces=lots.choice((0, 0, 1, 3)), pause=0.01)


def strike(daemon: Life, blow: Strike, lots: random.Random) -> None:
    """Kill what is to be killed, if it is there."""
    if blow.worker:
        daemon.kill_worker(lots)
    if blow.daemon:
        daemon.kill()


def play(ordeal: Ordeal, kind: Kind, lots: random.Random) -> list[Finding]:
    """One round: jobs are dropped and processes die; then the daemon may end what is left, and all is judged."""
    since = len(ordeal.dropped)
    dropper = threading.Thread(
        target=drop_all, args=(ordeal, random.Random(lots.random()), kind.jobs, lots.uniform(0, kind.latest))
    )
    dropper.start()
    daemon = ordeal.start(*kind.arguments)
    try:
        for blow in draw_strikes(lots, kind.latest):
            if not daemon.alive:
                # one that drains ends while it is struck, when it has nothing to do
                daemon = ordeal.start(*kind.arguments, *(["--drain"] if lots.random() < 0.5 else []))
            time.sleep(blow.after)
            strike(daemon, blow, lots)
        if lots.random() < 0.3:
            daemon.stop()
    finally:
        daemon.kill()
        dropper.join()
    return ordeal.drain(*kind.arguments) + ordeal.verdict(since)


def play_box(top: Path, kind: Kind, seed: str, rounds: int) -> tuple[int, list[Finding]]:
    """Rounds in one box, until something is wrong; gives how many were played."""
    ordeal = Ordeal(top, real=kind.real)
    number = 0
    found: list[Finding] = []
    with Bystander(ordeal.box.outbox) as observer:
        while number < rounds and not found:
            found = play(ordeal, kind, random.Random(f"{seed}/{number}"))
            number += 1
    found += seen(observer)
    if found:
        return number, [Finding(each.kind, f"round {seed}/{number - 1}: {each.message}") for each in found]
    shutil.rmtree(top)  # a thousand rounds would fill the disk
    return rounds, []


def play_all(tmp_path: Path, kind: Kind, rounds: int, tally: Tally) -> Sequence[Finding]:
    """Boxes side by side."""
    seed = new_seed()
    shares = [min(ROUNDS_A_BOX, rounds - first) for first in range(0, rounds, ROUNDS_A_BOX)]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
        boxes = [
            threads.submit(play_box, tmp_path / f"box{number}", kind, f"{seed}/{number}", share)
            for number, share in enumerate(shares)
        ]
        played = [box.result() for box in boxes]
    for rounds_played, found in played:
        record(tally, kind.row, found, cases=rounds_played)
    return [each for _, found in played for each in found]


def test_every_job_ends_once_whatever_is_killed(tmp_path: Path, tally: Tally, torture: bool) -> None:
    """Kills of the daemon, of a worker and of both, also during the recovery, while files are dropped."""
    found = play_all(tmp_path, TONES, 1000 if torture else 50, tally)
    assert not found, told(found)


def test_the_real_voice_is_killed_as_well(tmp_path: Path, tally: Tally, torture: bool) -> None:
    """The same with the program as users start it."""
    found = play_all(tmp_path, VOICE, 50 if torture else 5, tally)
    assert not found, told(found)
