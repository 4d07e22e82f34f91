"""Keeps the store and the ledger within their bounds, a little in each turn of the loop. Main thread only.

A look through the whole store may take seconds, so a thread of its own does that. What goes is decided and removed
here, where it is known what jobs need.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog

from piperd.eviction import Eviction
from piperd.store import Stock, Store, take_stock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from piperd.eviction import Entry
    from piperd.ledger import Ledger

log = structlog.get_logger()

STOCK_INTERVAL = 6 * 3600.0
"""Seconds between two looks through a store that is not too large: its size is kept track of meanwhile."""
CROWDED_WAIT, CROWDED_WAIT_EACH = 5.0, 2e-4
"""Seconds until the next look, where the last one has found nothing that may go: at least, and for each entry, so that
looks (some microseconds an entry) take no more than a few hundredths of the time."""
ROOM_INTERVAL = 5.0
"""Seconds between two looks at the disk."""
FORGET_INTERVAL = 3600.0
"""Seconds between two looks whether there are jobs to be forgotten."""
CANDIDATES = 4096
"""Entries that a look names; a bound on memory, not on what may go."""
FORGET_PAUSE = 0.1
"""Seconds between two batches of them, each of which costs an fsync."""
ENTRIES_A_TURN = 32
ROWS_A_TURN = 200
PAGES_A_TURN = 256
"""Bounds on what a turn of the loop does here: each takes a few milliseconds."""
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept; 0 sets no bound."""

    store: int
    """Bytes."""
    days: int
    """Since the end of a job."""
    jobs: int
    """That are delivered."""


@dataclass(frozen=True, slots=True)
class StockTaken:
    """The store was looked through; or it could not be, and why."""

    stock: Stock | None
    error: str = ""


def in_background(action: Callable[[], None]) -> None:
    """Run this on a thread of its own, which does not keep the process from ending."""
    threading.Thread(target=action, name="piperd-store", daemon=True).start()


class Housekeeping:
    """Clears away what is no longer needed."""

    def __init__(
        self,
        bounds: Bounds,
        folder: Path,
        ledger: Ledger,
        *,
        post: Callable[[StockTaken], None],
        shortage: Callable[[], int],
        errand: Callable[[Callable[[], None]], None] = in_background,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`folder` is the store's. `shortage` gives the bytes that the disk of the state is short of."""
        self._eviction = Eviction(bounds.store)
        self.store = Store(folder, changed=self._store_changed, wall=wall)
        self._bounds = bounds
        self._ledger = ledger
        self._post = post
        self._shortage = shortage
        self._errand = errand
        self._wall = wall
        self._looking = False
        self._last_look = float("-inf")
        self._came_meanwhile = 0
        self._crowded_wait = CROWDED_WAIT
        self._seen_too_large = self._told_crowded = self._told_stuck = False
        self._forgotten = 0
        self._next_room = self._next_forgetting = float("-inf")

    @property
    def bounds(self) -> Bounds:
        """How much is kept."""
        return self._bounds

    @bounds.setter
    def bounds(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._eviction.set_bound(bounds.store)
        self._next_forgetting = float("-inf")

    def tick(self, now: float) -> None:
        """Do a little of what is due."""
        if now >= self._next_room:
            self._next_room = now + ROOM_INTERVAL
            self._eviction.give_way(self._shortage())
        self._eviction.evict(self._remove, ENTRIES_A_TURN)
        self._tell_if_crowded()
        if now >= self._next_look():
            self._look(now)
        if now >= self._next_forgetting:
            self._forget(now)

    def next_due(self) -> float:
        """When `tick` has something to do (monotonic seconds); a look at the disk waits for the next turn."""
        if self._eviction.excess and not self._eviction.blind:
            return float("-inf")
        return min(self._next_forgetting, self._next_look())

    def stock_taken(self, taken: StockTaken) -> None:
        """The store was looked through."""
        self._looking = False
        if taken.stock is None:
            log.warning("store_unreadable", error=taken.error)
            return
        # what came meanwhile may have been seen or not: too large a figure is put right by the next look
        self._eviction.looked_through(taken.stock.size + self._came_meanwhile, taken.stock.oldest)
        self._seen_too_large = self._eviction.excess > 0
        self._crowded_wait = max(CROWDED_WAIT, taken.stock.entries * CROWDED_WAIT_EACH)
        log.debug("store_looked_through", entries=taken.stock.entries, bytes=taken.stock.size)

    @property
    def _crowded(self) -> bool:
        """There is too much, and the last look has found nothing that could go."""
        return self._seen_too_large and self._eviction.blind and self._eviction.fruitless

    def _store_changed(self, by: int) -> None:
        self._eviction.changed(by)
        self._came_meanwhile += max(0, by)

    def _next_look(self) -> float:
        if self._looking:
            return float("inf")
        if not self._eviction.blind:
            return self._last_look + STOCK_INTERVAL
        # more may be found at once, but where nothing could go, it is in use
        return self._last_look + (self._crowded_wait if self._crowded else 0.0)

    def _look(self, now: float) -> None:
        self._looking, self._last_look, self._came_meanwhile = True, now, 0
        look = partial(take_stock, self.store.folder, self.store.held(), CANDIDATES)

        def action() -> None:
            try:
                taken = StockTaken(look())
            except OSError as error:
                taken = StockTaken(None, str(error))
            self._post(taken)

        self._errand(action)

    def _remove(self, entry: Entry) -> int:
        try:
            return self.store.evict(entry)
        except OSError as error:
            if not self._told_stuck:
                self._told_stuck = True
                log.warning("store_entry_stays", path=str(self.store.path(entry.key)), error=str(error))
            return 0

    def _tell_if_crowded(self) -> None:
        if not self._eviction.excess:
            self._told_crowded = self._told_stuck = False
        elif self._crowded and not self._told_crowded:
            self._told_crowded = True
            log.warning(
                "store_too_large",
                bytes=self._eviction.size,
                excess_bytes=self._eviction.excess,
                hint="Jobs that run need all of it; a larger store.max_bytes or more room on the disk helps.",
            )

    def _forget(self, now: float) -> None:
        """Some of the jobs that are too old or too many; when there are none, give back pages of the ledger."""
        number = 0
        if self._bounds.jobs:
            surplus = self._ledger.totals().kept - self._bounds.jobs
            number = self._ledger.forget(float("inf"), min(surplus, ROWS_A_TURN))
        if not number and self._bounds.days:
            number = self._ledger.forget(self._wall() - self._bounds.days * DAY, ROWS_A_TURN)
        self._forgotten += number
        if number or self._ledger.shrink(PAGES_A_TURN):
            self._next_forgetting = now + FORGET_PAUSE
            return
        if self._forgotten:
            log.info("jobs_forgotten", jobs=self._forgotten)
            self._forgotten = 0
        self._next_forgetting = now + FORGET_INTERVAL
