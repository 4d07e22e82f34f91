"""The daemon is killed before each of its system calls that changes a file, and each of them fails: nothing is lost.

`make torture` has all cases, about 100 kills, 420 second kills and 730 errors. Every run of the tests has a share of
them, spread evenly and always the same: 32 kills, 16 second kills, 22 errors that come once and 8 that last.
"""

from __future__ import annotations

import itertools
import queue
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import pytest

from crash import tracing
from crash.aftermath import Finding, count
from crash.lane import NAMES, PATIENCE, THREADS, Lane
from harness import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from crash.tally import Tally
    from crash.tracing import Call

Case = TypeVar("Case")
Result = TypeVar("Result")

LANES = 2
"""Cases that are tried at the same time."""
LASTS = 0.7
"""Seconds that a lasting fault lasts."""
ERRORS = ("ENOSPC", "EIO", "EACCES", "ESTALE")
RARER = ("EROFS", "EDQUOT")
KILLS, SECOND_KILLS, FAILURES, LASTING_FAILURES = 32, 16, 22, 8
"""The share of the cases that every run of the tests has."""
ALL = 1_000_000


@dataclass(frozen=True, slots=True)
class Fault:
    """What is to go wrong."""

    thread: str
    call: Call
    what: str
    options: tuple[str, ...]
    """For strace."""
    lasting: bool = False

    def __str__(self) -> str:
        return f"{self.what}{' for a while' if self.lasting else ''} in {self.thread} at {self.call}"


class Outcome(NamedTuple):
    """What has come of a case."""

    bit: bool
    """Whether the fault has shown: the same call need not come again in each run."""
    found: list[Finding]


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Lane]]:
    top = tmp_path_factory.mktemp("lanes")
    if (reason := tracing.impediment(top / "strace")) != "":
        pytest.skip(reason)
    with ExitStack() as stack:
        yield [stack.enter_context(Lane(top / str(number))) for number in range(LANES)]


@pytest.fixture(scope="module")
def life(lanes: list[Lane]) -> dict[str, list[Call]]:
    """All that each thread does for one job, from the drop to the end of the daemon."""
    lane = lanes[0]
    lane.lay_out(lane.fresh)
    running = lane.start()
    with lane.trace(running.threads.values()) as strace:
        lane.drop()
        wait_for(lane.ended, "the job's end")
        wait_for(running.still, "an idle daemon")
        running.ask_to_stop()
        assert running.code.result(PATIENCE) == 0, lane.log()
        strace.wait()
        return {name: tracing.read(strace.record(thread)) for name, thread in running.threads.items()}


def spread(cases: Sequence[Case], wanted: int) -> list[Case]:
    """Some of them, evenly, the first and the last among them."""
    if len(cases) <= wanted:
        return list(cases)
    return [cases[round(number * (len(cases) - 1) / (wanted - 1))] for number in range(wanted)]


def in_lanes(
    lanes: Sequence[Lane], work: Callable[[Lane, Case], Result], cases: Iterable[Case]
) -> Iterator[tuple[Case, Result]]:
    """Try all cases, each in a lane that is free."""
    free: queue.SimpleQueue[Lane] = queue.SimpleQueue()
    for lane in lanes:
        free.put(lane)

    def try_one(case: Case) -> tuple[Case, Result]:
        lane = free.get()
        try:
            return case, work(lane, case)
        finally:
            free.put(lane)

    with ThreadPoolExecutor(len(lanes)) as pool:
        yield from pool.map(try_one, cases)


def comes(condition: Callable[[], object]) -> bool:
    """Wait for a condition; False if it does not come."""
    try:
        return bool(wait_for(condition, patience=PATIENCE))
    except AssertionError:
        return False


def judge(tally: Tally, row: str, outcomes: Iterable[tuple[Case, Outcome]]) -> None:
    """Count cases, and fail if anything was wrong in one of them."""
    wrong, bit, cases = [], 0, 0
    for case, outcome in outcomes:
        count(tally, row, outcome.found)
        bit, cases = bit + outcome.bit, cases + 1
        wrong += [f"{case}\n    {finding.kind}: {finding.message}" for finding in outcome.found]
    assert not wrong, f"{len(wrong)} faults in {cases} cases\n" + "\n".join(wrong)
    assert bit >= 0.8 * cases, f"only {bit} of {cases} faults have shown"


def kill_at(lane: Lane, fault: Fault) -> bool:
    """Let the daemon do a job, and die of it; False if it did not."""
    lane.lay_out(lane.fresh)
    running = lane.start()
    with lane.trace([running.threads[fault.thread]], fault.options):
        lane.drop()
        wait_for(lambda: running.code.done() or lane.ended(), f"the end of the job, or of the daemon: {fault}")
        running.ask_to_stop()
        return running.code.result(PATIENCE) == -signal.SIGKILL


def kill_and_recover(lane: Lane, fault: Fault) -> Outcome:
    return Outcome(kill_at(lane, fault), lane.recover())


def endure(lane: Lane, fault: Fault) -> Outcome:
    """Let the daemon do a job while something fails; it must outlive that and bring the job to an end."""
    lane.lay_out(lane.fresh)
    running = lane.start()
    thread = running.threads[fault.thread]
    with lane.trace([thread], fault.options) as strace:
        lane.drop()
        if fault.lasting:
            comes(lambda: strace.bit(thread) or running.code.done() or lane.ended())
            time.sleep(LASTS)
            strace.detach()
        ended = comes(lambda: running.code.done() or lane.ended())
        running.ask_to_stop()
        code = running.code.result(2 * PATIENCE)
        bit = strace.bit(thread)
    found = lane.heard()
    if code != 0:
        found.append(Finding("lost", f"the daemon ended with {code}: …{lane.log()[-1500:]}"))
    elif not ended:
        found.append(Finding("lost", f"the job did not end: …{lane.log()[-1500:]}"))
    # a file that piperd may not read is taken for somebody else's
    return Outcome(bit, found + lane.recover(NAMES if fault.what == "EACCES" else NAMES[:1]))


def test_no_job_is_lost_by_a_kill_at_any_system_call(
    lanes: list[Lane], life: dict[str, list[Call]], tally: Tally, torture: bool
) -> None:
    """Whichever call of a thread is the last one, the next start ends the job once, with whole outputs."""
    cases = [
        Fault(thread, call, "KILL", tuple(tracing.kill(call)))
        for thread, calls in life.items()
        for call in calls
        if call.changes and call.touches(lanes[0].box.top)
    ]
    assert {case.thread for case in cases} == set(THREADS)
    judge(
        tally, "kill at each system call", in_lanes(lanes, kill_and_recover, cases if torture else spread(cases, KILLS))
    )


@dataclass(frozen=True, slots=True)
class Prepared:
    """Something that a first kill leaves."""

    name: str
    thread: str
    sign: Callable[[Call], bool]
    """Tells the call at which it is left."""
    rows: list[tuple[str, int]]
    """What the ledger says of the job: state and whether it is delivered."""

    def __str__(self) -> str:
        return self.name


PREPARED = (
    Prepared("a claim that was not accepted", "main", lambda call: "/ledger" in call.arguments, []),
    Prepared(
        "a running job", "main", lambda call: call.name == "rename" and "/store/" in call.arguments, [("running", 0)]
    ),
    Prepared("a rendered job", "piperd-courier", lambda call: "-0.tmp" in call.arguments, [("running", 0)]),
    Prepared(
        "a job whose end was not told",
        "piperd-courier",
        lambda call: call.name == "rename" and "-status.tmp" in call.arguments,
        [("done", 0)],
    ),
)


def recovered_twice(
    lane: Lane, prepared: Prepared, life: dict[str, list[Call]], share: int
) -> list[tuple[str, Outcome]]:
    """Kill the start after a kill as well, in as many ways as `share` says."""
    call = next(call for call in life[prepared.thread] if prepared.sign(call) and call.changes)
    assert kill_at(lane, Fault(prepared.thread, call, "KILL", tuple(tracing.kill(call))))
    assert lane.ledger() == prepared.rows
    kept = lane.keep("prepared")
    cases = []
    for thread in THREADS:
        lane.lay_out(kept)
        running = lane.start_held(thread)
        with lane.trace([running.threads[thread]]) as strace:
            assert running.code.result(PATIENCE) == 0, lane.log()
            strace.wait()
            calls = tracing.read(strace.record(running.threads[thread]))
        cases += [(thread, call) for call in calls if call.changes and call.touches(lane.box.top)]
    outcomes = []
    for thread, call in spread(cases, share):
        lane.lay_out(kept)
        running = lane.start_held(thread)
        with lane.trace([running.threads[thread]], tracing.kill(call)):
            killed = running.code.result(PATIENCE) == -signal.SIGKILL
        outcomes.append((f"{prepared}, then {thread}: {call}", Outcome(killed, lane.recover())))
    return outcomes


def test_no_job_is_lost_by_a_second_kill_during_the_recovery(
    lanes: list[Lane], life: dict[str, list[Call]], tally: Tally, torture: bool
) -> None:
    """The start after a kill may be killed as well, whatever it found."""
    share = ALL if torture else SECOND_KILLS // len(PREPARED)
    tried = in_lanes(lanes, lambda lane, each: recovered_twice(lane, each, life, share), PREPARED)
    judge(tally, "second kill in recovery", itertools.chain.from_iterable(outcomes for _, outcomes in tried))


def test_the_daemon_outlives_each_failing_system_call(
    lanes: list[Lane], life: dict[str, list[Call]], tally: Tally, torture: bool
) -> None:
    """A call that fails once costs a moment: the job is done, the daemon stays, and its log has no traceback."""
    places = [(thread, call) for thread, calls in life.items() for call in calls if call.touches(lanes[0].box.top)]
    cases = [Fault(*place, error, tuple(tracing.fail(place[1], error))) for place in places for error in ERRORS]
    rarer = [Fault(*place, error, tuple(tracing.fail(place[1], error))) for place in places[::8] for error in RARER]
    judge(
        tally,
        "error at each system call",
        in_lanes(lanes, endure, cases + rarer if torture else spread(cases, FAILURES)),
    )


def test_the_daemon_outlives_a_disk_that_fails_for_a_while(
    lanes: list[Lane], life: dict[str, list[Call]], tally: Tally, torture: bool
) -> None:
    """From some call on all that a thread asks of its disks fails; when they are well again all goes on."""
    errors = itertools.cycle(ERRORS)
    cases = [
        Fault(thread, call, error := next(errors), tuple(tracing.fail_from(call, calls, error)), lasting=True)
        for thread, calls in life.items()
        for call in calls
        if call.touches(lanes[0].box.top) and not call.stopping
    ]
    judge(
        tally,
        "error at each system call",
        in_lanes(lanes, endure, cases if torture else spread(cases, LASTING_FAILURES)),
    )
