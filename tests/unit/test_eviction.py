"""What leaves the store: by which order, down to which size, and never what is needed."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from piperd.eviction import LOW_WATER, Entry, Eviction, Needs

KEYS = [f"{number:064x}" for number in range(12)]
keys = st.sampled_from(KEYS)
sizes = st.integers(min_value=1, max_value=100)


class Shop:
    """A store in memory, and an eviction that keeps watch over it."""

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.eviction = Eviction(bound)
        self.needs = Needs()
        self.entries: dict[str, Entry] = {}
        self.gone: list[Entry] = []
        self.clock = 0.0

    @property
    def size(self) -> int:
        return sum(entry.size for entry in self.entries.values())

    def put(self, key: str, size: int) -> None:
        self.clock += 1
        if key not in self.entries:
            self.entries[key] = Entry(key, size, self.clock)
            self.eviction.changed(size)

    def use(self, key: str) -> None:
        self.clock += 1
        if key in self.entries:
            self.entries[key] = Entry(key, self.entries[key].size, self.clock)

    def look(self, most: int = 99) -> None:
        idle = [entry for entry in self.entries.values() if entry.key not in self.needs]
        self.eviction.looked_through(self.size, sorted(idle, key=lambda entry: entry.used)[:most])

    def remove(self, entry: Entry) -> int:
        if entry.key in self.needs or self.entries.get(entry.key) != entry:
            return 0
        self.gone.append(self.entries.pop(entry.key))
        return entry.size


@example(dict.fromkeys(KEYS, 10), 100, set(), 0)
@given(st.dictionaries(keys, sizes), st.integers(min_value=0, max_value=600), st.sets(keys), st.integers(0, 600))
def test_the_least_recently_used_go_and_no_more_than_must(
    entries: dict[str, int], bound: int, needed: set[str], short: int
) -> None:
    """What goes is the beginning of the unneeded ones by their last use, and the last of them still had to go."""
    shop = Shop(bound)
    shop.needs.hold("job", needed)
    for key, size in entries.items():
        shop.put(key, size)
    unneeded = [entry for entry in shop.entries.values() if entry.key not in needed]
    before = shop.size
    shop.look()
    shop.eviction.give_way(short)
    goals = [before - short] if short else []
    goals += [int(bound * LOW_WATER)] if 0 < bound < before else []
    shop.eviction.evict(shop.remove, 99)
    assert shop.gone == unneeded[: len(shop.gone)]
    assert shop.eviction.size == shop.size
    if not goals:
        assert shop.gone == []
        return
    assert shop.size <= max(0, min(goals)) or len(shop.gone) == len(unneeded)
    if shop.gone:
        assert shop.size + shop.gone[-1].size > min(goals)


@given(st.lists(st.tuples(keys, sizes), max_size=30), st.integers(min_value=1, max_value=5))
def test_a_turn_does_no_more_than_it_may(entries: list[tuple[str, int]], most: int) -> None:
    """However much there is too much, the loop is not held up."""
    shop = Shop(1)
    for key, size in entries:
        shop.put(key, size)
    shop.look()
    shop.eviction.evict(shop.remove, most)
    assert len(shop.gone) <= most


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sets(keys) | st.none()), max_size=20))
def test_an_entry_is_needed_as_long_as_any_job_needs_it(steps: list[tuple[str, set[str] | None]]) -> None:
    """Jobs share sentences; the first that ends takes nothing from the others."""
    needs, model = Needs(), dict[str, set[str]]()
    for job_id, wanted in steps:
        if wanted is None:
            needs.release(job_id)
            model.pop(job_id, None)
        else:
            needs.hold(job_id, wanted)
            model[job_id] = wanted
        union = set().union(*model.values())
        assert needs.all() == union
        assert {key for key in KEYS if key in needs} == union


def test_before_the_first_look_nothing_goes() -> None:
    """The size is not known then, and what is new must not be taken for all there is."""
    shop = Shop(10)
    shop.put(KEYS[0], 100)
    shop.eviction.give_way(50)
    assert not shop.eviction.excess
    assert not shop.eviction.blind


def test_a_disk_that_has_room_again_asks_for_nothing() -> None:
    """What another program filled and has cleared costs the store no more."""
    shop = Shop(0)
    for key in KEYS:
        shop.put(key, 10)
    shop.look()
    shop.eviction.give_way(100)
    shop.eviction.evict(shop.remove, 1)
    shop.eviction.give_way(0)
    shop.eviction.evict(shop.remove, 99)
    assert len(shop.gone) == 1


class StoreMachine(RuleBasedStateMachine):
    """Jobs come and go, entries are written, used and lost: in the end the bound holds as far as it can."""

    def __init__(self) -> None:
        super().__init__()
        self.shop = Shop(300)
        self.looked = False

    @rule(key=keys, size=sizes)
    def put(self, key: str, size: int) -> None:
        self.shop.put(key, size)

    @rule(key=keys)
    def use(self, key: str) -> None:
        self.shop.use(key)

    @rule(job_id=st.sampled_from("abc"), wanted=st.sets(keys, max_size=4))
    def hold(self, job_id: str, wanted: set[str]) -> None:
        self.shop.needs.hold(job_id, wanted)

    @rule(job_id=st.sampled_from("abc"))
    def release(self, job_id: str) -> None:
        self.shop.needs.release(job_id)

    @rule(most=st.integers(min_value=1, max_value=6))
    def look(self, most: int) -> None:
        self.shop.look(most)
        self.looked = True

    @rule(bound=st.sampled_from([0, 100, 300]))
    def set_bound(self, bound: int) -> None:
        self.shop.bound = bound
        self.shop.eviction.set_bound(bound)

    @rule(most=st.integers(min_value=1, max_value=3))
    def evict(self, most: int) -> None:
        had = {key for key in self.shop.entries if key in self.shop.needs}
        self.shop.eviction.evict(self.shop.remove, most)
        assert had <= self.shop.entries.keys()

    @precondition(lambda self: self.looked)
    @rule()
    def come_to_rest(self) -> None:
        shop = self.shop
        while shop.eviction.excess:
            if shop.eviction.blind:
                shop.look(2)
                if shop.eviction.blind:
                    break  # all is needed
            shop.eviction.evict(shop.remove, 3)
        if shop.bound and shop.size > shop.bound:
            assert all(key in shop.needs for key in shop.entries)

    @invariant()
    def keeps_count(self) -> None:
        assert self.shop.eviction.size == (self.shop.size if self.looked else None)


TestStoreMachine = StoreMachine.TestCase
