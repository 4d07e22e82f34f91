"""A worker that speaks tones instead of words, over the real wire: `engine/worker.py` without the model.

python double_worker.py DESCRIPTOR PARENT_PID NICE

A sentence takes it `PACE` seconds, so that a death has something to interrupt.

It misbehaves on request, if DOUBLE_WORKER names a folder: at the sentence "Fault segv started." it dies of SIGSEGV
between the answer that it has begun and its work (see `MOMENTS` and `Faults`). The folder may have files:
`failing_starts`, the number of its starts that are to fail, and `deadly`, the name of a voice that it dies of. It
writes `tries` there, a line for each time that it misbehaves.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from piperd import spoken
from piperd.engine import wire, worker
from piperd.engine.wire import Answer, Order, Verb, Word
from piperd.errors import Code, Failure, JobRefused
from piperd.testing import SAMPLE_RATE, CorruptTonesError, render_tones, speak_tone

if TYPE_CHECKING:
    from collections.abc import Callable

PACE = 0.005
FOLDER = "DOUBLE_WORKER"
CGROUP = "DOUBLE_WORKER_CGROUP"
"""Variable with the folder of a control group that has little memory."""
MOMENTS = ("started", "written", "answered", "rendering")
"""Before it works, before it answers, when it has answered; and when what it then speaks is joined."""
FAULT = re.compile(r"fault (\w+) (\w+)", re.IGNORECASE)
LITTLE = 64 << 20


class Faults:
    """The ways to go wrong, by their names in texts."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def strike(self, name: str, moment: str) -> None:
        if folder := os.environ.get(FOLDER):
            with (Path(folder) / "tries").open("a") as tries:
                tries.write(f"{name} {moment}\n")
            way: Callable[[], None] = getattr(self, name)
            way()

    def kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def stop(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def segv(self) -> None:
        ctypes.string_at(0)

    def exit(self) -> NoReturn:
        os._exit(0)

    def hang(self) -> None:
        """Hold the interpreter, so that not even a signal handler of its own could run."""
        ctypes.PyDLL(None).sleep(3600)

    def memory(self) -> None:
        """Ask for memory until there is none."""
        own = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (own + LITTLE, before[1]))
        try:
            devour()
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)

    def oom(self) -> None:
        """Use memory until the kernel has enough of it."""
        (Path(os.environ[CGROUP]) / "cgroup.procs").write_text(str(os.getpid()))
        devour()

    def nonsense(self) -> None:
        self._end.send(b"\xff{")
        time.sleep(3600)


def devour() -> NoReturn:
    eaten = []
    while True:
        eaten.append(bytearray(b"\1" * (1 << 20)))


def main() -> None:
    descriptor, parent, nice, _ = (int(argument) for argument in sys.argv[1:])
    worker.guard(parent, nice)
    if fails_to_start():
        sys.exit("this start is to fail")
    with socket.socket(fileno=descriptor) as end:
        serve(worker.Channel(end), Faults(end))


def serve(channel: worker.Channel, faults: Faults) -> None:
    loaded: dict[str, None] = {}
    for order in channel.orders():
        if order.verb is Verb.STOP:
            return
        if order.verb is Verb.WARM:
            load(order, channel, faults, loaded)
            channel.say(Answer(Word.READY, voices=tuple(loaded)))
            continue
        channel.say(Answer(Word.STARTED, order.ticket))
        load(order, channel, faults, loaded)
        perform(order, channel, faults, tuple(loaded))


def fails_to_start() -> bool:
    """Whether this is one of the first starts, which are to fail."""
    count = Path(os.environ.get(FOLDER, "/nowhere")) / "failing_starts"
    if not count.exists():
        return False
    for number in range(int(count.read_text())):
        try:
            count.with_name(f"start-{number}").touch(exist_ok=False)
        except FileExistsError:
            continue
        return True
    return False


def load(order: Order, channel: worker.Channel, faults: Faults, loaded: dict[str, None]) -> None:
    if order.voice is None or order.voice.digest in loaded:
        return
    deadly = Path(os.environ.get(FOLDER, "/nowhere")) / "deadly"
    channel.say(Answer(Word.LOADING, order.ticket, voice=order.voice.digest))
    if deadly.exists() and deadly.read_text() == order.voice.name:
        faults.strike("segv", "loading")
    loaded[order.voice.digest] = None
    channel.say(Answer(Word.LOADED, order.ticket, voice=order.voice.digest))


def fault_in(order: Order) -> tuple[str, str]:
    """When it is to misbehave, and how."""
    assert order.path is not None
    if order.utterance is not None:
        found = FAULT.search(order.utterance.text)
        return (found[2], found[1]) if found else ("", "")
    for item in wire.decode_plan(order.path.read_bytes()).items:
        if item.file is not None and item.file.exists():
            try:
                header, _ = spoken.unpack(item.file.read_bytes())
            except spoken.CorruptError:
                continue
            if header.words:
                return "started", "".join(chr(letter) for letter, *_ in header.words)
    return "", ""


def perform(order: Order, channel: worker.Channel, faults: Faults, loaded: tuple[str, ...]) -> None:
    assert order.path is not None
    moment, name = fault_in(order)

    def at(now: str) -> None:
        if now == moment:
            faults.strike(name, moment if order.utterance else "rendering")

    time.sleep(PACE)
    try:
        at("started")
        if order.utterance is not None:
            seconds = speak(order.utterance.text, order.path)
        else:
            seconds = render_tones(wire.decode_plan(order.path.read_bytes()))
        at("written")
    except CorruptTonesError as error:
        for answer in wire.corrupt_answers(order.ticket, error.names):
            channel.say(answer)
        failure = Failure(Code.SYNTHESIS_FAILED, "Entries of the store are corrupt.")
        channel.say(Answer(Word.FAILED, order.ticket, failure=failure))
    except OSError as error:
        failure = Failure(Code.OUTPUT_FAILED, f"It could not be written: {error}")
        channel.say(Answer(Word.FAILED, order.ticket, failure=failure))
    except (MemoryError, JobRefused) as error:
        channel.say(Answer(Word.FAILED, order.ticket, failure=worker.failure_of(error)))
    else:
        channel.say(Answer(Word.DONE, order.ticket, PACE, seconds, loaded, rss=worker.resident()))
        at("answered")


def speak(text: str, into: Path) -> float:
    """A tone; one that is to go wrong when it is joined says so where the times of its words would stand."""
    seconds = speak_tone(text, into)
    found = FAULT.search(text)
    if found and found[2] == "rendering":
        _, samples = spoken.unpack(into.read_bytes())
        header, content = spoken.pack(bytes(samples), SAMPLE_RATE, [(ord(letter), 0, 0, 0) for letter in found[1]])
        into.write_bytes(header + content)
    return seconds


if __name__ == "__main__":
    main()
