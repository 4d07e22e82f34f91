"""One long text: beside one `piper` command, again with one changed sentence, and what it costs as it grows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import contenders
import corpus
import rig
from figures import spread
from processes import children, resident_mb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from figures import Budget

ROUNDS = 3
AGAIN = 3
"""Times that the text comes once more in each round, each time with another sentence changed."""
MINUTES = 10.0
GROWTH = (1.0, 10.0, 60.0)
"""Minutes."""


def measure(budget: Budget) -> dict[str, Any]:
    """Ten minutes of audio alone: rates, the times of the first and of the second coming, how busy workers are."""
    sentences = corpus.long_text(0.4 if budget.quick else MINUTES)
    figures: dict[str, list[float]] = {name: [] for name in ("piperd", "piper", "ratio", "first", "again", "saved")}
    busy: list[float] = []
    audio_s = 0.0
    for number in budget.rounds(ROUNDS):
        budget.say(f"round {number + 1} of {ROUNDS}")
        with rig.Daemon() as daemon:
            first = _speak(daemon, "long", sentences)
            audio_s = daemon.speech_seconds()
            busy += _busy(daemon)
            again = [_speak(daemon, f"again-{each}", _changed(sentences, each)) for each in range(AGAIN)]
        figures["first"].append(first)
        figures["again"] += again
        figures["saved"] += [first / each for each in again]
        piper = contenders.piper_for_a_long_text(corpus.paragraphs(sentences))
        figures["piperd"].append(audio_s / first)
        figures["piper"].append(piper.rate)
        figures["ratio"].append(audio_s / first / piper.rate)
    return {
        "audio_s": round(audio_s, 1),
        "rates": {name: spread(figures[name], 2) for name in ("piperd", "piper")},
        "ratio": spread(figures["ratio"]),
        "first_s": spread(figures["first"], 2),
        "again_s": spread(figures["again"]),
        "first_over_again": spread(figures["saved"], 1),
        "busy": spread(busy),
    }


def growth(budget: Budget) -> dict[str, Any]:
    """Seconds and memory against the length of a text, each with a fresh daemon."""
    found = []
    for minutes in (0.1, 0.3) if budget.quick else GROWTH:
        budget.say(f"{minutes:g} minutes")
        sentences = corpus.long_text(minutes)
        with rig.Daemon() as daemon:
            seconds = _speak(daemon, "long", sentences)
            found.append(
                {
                    "minutes": minutes,
                    "audio_s": round(daemon.speech_seconds(), 1),
                    "seconds": round(seconds, 2),
                    "daemon_peak_mb": resident_mb(daemon.pid, peak=True),
                    "worker_peak_mb": max(resident_mb(worker, peak=True) for worker in children(daemon.pid)),
                }
            )
    return {"texts": found}


def _speak(daemon: rig.Daemon, name: str, sentences: Sequence[str]) -> float:
    began = daemon.drop(f"{name}.txt", corpus.paragraphs(list(sentences)))
    return daemon.wait_done([name]) - began


def _changed(sentences: Sequence[str], number: int) -> list[str]:
    """Another sentence in the place of one, near the start, the middle or the end."""
    place = (len(sentences) - 1) * number // max(1, AGAIN - 1)
    return [*sentences[:place], f"This sentence is the change with the number {number}.", *sentences[place + 1 :]]


def _busy(daemon: rig.Daemon) -> list[float]:
    """For each worker, the share of the time from the job's start to its last utterance in which it spoke."""
    spoken = daemon.events("utterance_spoken")
    (job,) = daemon.events("job_started")
    whole = max(rig.unix(event["timestamp"]) for event in spoken) - rig.unix(job["timestamp"])
    shares: dict[int, float] = {}
    for event in spoken:
        shares[event["worker"]] = shares.get(event["worker"], 0.0) + event["run_s"] / whole
    return list(shares.values())
