"""One daemon's life, made of its real parts, in one thread and without time: it stands still between any two steps.

All but the engine, the courier's thread and the inbox's are what users have.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crash.tripwire import PowerCut
from piperd import engine as engines
from piperd import folders, inbox, results, testing
from piperd.claims import Claims
from piperd.courier import Courier
from piperd.delivery import Delivery
from piperd.descent import Folders
from piperd.desk import Desk
from piperd.gate import Gate, Limits
from piperd.housekeeping import Bounds, Housekeeping
from piperd.inbox.claim import claim
from piperd.intake import InFlight, Intake
from piperd.job import Voice, new_job_id
from piperd.jobfile import Defaults
from piperd.ledger import Ledger
from piperd.outbox import Outbox
from piperd.parts import Parts
from piperd.reception import Reception
from piperd.scheduler import Retry, Scheduler
from piperd.service import Service
from piperd.systemd import Notifier
from piperd.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crash.rig import Rig

VOICE = Voice("en_US-joe-medium", Path("joe.onnx"), Path("joe.onnx.json"), "0" * 64, "en", testing.SAMPLE_RATE)
# sentences with numbers are told from one another by what is spoken
DEFAULTS = Defaults(sentence_pause=0.0, paragraph_pause=0.0, scene_pause=0.01, normalize=False)
ATTEMPTS = 3


class Broken(AssertionError):  # noqa: N818 - it is a promise that is broken, not a program
    """A promise was not kept."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


class StandingCourier(Courier):
    """Keeps errands, in the real one's order, until the next one is to be run."""

    def __init__(self, post: Callable[[Any], None]) -> None:
        super().__init__(post)
        self._stopping = True  # so that nobody waits for errands where there are none
        self.hasty: int | None = None
        """How many errands are run at once, as a thread may do that is faster than the one that sends it: then the
        power is cut."""

    def start(self) -> None:
        pass

    def stop(self, timeout: float) -> bool:  # noqa: ARG002 - nothing hangs here
        while self.step():
            pass
        return True

    def send(self, job_id: str, errand: str, action: Callable[[], object]) -> None:
        super().send(job_id, errand, action)
        if self.hasty is not None:
            self.step()
            self.hasty -= 1
            if self.hasty <= 0:
                raise PowerCut

    @property
    def next_errand(self) -> tuple[str, str]:
        """Whose, and its name; empty where nothing is to be done."""
        if self._errands:
            return self._errands[0][:2]
        return next(((job_id, name) for job_id, (name, _) in self._lazy.items()), ("", ""))

    def step(self, run: Callable[[Callable[[], object]], object] = lambda action: action()) -> bool:
        """Run the next errand; False if there is none."""
        task = self._next()
        if task is None:
            return False
        job_id, errand, action = task
        error: Exception | None = None
        try:
            run(action)
        except Exception as caught:  # noqa: BLE001 - as the real one does
            error = caught
        self._end(job_id, errand, error)
        return True


class NumberedJobs(InFlight):
    """Ids without chance or time, so that a case can be played again."""

    def __init__(self, number: Callable[[], int]) -> None:
        super().__init__()
        self._number = number

    def new(self) -> str:
        job_id = new_job_id(self._number(), bytes(10))
        self._ids.add(job_id)
        return job_id


class WatchedEngine(testing.ScriptedEngine):
    """Remembers what it has rendered, and says so where it was made of what nobody has spoken."""

    def __init__(self, post: Callable[[engines.Mail], None], rig: Rig) -> None:
        super().__init__(post, workers=rig.workers, tone=rig.speak)
        self._faults = rig.faults  # what it does at the next try outlives it
        self._rig = rig

    def perform(self, most: int) -> None:
        """Finish some of what is in hand, of which nobody will hear."""
        for task in list(self._held.values())[:most]:
            task()

    def _render(self, ticket: int, plan: engines.RenderPlan) -> engines.EngineEvent:
        self._check_store(plan)
        event = super()._render(ticket, plan)
        if isinstance(event, engines.Done):
            for item in plan.items:
                if item.file is not None and digest_of(item.file) not in self._rig.spoken:
                    raise Broken("torn", f"{item.file} was rendered, and is not what was spoken")
            result = json.loads((plan.folder / "result.json").read_bytes())
            self._rig.rendered |= dict.fromkeys(digest for _, digest in results.files(result))
        return event

    def _check_store(self, plan: engines.RenderPlan) -> None:
        """What a job that runs has spoken is there, if nobody but piperd was at the store."""
        life = self._rig.life
        if life is None or plan.job_id not in life.desk.running or self._rig.excuses.damaged:
            return
        for item in plan.items:
            if item.file is not None and not Path(item.file).exists():
                raise Broken("lost", f"{item.file} has left the store, though {plan.job_id} needs it")


class Life(Service):
    """One daemon, from its start to its end. What it hears it handles as the service does; the rig says when."""

    def __init__(self, rig: Rig) -> None:
        box = rig.box
        self.rig = rig
        self.from_engine: list[engines.Mail] = []
        self.mailbox: deque[Any] = deque()
        self.takes_files = False
        self._in_hand: list[inbox.Arrival] = []
        self._stopping = self._hurry = False
        self._received = 0
        self._notifier = Notifier({})
        lock = folders.lock(box.state)
        self.turns = Turn(Ledger(box.state / "ledger.sqlite3"))
        self.courier = StandingCourier(self.mailbox.append)
        self.engine = WatchedEngine(self.from_engine.append, rig)
        outbox, scheduler = Outbox(box.outbox), Scheduler()
        in_flight = NumberedJobs(rig.number)
        voices = {VOICE.name: VOICE}
        intake = Intake(outbox, DEFAULTS, voices, self.mailbox.append)
        instance = folders.instance(box.state)
        nobody = inbox.Inbox(  # its thread never starts
            box.inbox, instance=instance, new_id=in_flight.new, hand_over=intake,
            report=lambda *_: None, incomplete=lambda _: False,
        )  # fmt: skip
        self.gate = Gate(
            Limits(0, 1000, 1 << 30), outbox=box.outbox, state=box.state,
            errand=partial(self.courier.send, "", "look_for_room"), post=self.mailbox.append,
            hold=nobody.hold, allow=lambda allowance: nobody.allow(allowance.files, allowance.size),
        )  # fmt: skip
        self.housekeeping = Housekeeping(
            self.bounds, box.state / "store", self.turns.ledger, post=self.mailbox.append,
            shortage=lambda: 0, errand=partial(self.courier.send, "", "take_stock"), wall=rig.wall,
        )  # fmt: skip
        self.delivery = Delivery(
            turn=self.turns, outbox=outbox, courier=self.courier, voices=voices, inbox_folder=box.inbox,
            work=box.state / "work", archive=box.archive, failed=box.failed, tries=ATTEMPTS,
            opened=self.gate.opened, closed=self.gate.closed, points={}, wall=rig.wall,
        )  # fmt: skip
        self.desk = Desk(
            self.turns, scheduler, self.engine, self.housekeeping.store, self.delivery, voices=voices, retry=Retry(),
            max_audio=3600.0, disk_is_full=lambda: self.gate.disk_is_full, wall=rig.wall,
        )  # fmt: skip
        reception = Reception(self.turns, scheduler, self.delivery, in_flight, replace_own=False, wall=rig.wall)
        self._parts = Parts(
            self.turns.ledger, self.turns, scheduler, self.courier, self.engine, self.delivery, reception,
            self.desk, self.gate, self.housekeeping, intake, in_flight, nobody, instance, lock,
        )  # fmt: skip
        self._claims = Claims(box.inbox, self._parts, self.mailbox.append)

    @property
    def bounds(self) -> Bounds:
        """All jobs are remembered: the witness asks for them."""
        return Bounds(self.rig.store_bound, 0, 0)

    def begin(self) -> None:
        """As the service starts."""
        self._parts.engine.start(None)
        self.housekeeping.store.prepare()
        self._parts.reception.restore(self.rig.now)
        self.turns.commit()
        self.delivery.clear_work()
        self.gate.tick(len(self.delivery.open_jobs), self.rig.now)
        self._claims.look(then=partial(setattr, self, "takes_files", True))

    def take(self) -> bool:
        """Claim all that lies in the inbox, or have understood what was claimed; False if there is nothing."""
        if self._in_hand:
            arrivals, self._in_hand = self._in_hand, []
            self._parts.intake(arrivals)
            return True
        if not self.takes_files or self.gate.reason:
            return False
        for path in map(Path, visible(self.rig.box.inbox)):
            job_id = self._parts.in_flight.new()
            source, content = os.fsencode(path.relative_to(self.rig.box.inbox)), path.read_bytes()
            with Folders(self.rig.box.inbox) as opened:
                claimed = claim(opened, source, top=b"", instance=self._parts.instance, job_id=job_id)
            place = os.fsencode(self.rig.box.inbox) + b"/" + claimed
            self.rig.taken[place] = hashlib.sha256(content).hexdigest()
            self._in_hand.append(inbox.Arrival(job_id, source, place, len(content), content, None))
        return bool(self._in_hand)

    def hear(self, which: int) -> bool:
        """Handle one message: any of the engine's, whose workers are as fast as they like, or the oldest other."""
        waiting = len(self.from_engine) + bool(self.mailbox)
        if not waiting:
            return False
        number = which % waiting
        engine = number < len(self.from_engine)
        self._handle(self.from_engine.pop(number) if engine else self.mailbox.popleft(), self.rig.now)
        return True

    def act(self) -> None:
        """The rest of a turn, after what was heard."""
        now = self.rig.now
        self.desk.tick(now)
        self.delivery.tick(now)
        self.gate.tick(len(self.delivery.open_jobs), now)
        self._claims.tick(now)
        if not self._stopping:
            self.housekeeping.tick(now)
            self.desk.dispatch(now)
        self.turns.commit()

    def next_due(self) -> float | None:
        """When something happens by itself."""
        due = [self.desk.next_due(), self.delivery.next_due(), self._claims.next_due()]
        return min((when for when in due if when is not None), default=None)

    def shut_down(self, *, hurry: bool) -> None:
        """As the service ends."""
        self._stopping, self.takes_files = True, False
        if self._in_hand:
            self.take()
        while self.desk.busy and not hurry:
            self._whole_turn()
        self.desk.requeue_all(self.rig.now)
        for _ in self.engine.stop(0.0):
            pass
        self.delivery.show_all()
        self._whole_turn()
        self.courier.stop(0.0)
        self._whole_turn()
        self._close()

    def die(self) -> None:
        """What the kernel does: a transaction that is not committed is no more, and the lock is free."""
        self._close()

    def _whole_turn(self) -> None:
        while self.hear(0):
            pass
        self.act()


def digest_of(path: str | Path) -> str:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - asked a thousand times a second, where paths cost most
        return hashlib.sha256(file.read()).hexdigest()


def visible(folder: Path) -> list[str]:
    """All files in a folder and below that are not hidden, nor in a hidden folder."""
    return sorted(_walk(str(folder), hidden=False))


def everything(folder: Path) -> list[str]:
    """All files in a folder and below."""
    return sorted(_walk(str(folder), hidden=True))


def _walk(folder: str, *, hidden: bool) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if not hidden and entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, hidden=hidden)
            else:
                yield entry.path
