"""Ledger, store and outbox through all that users, disks and kills do to them, in whatever order: nothing is lost."""

from __future__ import annotations

import errno
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest
import structlog
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from crash.life import Broken
from crash.rig import CANNOT_FAIL, File, Rig
from crash.tally import COLUMNS
from crash.witness import Witness
from harness import Box
from piperd import folders
from piperd.parts import InboxOnline

if TYPE_CHECKING:
    from crash.life import Life
    from crash.tally import Tally
    from piperd.job import Job

ROW = "state machine"
EXAMPLES, TORTURED = 100, 2000
STEPS = 40
PATIENCE = {"publish": 30, "deliver": 30}
"""Steps until an errand that comes for sure; others may never come, and all else would be done meanwhile."""
MEMORY = Path("/dev/shm")
"""Where a case costs no wear; power losses are tested elsewhere."""
STEMS = ("story", "Story", "STORY", "tale")
COMMON = ("It rains.", "It is fine.")
"""Sentences that many jobs have: what one has spoken the others find in the store."""
KINDS = ("text", "scenes", "broken", "silence", "dying", "failing", "torn", "hasty")
ONCE = [errno.ENOSPC, errno.EIO, errno.ENOENT]
PASSING = [errno.ENOSPC, errno.EIO, errno.ESTALE]
alive = precondition(lambda self: self.rig.life is not None)
dead = precondition(lambda self: self.rig.life is None)
many = st.integers(min_value=0, max_value=30)
few = st.integers(min_value=0, max_value=4)
some = st.integers(min_value=0, max_value=16)
again = st.integers(min_value=-1, max_value=16)
errands = st.sampled_from(["publish", "deliver", "show", "withdraw", "sort_out", ""])
"""That is waited for; empty: any."""
names = st.sampled_from(["{}.wav", "{}.srt", "{}/02.wav", "{}.json", "{}-2.wav", "{}-2.json", "{}-3.json"])
things = st.sampled_from(["file", "file", "link", "folder"])
bounds = st.sampled_from([0, 1, 700, 1500])
"""Bytes of the store: without bound, nothing, two entries, four."""
hows = st.sampled_from(["torn", "flipped", "gone"])


lots = st.lists(
    st.builds(
        File,
        st.sampled_from(KINDS),
        st.sampled_from(STEMS),
        st.sampled_from(["", "", "tales/"]),
        st.lists(st.sampled_from(COMMON), max_size=2),
        st.integers(min_value=1, max_value=4),
    ),
    min_size=1,
    max_size=3,
)


class Machine(RuleBasedStateMachine):
    """One box."""

    tally: ClassVar[Tally]

    def __init__(self) -> None:
        super().__init__()
        self._top = Path(tempfile.mkdtemp(prefix="piperd-machine-", dir=MEMORY if MEMORY.is_dir() else None))
        self.rig = Rig(Box(self._top))
        self.witness = Witness(self.rig)
        self._rivals = 0
        self._silence = structlog.testing.capture_logs()
        self.log = self._silence.__enter__()

    @initialize(rivals=st.integers(min_value=0, max_value=9), bound=bounds, dropped=lots, steps=some)
    def begin(self, rivals: int, bound: int, dropped: list[File], steps: int) -> None:
        self.rig.store_bound = bound
        self._rivals = int(rivals == 7)  # its patience costs a third of a second
        self.submit(dropped, 0)
        self.rig.start()
        self._go_on(steps)

    # what users do

    @rule(dropped=lots, steps=some)
    def submit(self, dropped: list[File], steps: int) -> None:
        for file in dropped:
            self.rig.drop(file)
        if self.rig.life is not None:
            self._work("take", 0)
            self._go_on(steps)

    @alive
    @rule(which=many, steps=few)
    def cancel(self, which: int, steps: int) -> None:
        life = self._go_on(steps)
        jobs = sorted(life.delivery.open_jobs)
        if jobs and life.desk.cancel(job_id := jobs[which % len(jobs)], self.rig.now):
            self.rig.asked(job_id)

    @alive
    @rule(workers=st.integers(min_value=1, max_value=3), steps=some)
    def resize(self, workers: int, steps: int) -> None:
        self.rig.workers = workers
        self._go_on(steps).engine.resize(workers)

    @alive
    @rule(bound=bounds, steps=some)
    def evict(self, bound: int, steps: int) -> None:
        """Somebody makes the store smaller; some seconds later what it has too much may go."""
        self.rig.store_bound = bound
        self.rig.now += 60.0
        life = self._go_on(0)
        life.housekeeping.bounds = life.bounds
        self._go_on(steps)

    @precondition(lambda self: self.rig.away is None)
    @rule(stem=st.sampled_from(STEMS), name=names, folder=st.sampled_from(["", "tales"]), thing=things)
    def plant(self, stem: str, name: str, folder: str, thing: str) -> None:
        """Somebody has a file where a job's output may be one day."""
        self.witness.plant(self.rig.box.outbox / folder / name.format(stem), thing)

    @precondition(lambda self: self.rig.life is not None and self.rig.away is None)
    @rule(errand=errands, name=names, thing=things)
    def plant_before(self, errand: str, name: str, thing: str) -> None:
        """Somebody takes a job's name at the last moment."""
        if (job := self._until(errand)) is not None:
            self.witness.plant(self.rig.box.outbox / job.folder / name.format(job.stem), thing)

    @precondition(lambda self: self.rig.life is not None and self._rivals)
    @rule()
    def second_daemon(self) -> None:
        self._rivals -= 1
        with pytest.raises(folders.AlreadyRunningError):
            folders.lock(self.rig.box.state)

    # what time does

    @alive
    @rule(steps=st.lists(st.tuples(st.sampled_from(["hear", "errand", "turn", "take"]), many), max_size=20))
    def work(self, steps: list[tuple[str, int]]) -> None:
        for step, which in steps:
            self._work(step, which)

    @alive
    @rule(steps=many)
    def go_on(self, steps: int) -> None:
        self._go_on(steps)

    @rule(seconds=st.sampled_from([0.3, 1.0, 5.0, 70.0, 400.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.rig.now += seconds

    # what goes wrong

    @alive
    @rule(errand=errands, mishap=st.sampled_from(["before", "after"]), error=st.sampled_from(ONCE))
    def errand_fails(self, errand: str, mishap: str, error: int) -> None:
        self._until(errand)
        self.rig.errand("before" if error == errno.ENOENT else mishap, error=error)

    @alive
    @rule(errand=errands, number=many, error=st.sampled_from(PASSING))
    def errand_fails_within(self, errand: str, number: int, error: int) -> None:
        self._until(errand)
        self.rig.errand("within", number, error)

    @precondition(lambda self: self.rig.away is None)
    @rule(steps=some, minutes=st.integers(min_value=0, max_value=5), back=st.booleans())
    def outbox_goes_away(self, steps: int, minutes: int, *, back: bool) -> None:
        if self.rig.life is not None:
            self._go_on(steps)
        self.rig.unmount()
        for _ in range(minutes):
            if self.rig.life is not None:
                self._go_on(20)
            self.rig.now += 60.0
        if back:
            self.rig.mount()

    @precondition(lambda self: self.rig.away is not None)
    @rule()
    def outbox_comes_back(self) -> None:
        self.rig.mount()

    @alive
    @rule(dropped=lots, steps=some)
    def inbox_comes_back(self, dropped: list[File], steps: int) -> None:
        """Claims that are nobody's are looked for, while others are on their way to acceptance."""
        for file in dropped:
            self.rig.drop(file)
        life = self._work("take", 0)
        life.mailbox.append(InboxOnline())
        for number in range(steps):
            self._work(("hear", "errand", "hear", "errand", "turn")[number % 5], 0)

    @alive
    @rule(steps=some, performed=st.integers(min_value=0, max_value=3), again=again)
    def crash(self, steps: int, performed: int, again: int) -> None:
        self._go_on(steps)
        self.rig.crash(performed)
        self._start_again(again)

    @alive
    @rule(errand=errands, again=again)
    def crash_before(self, errand: str, again: int) -> None:
        self._until(errand)
        self.rig.crash()
        self._start_again(again)

    @alive
    @rule(errand=errands, number=many, again=again)
    def crash_within(self, errand: str, number: int, again: int) -> None:
        self._until(errand)
        self.rig.crash_in_errand(number)
        self._start_again(again)

    @alive
    @rule(steps=some, errands=st.integers(min_value=1, max_value=3), again=again)
    def crash_with_hasty_courier(self, steps: int, errands: int, again: int) -> None:
        self._go_on(steps)
        self.rig.crash_with_hasty_courier(errands)
        self._start_again(again)

    @alive
    @rule(steps=some, number=many, heard=st.integers(min_value=0, max_value=3), again=again)
    def crash_in_turn(self, steps: int, number: int, heard: int, again: int) -> None:
        life = self._go_on(steps)

        def turn() -> None:
            for _ in range(heard):
                life.hear(0)
            life.act()

        self.rig.step(turn, number)
        self._start_again(again)

    @precondition(lambda self: self.rig.spoken)
    @rule(which=many, how=hows)
    def store_is_damaged(self, which: int, how: str) -> None:
        self.rig.damage("store/??/*", which, how)

    @precondition(lambda self: self.rig.life is None and self.rig.rendered)
    @rule(which=many, how=hows)
    def rendering_is_lost(self, which: int, how: str) -> None:
        """What was rendered was not yet on disk; this is known after a power loss alone."""
        self.rig.damage("work/*/**/*.wav", which, how)

    @alive
    @rule(errand=st.sampled_from(["publish", "deliver"]), how=hows, entry=st.booleans(), number=many)
    def power_is_lost(self, errand: str, how: str, entry: bool, number: int) -> None:
        """In the middle of an errand; and neither what was rendered nor what was spoken is surely on disk."""
        self._until(errand)
        self.rig.crash_in_errand(number)
        self.rendering_is_lost(0, how)
        if entry:
            self.store_is_damaged(0, how)

    @dead
    @rule(steps=some)
    def start(self, steps: int) -> None:
        self.rig.start()
        self._go_on(steps)

    @dead
    @rule(number=st.integers(min_value=0, max_value=300))
    def start_in_vain(self, number: int) -> None:
        self.rig.start(power_cut_at=number)

    @alive
    @rule(steps=some, hurry=st.booleans())
    def restart(self, steps: int, hurry: bool) -> None:
        self._go_on(steps).shut_down(hurry=hurry)
        self.rig.committed()
        self.rig.start()

    # what must hold

    @invariant()
    def promises_are_kept(self) -> None:
        self.witness.look()

    def teardown(self) -> None:
        """Without further faults it comes to an end, and a good one."""
        error = sys.exc_info()[1]
        try:
            if error is None:
                self.rig.mount()
                self.rig.drain(self.witness.look)
                self.witness.judge()
                self.rig.drain(self.witness.look)  # what can't be removed in passing is removed at the next start
                self.witness.audit()
        except Broken as broken:
            error = broken
            raise
        finally:
            kind = error.kind if isinstance(error, Broken) else ""
            self.tally.add(ROW, **{kind if kind in COLUMNS else "lost": int(bool(kind))})
            self.rig.crash()
            self.witness.close()
            self._silence.__exit__(None, None, None)
            shutil.rmtree(self._top)

    def _start_again(self, steps: int) -> None:
        """At once, and so far; or not yet."""
        self.witness.look()
        if steps >= 0:
            self.rig.start()
            self._go_on(steps)

    def _work(self, step: str, which: int) -> Life:
        life = self.rig.life
        assert life is not None
        changed = True
        if step == "hear":
            life.hear(which)
            changed = False  # for all others, before the turn is committed
        elif step == "errand":
            changed = self.rig.errand()
        elif step == "take":
            changed = life.take()
        else:
            life.act()
            self.rig.committed()
        if changed:
            self.witness.look()
        return life

    def _go_on(self, steps: int) -> Life:
        """As it goes where nothing goes wrong."""
        life = self.rig.life
        assert life is not None
        for number in range(steps):
            life = self._work(("take", "hear", "turn", "errand")[number % 4], 0)
        return life

    def _until(self, errand: str) -> Job | None:
        """Go on until such an errand is due, as long as there is something to do; gives the job that it is for."""
        life = self.rig.life
        assert life is not None
        for number in range(PATIENCE.get(errand, 6)):
            job_id, name = life.courier.next_errand
            if name == errand or (name and name not in CANNOT_FAIL and not errand):
                return found.job if (found := life.delivery.open_jobs.get(job_id)) else None
            # the errands that are due first are in the way
            self._work("errand" if name else ("take", "hear", "turn")[number % 3], 0)
        return None


def test_whatever_happens_in_whatever_order_every_job_ends_once_and_nothing_is_torn(
    tally: Tally, torture: bool
) -> None:
    """Users, disks, shares and kills in any order: at every step what is seen is whole, in the end all is done."""

    class Counted(Machine):
        pass

    Counted.tally = tally
    run_state_machine_as_test(
        Counted, settings=settings(max_examples=TORTURED if torture else EXAMPLES, stateful_step_count=STEPS)
    )
