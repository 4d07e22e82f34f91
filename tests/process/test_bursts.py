"""Many files at once: each has its own outcome, and what they cost together is shared."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from harness import Box, ThreadDaemon, wait_for
from piperd.listings import Listings

if TYPE_CHECKING:
    from pathlib import Path

MANY = 300


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_a_burst_ends_as_each_of_its_files_would(box: Box) -> None:
    """Whatever is shared between them: every job is done once, its input put away, its outputs whole and its own."""
    with ThreadDaemon(box) as daemon:
        for number in range(MANY):
            box.drop(f"{'sub/' if number % 3 else ''}n{number}.txt", f"Note {number}.")
        wait_for(lambda: len(daemon.ended) >= MANY, "all jobs")
    assert len({job.job_id for job in daemon.ended}) == MANY
    found = box.statuses()
    assert {status["state"] for status in found.values()} == {"done"}
    assert {status["source"].removesuffix(".txt") + ".json" for status in found.values()} == set(found)
    assert len(box.files(box.archive)) == MANY
    assert not box.files(box.inbox)
    box.check_outputs()


@pytest.mark.parametrize("collision", ["number", "replace"])
def test_a_name_published_since_the_folder_was_listed_is_not_free(box: Box, collision: str) -> None:
    """The ledger knows it, also where only the letter case differs, which no file system here would notice."""
    box.configure({"output": {"on_collision": collision}})
    daemon = ThreadDaemon(box)
    intake = daemon.service._parts.intake
    hours = itertools.count(step=1000.0)
    intake._listings = Listings(lambda _: frozenset(), lambda: next(hours))  # listed once, and empty, for good
    with daemon:
        box.drop("first.txt", "This one has the folder listed.")
        box.final("first.json")
        box.drop("story.txt", "A story.")
        wait_for(lambda: len(daemon.ended) == 2, "the first story's end")
        box.drop("STORY.txt", "Another one.")
        wait_for(lambda: len(daemon.ended) == 3, "the second story's end")
    names = {"number": {"first", "story", "STORY-2"}, "replace": {"first", "story"}}[collision]
    assert set(box.statuses()) == {f"{name}.json" for name in names}
    box.check_outputs()
