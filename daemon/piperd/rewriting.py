"""A sentence as written and what is said in place of its stretches. Values only; it knows no language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Iterator

Spans = tuple[tuple[int, int, str], ...]
"""Stretches of a spoken text (first character, one behind the last) and what people wrote there, in order. One without
any length stands for what is written but not spoken."""


@dataclass(frozen=True, slots=True)
class Change:
    """A stretch of what is written, and what is said in its place."""

    start: int
    end: int
    spoken: str


@dataclass(frozen=True, slots=True)
class Rewriting:
    """A written text with its changes, in order and apart. What was changed once is not changed again."""

    text: str
    changes: tuple[Change, ...] = ()

    def rewrite(self, pattern: re.Pattern[str], say: Callable[[re.Match[str]], str | None]) -> Rewriting:
        """Change what the pattern finds, where nothing was changed yet; `say` gives None to leave a find as it is.

        The pattern sees what stands before such a stretch, but nothing behind it.
        """
        if self.changes and not pattern.search(self.text):
            return self  # most patterns find nothing, and a sentence with many changes has many stretches
        found = [
            Change(match.start(), match.end(), spoken)
            for start, end in self._untouched()
            for match in pattern.finditer(self.text, start, end)
            if (spoken := say(match)) is not None and spoken != match.group()
        ]
        return self._with(found) if found else self

    def change(self, changes: Iterable[Change]) -> Rewriting:
        """With these changes, which must be apart; those that touch what was changed already are left out."""
        taken = self.changes
        found = [each for each in changes if all(each.end <= old.start or old.end <= each.start for old in taken)]
        return self._with(found) if found else self

    def spoken(self) -> tuple[str, Spans]:
        """What is said, and where it differs from what is written."""
        parts: list[str] = []
        spans: list[tuple[int, int, str]] = []
        length = end = 0
        last = ""
        for each in self.changes:
            length += each.start - end
            said = each.spoken
            last = self.text[end : each.start][-1:] or last
            if last == " " == said[:1]:  # two changes side by side may each have kept a space
                said = said[1:]
            parts += self.text[end : each.start], said
            last = said[-1:] or last
            spans.append((length, length + len(said), self.text[each.start : each.end]))
            length, end = spans[-1][1], each.end
        return "".join([*parts, self.text[end:]]), tuple(spans)

    def _with(self, found: list[Change]) -> Rewriting:
        return Rewriting(self.text, tuple(sorted((*self.changes, *found), key=lambda each: each.start)))

    def _untouched(self) -> Iterator[tuple[int, int]]:
        start = 0
        for each in self.changes:
            if start < each.start:
                yield start, each.start
            start = each.end
        if start < len(self.text):
            yield start, len(self.text)


def written(spoken: str, spans: Spans) -> str:
    """Undo a rewriting: the text as people wrote it."""
    parts: list[str] = []
    place = 0
    for start, end, original in spans:
        parts += spoken[place:start], original
        place = end
    return "".join([*parts, spoken[place:]])
