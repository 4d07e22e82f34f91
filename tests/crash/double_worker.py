"""A worker that speaks tones instead of words, over the real wire: `engine/worker.py` without the model.

python double_worker.py DESCRIPTOR PARENT_PID NICE

A sentence takes it `PACE` seconds, so that a death has something to interrupt.
"""

from __future__ import annotations

import socket
import sys
import time

from piperd.engine import wire, worker
from piperd.engine.wire import Answer, Order, Verb, Word
from piperd.errors import Code, Failure
from piperd.testing import CorruptTonesError, render_tones, speak_tone

PACE = 0.005


def main() -> None:
    descriptor, parent, nice = (int(argument) for argument in sys.argv[1:])
    worker.guard(parent, nice)
    with socket.socket(fileno=descriptor) as end:
        channel = worker.Channel(end)
        for order in channel.orders():
            if order.verb is Verb.STOP:
                return
            if order.verb is Verb.WARM:
                digest = order.voice.digest if order.voice else ""
                channel.say(Answer(Word.READY, voices=(digest,)))
            else:
                channel.say(Answer(Word.STARTED, order.ticket))
                perform(order, channel)


def perform(order: Order, channel: worker.Channel) -> None:
    assert order.path is not None
    digests = (order.voice.digest,) if order.voice else ()
    time.sleep(PACE)
    try:
        if order.utterance is not None:
            seconds = speak_tone(order.utterance.text, order.path)
        else:
            seconds = render_tones(wire.decode_plan(order.path.read_bytes()))
    except CorruptTonesError as error:
        for answer in wire.corrupt_answers(order.ticket, error.names):
            channel.say(answer)
        failure = Failure(Code.SYNTHESIS_FAILED, "Entries of the store are corrupt.")
        channel.say(Answer(Word.FAILED, order.ticket, failure=failure))
    except OSError as error:
        failure = Failure(Code.OUTPUT_FAILED, f"It could not be written: {error}")
        channel.say(Answer(Word.FAILED, order.ticket, failure=failure))
    else:
        channel.say(Answer(Word.DONE, order.ticket, PACE, seconds, digests))


if __name__ == "__main__":
    main()
