"""The turns of the main loop: several of them in one commit, and nothing that follows from them before it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from piperd.job import Job, JobState
from piperd.ledger import Ledger
from piperd.turn import GATHERING, OpenJob, Turn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Scene:
    """A turn on a real ledger, and how things stand on disk whenever something follows."""

    def __init__(self, path: Path) -> None:
        self.turn = Turn(Ledger(path))
        self._disk = Ledger(path, read_only=True)
        self.followed: list[tuple[str, JobState]] = []

    def close(self) -> None:
        self.turn.ledger.close()
        self._disk.close()

    def on_disk(self) -> list[JobState]:
        """The states of all jobs that survive now."""
        return [job.state for job in self._disk.since(0)]

    def accept(self) -> OpenJob:
        job = Job("1", 0, b"a.txt", b"/in/a.txt", 1, "", "a", JobState.QUEUED, 5, 0, 1.0)
        return OpenJob(self.turn.ledger.accept(job), arrived=0.0)

    def move(self, open_job: OpenJob, to: JobState) -> None:
        """Change the state, which something follows from."""
        self.turn.move(open_job, to)
        self.turn.after(lambda: self.followed.append((to.value, self.on_disk()[0])))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with closing(Scene(tmp_path / "ledger.sqlite3")) as made:
        yield made


def test_turns_share_a_commit_while_more_comes(scene: Scene) -> None:
    """What follows from each is done behind the one commit that has them all, in order."""
    job = scene.accept()
    scene.turn.end(100.0, more=False)
    scene.move(job, JobState.RUNNING)
    scene.turn.end(100.0 + GATHERING / 4, more=True)
    scene.move(job, JobState.DONE)
    scene.turn.end(100.0 + GATHERING / 2, more=True)
    assert (scene.on_disk(), scene.followed) == ([JobState.QUEUED], [])
    scene.turn.end(100.0 + GATHERING / 2, more=False)
    assert scene.on_disk() == [JobState.DONE]
    assert scene.followed == [("running", JobState.DONE), ("done", JobState.DONE)]


def test_nothing_waits_for_long(scene: Scene) -> None:
    """However much comes: what was decided is on disk when its time is over."""
    job = scene.accept()
    scene.turn.end(100.0, more=False)
    scene.move(job, JobState.RUNNING)
    scene.turn.end(100.0 + GATHERING / 2, more=True)
    scene.turn.end(100.0 + 1.1 * GATHERING, more=True)
    assert scene.followed == [("running", JobState.RUNNING)]


def test_a_turn_in_a_hurry_waits_for_none(scene: Scene) -> None:
    """It is committed at its end, and the next one may wait again."""
    scene.turn.end(100.0, more=False)
    job = scene.accept()
    scene.turn.hurry()
    scene.turn.end(100.0, more=True)
    assert scene.on_disk() == [JobState.QUEUED]
    scene.move(job, JobState.RUNNING)
    scene.turn.end(100.0, more=True)
    assert scene.on_disk() == [JobState.QUEUED]
