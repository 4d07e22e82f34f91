"""What is spoken next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from piperd.scheduler import STALE, Pick, Retry, Scheduler


def drain(scheduler: Scheduler, lengths: dict[str, int], now: float) -> list[str]:
    """Hand out all that can be handed out now; gives the job of each utterance."""
    order = []
    while (pick := scheduler.next(now)) is not None:
        if pick.index is None:
            scheduler.open(pick.job_id, range(lengths[pick.job_id]))
        else:
            order.append(pick.job_id)
    return order


def test_equal_jobs_go_in_order_of_acceptance() -> None:
    """First in, first out; the utterances of a job in their order."""
    scheduler = Scheduler()
    for seq, job in enumerate("abc"):
        scheduler.add(job, seq=seq, priority=5, now=0.0)
    assert drain(scheduler, dict.fromkeys("abc", 2), 0.0) == list("aabbcc")


def test_higher_priority_goes_first() -> None:
    """9 before 5 before 0, whenever they came."""
    scheduler = Scheduler()
    for seq, (job, priority) in enumerate((("low", 0), ("mid", 5), ("high", 9))):
        scheduler.add(job, seq=seq, priority=priority, now=0.0)
    assert drain(scheduler, dict.fromkeys(("low", "mid", "high"), 1), 0.0) == ["high", "mid", "low"]


def test_equals_take_turns_when_fair() -> None:
    """In the order "fair", no job waits for the whole of another of its priority; a higher one still goes first."""
    scheduler = Scheduler(order="fair")
    scheduler.add("a", seq=1, priority=5, now=0.0)
    scheduler.add("b", seq=2, priority=5, now=0.0)
    scheduler.add("z", seq=3, priority=6, now=0.0)
    assert drain(scheduler, {"a": 3, "b": 3, "z": 2}, 0.0) == list("zzababab")


def test_waiting_raises_the_priority() -> None:
    """A job gains one step every `aging` seconds, so that nothing starves."""
    scheduler = Scheduler(aging=600.0)
    scheduler.add("old", seq=1, priority=3, now=0.0)
    scheduler.add("new", seq=2, priority=5, now=1_199.0)
    assert scheduler.next(1_199.0) == Pick("new", None)
    assert scheduler.next(1_200.0) == Pick("old", None)


def test_aging_can_be_off() -> None:
    """With `aging` 0 a low priority waits for ever."""
    scheduler = Scheduler(aging=0.0)
    scheduler.add("old", seq=1, priority=3, now=0.0)
    scheduler.add("new", seq=2, priority=5, now=1e9)
    assert scheduler.next(1e9) == Pick("new", None)


def test_a_delayed_job_waits_and_is_announced() -> None:
    """A retry is not handed out before its time, and the loop knows when to wake."""
    scheduler = Scheduler()
    scheduler.add("a", seq=1, priority=5, now=0.0, not_before=2.0)
    assert scheduler.next(1.9) is None
    assert scheduler.next_due() == 2.0
    assert scheduler.next(2.0) == Pick("a", None)
    scheduler.remove("a")
    assert scheduler.next_due() is None


def test_a_retry_is_not_woken_by_its_earlier_delay() -> None:
    """A job that failed again waits for its new, longer delay."""
    scheduler = Scheduler()
    scheduler.add("a", seq=1, priority=5, now=0.0, not_before=2.0)
    scheduler.remove("a")
    scheduler.add("a", seq=1, priority=5, now=1.0, not_before=9.0)
    assert scheduler.next(2.5) is None
    assert scheduler.next(9.0) == Pick("a", None)


def test_an_utterance_that_is_put_back_goes_next() -> None:
    """What a worker could not finish is spoken before the rest of its job."""
    scheduler = Scheduler()
    scheduler.add("a", seq=1, priority=5, now=0.0)
    scheduler.next(0.0)
    scheduler.open("a", [0, 1])
    assert scheduler.next(0.0) == Pick("a", 0)
    assert scheduler.next(0.0) == Pick("a", 1)
    assert scheduler.next(0.0) is None
    scheduler.put_back("a", 0)
    assert scheduler.next(0.0) == Pick("a", 0)


def test_put_back_of_an_ended_job_is_nothing() -> None:
    """A late return does not bring a job back."""
    scheduler = Scheduler()
    scheduler.put_back("gone", 0)
    assert scheduler.next(0.0) is None


def test_retries_grow_to_a_limit() -> None:
    """Delays double from `backoff` to `backoff_max`."""
    retry = Retry(backoff=2.0, backoff_max=30.0)
    assert [retry.delay(attempt) for attempt in (1, 2, 3, 4, 5, 99)] == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


jobs = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4), st.integers(0, 900)), max_size=8)


@given(jobs, st.sampled_from(["fifo", "fair"]), st.lists(st.booleans(), max_size=30))
def test_everything_is_handed_out_exactly_once(
    jobs: list[tuple[int, int, int]], order: str, returns: list[bool]
) -> None:
    """Whatever comes, at whatever time, with whatever returns: each utterance ends handed out once."""
    scheduler = Scheduler(order=order)
    lengths = {str(seq): length for seq, (_, length, _) in enumerate(jobs)}
    now = 0.0
    for seq, (priority, _, delay) in enumerate(jobs):
        now += delay
        scheduler.add(str(seq), seq=seq, priority=priority, now=now, not_before=now + delay)
    done: list[tuple[str, int]] = []
    in_hand: list[tuple[str, int]] = []
    while True:
        pick = scheduler.next(now)
        if pick is None:
            if in_hand:
                done.append(in_hand.pop())
            elif (due := scheduler.next_due()) is not None and due > now:
                now = due
            else:
                break
        elif pick.index is None:
            scheduler.open(pick.job_id, range(lengths[pick.job_id]))
        elif returns and returns.pop():
            scheduler.put_back(pick.job_id, pick.index)
        else:
            in_hand.append((pick.job_id, pick.index))
        now += 100.0
    assert sorted(done) == sorted((job, index) for job, length in lengths.items() for index in range(length))


@given(st.lists(st.integers(0, 9), min_size=2, max_size=10))
def test_no_lower_priority_before_a_higher_one(priorities: list[int]) -> None:
    """Among jobs that came at once, priority decides, and acceptance among equals."""
    scheduler = Scheduler()
    for seq, priority in enumerate(priorities):
        scheduler.add(str(seq), seq=seq, priority=priority, now=0.0)
    order = [int(job) for job in drain(scheduler, {str(seq): 1 for seq in range(len(priorities))}, 0.0)]
    assert order == sorted(range(len(priorities)), key=lambda seq: (-priorities[seq], seq))


def test_jobs_that_have_ended_leave_nothing() -> None:
    """However many there were: what is kept is bounded, and a job that has waited all the time gains its steps."""
    scheduler = Scheduler(aging=600.0)
    scheduler.add("old", seq=0, priority=4, now=0.0)
    scheduler.add("late", seq=1, priority=9, now=0.0, not_before=100.0)
    for seq in range(2, 20 * STALE):
        scheduler.add(str(seq), seq=seq, priority=9, now=1.0, not_before=50.0 * (seq % 2))
        scheduler.remove(str(seq))
    assert len(scheduler._steps) + len(scheduler._delayed) < 3 * STALE
    scheduler.add("new", seq=20 * STALE, priority=4, now=2.0)
    assert scheduler.next_due() == 100.0
    assert drain(scheduler, dict.fromkeys(("old", "late", "new"), 1), 600.5) == ["late", "old", "new"]
    scheduler.add("older", seq=30 * STALE, priority=4, now=700.0)
    scheduler.add("higher", seq=40 * STALE, priority=5, now=1301.0)
    assert drain(scheduler, {"older": 1, "higher": 1}, 1301.0) == ["older", "higher"]
