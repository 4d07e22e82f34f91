"""The program of a worker process: takes orders from its channel, speaks and renders, and dies with its parent.

python -m piperd.engine.worker DESCRIPTOR PARENT_PID NICE VOICES
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
from piperd.engine.confinement import confine, unshare
from piperd.engine.wire import Answer, Order, Verb, Word
from piperd.errors import Code, Failure, JobRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from piperd.engine.speech import LoadedVoice
    from piperd.engine.wire import VoiceFiles

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
    """The voices in memory, `keep` of them at most; the one that has not been used for longest goes first."""

    def __init__(self, keep: int) -> None:
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


def serve(channel: Channel, voices: int) -> None:
    """Do what is ordered, until the parent says stop or is gone; hold so many voices at most."""
    cupboard = Cupboard(voices)
    for order in channel.orders():
        if order.verb is Verb.STOP:
            return
        if order.verb is Verb.WARM:
            _warm_up(order, cupboard, channel)
            continue
        channel.say(Answer(Word.STARTED, order.ticket))
        for answer in _perform(order, cupboard, channel):
            channel.say(answer)


def _perform(order: Order, cupboard: Cupboard, channel: Channel) -> Iterator[Answer]:
    """The answers to a task; whatever goes wrong is one of them."""
    from piperd.engine import render  # noqa: PLC0415 - heavy: the process guards itself first

    start = time.monotonic()
    failure: Failure | None = None
    corrupt: tuple[str, ...] = ()
    audio_s = 0.0
    try:
        audio_s = _speak(order, cupboard, channel) if order.verb is Verb.SPEAK else _render(order)
    except render.CorruptEntriesError as error:
        failure, corrupt = Failure(Code.SYNTHESIS_FAILED, f"{error}. They are spoken anew."), error.names
    # nothing that an input brings about may end the worker: another job may wait in its pipe
    except Exception as error:  # noqa: BLE001
        failure = failure_of(error)
    yield from wire.corrupt_answers(order.ticket, corrupt)
    word = Word.FAILED if failure else Word.DONE
    seconds = time.monotonic() - start
    yield Answer(word, order.ticket, seconds, audio_s, cupboard.digests, failure=failure, rss=resident())


def failure_of(error: Exception) -> Failure:
    """What is said of an error that has ended a task."""
    if isinstance(error, JobRefused):
        return error.failure
    if isinstance(error, MemoryError):
        return Failure(Code.SYNTHESIS_FAILED, "A worker ran out of memory.")
    return Failure(Code.SYNTHESIS_FAILED, f"{type(error).__name__}: {error}"[:500])


def resident() -> int:
    """Bytes of this process that lie in memory; 0 where the kernel does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _speak(order: Order, cupboard: Cupboard, channel: Channel) -> float:
    from piperd.engine import speech  # noqa: PLC0415 - heavy: the process guards itself first

    assert order.voice is not None
    assert order.utterance is not None
    assert order.path is not None
    digest = order.voice.digest
    new = digest not in cupboard.digests
    if new:
        channel.say(Answer(Word.LOADING, order.ticket, voice=digest))
    voice = cupboard.voice(order.voice)
    if new:
        channel.say(Answer(Word.LOADED, order.ticket, voice=digest))
    samples, rate, words = speech.speak(voice, order.utterance)
    header, content = spoken.pack(samples.astype("<f4").tobytes(), rate, words)
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


def _warm_up(order: Order, cupboard: Cupboard, channel: Channel) -> None:
    """Load the voice and speak with it: the first run of a session is slow. Then import what else work needs."""
    if order.voice is None:
        channel.say(Answer(Word.READY, voices=cupboard.digests))
        return
    channel.say(Answer(Word.LOADING, voice=order.voice.digest))
    try:
        seconds = _try_out(order.voice, cupboard, WARM_TEXT)
    except Exception as error:  # noqa: BLE001 - a broken voice fails the tasks that ask for it, not the worker
        channel.say(Answer(Word.READY, voices=cupboard.digests, failure=failure_of(error)))
        return
    channel.say(Answer(Word.READY, voices=cupboard.digests))
    from piperd.engine import render  # noqa: F401, PLC0415 - heavy, and the first one is some sentences away

    if seconds < QUICK and channel.quiet(IDLE):
        with contextlib.suppress(JobRefused, MemoryError):
            _try_out(order.voice, cupboard, LONG_TEXT)
    # only now: a voice that ends its workers at their first words is no better than one that can't be loaded
    channel.say(Answer(Word.LOADED, voice=order.voice.digest))


def _try_out(files: VoiceFiles, cupboard: Cupboard, text: str) -> float:
    """Speak into the air; gives the seconds of it."""
    from piperd.engine import speech  # noqa: PLC0415 - heavy: the process guards itself first
    from piperd.job import Utterance  # noqa: PLC0415

    voice = cupboard.voice(files)
    began = time.monotonic()
    speech.speak(voice, Utterance(text, files.name, 0, 0.0))
    return time.monotonic() - began


def guard(parent: int, nice: int, unshare: Callable[[int], None] = unshare) -> None:
    """Make this process die with its parent, leave the terminal's signals to it, and stand behind all others.

    It must be the only thread.
    """
    # first, since the kernel forgets about the parent's death when a process changes what it may do
    confine(unshare)
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
    descriptor, parent, nice, voices = (int(argument) for argument in arguments)
    guard(parent, nice)
    os.set_inheritable(descriptor, False)
    with socket.socket(fileno=descriptor) as end, contextlib.suppress(BrokenPipeError):  # the parent is gone
        serve(Channel(end), voices)


if __name__ == "__main__":
    main(sys.argv[1:])
