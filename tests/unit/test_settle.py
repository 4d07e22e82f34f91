"""Settling: no file is taken while it changes, each is taken once it has stopped, and none waits for another."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piperd.settle import LONGEST_PAUSE, SPARSE_LIMIT, Fingerprint, Lease, Look, Settler, Sign, Step

QUIET = 0.3
EMPTY = 10.0
INCOMPLETE = 5.0
FILE = Fingerprint(device=1, inode=2, size=5, mtime_ns=10, ctime_ns=10)
PLAIN = Look(FILE, lease=Lease.FREE)


def settler() -> Settler:
    return Settler(empty_grace=EMPTY, incomplete_grace=INCOMPLETE)


def follow(
    it: Settler, path: bytes, look: Look, now: float, patience: float = 3600.0
) -> tuple[Step, float, list[float]]:
    """Look whenever it is due, at a file that changes no more: the outcome, when it came, and all the looks."""
    looks = []
    end = now + patience
    while now < end:
        when = it.next_due()
        assert when is not None, "nothing is due, but it waits"
        now = max(now, when)
        for each in it.due(now):
            looks.append(now)
            if each == path and (step := it.look(path, look, now)) is not Step.WAIT:
                return step, now, looks
    return Step.WAIT, now, looks


def test_renamed_in_and_free_is_taken_at_once() -> None:
    """The way programs should drop files costs no wait."""
    it = settler()
    it.note(b"a.txt", Sign.RENAMED_IN, 7.0, quiet=QUIET)
    assert it.due(7.0) == [b"a.txt"]
    assert it.look(b"a.txt", PLAIN, 7.0) is Step.TAKE


def test_renamed_in_without_a_lease_settles() -> None:
    """Where nobody can tell whether it is still open, a rename proves nothing."""
    it = settler()
    it.note(b"a.txt", Sign.RENAMED_IN, 0.0, quiet=QUIET)
    step, when, _ = follow(it, b"a.txt", replace(PLAIN, lease=Lease.UNKNOWN), 0.0)
    assert (step, when) == (Step.TAKE, QUIET)


def test_renamed_in_but_still_open_settles_after_the_close() -> None:
    """A rename through SMB comes before its close."""
    it = settler()
    it.note(b"a.txt", Sign.RENAMED_IN, 0.0, quiet=QUIET)
    it.due(0.0)
    assert it.look(b"a.txt", replace(PLAIN, lease=Lease.HELD), 0.0) is Step.WAIT
    it.note(b"a.txt", Sign.CLOSED, 2.0, quiet=QUIET)
    step, when, _ = follow(it, b"a.txt", PLAIN, 2.0)
    assert (step, when) == (Step.TAKE, 2.0 + QUIET)


def test_renamed_in_with_an_open_writer_behind_it() -> None:
    """What was written under an earlier name and not closed is not taken, lease or none."""
    it = settler()
    it.note(b"a.txt", Sign.RENAMED_IN, 0.0, quiet=QUIET, unclosed=True)
    unknown = replace(PLAIN, lease=Lease.UNKNOWN)
    assert follow(it, b"a.txt", unknown, 0.0)[0] is Step.WAIT
    it.note(b"a.txt", Sign.CLOSED, 4000.0, quiet=QUIET)
    assert follow(it, b"a.txt", unknown, 4000.0)[:2] == (Step.TAKE, 4000.0 + QUIET)


def test_a_found_file_settles() -> None:
    """At the start there are no events: one look is not enough."""
    it = settler()
    it.note(b"a.txt", Sign.FOUND, 0.0, quiet=QUIET)
    step, when, looks = follow(it, b"a.txt", PLAIN, 0.0)
    assert (step, when) == (Step.TAKE, QUIET)
    assert len(looks) == 2


def test_another_file_under_the_name_starts_anew() -> None:
    """What was seen of the old one says nothing about the new one."""
    it = settler()
    it.note(b"a.txt", Sign.FOUND, 0.0, quiet=QUIET)
    it.due(0.0)
    it.look(b"a.txt", replace(PLAIN, lease=Lease.UNKNOWN), 0.0)
    other = Look(replace(FILE, inode=3), lease=Lease.UNKNOWN)
    it.due(QUIET)
    assert it.look(b"a.txt", other, QUIET) is Step.WAIT
    assert follow(it, b"a.txt", other, QUIET)[:2] == (Step.TAKE, 2 * QUIET)


def test_a_held_file_waits_for_ever_and_less_and_less_often() -> None:
    """It is never dropped, and costs next to nothing."""
    it = settler()
    it.note(b"a.txt", Sign.CLOSED, 0.0, quiet=QUIET)
    step, _, looks = follow(it, b"a.txt", replace(PLAIN, lease=Lease.HELD), 0.0, patience=3600.0)
    assert step is Step.WAIT
    assert max(b - a for a, b in itertools.pairwise(looks)) == pytest.approx(LONGEST_PAUSE)
    assert len(looks) < 3600 / LONGEST_PAUSE + 30
    assert "open" in it.waiting()[0].reason


def test_a_granted_lease_makes_up_for_a_lost_close() -> None:
    """The kernel knows better than the absence of an event."""
    it = settler()
    it.note(b"a.txt", Sign.WRITTEN, 0.0, quiet=QUIET)
    assert follow(it, b"a.txt", PLAIN, 0.0)[:2] == (Step.TAKE, QUIET)


def test_lost_events_end_the_wait_for_a_close() -> None:
    """After an overflow the close may have been among them."""
    it = settler()
    it.note(b"a.txt", Sign.WRITTEN, 0.0, quiet=QUIET)
    unknown = replace(PLAIN, lease=Lease.UNKNOWN)
    assert follow(it, b"a.txt", unknown, 0.0, patience=60.0)[0] is Step.WAIT
    it.assume_closed(60.0)
    step, when, _ = follow(it, b"a.txt", unknown, 60.0)
    assert step is Step.TAKE
    assert when < 60.0 + 2 * LONGEST_PAUSE


@pytest.mark.parametrize(
    ("look", "outcome", "grace"),
    [
        (replace(PLAIN, fingerprint=replace(FILE, size=0)), Step.FAIL_EMPTY, EMPTY),
        (replace(PLAIN, links=2), Step.FAIL_KIND, EMPTY),
        (replace(PLAIN, regular=False), Step.FAIL_KIND, QUIET),
        (replace(PLAIN, lease=Lease.UNKNOWN, sparse=True), Step.TAKE, 10 * QUIET),
    ],
)
def test_graces(look: Look, outcome: Step, grace: float) -> None:
    """Each rung has its own patience, counted from the last change, and its own end."""
    it = settler()
    it.note(b"a.txt", Sign.CLOSED, 0.0, quiet=QUIET)
    step, when, _ = follow(it, b"a.txt", look, 0.0)
    assert step is outcome
    assert when == pytest.approx(grace)


def test_holes_are_never_waited_for_long() -> None:
    """On a file system that compresses, every text has them."""
    it = settler()
    it.note(b"a.txt", Sign.FOUND, 0.0, quiet=2.0)
    assert follow(it, b"a.txt", replace(PLAIN, sparse=True), 0.0)[:2] == (Step.TAKE, SPARSE_LIMIT)


def test_content_that_ends_too_early() -> None:
    """It is waited for since its last change, then taken as it is; a change starts it anew."""
    it = settler()
    it.note(b"a.json", Sign.RENAMED_IN, 0.0, quiet=QUIET)
    it.due(0.0)
    assert it.look(b"a.json", PLAIN, 0.0) is Step.TAKE
    assert it.ends_too_early(b"a.json", 0.0)
    assert "early" in it.waiting()[0].reason
    step, when, _ = follow(it, b"a.json", PLAIN, 0.0)
    assert (step, when) == (Step.TAKE, INCOMPLETE)
    assert not it.ends_too_early(b"a.json", when)
    it.note(b"a.json", Sign.CLOSED, 6.0, quiet=QUIET)
    assert follow(it, b"a.json", Look(replace(FILE, size=9), lease=Lease.FREE), 6.0)[:2] == (Step.TAKE, 6.0 + QUIET)


def test_kept_back_until_woken() -> None:
    """What is held is ready at once afterwards, unless it changed."""
    it = settler()
    it.note(b"a.txt", Sign.RENAMED_IN, 0.0, quiet=QUIET)
    it.due(0.0)
    assert it.look(b"a.txt", PLAIN, 0.0) is Step.TAKE
    it.keep_back(b"a.txt", "later")
    assert it.next_due() is None
    assert it.due(1e9) == []
    assert [each.reason for each in it.waiting()] == ["later"]
    it.wake(100.0)
    assert it.due(100.0) == [b"a.txt"]
    assert it.look(b"a.txt", PLAIN, 100.0) is Step.TAKE


def test_gone_is_forgotten() -> None:
    """One, those in a folder, or all; nothing of them is due any more."""
    it = settler()
    for path in (b"a.txt", b"f/a.txt", b"f/g/a.txt", b"fa.txt"):
        it.note(path, Sign.FOUND, 0.0, quiet=QUIET)
    it.forget_below(b"f")
    assert [each.source for each in it.waiting()] == [b"a.txt", b"fa.txt"]
    it.forget(b"a.txt")
    it.forget(b"a.txt")
    assert it.due(9.0) == [b"fa.txt"]
    it.clear()
    assert (it.waiting(), it.next_due()) == ((), None)


def test_a_look_that_fails_comes_again() -> None:
    """Whoever was told of a candidate and then stumbled does not lose it."""
    it = settler()
    it.note(b"a.txt", Sign.FOUND, 0.0, quiet=QUIET)
    assert it.due(0.0) == [b"a.txt"]
    assert it.due(0.0) == []
    assert it.due(LONGEST_PAUSE) == [b"a.txt"]


@dataclass
class Writer:
    """A program at work on a file, and what a look then sees."""

    it: Settler
    quiet: float
    look: Look
    has_lease: bool
    open: bool = False
    changed: float = 0.0

    def act(self, action: str, now: float) -> None:
        if action == "write":
            self.open = True
            self._change(now, size=1)
            self.it.note(b"a.txt", Sign.WRITTEN, now, quiet=self.quiet)
        elif action == "close" and self.open:
            self.open, self.changed = False, now
            self.it.note(b"a.txt", Sign.CLOSED, now, quiet=self.quiet)
        elif action == "touch":  # nothing announces it
            self._change(now, size=0)
        elif action == "scan":
            self.it.note(b"a.txt", Sign.FOUND, now, quiet=self.quiet)

    def see(self) -> Look:
        known = Lease.HELD if self.open else Lease.FREE
        return replace(self.look, lease=known if self.has_lease else Lease.UNKNOWN)

    def _change(self, now: float, size: int) -> None:
        before = self.look.fingerprint
        after = replace(before, size=before.size + size, ctime_ns=before.ctime_ns + 1)
        self.look, self.changed = replace(self.look, fingerprint=after), now


def taken(writer: Writer, until: float) -> bool:
    """Look whenever it is due; whether it was taken, and if so, rightly."""
    while (when := writer.it.next_due()) is not None and when <= until:
        for path in writer.it.due(when):
            if writer.it.look(path, writer.see(), when) is not Step.WAIT:
                assert not writer.open
                assert when - writer.changed >= writer.quiet - 1e-9
                return True
    return False


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "close", "touch", "nothing", "scan"]),
        st.floats(min_value=0.001, max_value=2.0),
    ),
    max_size=30,
)


@given(steps=STEPS, has_lease=st.booleans(), quiet=st.sampled_from([0.05, 0.3, 2.0]), sparse=st.booleans())
def test_never_while_it_changes_and_always_in_the_end(
    steps: list[tuple[str, float]], *, has_lease: bool, quiet: float, sparse: bool
) -> None:
    """Whatever a writer does, it is not taken between a write and its close, nor before it was quiet; then it is."""
    writer = Writer(settler(), quiet, Look(FILE, sparse=sparse), has_lease)
    now = 0.0
    writer.act("scan", now)
    for action, pause in steps:
        writer.act(action, now)
        now += pause
        if taken(writer, now):
            return
    writer.act("close", now)
    assert taken(writer, now + SPARSE_LIMIT + 2 * LONGEST_PAUSE + quiet)


@given(names=st.lists(st.binary(min_size=1, max_size=3), unique=True, min_size=1, max_size=20), held=st.data())
def test_order_of_arrival_and_no_waiting_for_others(names: list[bytes], held: st.DataObject) -> None:
    """Those that are ready come in the order in which they were seen first, whoever else is not."""
    stuck = set(held.draw(st.lists(st.sampled_from(names))))
    it = settler()
    for number, name in enumerate(names):
        it.note(name, Sign.CLOSED, number * 1e-6, quiet=QUIET)
    taken = []
    for now in (1.0, 2.0, 3.0):
        for path in it.due(now):
            look = replace(PLAIN, lease=Lease.HELD) if path in stuck else PLAIN
            if it.look(path, look, now) is Step.TAKE:
                taken.append(path)
                it.forget(path)
    assert taken == [name for name in names if name not in stuck]
    assert [each.source for each in it.waiting()] == [name for name in names if name in stuck]


@given(signs=st.lists(st.sampled_from(Sign), min_size=1, max_size=50))
def test_one_look_at_a_time(signs: list[Sign]) -> None:
    """However much is heard of a file, it is due once."""
    it = settler()
    for sign in signs:
        it.note(b"a.txt", sign, 1.0, quiet=QUIET)
    assert it.due(1.0) == [b"a.txt"]
    assert it.due(1.0) == []
