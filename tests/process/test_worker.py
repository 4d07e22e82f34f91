"""The real worker program: what it does to itself, and whom it dies with."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from piperd import engine as engines
from piperd import spoken, voices
from piperd.engine.pool import Pool
from piperd.engine.wire import VoiceFiles
from piperd.errors import Code, JobRefused
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
            with contextlib.suppress(queue.Empty):
                self.events += self.pool.receive(self.mail.get(timeout=0.05))
            self.events += self.pool.tick(time.monotonic())

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
    command = [sys.executable, "-m", "piperd.engine.worker", "0", "1", "0", "2"]
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


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (OSError(errno.ESTALE, "Stale file handle"), Code.SYNTHESIS_FAILED),
        (OSError(errno.EIO, "Input/output error"), Code.SYNTHESIS_FAILED),
        (OSError(errno.ENOENT, "No such file or directory"), Code.VOICE_BROKEN),
        (MemoryError(), None),
    ],
)
def test_a_voice_that_can_not_be_read_for_now_is_not_broken(joe: Voice, error: Exception, outcome: Code | None) -> None:
    """A share that hangs or a lack of memory may pass; a file that is missing is for somebody to mend."""
    from piperd.engine import speech  # noqa: PLC0415 - loading piper costs a second

    class Unreadable(type(joe.model)):  # type: ignore[misc]  # whichever Path it is
        def open(self, *_: Any, **__: Any) -> Any:
            raise error

    files = VoiceFiles(joe.name, joe.digest, Unreadable(joe.model), joe.config)
    with pytest.raises(MemoryError if outcome is None else JobRefused) as raised:
        speech.load(files)
    if isinstance(raised.value, JobRefused):
        assert raised.value.failure.code is outcome


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


def test_its_memory_is_told_and_so_is_what_it_has_spoken(loop: Loop, joe: Voice, tmp_path: Path) -> None:
    """After its first sentence the pool knows how much it holds: more than a byte, and less than a gigabyte."""
    loop.pool = Pool(1, post=loop.mail.put, nice=7, max_rss=1)
    loop.pool.start(joe)
    loop.until(lambda: loop.pool.slots.idle)
    loop.pool.speak(1, Utterance("Hello.", joe.name, 0, 0.0), joe, tmp_path / "1.utt")
    loop.until(lambda: any(isinstance(event, engines.WorkerRecycled) for event in loop.events))
    (recycled,) = [event for event in loop.events if isinstance(event, engines.WorkerRecycled)]
    assert 50 << 20 < int(recycled.reason.split()[2]) < 1 << 30
    assert isinstance(loop.ended(1), engines.Done)
    loop.until(lambda: loop.pool.slots.idle)


def test_a_voice_that_a_worker_loads_and_speaks_with_has_no_breaker(loop: Loop, joe: Voice, tmp_path: Path) -> None:
    """The real worker says when loading begins and ends, at its start and for a task."""
    for twin in ("a", "b"):
        loop.pool._staff._breakers.failed(VoiceFiles(joe.name, twin * 64, joe.model, joe.config), "made up", 0.0)
    warm, other = (Voice(joe.name, joe.model, joe.config, twin * 64, "en", 22_050) for twin in ("a", "b"))
    loop.pool.start(warm)
    loop.until(lambda: loop.pool.slots.idle)
    loop.until(lambda: "a" * 64 not in loop.pool._staff._breakers._breakers)
    loop.pool.speak(1, Utterance("Hi.", other.name, 0, 0.0), other, tmp_path / "1.utt")
    assert isinstance(loop.ended(1), engines.Done)
    assert loop.pool._staff._breakers._breakers == {}


def test_a_worker_says_when_it_begins_to_load_a_voice(loop: Loop, joe: Voice, tmp_path: Path) -> None:
    """A death on the way is charged to the voice, whose config here is a pipe that nobody writes to."""
    loop.pool = Pool(1, post=loop.mail.put, utterance_timeout=1.0)
    loop.pool.start(None)
    loop.until(lambda: loop.pool.slots.idle)
    config = tmp_path / "endless.onnx.json"
    os.mkfifo(config)
    endless = Voice("endless", joe.model, config, "e" * 64, "en", 22_050)
    loop.pool.speak(1, Utterance("Hi.", endless.name, 0, 0.0), endless, tmp_path / "1.utt")
    assert isinstance(loop.ended(1), engines.Lost)
    (died,) = [event for event in loop.events if isinstance(event, engines.WorkerDied)]
    assert died.reason == "killed: it loaded the voice 'endless' for more than 1 s"


RECLUSE = """
import ctypes, json, os, socket, sys
from pathlib import Path
from piperd.engine import confinement, worker

folder, port, user, kernel = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
libc = ctypes.CDLL(None)
if user != os.getuid():
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    libc.prctl(4, 1)  # its own again, as after an exec

def refuse(flags):
    raise PermissionError(1, "refused")

def refuse_network(flags):
    if flags == confinement.CLONE_NEWNET:
        refuse(flags)
    confinement.unshare(flags)

def refuse_maps(flags):
    refuse_network(flags)
    libc.prctl(4, 0)  # its maps are nobody's to write

kernels = {"as it is": confinement.unshare, "no privilege": refuse_network, "refuse": refuse, "maps": refuse_maps}
worker.guard(os.getppid(), 0, kernels[kernel])
(folder / "written").write_text("mine")
try:
    with socket.socket() as end:
        end.settimeout(10)
        end.connect(("127.0.0.1", port))
    connected = True
except OSError:
    connected = False
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
agreed = ctypes.c_int()
libc.prctl(2, ctypes.byref(agreed))
print(json.dumps({
    "connected": connected,
    "no_new_privileges": int(status["NoNewPrivs"]),
    "dies_by": agreed.value,
    "score": int(Path("/proc/self/oom_score_adj").read_text()),
    "user": os.geteuid(),
}))
"""
STRANGER = 12_345
"""A user without privilege; not `nobody`, for whom everybody without a name is taken in a user namespace."""


def recluse(folder: Path, user: int, kernel: str) -> dict[str, int]:
    """What a guarded process finds that may write to `folder`, with somebody listening on this machine."""
    os.chown(folder, user, -1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = [sys.executable, "-c", RECLUSE, str(folder), str(port), str(user), kernel]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    written = folder / "written"
    assert written.read_text() == "mine"
    assert written.stat().st_uid == user
    return dict(json.loads(done.stdout))


USERS = [os.getuid(), STRANGER] if os.getuid() == 0 else [os.getuid()]


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("kernel", ["as it is", "no privilege", "refuse", "maps"])
def test_a_worker_has_no_network_where_the_kernel_lets_it(user: int, kernel: str) -> None:
    """It can't reach a socket of its own machine, and writes files as before; a refusal costs that and nothing else."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's are not for other users to enter
        found = recluse(Path(folder), user, kernel)
    # what util-linux can do here, we can
    oracle = ["unshare", "--net", "true"] if user == 0 else ["unshare", "--user", "--map-current-user", "--net", "true"]
    drop = {"user": user, "group": user, "extra_groups": []} if user != os.getuid() else {}
    lets = subprocess.run(oracle, capture_output=True, check=False, cwd="/", **drop).returncode == 0  # type: ignore[call-overload]  # keywords by user
    # root without the privilege stays: in a user namespace it could no longer read what belongs to others
    leaves = kernel == "as it is" or (kernel == "no privilege" and user != 0)
    assert found["connected"] is not (lets and leaves)
    assert found["no_new_privileges"] == 1
    assert found["dies_by"] == signal.SIGKILL
    assert found["score"] >= 500
    assert found["user"] == user


def test_the_pool_s_workers_are_confined(loop: Loop) -> None:
    """The program that the pool starts is in a network of its own, if that can be had."""
    loop.pool.start(None)
    loop.until(lambda: loop.pool.slots.idle)
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("the kernel does not let us")
    theirs = os.stat(f"/proc/{loop.pool.workers[0].pid}/ns/net").st_ino  # noqa: PTH116 - Path would resolve the link
    assert theirs != os.stat("/proc/self/ns/net").st_ino  # noqa: PTH116
