"""The courier: errands of one job in order and one at a time, those of many jobs side by side."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import PATIENCE, wait_for
from piperd.courier import HELPERS, Courier, Returned

if TYPE_CHECKING:
    from collections.abc import Iterator

STOP = 10.0


class Gate:
    """Holds whoever comes until it is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.waiting = 0
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self.waiting += 1
        assert self.opened.wait(PATIENCE)


@pytest.fixture
def returned() -> list[Returned]:
    return []


@pytest.fixture
def courier(returned: list[Returned]) -> Iterator[Courier]:
    made = Courier(returned.append)
    made.start()
    yield made
    assert made.stop(STOP)


def helpers() -> list[str]:
    """The threads that have come to help."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("piperd-courier-")]


@given(jobs=st.lists(st.integers(0, 4), max_size=60))
def test_errands_of_one_job_are_run_in_order_and_never_two_at_once(jobs: list[int]) -> None:
    """However many threads help: each job sees its errands as if there were one thread, and is told in that order."""
    returned: list[Returned] = []
    courier = Courier(returned.append)
    courier.start()
    begun: dict[str, list[int]] = defaultdict(list)
    inside: set[str] = set()
    clashes: list[str] = []
    gate = Gate()

    def action(job_id: str, number: int) -> None:
        if job_id in inside:
            clashes.append(job_id)
        inside.add(job_id)
        begun[job_id].append(number)
        gate()
        inside.discard(job_id)

    for number, job in enumerate(jobs):
        courier.send(str(job), str(number), lambda job=job, number=number: action(str(job), number))  # type: ignore[misc]
    gate.opened.set()
    assert courier.stop(STOP)
    assert not clashes
    told: dict[str, list[int]] = defaultdict(list)
    for back in returned:
        told[back.job_id].append(int(back.errand))
    wanted: dict[str, list[int]] = defaultdict(list)
    for number, job in enumerate(jobs):
        wanted[str(job)].append(number)
    assert begun == wanted
    assert told == wanted


def test_many_errands_are_run_side_by_side_and_helpers_leave(courier: Courier, returned: list[Returned]) -> None:
    """While one waits for its disk, others do too, so many at most; when nothing waits, one thread is left."""
    gate = Gate()
    for number in range(100):
        courier.send(str(number), "publish", gate)
    wait_for(lambda: gate.waiting == HELPERS + 1, "all threads")
    assert len(helpers()) == HELPERS
    gate.opened.set()
    wait_for(lambda: len(returned) == 100, "all errands")
    wait_for(lambda: not helpers(), "the helpers' end")


def test_one_job_alone_needs_no_help(courier: Courier, returned: list[Returned]) -> None:
    """Threads cost: what one can do at once is done by one."""
    gate = Gate()
    courier.send("a", "publish", gate)
    courier.send("", "look", gate)
    wait_for(lambda: gate.waiting == 1, "the first errand")
    assert not helpers()
    gate.opened.set()
    wait_for(lambda: len(returned) == 2, "both errands")


def test_progress_waits_and_the_newer_takes_the_place_of_the_older(courier: Courier, returned: list[Returned]) -> None:
    """What only shows progress is run last, once for each job, and never beside another errand of its job."""
    gate, shown = Gate(), []
    courier.send("a", "publish", gate)
    wait_for(lambda: gate.waiting == 1, "the first errand")
    for job_id in ("a", "b", "c"):
        courier.lazily(job_id, "show", lambda job_id=job_id: shown.append(f"old {job_id}"))  # type: ignore[misc]
        courier.lazily(job_id, "show", lambda job_id=job_id: shown.append(f"new {job_id}"))  # type: ignore[misc]
    courier.send("c", "deliver", lambda: shown.append("end of c"))
    gate.opened.set()
    wait_for(lambda: len(returned) == 4, "all errands")
    assert shown == ["end of c", "new a", "new b"]


def test_what_goes_wrong_is_told_and_harms_no_other(courier: Courier, returned: list[Returned]) -> None:
    """Of all errands, also of those that helpers run."""
    gate = Gate()

    def fail() -> None:
        gate()
        raise OSError("no room")

    for number in range(30):
        courier.send(str(number), "publish", fail if number % 2 else gate)
    gate.opened.set()
    wait_for(lambda: len(returned) == 30, "all errands")
    assert {back.job_id for back in returned if back.error is not None} == {str(number) for number in range(1, 30, 2)}


def test_an_errand_that_hangs_is_left_behind() -> None:
    """Stopping runs what is left and waits so long for what hangs, whichever thread has it; others are not held up."""
    returned: list[Returned] = []
    courier = Courier(returned.append)
    courier.start()
    stuck = Gate()
    for number in range(40):
        courier.send(str(number), "publish", stuck if number < HELPERS else lambda: None)
    wait_for(lambda: len(returned) == 40 - HELPERS, "what does not hang")
    assert not courier.stop(0.01)
    stuck.opened.set()
    assert courier.stop(STOP)
    assert len(returned) == 40
