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
WORDS = ("Rain", "Snow", "Hail", "Sleet", "Dew")


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


def test_a_long_queue_does_not_hold_its_texts(box: Box) -> None:
    """They wait in the ledger, while the status tells all that it does of any job; spoken is what was written."""
    with ThreadDaemon(box, hold=True, workers=1) as daemon:
        for number in range(5):
            box.drop(f"{number}.json", {"text": f"{WORDS[number]} falls. " * 50, "metadata": {"video": number}})
        for number in range(5):
            status = wait_for(lambda number=number: box.status(f"{number}.json"), "a status")  # type: ignore[misc]
            assert (status["metadata"], list(status["voices"])) == ({"video": number}, ["en_US-joe-medium"])
        specs = [open_job.job.spec for open_job in daemon.service._parts.delivery.open_jobs.values()]
        assert sum(len(scene.text) for spec in specs if spec for scene in spec.scenes) <= 50 * len("Sleet falls. ")
        daemon.engine.let_go()
        wait_for(lambda: len(daemon.ended) == 5, "all jobs")
    assert set(daemon.engine.spoken) == {f"{word} falls." for word in WORDS}
