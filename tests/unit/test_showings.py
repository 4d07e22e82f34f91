"""When status files are due: soon, then once a second at most, whatever else waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from piperd.showings import INTERVAL, Showings

if TYPE_CHECKING:
    from collections.abc import Sequence

JOBS = st.sampled_from("abc")
STEPS = st.lists(st.tuples(st.sampled_from(["want", "unwant", "forget", "wait"]), JOBS, st.floats(0, 0.7)), max_size=40)


@given(steps=STEPS)
def test_it_is_as_if_every_job_was_looked_at(steps: Sequence[tuple[str, str, float]]) -> None:
    """A job is due if it was wanted since it was shown, and that is a second ago; `next_due` says when the next is."""
    showings, now = Showings(), 100.0
    shown: dict[str, float] = {}
    wanted: set[str] = set()
    for step, job, pause in steps:
        match step:
            case "want":
                showings.want(job)
                wanted.add(job)
            case "unwant":
                showings.unwant(job)
                wanted.discard(job)
            case "forget":
                showings.forget(job)
                wanted.discard(job)
                shown.pop(job, None)
            case _:
                now += pause
        times = {each: shown[each] + INTERVAL if each in shown else float("-inf") for each in wanted}
        assert showings.next_due() == min(times.values(), default=None)
        if step == "wait":
            due = {each for each, when in times.items() if when <= now}
            found = list(showings.due(now))
            assert (sorted(found), set(found)) == (sorted(due), due)
            wanted -= due
            shown |= dict.fromkeys(due, now)


def test_nothing_is_kept_of_what_is_no_more() -> None:
    """A hundred thousand jobs later it is as small as at the beginning."""
    showings = Showings()
    for number in range(1000):
        showings.want(str(number))
        assert list(showings.due(float(number))) == [str(number)]
        showings.want(str(number))
        showings.forget(str(number))
        assert showings.next_due() is None
    assert not any(vars(showings).values())
