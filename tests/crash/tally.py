"""What torture has counted: for each test its cases, and what went wrong in them."""

from __future__ import annotations

from collections import Counter

COLUMNS = ("cases", "lost", "duplicated", "torn", "leaked")


class Tally:
    """The table at the end of `make torture`."""

    def __init__(self) -> None:
        self._rows: dict[str, Counter[str]] = {}

    def add(
        self, test: str, *, cases: int = 1, lost: int = 0, duplicated: int = 0, torn: int = 0, leaked: int = 0
    ) -> None:
        """Count cases of a test, and what was found wrong in them.

        `lost`: inputs or jobs without a trace or an end. `duplicated`: outputs that appeared twice. `torn`: files that
        were seen incomplete, or unlike what their status says. `leaked`: temporaries and claims that stayed.
        """
        found = {"cases": cases, "lost": lost, "duplicated": duplicated, "torn": torn, "leaked": leaked}
        self._rows.setdefault(test, Counter(dict.fromkeys(COLUMNS, 0))).update(found)

    def table(self) -> list[str]:
        """The lines of a Markdown table; none where nothing was counted."""
        if not self._rows:
            return []
        lines = [f"| test | {' | '.join(COLUMNS)} |", f"| --- |{' ---: |' * len(COLUMNS)}"]
        for test, row in self._rows.items():
            lines.append(f"| {test} | {' | '.join(f'{row[column]:,}' for column in COLUMNS)} |")
        return lines
