"""Scaling from one worker to as many as there are cores, and what bare loops make of the same cores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import contenders
import corpus
from figures import cores, spread

if TYPE_CHECKING:
    from figures import Budget

ROUNDS = 3


def measure(budget: Budget) -> dict[str, Any]:
    """Rates with one worker and with N, and the second over N times the first; the same of bare loops."""
    every = corpus.texts()
    rates: dict[str, list[float]] = {name: [] for name in ("piperd 1", "piperd N", "bare 1", "bare N")}
    for number in budget.rounds(ROUNDS):
        part = every[:3] if budget.quick else every[number::4]
        budget.say(f"round {number + 1} of {ROUNDS}")
        rates["piperd 1"].append(contenders.piperd(part, 1).rate)
        rates["piperd N"].append(contenders.piperd(part).rate)
        rates["bare 1"].append(contenders.bare_loops(part, 1).rate)
        rates["bare N"].append(contenders.bare_loops(part).rate)
    return {
        "cores": cores(),
        "rates": {name: spread(values, 2) for name, values in rates.items()},
        "of_linear": {
            name: spread([n / one / cores() for one, n in zip(rates[f"{name} 1"], rates[f"{name} N"], strict=True)])
            for name in ("piperd", "bare")
        },
    }
