"""Names that lie in a folder: kept small, and listed anew as often as it may cost."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from piperd.listings import FOLDERS, SHARE, Listings
from piperd.nameset import NameSet


@given(names=st.sets(st.text()), others=st.sets(st.text()))
def test_a_name_set_is_a_set(names: set[str], others: set[str]) -> None:
    """It has what was put in, and nothing else."""
    found = NameSet([*names, *names])
    assert len(found) == len(names)
    assert {name for name in names | others if name in found} == names


@dataclass
class Disk:
    """A disk whose folders take time to list, and a clock that shows it."""

    now: float = 100.0
    cost: float = 0.5
    looks: int = 0

    def look(self, folder: str) -> frozenset[str]:
        self.now += self.cost
        self.looks += 1
        return frozenset({f"{folder}-{self.looks}"})


def test_a_listing_costs_a_share_of_the_time() -> None:
    """Asked all the time, a folder is listed for a twentieth of it; a listing that is not fresh says so."""
    disk = Disk()
    listings = Listings(disk.look, lambda: disk.now)
    for _ in range(10_000):
        before = disk.looks
        listing = listings.of("a")
        assert listing.fresh == (disk.looks > before)
        assert f"a-{disk.looks}" in listing.names
        disk.now += 0.05
    spent = disk.looks * disk.cost
    assert 0.9 < spent / (disk.now - 100.0) * (SHARE + 1) < 1.1


def test_what_costs_nothing_is_listed_each_time() -> None:
    """A small folder has no stale listing, whatever else has."""
    disk = Disk(cost=0.0)
    listings = Listings(disk.look, lambda: disk.now)
    assert all(listings.of("a").fresh for _ in range(10))


def test_listings_are_not_kept_for_ever() -> None:
    """However many folders there are, a bounded number is remembered, and a new one has its turn again later."""
    disk = Disk()
    listings = Listings(disk.look, lambda: disk.now)
    for number in range(10 * FOLDERS):
        listings.of(str(number))
    assert len(listings._kept) <= FOLDERS
    disk.now += 1000.0
    assert listings.of("new").fresh
    assert not listings.of("new").fresh
