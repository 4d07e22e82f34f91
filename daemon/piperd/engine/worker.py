"""The program of a worker process: takes orders from its channel, speaks and renders, and dies with its parent.

python -m piperd.engine.worker DESCRIPTOR PARENT_PID NICE
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import socket
import sys
import time
from collections import OrderedDict, deque
from pathlib import Path
from typing import TYPE_CHECKING

from piperd import spoken
from piperd.engine import wire
from piperd.engine.wire import Answer, Order, Verb, Word
from piperd.errors import Code, Failure, JobRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from piperd.engine.speech import LoadedVoice
    from piperd.engine.wire import VoiceFiles

VOICES_KEPT = 2
"""How many voices a worker holds: 60 to 110 MB each."""
OOM_SCORE = 500
"""The kernel is to take a worker before the daemon and before anybody else's program."""
PR_SET_PDEATHSIG = 1
WARM_TEXT = "Hello."
LONG_TEXT = (
    "The first long sentence of a process is slower than all that follow, since memory for it has yet to be had, "
    "so a worker that nobody asks for anything speaks one into the air, as long as any."
)
QUICK = 0.15
"""Seconds for the short text, above which the long one would keep a job waiting on this machine for too long."""
IDLE = 0.3
"""Seconds without an order, after which a worker has time for itself."""


class Channel:
    """The worker's end of the private pipe."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._waiting: deque[Order] = deque()

    def orders(self) -> Iterator[Order]:
        """Orders in turn, those left out that were called back before they began. Ends with the parent."""
        while self._take(wait=not self._waiting):
            if self._waiting:
                yield self._waiting.popleft()

    def quiet(self, seconds: float) -> bool:
        """Whether no order comes for so long."""
        return not self._waiting and not select.select([self._end], [], [], seconds)[0]

    def say(self, answer: Answer) -> None:
        self._end.send(answer.encode())

    def _take(self, *, wait: bool) -> bool:
        """Read all orders that are there; with `wait`, one at least. False where the parent is gone."""
        while True:
            try:
                message = self._end.recv(wire.LIMIT, 0 if wait else socket.MSG_DONTWAIT)
            except BlockingIOError:
                return True
            except ConnectionError:
                return False
            if not message:
                return False
            self._sort_in(Order.decode(message))
            wait = False

    def _sort_in(self, order: Order) -> None:
        if order.verb is not Verb.SKIP:
            self._waiting.append(order)
            return
        for waiting in self._waiting:
            if waiting.ticket == order.ticket:
                self._waiting.remove(waiting)
                self.say(Answer(Word.SKIPPED, order.ticket))
                return


class Cupboard:
    """The voices in memory; the one that has not been used for longest goes first."""

    def __init__(self, keep: int = VOICES_KEPT) -> None:
        self._keep = keep
        self._loaded: OrderedDict[str, LoadedVoice] = OrderedDict()

    @property
    def digests(self) -> tuple[str, ...]:
        return tuple(self._loaded)

    def voice(self, files: VoiceFiles) -> LoadedVoice:
        """Raises `JobRefused` where it can't be loaded."""
        from piperd.engine import speech  # noqa: PLC0415 - heavy: the process guards itself first

        if files.digest not in self._loaded:
            while len(self._loaded) >= self._keep:
                self._loaded.popitem(last=False)
            self._loaded[files.digest] = speech.load(files)
        self._loaded.move_to_end(files.digest)
        return self._loaded[files.digest]


def serve(channel: Channel) -> None:
    """Do what is ordered, until the parent says stop or is gone."""
    cupboard = Cupboard()
    for order in channel.orders():
        if order.verb is Verb.STOP:
            return
        if order.verb is Verb.WARM:
            seconds = _warm(order, cupboard, WARM_TEXT)
            channel.say(Answer(Word.READY, voices=cupboard.digests))
            if 0 < seconds < QUICK and channel.quiet(IDLE):
                _warm(order, cupboard, LONG_TEXT)
            continue
        channel.say(Answer(Word.STARTED, order.ticket))
        for answer in _perform(order, cupboard):
            channel.say(answer)


def _perform(order: Order, cupboard: Cupboard) -> Iterator[Answer]:
    """The answers to a task; whatever goes wrong is one of them."""
    from piperd.engine import render  # noqa: PLC0415 - heavy: the process guards itself first

    start = time.monotonic()
    failure: Failure | None = None
    corrupt: tuple[str, ...] = ()
    audio_s = 0.0
    try:
        audio_s = _speak(order, cupboard) if order.verb is Verb.SPEAK else _render(order)
    except render.CorruptEntriesError as error:
        failure, corrupt = Failure(Code.SYNTHESIS_FAILED, f"{error}. They are spoken anew."), error.names
    except JobRefused as error:
        failure = error.failure
    except MemoryError:
        failure = Failure(Code.SYNTHESIS_FAILED, "A worker ran out of memory.")
    # nothing that an input brings about may end the worker: another job may wait in its pipe
    except Exception as error:  # noqa: BLE001
        failure = Failure(Code.SYNTHESIS_FAILED, f"{type(error).__name__}: {error}"[:500])
    yield from wire.corrupt_answers(order.ticket, corrupt)
    word = Word.FAILED if failure else Word.DONE
    yield Answer(word, order.ticket, time.monotonic() - start, audio_s, cupboard.digests, failure)


def _speak(order: Order, cupboard: Cupboard) -> float:
    from piperd.engine import speech  # noqa: PLC0415 - heavy: the process guards itself first

    assert order.voice is not None
    assert order.utterance is not None
    assert order.path is not None
    samples, rate = speech.speak(cupboard.voice(order.voice), order.utterance)
    header, content = spoken.pack(samples.astype("<f4").tobytes(), rate)
    try:
        with order.path.open("wb") as file:
            file.write(header)
            file.write(content)
    except OSError as error:
        raise JobRefused(
            Code.OUTPUT_FAILED,
            f"A spoken sentence could not be written: {error}",
            "Check the room on the disk of the state folder.",
        ) from error
    return len(samples) / rate


def _render(order: Order) -> float:
    from piperd.engine import render  # noqa: PLC0415 - heavy: the process guards itself first

    assert order.path is not None
    return render.render(wire.decode_plan(order.path.read_bytes()))


def _warm(order: Order, cupboard: Cupboard, text: str) -> float:
    """Import all that work needs, and speak something: the first run of a session is slow. Gives the seconds of it."""
    from piperd.engine import render, speech  # noqa: F401, PLC0415 - heavy: the process guards itself first
    from piperd.job import Utterance  # noqa: PLC0415

    if order.voice is None:
        return 0.0
    # a broken voice fails the tasks that ask for it, not the worker
    with contextlib.suppress(JobRefused):
        voice = cupboard.voice(order.voice)
        began = time.monotonic()
        speech.speak(voice, Utterance(text, order.voice.name, 0, 0.0))
        return time.monotonic() - began
    return 0.0


def guard(parent: int, nice: int) -> None:
    """Make this process die with its parent, leave the terminal's signals to it, and stand behind all others."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:  # it died before the line above
        sys.exit("the parent is gone")
    # Ctrl-C and systemd's SIGTERM are for the daemon, which lets workers finish; SIGHUP is its reload
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(nice)
    score = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(OSError, ValueError):  # no /proc, no score
        score.write_text(str(max(OOM_SCORE, int(score.read_text()))))


def main(arguments: list[str]) -> None:
    descriptor, parent, nice = (int(argument) for argument in arguments)
    guard(parent, nice)
    os.set_inheritable(descriptor, False)
    with socket.socket(fileno=descriptor) as end, contextlib.suppress(BrokenPipeError):  # the parent is gone
        serve(Channel(end))


if __name__ == "__main__":
    main(sys.argv[1:])
