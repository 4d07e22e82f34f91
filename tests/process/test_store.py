"""Spoken utterances on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from piperd.store import Store

if TYPE_CHECKING:
    from pathlib import Path

KEY = "ab" * 32


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store(tmp_path / "store")
    found.prepare()
    return found


def test_the_first_entry_stays(store: Store) -> None:
    """Two jobs may have one sentence spoken at one time, and no two readings are alike: who renders reads twice."""
    for ticket, content in ((1, b"first"), (2, b"second")):
        store.staging(ticket).write_bytes(content)
        store.commit(ticket, KEY)
    assert store.path(KEY).read_bytes() == b"first"
    assert not store.staging(2).exists()


def test_a_dropped_entry_may_come_again(store: Store) -> None:
    """One that did not pass its check makes room."""
    store.staging(1).write_bytes(b"torn")
    store.commit(1, KEY)
    store.drop(KEY)
    assert not store.has(KEY)
    store.staging(2).write_bytes(b"whole")
    store.commit(2, KEY)
    assert store.path(KEY).read_bytes() == b"whole"
