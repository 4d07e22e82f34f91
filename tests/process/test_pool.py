"""The pool with real child processes: death, hanging, cancelling, resizing, stopping."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from piperd import engine as engines
from piperd.engine.pool import Pool
from piperd.errors import Code
from process.driver import PATIENCE, voice

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from process.driver import Driver


def test_it_speaks_what_it_is_given(drive: Callable[..., Driver]) -> None:
    """Each task is started once and done once, its file is there, and the worker is idle again."""
    driver = drive(2).ready(2)
    for ticket in range(2):
        driver.speak(ticket, f"text {ticket}")
    for ticket in range(2):
        assert isinstance(driver.ending(ticket), engines.Done)
        assert (driver.folder / f"{ticket}.utt").read_text() == f"text {ticket}"
    assert len(driver.of(engines.Started)) == 2
    assert driver.pool.slots == engines.Slots(2, 0)
    assert {worker.voices for worker in driver.pool.workers} == {("warm",)}


def test_there_is_room_for_one_task_ahead_of_each_speaking_worker(drive: Callable[..., Driver]) -> None:
    """Slots count idle workers, then one waiting task each; more is a fault of the caller."""
    driver = drive(1).ready(1)
    gate = driver.folder / "gate"
    driver.speak(1, f"wait {gate}")
    assert driver.pool.slots == engines.Slots(0, 1)
    driver.speak(2, "ahead")
    assert driver.pool.slots == engines.Slots(0, 0)
    with pytest.raises(RuntimeError, match="no slot"):
        driver.speak(3, "too much")
    gate.touch()
    assert isinstance(driver.ending(2), engines.Done)


def test_without_prefetch_there_is_no_room_ahead(drive: Callable[..., Driver]) -> None:
    """A busy worker takes nothing."""
    driver = drive(1, prefetch=False).ready(1)
    driver.speak(1, "hang")
    assert driver.pool.slots == engines.Slots(0, 0)


def test_a_voice_goes_to_the_worker_that_has_it(drive: Callable[..., Driver]) -> None:
    """Loading a voice takes longer than a sentence, so the one that has it is preferred."""
    driver = drive(3).ready(3)
    other = voice("other", "e")
    driver.speak(1, "first", other)
    driver.ending(1)
    holder = next(worker.worker for worker in driver.pool.workers if "other" in worker.voices)
    for ticket in range(2, 6):
        driver.speak(ticket, "again", other)
        ending = driver.ending(ticket)
        assert isinstance(ending, engines.Done)
        assert ending.worker == holder


def test_a_new_voice_goes_to_the_worker_with_the_fewest(drive: Callable[..., Driver]) -> None:
    """A worker that has as many as it may hold would drop one that is asked for again."""
    driver = drive(2).ready(2)
    for ticket, letter in enumerate("abcdef"):
        driver.speak(ticket, "first", voice(letter, letter))
        driver.ending(ticket)
    counts = [len(worker.voices) for worker in driver.pool.workers]
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("signal SIGSEGV", "killed by SIGSEGV"),
        ("signal SIGKILL", "killed by SIGKILL"),
        ("exit 3", "exit code 3"),
        ("exit 0", "exit code 0"),
    ],
)
def test_death_is_charged_to_the_task_in_hand_only(drive: Callable[..., Driver], text: str, how: str) -> None:
    """The task in its hands is lost, the one in its pipe returned, the worker replaced, the other one untouched."""
    driver = drive(2).ready(2)
    gate = driver.folder / "gate"
    driver.speak(1, f"wait {gate}")
    driver.speak(2, text)
    driver.speak(3, "ahead")  # behind the first: it has been at work for longer
    driver.speak(4, "ahead")
    lost = driver.ending(2)
    assert isinstance(lost, engines.Lost)
    assert lost.failure.code is Code.WORKER_DIED
    assert lost.failure.retryable
    assert lost.failure.message == f"A worker died while it spoke with the voice 'warm': {how}."
    assert driver.ending(4) == engines.Returned(4)
    gate.touch()
    assert isinstance(driver.ending(3), engines.Done)
    driver.ready(2)
    (reason,) = driver.deaths()
    assert reason.startswith(how)
    assert ("last words" in reason) == text.startswith("exit")


def test_an_answer_given_just_before_death_counts(drive: Callable[..., Driver]) -> None:
    """A worker that dies with an order unread makes the kernel say "connection reset" before its last answer."""
    driver = drive(1).ready(1)
    gate = driver.folder / "gate"
    driver.speak(1, f"answer-and-die {gate}")
    driver.started(1)
    driver.speak(2, "ahead")
    gate.touch()
    assert isinstance(driver.ending(1), engines.Done)
    assert driver.ending(2) == engines.Returned(2)
    driver.ready(1)


@pytest.mark.parametrize("text", ["hang", "signal SIGSTOP"])
def test_a_task_past_its_deadline_is_lost(drive: Callable[..., Driver], text: str) -> None:
    """The worker is killed, also when it is stopped and can't even handle a signal."""
    driver = drive(1, utterance_timeout=0.2).ready(1)
    driver.speak(1, text)
    driver.speak(2, "ahead")
    deadline = driver.pool.next_deadline()
    assert deadline is not None
    assert deadline - time.monotonic() <= 0.2
    lost = driver.ending(1)
    assert isinstance(lost, engines.Lost)
    assert lost.failure.code is Code.SYNTHESIS_FAILED
    assert lost.failure.message == "It did not end within 0.2 s."
    assert driver.ending(2) == engines.Returned(2)
    assert driver.deaths() == ["killed: it spoke with the voice 'warm' for more than 0.2 s"]
    driver.ready(1)


def test_a_task_that_never_begins_is_nobodys_fault(drive: Callable[..., Driver]) -> None:
    """A worker that does not even say that it has begun is killed as well, and the task returned."""
    driver = drive(1, utterance_timeout=0.2).ready(1)
    driver.speak(1, "mute")
    assert driver.ending(1) == engines.Returned(1)
    assert len(driver.deaths()) == 1


@pytest.mark.parametrize("text", ["nonsense", "other"])
def test_a_worker_that_talks_nonsense_is_replaced(drive: Callable[..., Driver], text: str) -> None:
    """Its task ends, and the next worker does well."""
    driver = drive(1).ready(1)
    driver.speak(1, text)
    driver.ending(1)
    driver.ready(1)
    driver.speak(2, "fine")
    assert isinstance(driver.ending(2), engines.Done)
    assert len(driver.deaths()) == 1


def test_failures_are_passed_on_and_the_worker_lives(drive: Callable[..., Driver]) -> None:
    """What the worker says of a task is what the main thread hears."""
    driver = drive(1).ready(1)
    pids = driver.pids()
    driver.speak(1, "fail")
    failed = driver.ending(1)
    assert isinstance(failed, engines.Failed)
    assert failed.failure.code is Code.VOICE_BROKEN
    assert driver.pids() == pids


def test_corrupt_entries_arrive_however_many_there_are(drive: Callable[..., Driver]) -> None:
    """1,200 names are more than a message holds."""
    driver = drive(1).ready(1)
    item = engines.RenderItem(driver.folder / "corrupt", 0.0, 0)
    driver.pool.render(1, engines.RenderPlan([item], 22_050, None, driver.folder))
    failed = driver.ending(1)
    assert isinstance(failed, engines.Failed)
    assert failed.corrupt == tuple(f"{number:064x}" for number in range(1200))


def test_a_rendering_worker_has_no_room_ahead(drive: Callable[..., Driver]) -> None:
    """Nobody waits behind a book, and its state can be seen."""
    driver = drive(1).ready(1)
    item = engines.RenderItem(driver.folder / "hang", 0.0, 0)
    driver.pool.render(1, engines.RenderPlan([item], 22_050, None, driver.folder))
    driver.started(1)
    assert driver.pool.slots == engines.Slots(0, 0)
    assert [(worker.state, worker.ticket) for worker in driver.pool.workers] == [("rendering", 1)]


def test_cancelling_what_is_in_hand_replaces_the_worker(drive: Callable[..., Driver]) -> None:
    """The task and the one behind it are returned; nobody is reported dead."""
    driver = drive(1).ready(1)
    (pid,) = driver.pids()
    driver.speak(1, "hang")
    driver.speak(2, "ahead")
    driver.started(1)
    driver.pool.cancel(1)
    assert driver.ending(1) == engines.Returned(1)
    assert driver.ending(2) == engines.Returned(2)
    driver.ready(1)
    assert driver.pids() != {pid}
    assert driver.deaths() == []


def test_cancelling_what_waits_returns_it_at_once(drive: Callable[..., Driver]) -> None:
    """The worker skips it, and goes on with what comes next."""
    driver = drive(1).ready(1)
    (pid,) = driver.pids()
    gate = driver.folder / "gate"
    driver.speak(1, f"wait {gate}")
    driver.speak(2, "never spoken")
    driver.started(1)
    driver.pool.cancel(2)
    assert driver.ending(2) == engines.Returned(2)
    gate.touch()
    driver.ready(1)
    assert isinstance(driver.ending(1), engines.Done)
    assert not (driver.folder / "2.utt").exists()
    assert driver.pids() == {pid}


def test_cancelling_an_unknown_task_does_nothing(drive: Callable[..., Driver]) -> None:
    """It may just have ended."""
    driver = drive(1).ready(1)
    driver.pool.cancel(17)
    assert driver.pool.slots.idle == 1


def test_resizing_up_starts_more(drive: Callable[..., Driver]) -> None:
    """They get numbers of their own."""
    driver = drive(1).ready(1)
    driver.pool.resize(3)
    driver.ready(3)
    assert [worker.worker for worker in driver.pool.workers] == [1, 2, 3]


def test_resizing_down_lets_the_busy_finish(drive: Callable[..., Driver]) -> None:
    """Idle ones go first; a busy one ends when it has done what it holds."""
    driver = drive(3).ready(3)
    gate = driver.folder / "gate"
    driver.speak(1, f"wait {gate}")
    driver.pool.resize(1)
    driver.until(lambda: len(driver.pool.workers) == 1)
    assert driver.pool.workers[0].ticket == 1
    driver.speak(2, "ahead")
    driver.pool.resize(0)
    assert driver.pool.workers[0].state == "stopping"
    assert driver.pool.slots == engines.Slots(0, 0)
    gate.touch()
    driver.until(lambda: not driver.pool.workers)
    assert isinstance(driver.ending(1), engines.Done)
    assert isinstance(driver.ending(2), engines.Done)
    assert driver.deaths() == []


def test_stopping_waits_for_what_is_in_hand(drive: Callable[..., Driver]) -> None:
    """Within the grace the task in hand is finished; the one that waits is returned."""
    driver = drive(2).ready(2)
    gate = driver.folder / "gate"
    driver.speak(1, f"wait {gate}")
    driver.speak(2, "hang")
    driver.pool.cancel(2)
    driver.ending(2)
    driver.ready(1)
    driver.speak(3, f"wait {gate}")
    driver.speak(4, "ahead")
    driver.started(1)
    driver.started(3)
    threading.Timer(0.05, gate.touch).start()
    driver.events += driver.pool.stop(PATIENCE)
    assert isinstance(driver.ending(1), engines.Done)
    assert isinstance(driver.ending(3), engines.Done)
    assert driver.ending(4) == engines.Returned(4)
    assert driver.pool.workers == []


def test_stopping_kills_what_does_not_end(drive: Callable[..., Driver]) -> None:
    """A stopped or hanging worker can't hold up the shutdown; its task is returned uncharged."""
    driver = drive(2).ready(2)
    driver.speak(1, "hang")
    driver.speak(2, "signal SIGSTOP")
    driver.started(1)
    driver.started(2)
    driver.events += driver.pool.stop(0.1)
    assert driver.endings(1) == [engines.Returned(1)]
    assert driver.endings(2) == [engines.Returned(2)]


def test_stopping_takes_workers_that_are_still_starting(drive: Callable[..., Driver]) -> None:
    """They are killed at once: nothing is lost with them."""
    driver = drive(2, "deaf")
    begin = time.monotonic()
    driver.events += driver.pool.stop(PATIENCE)
    assert time.monotonic() - begin < PATIENCE / 2
    assert driver.deaths() == []


def test_failed_starts_are_tried_again_ever_more_rarely(drive: Callable[..., Driver]) -> None:
    """Each death says why; workers that fail together count once."""
    driver = drive(2, "dead")
    driver.until(lambda: len(driver.of(engines.WorkerDied)) >= 4)
    assert set(driver.deaths()) == {"exit code 1 (this worker | was built | without a mouth)"}
    deadline = driver.pool.next_deadline()
    assert deadline is not None
    assert 0.5 < deadline - time.monotonic() <= 1.0
    assert driver.pool.workers == []


def test_a_worker_that_never_gets_ready_is_replaced(drive: Callable[..., Driver]) -> None:
    """It has `start_timeout` for it."""
    driver = drive(1, "deaf", start_timeout=0.2)
    driver.until(lambda: driver.of(engines.WorkerDied))
    assert driver.deaths() == ["killed: it was not ready within 0.2 s"]


def test_a_command_that_can_not_be_run_is_reported(tmp_path: Path) -> None:
    """A start that fails in the daemon's own process is a death like others."""
    mail: queue.SimpleQueue[engines.Mail] = queue.SimpleQueue()
    pool = Pool(1, post=mail.put, command=[str(tmp_path / "missing")])
    pool.start(None)
    (died,) = pool.receive(mail.get(timeout=PATIENCE))
    assert isinstance(died, engines.WorkerDied)
    assert "could not be started" in died.reason
    assert pool.next_deadline() is not None
    assert list(pool.stop(0.0)) == []


def test_a_worker_killed_while_idle_is_replaced(drive: Callable[..., Driver]) -> None:
    """For example by the kernel, for want of memory."""
    driver = drive(2).ready(2)
    os.kill(driver.pool.workers[0].pid, signal.SIGKILL)
    driver.until(lambda: driver.of(engines.WorkerDied))
    driver.ready(2)
    assert driver.deaths() == ["killed by SIGKILL"]


def test_a_message_that_is_too_long_fails_its_task(drive: Callable[..., Driver]) -> None:
    """It never reaches the worker."""
    driver = drive(1).ready(1)
    driver.speak(1, "a" * 200_000)
    assert isinstance(driver.ending(1), engines.Failed)
    assert driver.pool.slots.idle == 1
