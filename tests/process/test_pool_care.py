"""How the pool cares for itself: voices that end workers are left alone, workers that have done enough are replaced."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from piperd import engine as engines
from piperd.engine import starts
from piperd.errors import Code
from process.driver import voice

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from piperd.job import Voice
    from process.driver import Driver


class Sick:
    """A voice whose model says what becomes of workers that load it."""

    def __init__(self, folder: Path, ailment: str) -> None:
        self.model = folder / "sick.onnx"
        self.model.write_text(ailment)
        self.voice: Voice = voice("sick", "e", self.model)

    def mend(self) -> None:
        self.model.write_text("")


@pytest.fixture
def sick(tmp_path: Path) -> Sick:
    return Sick(tmp_path, "die")


def ask(driver: Driver, ticket: int, by: Voice) -> engines.EngineEvent:
    """Have it speak, and give what comes of it."""
    driver.until(lambda: driver.pool.slots.idle)
    driver.speak(ticket, "hello", by)
    return driver.ending(ticket)


def one_more_death(driver: Driver) -> None:
    known = len(driver.deaths())
    driver.until(lambda: len(driver.deaths()) > known)


def give_up(driver: Driver, by: Voice) -> None:
    """Ask for a voice until its breaker opens."""
    for ticket in range(-starts.MOST_FAILURES, 0):
        assert not driver.of(engines.VoiceBreakerOpened)
        ask(driver, ticket, by)
    driver.until(lambda: driver.of(engines.VoiceBreakerOpened))


def test_a_default_voice_that_ends_its_workers_does_not_stop_the_others(
    drive: Callable[..., Driver], sick: Sick
) -> None:
    """After five failed starts workers start without it; what asks for it fails at once, all else is spoken."""
    driver = drive(2, warm=sick.voice).ready(2)
    (opened,) = driver.of(engines.VoiceBreakerOpened)
    assert opened == engines.VoiceBreakerOpened("sick", 5, "killed by SIGKILL", starts.REST)
    deaths = len(driver.deaths())
    assert deaths <= 6  # the fifth may have had company
    failed = ask(driver, 1, sick.voice)
    assert isinstance(failed, engines.Failed)
    assert failed.failure.code is Code.VOICE_BROKEN
    assert not failed.failure.retryable
    assert "'sick'" in failed.failure.message
    assert "workers in a row could not load it, the last one: killed by SIGKILL" in failed.failure.message
    assert "voices verify" in failed.failure.hint
    assert isinstance(ask(driver, 2, voice("warm", "d")), engines.Done)
    assert len(driver.deaths()) == deaths


def test_the_others_do_not_wait_for_its_pauses(drive: Callable[..., Driver], sick: Sick) -> None:
    """The start after the last failed one comes at once: it is without the voice."""
    driver = drive(1, warm=sick.voice)
    for _ in range(starts.MOST_FAILURES):
        driver.ahead += starts.BACKOFF_MAX
        one_more_death(driver)
    assert driver.of(engines.VoiceBreakerOpened)
    assert [worker.state for worker in driver.pool.workers] == ["starting"]
    driver.ready(1)


@pytest.mark.parametrize(
    ("ailment", "kind", "code"),
    [
        ("die", engines.Lost, Code.WORKER_DIED),
        ("hang", engines.Lost, Code.SYNTHESIS_FAILED),
        ("refuse", engines.Failed, Code.SYNTHESIS_FAILED),
    ],
)
def test_a_voice_that_tasks_ask_for_is_given_up_after_five_tries(
    drive: Callable[..., Driver], tmp_path: Path, ailment: str, kind: type[Any], code: Code
) -> None:
    """Each of the five tasks is charged as usual; the sixth fails at once, without a worker."""
    ill = Sick(tmp_path, ailment).voice
    driver = drive(1, utterance_timeout=0.3).ready(1)
    for ticket in range(5):
        assert not driver.of(engines.VoiceBreakerOpened)
        ending = ask(driver, ticket, ill)
        assert isinstance(ending, kind)
        assert ending.failure.code is code
    driver.ready(1)
    pids = driver.pids()
    failed = ask(driver, 5, ill)
    assert isinstance(failed, engines.Failed)
    assert failed.failure.code is Code.VOICE_BROKEN
    assert len(driver.of(engines.Started)) == 5
    assert driver.pids() == pids


def test_who_died_of_what_is_told(drive: Callable[..., Driver], sick: Sick) -> None:
    """The message speaks of loading, not of the text."""
    driver = drive(1).ready(1)
    lost = ask(driver, 1, sick.voice)
    assert isinstance(lost, engines.Lost)
    assert lost.failure.message == "A worker died while it loaded the voice 'sick': killed by SIGKILL."


def test_a_text_that_ends_workers_is_no_fault_of_its_voice(drive: Callable[..., Driver]) -> None:
    """Only what happens between the first and the last of loading counts."""
    driver = drive(1).ready(1)
    healthy = voice("healthy", "f")
    for ticket in range(6):
        driver.until(lambda: driver.pool.slots.idle)
        driver.speak(ticket, "signal SIGSEGV", healthy)
        assert isinstance(driver.ending(ticket), engines.Lost)
        assert not driver.pool._staff._breakers._breakers
    assert isinstance(ask(driver, 6, healthy), engines.Done)


def test_one_success_makes_up_for_all_failures(drive: Callable[..., Driver], sick: Sick) -> None:
    """Five in a row open the breaker, four and four do not."""
    driver = drive(1).ready(1)
    for round_ in range(2):
        sick.model.write_text("die")
        for ticket in range(4):
            assert isinstance(ask(driver, 10 * round_ + ticket, sick.voice), engines.Lost)
        sick.mend()
        assert isinstance(ask(driver, 10 * round_ + 4, sick.voice), engines.Done)
        os.kill(driver.pool.workers[0].pid, signal.SIGKILL)
        one_more_death(driver)
    assert not driver.of(engines.VoiceBreakerOpened)


def test_a_voice_that_another_worker_speaks_with_is_not_to_blame(drive: Callable[..., Driver], sick: Sick) -> None:
    """Then it was the memory, say: starts are tried ever more rarely, and the one worker goes on."""
    sick.mend()
    driver = drive(2, warm=sick.voice).ready(2)
    sick.model.write_text("die")
    os.kill(driver.pool.workers[0].pid, signal.SIGKILL)
    for _ in range(7):
        one_more_death(driver)
        driver.ahead += starts.BACKOFF_MAX
    assert not driver.of(engines.VoiceBreakerOpened)
    assert isinstance(ask(driver, 1, sick.voice), engines.Done)


def test_a_reload_gives_a_voice_another_chance(drive: Callable[..., Driver], sick: Sick) -> None:
    """Somebody may have mended it."""
    driver = drive(1).ready(1)
    give_up(driver, sick.voice)
    sick.mend()
    driver.pool.resize(1)
    driver.until(lambda: driver.of(engines.VoiceBreakerClosed))
    assert driver.of(engines.VoiceBreakerClosed) == [engines.VoiceBreakerClosed("sick", "reloaded")]
    assert isinstance(ask(driver, 1, sick.voice), engines.Done)


def test_a_voice_of_the_same_name_with_another_content_is_another(drive: Callable[..., Driver], sick: Sick) -> None:
    """What failed were those bytes."""
    driver = drive(1).ready(1)
    give_up(driver, sick.voice)
    assert isinstance(ask(driver, 1, voice("sick", "f")), engines.Done)


def test_after_a_rest_one_worker_tries_the_voice(drive: Callable[..., Driver], sick: Sick) -> None:
    """No task is risked; one failure opens the breaker again, one success closes it."""
    driver = drive(2).ready(2)
    give_up(driver, sick.voice)
    driver.ready(2)
    deaths = len(driver.deaths())
    driver.ahead += starts.REST
    driver.until(lambda: len(driver.of(engines.VoiceBreakerOpened)) == 2)
    driver.ready(2)
    assert len(driver.deaths()) == deaths + 1
    refused = ask(driver, 1, sick.voice)
    assert isinstance(refused, engines.Failed)
    assert refused.failure.code is Code.VOICE_BROKEN
    sick.mend()
    driver.ahead += starts.REST
    driver.until(lambda: driver.of(engines.VoiceBreakerClosed))
    assert driver.of(engines.VoiceBreakerClosed) == [engines.VoiceBreakerClosed("sick", "loaded")]
    assert isinstance(ask(driver, 2, sick.voice), engines.Done)
    assert len(driver.deaths()) == deaths + 1


def test_the_pool_wakes_up_for_the_try(drive: Callable[..., Driver], sick: Sick) -> None:
    """The main loop sleeps until then, and does not spin while no worker is free."""
    driver = drive(1, utterance_timeout=2 * starts.REST).ready(1)
    give_up(driver, sick.voice)
    driver.ready(1)
    deadline = driver.pool.next_deadline()
    assert deadline is not None
    assert starts.REST - 60 < deadline - driver.clock() <= starts.REST
    gate = driver.folder / "gate"
    driver.speak(1, f"wait {gate}")
    driver.started(1)
    driver.ahead += starts.REST
    deadline = driver.pool.next_deadline()
    assert deadline is not None
    assert deadline > driver.clock()
    gate.touch()
    driver.ending(1)


def test_refusals_are_heard_one_after_the_other(drive: Callable[..., Driver], sick: Sick) -> None:
    """They cost no worker, so nothing else would keep the main loop from handing over ten thousand at once."""
    driver = drive(1).ready(1)
    give_up(driver, sick.voice)
    driver.ready(1)
    driver.speak(1, "hello", sick.voice)
    assert driver.pool.slots == engines.Slots(0, 0)
    driver.ending(1)
    assert driver.pool.slots == engines.Slots(1, 0)


def test_a_program_that_can_not_run_is_no_voices_fault(drive: Callable[..., Driver]) -> None:
    """The log is told after five starts in a row, then once in a while; whoever mends it need not reload."""
    driver = drive(1, "dead")
    for _ in range(5):
        assert not driver.of(engines.StartsFailed)
        one_more_death(driver)
        driver.ahead += starts.BACKOFF_MAX
    (told,) = driver.of(engines.StartsFailed)
    assert told.failures == 5
    assert "without a mouth" in told.reason
    assert told.retry_s <= starts.BACKOFF_MAX
    for _ in range(5):
        one_more_death(driver)
        driver.ahead += starts.BACKOFF_MAX
    assert len(driver.of(engines.StartsFailed)) == 1
    assert not driver.of(engines.VoiceBreakerOpened)


class Crew:
    """Looks at every turn how many workers are at work."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.fewest = len(driver.pool.workers)

    def until(self, condition: Callable[[], Any]) -> None:
        def look() -> Any:
            at_work = [each for each in self.driver.pool.workers if each.state not in {"starting", "stopping"}]
            self.fewest = min(self.fewest, len(at_work))
            return condition()

        self.driver.until(look)


def test_workers_are_replaced_after_so_many_utterances_one_at_a_time(drive: Callable[..., Driver]) -> None:
    """All three are due at once, and two are at work at any time."""
    driver = drive(3, recycle_after=2).ready(3)
    before = driver.pids()
    crew = Crew(driver)
    gate = driver.folder / "gate"
    for ticket in range(6):
        driver.speak(ticket, f"wait {gate}")
    gate.touch()
    crew.until(lambda: driver.pids().isdisjoint(before) and driver.pool.slots.idle == 3)
    assert crew.fewest == 2
    assert all(isinstance(driver.ending(ticket), engines.Done) for ticket in range(6))
    recycled = driver.of(engines.WorkerRecycled)
    assert {event.pid for event in recycled} == before
    assert {event.reason for event in recycled} == {"it has spoken 2 utterances"}
    assert driver.deaths() == []
    assert len(driver.pool.workers) == 3


def test_what_waits_for_a_worker_that_is_replaced_is_spoken_by_it(drive: Callable[..., Driver]) -> None:
    """Nothing is lost, returned or charged, and its successor is started meanwhile."""
    driver = drive(1, recycle_after=1).ready(1)
    (pid,) = driver.pids()
    first, second = driver.folder / "first", driver.folder / "second"
    driver.speak(1, f"wait {first}")
    driver.speak(2, f"wait {second}")
    first.touch()
    driver.until(lambda: driver.of(engines.WorkerRecycled))
    assert driver.of(engines.WorkerRecycled)[0].pid == pid
    driver.ready(1)
    assert [(worker.state, worker.pid == pid) for worker in driver.pool.workers] == [
        ("stopping", True),
        ("idle", False),
    ]
    second.touch()
    assert isinstance(driver.ending(1), engines.Done)
    assert isinstance(driver.ending(2), engines.Done)
    driver.until(lambda: len(driver.pool.workers) == 1)


def test_a_worker_that_has_grown_is_replaced(drive: Callable[..., Driver]) -> None:
    """It says its memory with each answer; at the limit it stays."""
    driver = drive(1, max_rss=1000).ready(1)
    pids = driver.pids()
    driver.speak(1, "rss 1000")
    assert isinstance(driver.ending(1), engines.Done)
    driver.ready(1)
    assert driver.pids() == pids
    driver.speak(2, "rss 1001")
    driver.until(lambda: driver.of(engines.WorkerRecycled))
    assert driver.of(engines.WorkerRecycled)[0].reason == "it has 1001 bytes in memory"
    driver.ready(1)
    assert driver.pids().isdisjoint(pids)


def test_by_itself_the_pool_replaces_nobody(drive: Callable[..., Driver]) -> None:
    """Zero is off, for both."""
    driver = drive(1, recycle_after=0, max_rss=0).ready(1)
    pids = driver.pids()
    for ticket in range(5):
        ask(driver, ticket, voice("warm", "d"))
        driver.until(lambda: driver.pool.slots.idle)
    driver.speak(9, f"rss {1 << 40}")
    driver.ending(9)
    driver.ready(1)
    assert driver.pids() == pids
