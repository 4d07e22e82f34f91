"""A worker that misbehaves on request: the text of an utterance says how. It speaks the real wire protocol.

python fake_worker.py MODE DESCRIPTOR PARENT_PID NICE

What happens when it loads a voice is written in the voice's model: `die`, `hang` or `refuse`; else all goes well.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

from piperd.engine import wire, worker
from piperd.engine.wire import Answer, Order, Verb, Word
from piperd.errors import Code, Failure

VOICE = "d" * 64


def main() -> None:
    mode, descriptor, parent, nice, _ = sys.argv[1], *(int(argument) for argument in sys.argv[2:])
    worker.guard(parent, nice)
    if mode == "dead":
        sys.exit("this worker\nwas built\nwithout a mouth")
    if mode == "deaf":
        time.sleep(3600)
    loaded: set[str] = set()
    with socket.socket(fileno=descriptor) as end:
        channel = worker.Channel(end)
        for order in channel.orders():
            if order.verb is Verb.STOP:
                return
            if order.verb is Verb.WARM:
                failure = load(order, channel, loaded)
                channel.say(Answer(Word.READY, voices=tuple(loaded), failure=failure))
                if order.voice and failure is None:
                    channel.say(Answer(Word.LOADED, voice=order.voice.digest))
            else:
                perform(order, channel, end, loaded)


def load(order: Order, channel: worker.Channel, loaded: set[str]) -> Failure | None:
    """Do as the voice's model says."""
    if order.voice is None or order.voice.digest in loaded:
        return None
    channel.say(Answer(Word.LOADING, order.ticket, voice=order.voice.digest))
    model = order.voice.model
    match model.read_text() if model.is_file() else "":
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(3600)
        case "refuse":
            return Failure(Code.SYNTHESIS_FAILED, "The share hangs.")
    loaded.add(order.voice.digest)
    return None


def perform(  # noqa: C901, PLR0912 - one case for each way to go wrong
    order: Order, channel: worker.Channel, end: socket.socket, loaded: set[str]
) -> None:
    path = order.path
    assert path is not None
    text = (
        order.utterance.text if order.utterance else Path(str(wire.decode_plan(path.read_bytes()).items[0].file)).name
    )
    if text == "mute":
        time.sleep(3600)
    channel.say(Answer(Word.STARTED, order.ticket))
    if failure := load(order, channel, loaded):
        channel.say(Answer(Word.FAILED, order.ticket, failure=failure))
        return
    if order.voice:
        channel.say(Answer(Word.LOADED, order.ticket, voice=order.voice.digest))
    rss = 0
    match text.split():
        case ["signal", name]:
            os.kill(os.getpid(), signal.Signals[name])
            time.sleep(3600)
        case ["exit", status]:
            sys.stdout.write("last words")
            sys.stdout.flush()
            os._exit(int(status))
        case ["hang"]:
            time.sleep(3600)
        case ["nonsense"]:
            end.send(b"\xff{")
            time.sleep(3600)
        case ["other"]:
            channel.say(Answer(Word.DONE, 999_999))
            time.sleep(3600)
        case ["wait", gate]:
            while not Path(gate).exists():
                time.sleep(0.002)
        case ["answer-and-die", gate]:
            while not Path(gate).exists():
                time.sleep(0.002)
            channel.say(Answer(Word.DONE, order.ticket, 0.1, 1.0, (VOICE,)))
            os._exit(0)
        case ["fail"]:
            failure = Failure(Code.VOICE_BROKEN, "It is broken.")
            channel.say(Answer(Word.FAILED, order.ticket, 0.1, failure=failure))
            return
        case ["rss", size]:
            rss = int(size)
        case ["corrupt"]:
            names = [f"{number:064x}" for number in range(1200)]
            for answer in wire.corrupt_answers(order.ticket, names):
                channel.say(answer)
            channel.say(Answer(Word.FAILED, order.ticket, failure=Failure(Code.SYNTHESIS_FAILED, "corrupt")))
            return
    if order.verb is Verb.SPEAK:
        path.write_text(text)
    digest = order.voice.digest if order.voice else VOICE
    channel.say(Answer(Word.DONE, order.ticket, 0.1, 1.0, tuple(loaded | {digest}), rss=rss))


if __name__ == "__main__":
    main()
