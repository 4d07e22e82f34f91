"""Whether the promises were kept, seen from outside: ledger, folders and status files must agree with one another.

python -m piperd.audit (--config FILE | --inbox D --outbox D --archive D --failed D --state D) [--drained]
                       [--dropped FILE] [--json]

An auditor must not share the errors of what it audits: this program knows the contract, and imports nothing of piperd
but its own parts. It changes nothing, and may run beside the daemon.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from piperd.audit import inputs, ledger, outbox
from piperd.audit.values import MEANINGS, NOTES, Examination, Finding, Places, Report

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MEANINGS", "Finding", "Places", "Report", "audit"]


def audit(places: Places, *, drained: bool = False, dropped: Mapping[str, str] | None = None) -> Report:
    """Examine everything. With `drained` nothing may be open or on its way, nor taken out of the folders since.

    `dropped` gives the SHA-256 of all that was ever dropped, by its path in the inbox. Raises OSError where something
    may not be read.
    """
    # a file that SQLite makes and removes by itself: 100,000 jobs would be much for memory
    with contextlib.closing(sqlite3.connect("", isolation_level=None)) as notes:
        notes.row_factory = sqlite3.Row
        notes.executescript(f"PRAGMA journal_mode = OFF; {NOTES} BEGIN;")
        examination = Examination(places, drained, notes, Report())
        ledger.examine(examination)
        outbox.examine(examination)
        inputs.examine(examination, dropped)
        return examination.report
