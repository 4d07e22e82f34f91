"""When the store is to give way to the disk that it lies on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from piperd.gate import Gate, Limits, free_bytes

if TYPE_CHECKING:
    from pathlib import Path


def shortage(state: Path, share: float) -> int:
    """With so much free as this share of the least that must be."""
    gate = Gate(
        Limits(int((free_bytes(state.parent) or 0) / share), 1, 1),
        outbox=state,
        state=state,
        errand=lambda _: None,
        post=lambda _: None,
        hold=lambda _: None,
        allow=lambda _: None,
    )
    return gate.shortage()


@pytest.mark.parametrize(("share", "missing"), [(1.15, 0.0), (1.05, 0.15), (0.5, 0.7)])
def test_the_store_gives_way_before_files_are_refused(tmp_path: Path, share: float, missing: float) -> None:
    """From a tenth above the least that must be free, until a fifth above it is."""
    least = (free_bytes(tmp_path) or 0) / share
    # others write to this disk, too
    assert shortage(tmp_path, share) == pytest.approx(least * missing, abs=least * 0.02)


def test_a_disk_that_can_not_be_looked_at_asks_for_nothing(tmp_path: Path) -> None:
    """Nothing is removed on a suspicion."""
    assert shortage(tmp_path / "away", 0.5) == 0
