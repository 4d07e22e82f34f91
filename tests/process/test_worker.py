"""The real worker program: what it does to itself, and whom it dies with."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from piperd import engine as engines
from piperd import spoken, voices
from piperd.engine.pool import Pool
from piperd.errors import Code
from piperd.job import Utterance, Voice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 30.0
PARENT = """
import queue, sys, time
from piperd import engine
from piperd.engine.pool import Pool
mail = queue.SimpleQueue()
pool = Pool(2, post=mail.put)
pool.start(None)
ready = 0
while ready < 2:
    ready += sum(isinstance(event, engine.WorkerReady) for event in pool.receive(mail.get()))
print(*(worker.pid for worker in pool.workers), flush=True)
time.sleep(3600)
"""


class Loop:
    """A pool of one real worker, whose nice value is 7."""

    def __init__(self) -> None:
        self.mail: queue.SimpleQueue[engines.Mail] = queue.SimpleQueue()
        self.pool = Pool(1, post=self.mail.put, nice=7)
        self.events: list[engines.EngineEvent] = []

    def until(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"it did not come; heard: {self.events}"
            self.events += self.pool.receive(self.mail.get(timeout=PATIENCE))

    def ended(self, ticket: int) -> engines.EngineEvent:
        kinds = (engines.Done, engines.Failed, engines.Lost, engines.Returned)
        found: list[engines.EngineEvent] = []

        def look() -> bool:
            found[:] = [event for event in self.events if isinstance(event, kinds) and event.ticket == ticket]
            return bool(found)

        self.until(look)
        return found[0]


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    list(loop.pool.stop(0.0))


@pytest.fixture(scope="module")
def joe() -> Voice:
    return voices.installed([], None).found["en_US-joe-medium"]


def gone(pid: int) -> bool:
    """Dead; an orphan may stay a zombie where nobody reaps it."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


def test_a_worker_steps_back_behind_all_others(loop: Loop) -> None:
    """Low priority, first to go when memory runs out, no core dumps, own process group, no open files of ours."""
    loop.pool.start(None)
    loop.until(lambda: loop.pool.slots.idle)
    pid = loop.pool.workers[0].pid
    proc = Path(f"/proc/{pid}")
    assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 7)
    assert int((proc / "oom_score_adj").read_text()) >= 500
    assert os.getpgid(pid) == pid
    (cores,) = [line for line in (proc / "limits").read_text().splitlines() if line.startswith("Max core")]
    assert cores.split()[4:6] == ["0", "0"]
    files = {(proc / "fd" / name).readlink() for name in ("0", "1", "2")}
    assert Path("/dev/null") in files
    kinds = sorted(str(file.readlink()).partition(":")[0] for file in (proc / "fd").iterdir())
    assert kinds.count("socket") == 1


def test_the_terminals_signals_are_left_to_the_daemon(loop: Loop, joe: Voice, tmp_path: Path) -> None:
    """Ctrl-C, systemd's SIGTERM and a reload's SIGHUP do not end a worker."""
    loop.pool.start(None)
    loop.until(lambda: loop.pool.slots.idle)
    pid = loop.pool.workers[0].pid
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    loop.pool.speak(1, Utterance("Still here.", joe.name, 0, 0.0), joe, tmp_path / "1.utt")
    assert isinstance(loop.ended(1), engines.Done)
    assert loop.pool.workers[0].pid == pid


def test_workers_die_with_their_parent() -> None:
    """A daemon that is killed leaves none behind."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert not any(gone(pid) for pid in pids)
        parent.kill()
    end = time.monotonic() + PATIENCE
    while not all(gone(pid) for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_worker_whose_parent_is_another_ends_at_once() -> None:
    """The parent may die before the worker has asked the kernel to be told."""
    command = [sys.executable, "-m", "piperd.engine.worker", "0", "1", "0"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert result.returncode == 1
    assert "the parent is gone" in result.stderr


@pytest.mark.parametrize("text", ["bad\0nul", "a lone \ud800 surrogate"])
def test_texts_that_piper_rejects_do_not_end_the_worker(loop: Loop, joe: Voice, tmp_path: Path, text: str) -> None:
    """They are removed before; if one slips through, its task fails and the next is spoken."""
    loop.pool.start(None)
    loop.until(lambda: loop.pool.slots.idle)
    loop.pool.speak(1, Utterance(text, joe.name, 0, 0.0), joe, tmp_path / "1.utt")
    failed = loop.ended(1)
    assert isinstance(failed, engines.Failed)
    assert failed.failure.code is Code.SYNTHESIS_FAILED
    loop.until(lambda: loop.pool.slots.idle)
    loop.pool.speak(2, Utterance("Fine.", joe.name, 0, 0.0), joe, tmp_path / "2.utt")
    assert isinstance(loop.ended(2), engines.Done)
    header, _ = spoken.unpack((tmp_path / "2.utt").read_bytes())
    assert header.samples
    assert not any(isinstance(event, engines.WorkerDied) for event in loop.events)


def test_what_can_not_be_written_fails_its_task(loop: Loop, joe: Voice, tmp_path: Path) -> None:
    """A full disk or a missing folder is our fault and may pass."""
    loop.pool.start(None)
    loop.until(lambda: loop.pool.slots.idle)
    loop.pool.speak(1, Utterance("Fine.", joe.name, 0, 0.0), joe, tmp_path / "missing" / "1.utt")
    failed = loop.ended(1)
    assert isinstance(failed, engines.Failed)
    assert failed.failure.code is Code.OUTPUT_FAILED


def test_a_broken_warm_voice_does_not_keep_the_worker_from_starting(loop: Loop, joe: Voice, tmp_path: Path) -> None:
    """It fails the tasks that ask for it; those of other voices are spoken."""
    model = tmp_path / "broken.onnx"
    model.write_bytes(b"no model")
    broken = Voice("broken", model, joe.config, "b" * 64, "en", 22_050)
    loop.pool.start(broken)
    loop.until(lambda: loop.pool.slots.idle)
    loop.pool.speak(1, Utterance("Hello.", "broken", 0, 0.0), broken, tmp_path / "1.utt")
    failed = loop.ended(1)
    assert isinstance(failed, engines.Failed)
    assert failed.failure.code is Code.VOICE_BROKEN
    assert "'broken'" in failed.failure.message
    loop.until(lambda: loop.pool.slots.idle)
    loop.pool.speak(2, Utterance("Hello.", joe.name, 0, 0.0), joe, tmp_path / "2.utt")
    assert isinstance(loop.ended(2), engines.Done)


def test_at_most_two_voices_are_kept(loop: Loop, joe: Voice, tmp_path: Path) -> None:
    """The one that has not been used for longest goes, and it is seen from outside."""
    loop.pool.start(joe)
    twins = [Voice(f"twin{n}", joe.model, joe.config, str(n) * 64, "en", 22_050) for n in range(2)]
    for ticket, voice in enumerate(twins):
        loop.until(lambda: loop.pool.slots.idle)
        loop.pool.speak(ticket, Utterance("Hi.", voice.name, 0, 0.0), voice, tmp_path / f"{ticket}.utt")
        assert isinstance(loop.ended(ticket), engines.Done)
    assert loop.pool.workers[0].voices == ("twin0", "twin1")


def test_the_kernel_is_asked_to_end_it_with_its_parent() -> None:
    """A worker that hangs in the model's code would never notice that nobody is left: SIGKILL is agreed beforehand."""
    program = (
        "import ctypes, os; from piperd.engine.worker import guard; guard(os.getppid(), 0); "
        "agreed = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(agreed)); print(agreed.value)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) == signal.SIGKILL
