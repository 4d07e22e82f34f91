"""The texts that are spoken: written for these measurements, and composed from their sentences the same way each time.

No sentence comes twice: what piperd has spoken once it does not speak again.
"""

from __future__ import annotations

import random
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LENGTHS = (1,) * 65 + (2,) * 19 + (3,) * 8 + (4,) * 3 + (5, 6, 8, 10, 12)
"""Sentences of the 100 texts: most are notices, some are stories."""
SLOTS = {
    "who": """the captain|a traveller|the younger sister|an old friend|the clockmaker|our neighbour|the night nurse
        |the gardener|her teacher|the last passenger|a boy in a red coat|the baker""",
    "did": """remembered|described|had forgotten|painted|looked for|wrote down|could not explain|laughed about
        |was waiting for|had never seen""",
    "what": """the colour of the harbour|the road over the hills|a song from the mountains|the first winter
        |the letter in the drawer|the sound of the bells|a house without windows|the price of a good night's sleep""",
    "when": """before the lamps were lit|while the others slept|as if it had been yesterday|on the way home
        |when the rain had stopped|long after the guests had left""",
    "where": """at the front door|in the library|on the second floor|behind the station|in the kitchen|near the old mill
        |at the pier|in the waiting room""",
    "thing": """The washing machine|Your parcel|The ferry|The meeting|Your table|The printer|The night bus|The lift
        |The museum|The next delivery""",
    "state": """is late|is ready|has been moved|needs your attention|will be closed for repairs|is full
        |has arrived at last|runs as planned""",
    "do": """save your work|close the windows|bring an umbrella|take the stairs|call the front desk
        |check the second page|leave the keys with the porter|water the plants in the hall""",
    "day": "on Monday|on Tuesday|tomorrow|at the weekend|in March|on 4 July|this evening|after the holidays",
}
CHOICES = {name: [each.strip() for each in words.split("|")] for name, words in SLOTS.items()}
PATTERNS = (
    "{thing} {state}.",
    "{thing} {state} {day}.",
    "Please {do} {day}.",
    "{Who} is {where}.",
    "Please {do}, and {do2}.",
    "{thing} {state}, so please {do} {day}.",
    "{Who} {did} {what}.",
    "{Who} {did} {what} {when}.",
    "{Who} stood {where}, and nobody could say why.",
    '"{thing} {state}," said {who}, "and {who2} {did} {what}."',
    "{Who} paid ${number}.50 for {number2} tickets {day}.",
    "At {hour}:{minute} {who} was {where}, {number} miles from home.",
    "{thing} {state}: {number} of {number2} seats are taken, and {number} people are waiting {where}.",
    (
        "{Who} {did} {what} {when}, but {who2} {did2} {what2}, and it was {number} years before anybody {where} "
        "spoke of it again."
    ),
)
MIX = (*PATTERNS[:5], *PATTERNS[:5], *PATTERNS)
"""Most sentences are short."""


def texts() -> list[str]:
    """100 texts of 1 to 12 sentences, in a mixed order: about nine minutes of audio."""
    mixed = random.Random(20)
    lengths = list(LENGTHS)
    mixed.shuffle(lengths)
    source = _sentences(mixed)
    return [" ".join(next(source) for _ in range(length)) for length in lengths]


def _sentences(mixed: random.Random) -> Iterator[str]:
    known = set()
    for number in count():
        pattern = MIX[number % len(MIX)]
        sentence = _fill(pattern, mixed)
        while sentence in known:
            sentence = _fill(pattern, mixed)
        known.add(sentence)
        yield sentence


def _fill(pattern: str, mixed: random.Random) -> str:
    words = {name: mixed.choice(choices) for name, choices in CHOICES.items()}
    words |= {f"{name}2": mixed.choice(choices) for name, choices in CHOICES.items()}
    words["Who"] = words["who2"].capitalize()
    numbers = {"number": str(mixed.randint(2, 90)), "number2": str(mixed.randint(91, 400))}
    return pattern.format(**words, **numbers, hour=mixed.randint(1, 12), minute=mixed.randint(10, 59))


def notes(number: int) -> dict[str, str]:
    """So many short texts, no two alike, by their file names."""
    return {f"note-{each:06}.txt": f"Note {each}." for each in range(number)}


def long_text(minutes: float) -> list[str]:
    """Different sentences of about 5.1 seconds each, that together take so long."""
    subjects = ("The captain", "A traveller", "The younger sister", "An old friend", "The clockmaker", "Nobody here")
    verbs = ("remembered", "described", "had forgotten", "painted", "looked for", "wrote down")
    objects = ("the colour of the harbour", "the road over the hills", "a song from the mountains", "the first winter")
    ends = ("before the lamps were lit", "while the others slept", "as if it had been yesterday")
    return [
        f"{subjects[number % 6]} {verbs[number // 6 % 6]} {objects[number // 36 % 4]} "
        f"{ends[number // 144 % 3]}, in the story with the number {number}."
        for number in range(round(minutes * 60 / 5.1))
    ]


def paragraphs(sentences: list[str]) -> str:
    """A text of paragraphs of ten sentences."""
    return "\n\n".join(" ".join(sentences[first : first + 10]) for first in range(0, len(sentences), 10)) + "\n"


LONGEST = (
    "The first long sentence of a process is slower than all that follow, since memory for it has yet to be had, "
    "and so the old captain spoke it slowly while the younger sister wrote it down, word for word, by the lamp"
)


def mixed_utterances(number: int) -> Iterator[str]:
    """What a worker speaks in months, in little time: mostly a word or two, at times a sentence, seldom a long one."""
    for each in range(number):
        if each % 100 == 0:
            yield f"{LONGEST}, {each}."
        elif each % 25 == 1:
            yield f"The ferry leaves at {each}, as always."
        else:
            yield f"{('No', 'Yes', 'Stop', 'Good')[each % 4]} {each % 10}."
